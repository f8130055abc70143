package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// tolerance is by how much, relative to the larger, two values may differ: what
// adding in another order makes of a sum.
const tolerance = 1e-9

// CompareResult says how a target's answers to a class differ from another's.
type CompareResult struct {
	Class     string
	Asked     int
	Different int     // questions with a different answer
	Points    int     // compared, of the reference
	Worst     float64 // largest relative difference of a point
	Example   string  // of a difference; "" when there is none
}

// Compare asks two targets the same questions, n of each class.
func Compare(ctx context.Context, t, reference Target, d DataSet, n int, only string) ([]CompareResult, error) {
	client, other := newClient(t, 1), newClient(reference, 1)
	defer client.CloseIdleConnections()
	defer other.CloseIdleConnections()
	var results []CompareResult
	for _, q := range Questions(d, only, n) {
		if len(results) == 0 || results[len(results)-1].Class != q.Class {
			results = append(results, CompareResult{Class: q.Class})
		}
		r := &results[len(results)-1]
		got, err := answerOf(ask(ctx, client, t, q))
		if err != nil {
			return results, fmt.Errorf("ask %s: %w", t.Name, err)
		}
		want, err := answerOf(ask(ctx, other, reference, q))
		if err != nil {
			return results, fmt.Errorf("ask %s: %w", reference.Name, err)
		}
		r.add(q, got, want)
	}
	return results, nil
}

func (r *CompareResult) add(q Question, got, want answer) {
	r.Asked++
	for _, s := range want {
		r.Points += len(s.points)
	}
	worst, fault := differ(got, want)
	r.Worst = max(r.Worst, worst)
	if fault == "" {
		return
	}
	r.Different++
	if r.Example == "" {
		r.Example = fmt.Sprintf("%s %s: %s", q.Path, q.Form.Encode(), fault)
	}
}

// answer is an answer in one form, whatever was asked: for each series, known by
// its labels, its points.
type answer map[string]answerSeries

type answerSeries struct {
	points []answerPoint
}

type answerPoint struct {
	t    float64
	text string // of the value
}

// answerOf parses the body of an answer.
func answerOf(body []byte, err error) (answer, error) {
	if err != nil {
		return nil, err
	}
	var envelope struct {
		Status string
		Data   json.RawMessage
	}
	if err := json.Unmarshal(body, &envelope); err != nil {
		return nil, fmt.Errorf("parse answer: %w", err)
	}
	if envelope.Status != "success" {
		return nil, fmt.Errorf("%w: %.200s", errAnswer, body)
	}
	if strings.HasPrefix(strings.TrimSpace(string(envelope.Data)), "[") {
		return listAnswer(envelope.Data)
	}
	var data struct {
		ResultType string
		Result     json.RawMessage
	}
	if err := json.Unmarshal(envelope.Data, &data); err != nil {
		return nil, fmt.Errorf("parse answer: %w", err)
	}
	if data.ResultType == "scalar" || data.ResultType == "string" {
		return answer{"": {points: []answerPoint{{text: string(data.Result)}}}}, nil
	}
	return seriesAnswer(data.Result)
}

// seriesAnswer parses a vector or a matrix.
func seriesAnswer(raw json.RawMessage) (answer, error) {
	var result []struct {
		Metric map[string]string
		Value  []json.RawMessage
		Values [][]json.RawMessage
	}
	if err := json.Unmarshal(raw, &result); err != nil {
		return nil, fmt.Errorf("parse result: %w", err)
	}
	a := answer{}
	for _, s := range result {
		points := s.Values
		if s.Value != nil {
			points = append(points, s.Value)
		}
		var out answerSeries
		for _, p := range points {
			parsed, err := pointOf(p)
			if err != nil {
				return nil, err
			}
			out.points = append(out.points, parsed)
		}
		a[keyOf(s.Metric)] = out
	}
	return a, nil
}

