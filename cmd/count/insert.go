package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"time"
)

func insertVerb() verb {
	return verb{
		name:    "insert",
		summary: "write samples to a node",
		usage: `Usage:
  count insert [--server URL] [--timestamp MS] SERIES VALUE
  count insert [--server URL] -

SERIES is a plain key such as cpu.usage, or a full one with labels. VALUE is a number, NaN, +Inf or -Inf.
With - it sends the lines of its standard input, each an object of the form of POST /insert.

Examples:
  count insert cpu.usage 0.42
  count insert 'http_requests_total{job="api",code="200"}' 17 --timestamp 1700000000000
  echo '{"series":"a","timestamp":1700000000000,"value":1}' | count insert -

  --server URL     the node; default COUNT_SERVER, or ` + defaultServer + `
  --timestamp MS   milliseconds since 1970; default: now
`,
		run:  runInsert,
		more: reachHelp,
	}
}

func runInsert(ctx context.Context, c call) error {
	fs, to := newFlags(c, "insert")
	at := fs.Int64("timestamp", time.Now().UnixMilli(), "")
	args, err := parse(fs, c.args)
	if err != nil {
		return err
	}
	node, err := to.client()
	if err != nil {
		return err
	}
	var body io.Reader
	kind := "application/json"
	switch {
	case len(args) == 1 && args[0] == "-":
		body, kind = c.stdin, "application/x-ndjson"
	case len(args) == 2:
		value, err := strconv.ParseFloat(args[1], 64)
		if err != nil {
			return &usageError{fmt.Errorf("value %q is not a number", args[1])}
		}
		text, err := json.Marshal(map[string]any{"series": args[0], "timestamp": *at, "value": jsonValue(value)})
		if err != nil {
			return fmt.Errorf("encode the sample: %w", err)
		}
		body = bytes.NewReader(text)
	default:
		return &usageError{errors.New("a series and a value are needed, or -")}
	}
	_, err = node.do(ctx, "POST", "/insert", kind, body)
	return err
}

// jsonValue is how a value is written in the bodies of /insert: JSON has no
// NaN and no infinities.
func jsonValue(v float64) any {
	switch {
	case math.IsNaN(v):
		return "NaN"
	case math.IsInf(v, 1):
		return "+Inf"
	case math.IsInf(v, -1):
		return "-Inf"
	}
	return v
}
