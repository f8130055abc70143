// Command count is Count: one binary that is a node of the time series
// database, and the tools to talk to one. Each verb is a file of this folder.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1 // what was asked for did not work
	exitUsage  = 2 // it was asked for wrongly: flags, settings
	exitPart   = 3 // it was done, but not wholly
)

// call is one run of the program.
type call struct {
	args           []string // behind the verb
	environ        []string
	stdin          io.Reader
	stdout, stderr io.Writer
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	go func() {
		<-ctx.Done()
		stop() // a second signal ends the process at once
	}()
	os.Exit(run(ctx, os.Args[1:], call{environ: os.Environ(), stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr}))
}

// run finds the verb and returns the exit code. No verb means serve.
func run(ctx context.Context, args []string, c call) int {
	name := ""
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		name, args = args[0], args[1:]
	}
	c.args = args
	if wantsHelp(name, args) {
		return help(c, name)
	}
	switch {
	case name == "" && len(args) == 1 && args[0] == "--version":
		name, c.args = "version", nil
	case name == "":
		name = "serve"
	}
	v := findVerb(name)
	if v == nil {
		fmt.Fprintf(c.stderr, "count: unknown command %q; `count --help` lists the commands\n", name)
		return exitUsage
	}
	err := v.run(ctx, c)
	var usage *usageError
	var partial *partialError
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errLogged):
		return exitFailed
	case errors.As(err, &usage):
		fmt.Fprintf(c.stderr, "count %s: %v\n", name, err)
		return exitUsage
	case errors.As(err, &partial):
		fmt.Fprintf(c.stderr, "count %s: %v\n", name, err)
		return exitPart
	}
	fmt.Fprintf(c.stderr, "count %s: %v\n", name, err)
	return exitFailed
}
