package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/internal/model"
)

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

// queried is one series of an answer, its points ascending by time.
type queried struct {
	key    string
	labels labels.Labels
	points []queriedPoint
}

// queriedPoint is a value at a time: text is as the node wrote it, histograms as
// JSON.
type queriedPoint struct {
	t    int64 // ms
	text string
	v    float64 // NaN for what is no number
}

var errAnswer = errors.New("the answer is not what the API promises")

// parseAnswer reads an answer and writes its notes.
func parseAnswer(notes io.Writer, answer []byte) ([]queried, error) {
	var a queryAnswer
	if err := json.Unmarshal(answer, &a); err != nil {
		return nil, fmt.Errorf("%w: %w", errAnswer, err)
	}
	for _, w := range slices.Concat(a.Warnings, a.Infos) {
		fmt.Fprintln(notes, "note:", w)
	}
	if a.Data.ResultType == "scalar" || a.Data.ResultType == "string" {
		var point []any
		if err := json.Unmarshal(a.Data.Result, &point); err != nil {
			return nil, fmt.Errorf("%w: %w", errAnswer, err)
		}
		p, err := parsePoint(point)
		return []queried{{key: "{}", points: []queriedPoint{p}}}, err
	}
	var all []queriedSeries
	if err := json.Unmarshal(a.Data.Result, &all); err != nil {
		return nil, fmt.Errorf("%w: %w", errAnswer, err)
	}
	out := make([]queried, 0, len(all))
	for _, s := range all {
		points := slices.Concat(s.Values, s.Histograms)
		for _, single := range [][]any{s.Value, s.Histogram} {
			if single != nil {
				points = append(points, single)
			}
		}
		q := queried{labels: labels.FromMap(s.Metric), key: "{}"}
		if !q.labels.IsEmpty() {
			q.key = model.SeriesKey(q.labels)
		}
		for _, point := range points {
			p, err := parsePoint(point)
			if err != nil {
				return nil, err
			}
			q.points = append(q.points, p)
		}
		slices.SortStableFunc(q.points, func(a, b queriedPoint) int { return int(min(max(a.t-b.t, -1), 1)) })
		out = append(out, q)
	}
	return out, nil
}

// parsePoint reads a pair of seconds and value.
func parsePoint(pair []any) (queriedPoint, error) {
	p := queriedPoint{v: math.NaN()}
	if len(pair) != 2 {
		return p, fmt.Errorf("%w: a point is not a pair", errAnswer)
	}
	seconds, ok := pair[0].(float64)
	if !ok {
		return p, fmt.Errorf("%w: a time is not a number", errAnswer)
	}
	p.t = int64(math.Round(seconds * 1000))
	if text, ok := pair[1].(string); ok {
		p.text = text
		if v, err := strconv.ParseFloat(text, 64); err == nil {
			p.v = v
		}
		return p, nil
	}
	text, err := json.Marshal(pair[1])
	if err != nil {
		return p, fmt.Errorf("print a histogram: %w", err)
	}
	p.text = string(text)
	return p, nil
}
