package main

import (
	"context"
	"errors"
	"fmt"
)

func healthVerb() verb {
	return verb{
		name:    "health",
		summary: "ask a node how it is; exit code 0 when healthy or degraded",
		usage: `Usage:
  count health [--server URL] [--ready]

Prints the answer of /health. Meant for container health checks too: where the
node asks for passwords, CLUSTER_SECRET or CLUSTER_SECRET_FILE in the environment
does for one.

  --server URL   the node; default COUNT_SERVER, or ` + defaultServer + `
  --ready        ask /-/ready instead: 0 once the node takes requests
`,
		run:  runHealth,
		more: reachHelp,
	}
}

func runHealth(ctx context.Context, c call) error {
	fs, at := newFlags(c, "health")
	ready := fs.Bool("ready", false, "")
	args, err := parse(fs, c.args)
	if err != nil {
		return err
	}
	if len(args) > 0 {
		return &usageError{errors.New("no arguments are taken")}
	}
	at.forNodes = true
	node, err := at.client()
	if err != nil {
		return err
	}
	path := "/health"
	if *ready {
		path = "/-/ready"
	}
	answer, err := node.do(ctx, "GET", path, "", nil)
	if err != nil {
		return err
	}
	_, err = fmt.Fprint(c.stdout, string(answer))
	return err
}
