package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/internal/config"
	"github.com/count-db/count/internal/model"
)

func queryVerb() verb {
	return verb{
		name:    "query",
		summary: "ask a node in PromQL",
		usage: `Usage:
  count query [--server URL] [--time T] QUERY
  count query [--server URL] --start T [--end T] [--step D] QUERY

Prints one line a sample: series, value, time. With --start it is a range query.
T is seconds since 1970, a time such as 2026-01-02T15:04:05Z, or a duration before now such as 1h.

Examples:
  count query cpu.usage --json
  count query 'sum by (job) (rate(http_requests_total[5m]))' --start 1h --step 1m

  --server URL    the node; default COUNT_SERVER, or ` + defaultServer + `
  --consistency   one, quorum or all; default quorum
  --json          print the answer as it came
`,
		run: runQuery,
	}
}

func runQuery(ctx context.Context, c call) error {
	fs, server := newFlags(c, "query")
	at, start, end := fs.String("time", "", ""), fs.String("start", "", ""), fs.String("end", "", "")
	step, consistency := fs.String("step", "1m", ""), fs.String("consistency", "", "")
	raw := fs.Bool("json", false, "")
	args, err := parse(fs, c.args)
	if err != nil {
		return err
	}
	if len(args) != 1 {
		return &usageError{errors.New("exactly one query is needed (in quotes)")}
	}
	node, err := newClient(*server)
	if err != nil {
		return err
	}
	form, path := url.Values{"query": {args[0]}}, "/api/v1/query"
	if *consistency != "" {
		form.Set("consistency", *consistency)
	}
	now := time.Now()
	times := map[string]string{"time": *at}
	if *start != "" {
		path = "/api/v1/query_range"
		if *end == "" {
			*end = "0"
		}
		d, err := config.ParseDuration(*step)
		if err != nil || d <= 0 {
			return &usageError{fmt.Errorf("step %q is not a duration", *step)}
		}
		form.Set("step", strconv.FormatFloat(d.Seconds(), 'f', -1, 64))
		times = map[string]string{"start": *start, "end": *end}
	}
	for name, text := range times {
		if text == "" {
			continue
		}
		t, err := parseWhen(text, now)
		if err != nil {
			return &usageError{fmt.Errorf("%s: %w", name, err)}
		}
		form.Set(name, strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64))
	}
	answer, err := node.do(ctx, "POST", path, "application/x-www-form-urlencoded", strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	if *raw {
		_, err := fmt.Fprintln(c.stdout, string(answer))
		return err
	}
	return printAnswer(c.stdout, c.stderr, answer)
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

// queryAnswer is what the HTTP API answers.
type queryAnswer struct {
	Data struct {
		ResultType string          `json:"resultType"`
		Result     json.RawMessage `json:"result"`
	} `json:"data"`
	Warnings []string `json:"warnings"`
	Infos    []string `json:"infos"`
}

type queriedSeries struct {
	Metric     map[string]string `json:"metric"`
	Value      []any             `json:"value"`
	Values     [][]any           `json:"values"`
	Histogram  []any             `json:"histogram"`
	Histograms [][]any           `json:"histograms"`
}

func printAnswer(out, notes io.Writer, answer []byte) error {
	var a queryAnswer
	if err := json.Unmarshal(answer, &a); err != nil {
		return fmt.Errorf("the answer is not what the API promises: %w", err)
	}
	for _, w := range slices.Concat(a.Warnings, a.Infos) {
		fmt.Fprintln(notes, "note:", w)
	}
	if a.Data.ResultType == "scalar" || a.Data.ResultType == "string" {
		var point []any
		if err := json.Unmarshal(a.Data.Result, &point); err != nil {
			return fmt.Errorf("the answer is not what the API promises: %w", err)
		}
		return printPoints(out, "", [][]any{point})
	}
	var all []queriedSeries
	if err := json.Unmarshal(a.Data.Result, &all); err != nil {
		return fmt.Errorf("the answer is not what the API promises: %w", err)
	}
	for _, s := range all {
		points := slices.Concat(s.Values, s.Histograms)
		for _, single := range [][]any{s.Value, s.Histogram} {
			if single != nil {
				points = append(points, single)
			}
		}
		if err := printPoints(out, model.SeriesKey(labels.FromMap(s.Metric)), points); err != nil {
			return err
		}
	}
	return nil
}

// printPoints prints [seconds, value] pairs, one a line.
func printPoints(out io.Writer, key string, points [][]any) error {
	if key == "" {
		key = "{}"
	}
	for _, p := range points {
		if len(p) != 2 {
			return errors.New("the answer is not what the API promises: a point is not a pair")
		}
		seconds, ok := p[0].(float64)
		if !ok {
			return errors.New("the answer is not what the API promises: a time is not a number")
		}
		value, isText := p[1].(string)
		if !isText {
			text, err := json.Marshal(p[1])
			if err != nil {
				return fmt.Errorf("print a histogram: %w", err)
			}
			value = string(text)
		}
		if _, err := fmt.Fprintf(out, "%s\t%s\t%s\n", key, value, time.UnixMilli(int64(seconds*1000+0.5)).UTC().Format("2006-01-02T15:04:05.000Z")); err != nil {
			return err
		}
	}
	return nil
}
