package partial

import (
	"math"

	"github.com/prometheus/prometheus/model/value"

	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/promql/store"
)

const (
	// leastRange is the width of windows, ms, from which on whole blocks of the
	// storage lie in them often enough: a block is half an hour of samples that are
	// 15 s apart.
	leastRange = 2 * 3600_000
	// leastStep is the same for the distance of windows: their bounds cut blocks.
	leastStep = 3600_000
)

// condensing says how a function over a range reads runs of samples by their
// description: each is put in the place of one or two samples that give the same
// result.
type condensing struct {
	how model.Condense
	// value is the one sample that a run is for; nil: its first and last one.
	value func(s *model.Summary) float64
	// exact: the values are added up; they must be integers that cannot round.
	exact bool
}

// condenseRising: of a counter that is not reset, the ends tell all.
func condenseRising() *condensing {
	return &condensing{how: model.Condense{Ends: true, Rising: true}}
}

func condenseEnds() *condensing { return &condensing{how: model.Condense{Ends: true}} }

func condenseLast() *condensing {
	return &condensing{how: model.Condense{Ends: true}, value: func(s *model.Summary) float64 { return s.Last }}
}

func condenseMin() *condensing {
	return &condensing{value: func(s *model.Summary) float64 { return s.Min }}
}

func condenseMax() *condensing {
	return &condensing{value: func(s *model.Summary) float64 { return s.Max }}
}

func condenseCount() *condensing {
	return &condensing{value: func(*model.Summary) float64 { return 1 }}
}

func condenseSums() *condensing {
	return &condensing{how: model.Condense{Sums: true}, value: func(s *model.Summary) float64 { return s.Sum }, exact: true}
}

// condenser reads series condensed; nil where the program or the storage does not
// do that.
type condenser struct {
	w    *worker
	from store.Condenser
	by   *condensing
	how  model.Condense
	cols model.Condensed
}

// condenser returns the one for a selection.
func (w *worker) condenser(sel store.Selection) *condenser {
	p := w.prog
	from, ok := sel.(store.Condenser)
	if !ok || p.sub != nil || p.fn == nil || p.fn.condense == nil || p.sel.rng < leastRange {
		return nil
	}
	if w.grid.Len() > 1 && w.grid.Step < leastStep || (p.fn.startTimes && p.opts.UseStartTimestamps) {
		return nil
	}
	c := &condenser{w: w, from: from, by: p.fn.condense, how: p.fn.condense.how}
	c.how.Uncut = w.uncut
	return c
}

// uncut says whether no window begins or ends between two times.
func (w *worker) uncut(t0, t1 int64) bool {
	end := w.prog.sel.ref(w.grid, 0)
	return !w.boundIn(end, t0, t1) && !w.boundIn(end-w.prog.sel.rng, t0, t1)
}

// boundIn says whether one of the times first, first + step, ... of all steps lies
// in [t0, t1): the sample at a bound is on the side before it.
func (w *worker) boundIn(first, t0, t1 int64) bool {
	k := int64(0)
	if t0 > first {
		k = (t0 - first + w.grid.Step - 1) / w.grid.Step
	}
	return k < int64(w.grid.Len()) && first+k*w.grid.Step < t1
}

// read reads a series; false where it must be read sample by sample.
func (c *condenser) read(i int, mint, maxt int64) (bool, error) {
	if c == nil {
		return false, nil
	}
	c.w.weights = nil
	ok, err := c.from.Condense(i, mint, maxt, c.how, &c.cols)
	if err != nil || !ok {
		return false, err //nolint:wrapcheck // the caller says what was read
	}
	if c.by.exact && !c.adds() {
		return false, nil
	}
	c.take()
	return true, nil
}

// adds says whether all values are integers whose absolute values add up to less
// than 2^53: then no order of additions rounds.
func (c *condenser) adds() bool {
	if len(c.cols.Summaries) == 0 {
		return true // they are added one by one
	}
	absolute := 0.0
	for i := range c.cols.Summaries {
		s := &c.cols.Summaries[i]
		absolute += float64(s.N) * max(math.Abs(s.Min), math.Abs(s.Max))
	}
	for _, v := range c.cols.V {
		if value.IsStaleNaN(v) {
			continue
		}
		if float64(int64(v)) != v || (v == 0 && math.Signbit(v)) {
			return false
		}
		absolute += math.Abs(v)
	}
	return absolute < 1<<53
}

// take makes what was read the columns of the evaluator, without stale markers.
func (c *condenser) take() {
	w := c.w
	w.cols.Reset()
	if len(c.cols.Summaries) == 0 {
		w.cols.T, w.cols.V = append(w.cols.T, c.cols.T...), append(w.cols.V, c.cols.V...)
		return
	}
	weights, total := w.weightBuf[:0], int64(0)
	add := func(t int64, v float64, n int) {
		w.cols.T, w.cols.V = append(w.cols.T, t), append(w.cols.V, v)
		weights = append(weights, total)
		total += int64(n)
	}
	at := 0
	samples := func(till int) {
		for ; at < till; at++ {
			if v := c.cols.V[at]; !value.IsStaleNaN(v) {
				add(c.cols.T[at], v, 1)
			}
		}
	}
	for i := range c.cols.Summaries {
		s := &c.cols.Summaries[i]
		samples(s.Before)
		switch {
		case c.by.value != nil:
			add(s.T1, c.by.value(s), s.N)
		case s.N > 1:
			add(s.T0, s.First, s.N-1)
			fallthrough
		default:
			add(s.T1, s.Last, 1)
		}
	}
	samples(len(c.cols.T))
	w.weightBuf = append(weights, total)
	w.weights = w.weightBuf
}
