package partial

import (
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/util/annotations"
)

func (a *aggregation) sums() bool { return a.op == parser.SUM }

func (a *aggregation) counts() bool { return a.op == parser.COUNT || a.op == parser.GROUP }

// histSum is the compensated sum of the native histograms of one step. A step
// that has floats too has no result, whatever is in them.
type histSum struct {
	sum, comp *histogram.FloatHistogram
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
	if s.sum == nil {
		s.sum = h.Copy()
		return true
	}
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
	ok := s.add(o.sum)
	s.reset, s.notReset = s.reset || o.reset, s.notReset || o.notReset
	if o.comp != nil && ok {
		comp, _, reconciled, err := s.sum.KahanAdd(o.comp, s.comp)
		s.comp = comp
		ok = err == nil && !reconciled
	}
	return ok
}

// result returns the sum; the state is not used any more.
func (s *histSum) result() *histogram.FloatHistogram {
	h := s.sum
	if s.comp != nil {
		h, _, _, _ = h.Add(s.comp) // they have been added before: they fit
	}
	return h.Compact(0)
}

// addHistograms is add for rows and states with native histograms.
func (s *sumState) addHistograms(r *row) {
	s.withHistograms()
	for k, v := range r.v {
		switch {
		case !r.has(k):
		case r.h != nil && r.h[k] != nil:
			s.bad = !s.hists[k].add(r.h[k]) || s.bad
		default:
			s.addOne(k, v)
		}
	}
}

func (s *sumState) withHistograms() {
	if s.hists == nil {
		s.hists = make([]histSum, len(s.sum))
	}
}

func (s *sumState) mergeHistograms(o *sumState) {
	s.bad = s.bad || o.bad
	if o.hists == nil {
		return
	}
	s.withHistograms()
	for k := range o.hists {
		s.bad = !s.hists[k].merge(&o.hists[k]) || s.bad
	}
}

// finishHistograms writes the histograms of a result and returns its warnings.
func (s *sumState) finishHistograms(r *row, p *Program) annotations.Annotations {
	var a annotations.Annotations
	if s.hists == nil {
		return nil
	}
	r.withHistograms()
	for k := range s.hists {
		h := &s.hists[k]
		switch {
		case h.sum == nil:
		case s.seen[k]:
			r.ok[k] = false
			a.Add(annotations.NewMixedFloatsHistogramsAggWarning(p.aggPos))
		default:
			if h.reset && h.notReset {
				a.Add(annotations.NewHistogramCounterResetCollisionWarning(p.aggPos, annotations.HistogramAgg))
			}
			r.h[k], r.ok[k] = h.result(), true
		}
	}
	return a
}
