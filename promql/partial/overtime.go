package partial

import (
	"fmt"

	"github.com/prometheus/prometheus/model/labels"
)

// OverTime returns the program of a function over time, such as avg_over_time,
// over windows of width ms, for queries that are no PromQL: floats alone count,
// and the series keep their names (Options.Plain).
func OverTime(function string, width int64, ms []*labels.Matcher) (*Program, error) {
	f, ok := rangeFuncs()[function]
	if !ok || f.args > 0 || width <= 0 {
		return nil, fmt.Errorf("no function %s over windows of %d ms", function, width)
	}
	return &Program{sel: selector{matchers: ms, rng: width}, fn: f, opts: Options{Plain: true}}, nil
}

// Samples returns how many samples of all windows were looked at; one that lies
// in several windows counts in each.
func (r *Result) Samples() int64 {
	n := int64(0)
	for _, t := range r.Total {
		n += t
	}
	return n
}
