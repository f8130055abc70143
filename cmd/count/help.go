package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
)

// verb is one command.
type verb struct {
	name    string
	summary string   // one line
	usage   string   // how to call it, with examples
	words   []string // what may stand behind the name, for completion
	run     func(context.Context, call) error
	// more writes what the help shows behind the usage; may be nil.
	more func(io.Writer)
}

// verbs returns all commands in the order of the help.
func verbs() []verb {
	return []verb{serveVerb(), insertVerb(), queryVerb(), importVerb(), exportVerb(), checkVerb(), inspectVerb(), healthVerb(), clusterVerb(), backupVerb(), restoreVerb(), benchVerb(), demoVerb(), completionVerb(), versionVerb()}
}

func findVerb(name string) *verb {
	for _, v := range verbs() {
		if v.name == name {
			return &v
		}
	}
	return nil
}

// wantsHelp reports whether the call asks for help: count help [VERB], count
// VERB --help, count --help.
func wantsHelp(name string, args []string) bool {
	return name == "help" || slices.ContainsFunc(args, func(a string) bool { return a == "--help" || a == "-help" || a == "-h" })
}

// help shows the overview, or one command when it is named.
func help(c call, name string) int {
	if name == "help" {
		name = ""
		if len(c.args) > 0 && !strings.HasPrefix(c.args[0], "-") {
			name = c.args[0]
		}
	}
	if name == "" {
		overview(c.stdout)
		return exitOK
	}
	v := findVerb(name)
	if v == nil {
		fmt.Fprintf(c.stderr, "count: unknown command %q\n", name)
		overview(c.stderr)
		return exitUsage
	}
	fmt.Fprintf(c.stdout, "count %s: %s\n\n%s", v.name, v.summary, v.usage)
	if v.more != nil {
		v.more(c.stdout)
	}
	return exitOK
}

func overview(w io.Writer) {
	fmt.Fprint(w, `Count is a masterless time series database that Prometheus writes to and Grafana reads from.

Usage: count [COMMAND] [ARGUMENTS]

Commands:
`)
	for _, v := range verbs() {
		fmt.Fprintf(w, "  %-10s %s\n", v.name, v.summary)
	}
	fmt.Fprint(w, `
Without a command it serves: "count" starts a node at http://127.0.0.1:8080 with its data in ./count_data.
"count COMMAND --help" tells more about a command, "count serve --help" lists all settings.

A first minute:
  count &                                  # a node
  count insert cpu.usage 0.42              # a sample, now
  count query cpu.usage                    # PromQL
  curl 'http://127.0.0.1:8080/query/range/cpu.usage?start=0&end=9999999999999'
`)
}
