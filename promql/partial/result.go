package partial

import (
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/util/annotations"
)

// Result is what a program yields on one node: partial states by group, or the
// values of single series. Results of the same program and grid merge in any
// order.
type Result struct {
	prog   *Program
	grid   Grid
	groups []*group
	rows   []Series
	slab   slab
	// names are the labels of the series that topk and its kin have met, by their
	// index.
	names map[int32]labels.Labels

	// Total and Read are the samples that Prometheus's engine would count at each
	// step; Series are the series looked at, Points the points that the per-series
	// expression gave.
	Total, Read    []int64
	Series, Points int64
	annos          annotations.Annotations
	// points are the Points by step; nil where the result cannot be cut.
	points []int64
}

// Series is one series of a final result. V holds a value for each step of the
// grid; where OK is not nil, only the steps that it names have one.
type Series struct {
	Labels labels.Labels
	V      []float64
	OK     []bool
	// H holds the steps whose value is a native histogram; nil where there is none.
	H []*histogram.FloatHistogram
}

// Samples returns how many samples Prometheus's engine counts for step k.
func (s *Series) Samples(k int) int64 {
	switch {
	case s.OK != nil && !s.OK[k]:
		return 0
	case s.H != nil && s.H[k] != nil:
		return sizeOf(s.H[k])
	default:
		return 1
	}
}

// group is one group of an aggregation.
type group struct {
	labels labels.Labels
	first  int32 // index of its first series
	state  state
}

func newResult(p *Program, g Grid) *Result {
	n := g.Len()
	return &Result{prog: p, grid: g, Total: make([]int64, n), Read: make([]int64, n), names: map[int32]labels.Labels{}}
}

// newState returns an empty state of the aggregation.
func (a *aggregation) newState(steps int) state {
	if a.keepsLabels() {
		return newTopState(a.op, a.k, steps)
	}
	if a.op == parser.QUANTILE || a.op == parser.COUNT_VALUES {
		return newValuesState(a, steps)
	}
	return newState(a.op, steps)
}

// groupLabels returns the labels of the group that a series is in.
func (a *aggregation) groupLabels(ls labels.Labels) labels.Labels {
	b := labels.NewBuilder(ls)
	switch {
	case a.without:
		b.Del(a.grouping...)
	case len(a.grouping) > 0:
		b.Keep(a.grouping...)
	default:
		return labels.EmptyLabels()
	}
	return b.Labels()
}

// keep takes a copy of a row as a series of the result.
func (r *Result) keep(ls labels.Labels, values *row) {
	n := len(values.v)
	if values.h == nil && values.all {
		r.rows = append(r.rows, Series{Labels: ls, V: append(r.slab.floats(n), values.v...)})
		return
	}
	if values.count() == 0 {
		return
	}
	s := Series{Labels: ls, V: append(r.slab.floats(n), values.v...), OK: append(r.slab.bools(n), values.ok...)}
	if values.h != nil {
		s.H = append(make([]*histogram.FloatHistogram, 0, n), values.h...)
	}
	r.rows = append(r.rows, s)
}

// slab hands out slices from larger ones: short rows are many.
type slab struct {
	v  []float64
	ok []bool
}

// slabSize is how many values are allocated at once.
const slabSize = 1024

func (s *slab) floats(n int) []float64 {
	if n > slabSize/4 {
		return make([]float64, 0, n)
	}
	if len(s.v)+n > cap(s.v) {
		s.v = make([]float64, 0, slabSize)
	}
	from := len(s.v)
	s.v = s.v[:from+n]
	return s.v[from : from : from+n]
}

func (s *slab) bools(n int) []bool {
	if n > slabSize/4 {
		return make([]bool, 0, n)
	}
	if len(s.ok)+n > cap(s.ok) {
		s.ok = make([]bool, 0, slabSize)
	}
	from := len(s.ok)
	s.ok = s.ok[:from+n]
	return s.ok[from : from : from+n]
}

// append takes the result of series that come behind those of the receiver, in
// the same numbering.
func (r *Result) append(o *Result) {
	r.absorb(o)
	r.rows = append(r.rows, o.rows...)
	r.mergeGroups(o)
	for i, ls := range o.names {
		r.names[i] = ls
	}
}

// absorb takes the counts and annotations of another result.
func (r *Result) absorb(o *Result) {
	for k := range o.Total {
		r.Total[k] += o.Total[k]
		r.Read[k] += o.Read[k]
	}
	r.Series += o.Series
	r.Points += o.Points
	r.annos.Merge(o.annos)
	if o.points == nil {
		r.points = nil
	}
	for k := range r.points {
		r.points[k] += o.points[k]
	}
}

// Annotations are the warnings and infos of the evaluation.
func (r *Result) Annotations() annotations.Annotations { return r.annos }

// Final returns the series that the program's node evaluates to, in the order
// that Prometheus's engine gives them: that of the first series of each group,
// and on a grid of one step topk and bottomk ranked. It may be called once;
// warnings that come up are among the annotations. ErrFallback says that the
// histograms of several nodes do not fit together.
func (r *Result) Final() ([]Series, error) {
	if !r.prog.Aggregates() {
		return r.rows, nil
	}
	if r.prog.agg.keepsLabels() {
		return r.finalTop(), nil
	}
	out := make([]Series, 0, len(r.groups))
	for _, g := range r.groups {
		if s, ok := g.state.(*valuesState); ok && s.op == parser.COUNT_VALUES {
			rows, ok := s.countValues(g.labels, r.prog.agg.label)
			if !ok {
				return nil, ErrFallback
			}
			out = append(out, rows...)
			continue
		}
		if s, ok := g.state.(*varianceState); ok && s.overflows() {
			return nil, ErrFallback
		}
		var values row
		g.state.finish(&values)
		if s, ok := g.state.(histogramState); ok {
			if s.misfit() {
				return nil, ErrFallback
			}
			r.annos.Merge(s.finishHistograms(&values, r.prog))
		}
		out = append(out, Series{Labels: g.labels, V: values.v, OK: values.ok, H: values.h})
	}
	return out, nil
}

// finalTop returns the series that topk, bottomk and limitk keep.
func (r *Result) finalTop() []Series {
	n := r.grid.Len()
	var out []Series
	for _, g := range r.groups {
		place := map[int32]int{}
		s, ok := g.state.(*topState)
		if !ok {
			continue
		}
		for k := range n {
			for _, e := range s.ranked(k) {
				i, found := place[e.series]
				if !found {
					i = len(out)
					place[e.series] = i
					out = append(out, Series{Labels: r.names[e.series], V: make([]float64, n), OK: make([]bool, n)})
				}
				out[i].V[k], out[i].OK[k] = e.v, true
			}
		}
	}
	return out
}
