package partial

import (
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/util/annotations"
)

// histSum is the compensated sum of the native histograms of one step. A step
// that has floats too has no result, whatever is in them.
type histSum struct {
	sum, comp *histogram.FloatHistogram
	n         float64 // how many
	// Hints that were seen: both together are worth a warning.
	reset, notReset bool
}

// add adds a histogram, which it does not keep. False: the layouts do not fit
// together, and what that means is left to Prometheus's engine.
func (s *histSum) add(h *histogram.FloatHistogram) bool {
	switch h.CounterResetHint {
	case histogram.CounterReset:
		s.reset = true
	case histogram.NotCounterReset:
		s.notReset = true
	}
	s.n++
	if s.sum == nil {
		s.sum = h.Copy()
		return true
	}
	return s.sumUp(h)
}

func (s *histSum) sumUp(h *histogram.FloatHistogram) bool {
	comp, _, reconciled, err := s.sum.KahanAdd(h, s.comp)
	s.comp = comp
	return err == nil && !reconciled
}

// merge adds another sum.
func (s *histSum) merge(o *histSum) bool {
	if o.sum == nil {
		return true
	}
	if s.sum == nil {
		*s = *o
		return true
	}
	s.n += o.n
	s.reset, s.notReset = s.reset || o.reset, s.notReset || o.notReset
	return s.sumUp(o.sum) && (o.comp == nil || s.sumUp(o.comp))
}

// result returns the sum; the state is not used any more.
func (s *histSum) result() *histogram.FloatHistogram {
	h := s.sum
	if s.comp != nil {
		h, _, _, _ = h.Add(s.comp) // they have been added before: they fit
	}
	return h.Compact(0)
}

// histSums are the native histograms of the steps of a sum or an average.
type histSums struct {
	hists []histSum // nil until there is one
	bad   bool      // some do not fit together: that is left to Prometheus's engine
}

// histogramState is a state that sums native histograms.
type histogramState interface {
	state
	misfit() bool
	finishHistograms(r *row, p *Program) annotations.Annotations
}

var (
	_ histogramState = (*sumState)(nil)
	_ histogramState = (*avgState)(nil)
)

func (s *histSums) misfit() bool { return s.bad }

func (s *histSums) reserve(n int) {
	if s.hists == nil {
		s.hists = make([]histSum, n)
	}
}

func (s *histSums) mergeHistograms(o *histSums, n int) {
	s.bad = s.bad || o.bad
	if o.hists == nil {
		return
	}
	s.reserve(n)
	for k := range o.hists {
		s.bad = !s.hists[k].merge(&o.hists[k]) || s.bad
	}
}

// split hands the histograms of a row to add and its floats to addFloat.
func (s *histSums) split(r *row, addFloat func(k int, v float64)) {
	s.reserve(len(r.v))
	for k, v := range r.v {
		switch {
		case !r.has(k):
		case r.h[k] != nil:
			s.bad = !s.hists[k].add(r.h[k]) || s.bad
		default:
			addFloat(k, v)
		}
	}
}

// finish writes the histograms of a result and returns its warnings. floats says
// which steps have seen floats; value makes a step's result.
func (s *histSums) finish(r *row, p *Program, floats func(k int) bool, value func(h *histSum) *histogram.FloatHistogram) annotations.Annotations {
	var a annotations.Annotations
	if s.hists == nil {
		return nil
	}
	r.withHistograms()
	for k := range s.hists {
		h := &s.hists[k]
		switch {
		case h.sum == nil:
		case floats(k):
			r.ok[k] = false
			a.Add(annotations.NewMixedFloatsHistogramsAggWarning(p.aggPos))
		default:
			if h.reset && h.notReset {
				a.Add(annotations.NewHistogramCounterResetCollisionWarning(p.aggPos, annotations.HistogramAgg))
			}
			r.h[k], r.ok[k] = value(h), true
		}
	}
	return a
}

func (s *sumState) finishHistograms(r *row, p *Program) annotations.Annotations {
	return s.histSums.finish(r, p, func(k int) bool { return s.seen[k] }, (*histSum).result)
}

func (s *avgState) finishHistograms(r *row, p *Program) annotations.Annotations {
	return s.histSums.finish(r, p, func(k int) bool { return s.count[k] > 0 }, (*histSum).mean)
}

// mean returns the average; the state is not used any more.
func (s *histSum) mean() *histogram.FloatHistogram {
	h := s.sum.Div(s.n)
	if s.comp != nil {
		h, _, _, _ = h.Add(s.comp.Div(s.n)) // they have been added before: they fit
	}
	return h.Compact(0)
}
