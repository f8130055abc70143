package partial

import (
	"fmt"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/parser/posrange"
	"github.com/prometheus/prometheus/util/annotations"
)

// Program is a compiled sub-expression: a selector, what is done to each of its
// series, and how the series are aggregated.
type Program struct {
	sel    selector
	sub    *subquery  // what fn is over where it is over no selector
	fn     *rangeFunc // nil: an instant selector
	fnArgs []scalar   // the arguments of fn beside the range, in their order
	ops    []op       // applied in order to the value of each step
	agg    aggregation
	ratio  float64 // of limit_ratio, which keeps each series or does not; 0 = all
	// dropName says that an operation drops the metric name.
	dropName bool
	// info is added once if a series has a value behind fn.
	info error
	call *parser.Call // of fn, for functions that Prometheus's code computes
	// aggPos is the position of what is aggregated, for annotations.
	aggPos posrange.PositionRange
	kPos   posrange.PositionRange // of the aggregation itself
	nested bool                   // the program of a subquery
	given  bool                   // over series that have been computed, of a subquery in a tree
	opts   Options
}

// Options are the settings of the query that matter to its meaning.
type Options struct {
	LookbackMs int64 // age up to which the sample of an instant selector counts
	// UseStartTimestamps: rate and its kin see resets by start timestamps.
	UseStartTimestamps bool
	// DelayedNameRemoval: names are dropped at the end of the query.
	DelayedNameRemoval bool
	// SubqueryStepMs is the step of a subquery that names none.
	SubqueryStepMs int64
	// Plain: floats alone count and no name is dropped, as the REST queries have
	// it. Functions over ranges of selectors only.
	Plain bool
}

// selector is the one leaf of a program, or the place of a subquery.
type selector struct {
	matchers []*labels.Matcher
	name     string // the metric name where an equality matcher fixes it
	offset   int64  // ms
	at       *int64 // ms: evaluated as of this time; only on a grid of one step
	rng      int64  // ms; 0 for an instant selector
	// statsOnly: of histograms only sum and count are asked for, and a special
	// iterator of Prometheus's engine reads them.
	statsOnly bool
}

// aggregation says what is done over series. The zero value: nothing, the series
// themselves are the result.
type aggregation struct {
	op       parser.ItemType
	grouping []string // sorted
	without  bool
	k        int     // of topk, bottomk and limitk
	quantile float64 // of quantile
	label    string  // of count_values
}

// Matchers returns the matchers of the program's selector.
func (p *Program) Matchers() []*labels.Matcher { return p.sel.matchers }

// Range returns the range of samples, ms and inclusive, that the program reads on
// a grid.
func (p *Program) Range(g Grid) (mint, maxt int64) {
	if p.sub != nil {
		return p.sub.prog.Range(p.sub.gridOf(g))
	}
	first, last := p.sel.ref(g, 0), p.sel.ref(g, g.Len()-1)
	width := p.sel.rng
	if p.fn == nil {
		width = p.opts.LookbackMs
	}
	return first - width + 1, last
}

// Aggregates says whether the program aggregates over series.
func (p *Program) Aggregates() bool { return p.agg.op != 0 }

// ref returns the time that step k looks back from.
func (s *selector) ref(g Grid, k int) int64 {
	if s.at != nil {
		return *s.at - s.offset
	}
	return g.At(k) - s.offset
}

// rangeSeconds returns the range as Prometheus's engine divides by it.
func (s *selector) rangeSeconds() float64 {
	return (time.Duration(s.rng) * time.Millisecond).Seconds()
}

// infos returns the annotations that every result with values carries.
func (p *Program) infos() annotations.Annotations {
	if p.info == nil {
		return nil
	}
	a := annotations.New()
	a.Add(p.info)
	return *a
}

// OverRange says whether the program computes a function over a range.
func (p *Program) OverRange() bool { return p.fn != nil }

// Options returns the settings that the program was compiled with.
func (p *Program) Options() Options { return p.opts }

// Cacheable says whether results of the program may be cut into steps and kept.
func (p *Program) Cacheable() bool { return p.sub == nil && p.sel.at == nil }

// Fingerprint is what tells programs of the same text apart: the settings, and
// what expressions in durations came to.
func (p *Program) Fingerprint() string { return fmt.Sprint(p.opts, p.sel.rng, p.sel.offset) }
