package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/count-db/count/internal/config"
)

func queryVerb() verb {
	return verb{
		name:    "query",
		summary: "ask a node in PromQL",
		usage: `Usage:
  count query [--server URL] [--time T] [--output FORM] QUERY
  count query [--server URL] --start T [--end T] [--step D] [--output FORM] QUERY

With --start it is a range query. T is seconds since 1970, a time such as
2026-01-02T15:04:05Z, or a duration before now such as 1h.

FORM:
  table    columns for people; the default on a terminal
  lines    a line a sample: series, value and time, separated by tabs; the
           default elsewhere
  graph    drawn in the terminal: lines over time, or bars for one moment
  csv      rows of series, timestamp (ms) and value, as count import takes them
  json     the answer as it came

Examples:
  count query cpu.usage
  count query 'sum by (job) (rate(http_requests_total[5m]))' --start 1h --output graph
  count query up --start 24h --step 5m --output csv > up.csv
  count query 'topk(5, count by (__name__) ({__name__=~".+"}))' --output graph

  --server URL    the node; default COUNT_SERVER, or ` + defaultServer + `
  --time T        the moment; default now
  --start, --end  a range of time; --end is now when it is left out
  --step D        between two points of a range; default: as many as a screen shows
  --consistency   one, quorum or all; default quorum
  --output FORM   table, lines, graph, csv or json
  --json          the same as --output json
`,
		run:  runQuery,
		more: reachHelp,
	}
}

func runQuery(ctx context.Context, c call) error {
	fs, to := newFlags(c, "query")
	at, start, end := fs.String("time", "", ""), fs.String("start", "", ""), fs.String("end", "", "")
	step, consistency := fs.String("step", "", ""), fs.String("consistency", "", "")
	raw, output := fs.Bool("json", false, ""), fs.String("output", "", "")
	args, err := parse(fs, c.args)
	if err != nil {
		return err
	}
	if len(args) != 1 {
		return &usageError{errors.New("exactly one query is needed (in quotes)")}
	}
	if *raw {
		*output = outputJSON
	}
	show, err := newPresenter(c.stdout, *output)
	if err != nil {
		return &usageError{err}
	}
	node, err := to.client()
	if err != nil {
		return err
	}
	path, form, err := queryForm(args[0], *at, *start, *end, *step)
	if err != nil {
		return &usageError{err}
	}
	if *consistency != "" {
		form.Set("consistency", *consistency)
	}
	answer, err := node.do(ctx, "POST", path, "application/x-www-form-urlencoded", strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	if show.form == outputJSON {
		_, err := fmt.Fprintln(c.stdout, string(answer))
		return err
	}
	all, err := parseAnswer(c.stderr, answer)
	if err != nil {
		return err
	}
	return show.print(all)
}

// queryForm returns the path and the parameters of a query: of a range when
// start is given.
func queryForm(query, at, start, end, step string) (path string, form url.Values, err error) {
	now := time.Now()
	form, path = url.Values{"query": {query}}, "/api/v1/query"
	set := func(name, text string) (time.Time, error) {
		t, err := parseWhen(text, now)
		if err != nil {
			return t, fmt.Errorf("%s: %w", name, err)
		}
		form.Set(name, strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64))
		return t, nil
	}
	if start == "" {
		if at != "" {
			_, err = set("time", at)
		}
		return path, form, err
	}
	from, err := set("start", start)
	if err != nil {
		return path, form, err
	}
	to, err := set("end", cmp.Or(end, "0"))
	if err != nil {
		return path, form, err
	}
	d := defaultStep(to.Sub(from))
	if step != "" {
		if d, err = config.ParseDuration(step); err != nil || d <= 0 {
			return path, form, fmt.Errorf("step %q is not a duration", step)
		}
	}
	form.Set("step", strconv.FormatFloat(d.Seconds(), 'f', -1, 64))
	return "/api/v1/query_range", form, nil
}

// defaultStep makes about 120 points of a range, in steps that people use.
func defaultStep(span time.Duration) time.Duration {
	for _, d := range []time.Duration{
		time.Second, 5 * time.Second, 15 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute,
		10 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour,
	} {
		if span <= 120*d {
			return d
		}
	}
	return max(24*time.Hour, (span / 120).Truncate(24*time.Hour))
}

// parseWhen reads a point in time: seconds since 1970, RFC 3339, or a duration
// before now.
func parseWhen(s string, now time.Time) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return t, nil
	}
	if f, err := strconv.ParseFloat(s, 64); err == nil && s != "0" {
		return time.UnixMilli(int64(f * 1000)), nil
	}
	d, err := config.ParseDuration(s)
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is neither a time nor a duration before now", s)
	}
	return now.Add(-d), nil
}