func pointOf(raw []json.RawMessage) (p answerPoint, err error) {
	if len(raw) != 2 {
		return p, errors.New("parse point: it has not two parts")
	}
	if err := json.Unmarshal(raw[0], &p.t); err != nil {
		return p, fmt.Errorf("parse timestamp: %w", err)
	}
	if err := json.Unmarshal(raw[1], &p.text); err != nil {
		return p, fmt.Errorf("parse value: %w", err)
	}
	return p, nil
}

// listAnswer parses a list of texts or of label sets.
func listAnswer(raw json.RawMessage) (answer, error) {
	a := answer{}
	var texts []string
	if json.Unmarshal(raw, &texts) == nil {
		for _, s := range texts {
			a[s] = answerSeries{}
		}
		return a, nil
	}
	var sets []map[string]string
	if err := json.Unmarshal(raw, &sets); err != nil {
		return nil, fmt.Errorf("parse list: %w", err)
	}
	for _, s := range sets {
		a[keyOf(s)] = answerSeries{}
	}
	return a, nil
}

func keyOf(labels map[string]string) string {
	var parts []string
	for name, value := range labels {
		parts = append(parts, name+"="+strconv.Quote(value))
	}
	slices.Sort(parts)
	return strings.Join(parts, ",")
}

// differ returns the largest relative difference of values and, where the answers
// are not the same, one reason.
func differ(got, want answer) (worst float64, fault string) {
	for key, w := range want {
		g, ok := got[key]
		if !ok {
			return worst, fmt.Sprintf("series {%s} is missing", key)
		}
		if len(g.points) != len(w.points) {
			return worst, fmt.Sprintf("series {%s} has %d points, not %d", key, len(g.points), len(w.points))
		}
		for i := range w.points {
			if g.points[i].t != w.points[i].t {
				return worst, fmt.Sprintf("series {%s}: point %d is at %v, not %v", key, i, g.points[i].t, w.points[i].t)
			}
			d := difference(g.points[i].text, w.points[i].text)
			worst = max(worst, d)
			if d > tolerance && fault == "" {
				fault = fmt.Sprintf("series {%s} at %v: %s, not %s", key, w.points[i].t, g.points[i].text, w.points[i].text)
			}
		}
	}
	for key := range got {
		if _, ok := want[key]; !ok {
			return worst, fmt.Sprintf("series {%s} is one too many", key)
		}
	}
	return worst, fault
}

// difference returns the relative difference of two values; 1 where they can't be
// told as one.
func difference(a, b string) float64 {
	if a == b {
		return 0
	}
	x, errX := strconv.ParseFloat(a, 64)
	y, errY := strconv.ParseFloat(b, 64)
	switch {
	case errX != nil || errY != nil || math.IsNaN(x) || math.IsNaN(y) || math.IsInf(x, 0) || math.IsInf(y, 0):
		return 1
	case x == y:
		return 0
	}
	return math.Abs(x-y) / max(math.Abs(x), math.Abs(y))
}

// CountSamples asks a target how many samples of the data set it has, metric by
// metric.
func CountSamples(ctx context.Context, t Target, d DataSet) (int, error) {
	client := newClient(t, 1)
	defer client.CloseIdleConnections()
	total := 0
	// Prometheus leaves the left end of a range out; the data begins up to a step
	// early, as targets are spread over it.
	span := seconds(d.Span + 2*Step)
	for _, name := range MetricNames() {
		q := Question{Path: "query", Form: map[string][]string{
			"query": {fmt.Sprintf("sum(count_over_time(%s[%s]))", name, span)},
			"time":  {unix(d.End.Add(time.Second))},
		}}
		a, err := answerOf(ask(ctx, client, t, q))
		if err != nil {
			return total, fmt.Errorf("count samples of %s in %s: %w", name, t.Name, err)
		}
		for _, s := range a {
			n, err := strconv.ParseFloat(s.points[0].text, 64)
			if err != nil {
				return total, fmt.Errorf("count samples of %s in %s: %w", name, t.Name, err)
			}
			total += int(n)
		}
	}
	return total, nil
}
