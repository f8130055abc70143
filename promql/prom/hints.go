package prom

import (
	"sort"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/value"

	"github.com/count-db/count/internal/model"
)

// hintState derives counter reset hints on read. Hints are not stored (gauge
// hints excepted), since what lies before a sample changes with late writes and
// deletes. The rule is that of Prometheus's chunks: a sample that could stand in
// one chunk with the sample before it is "not reset", any other is "unknown", and
// the query looks for itself.
type hintState struct {
	before    model.HistogramPoint // the last of the slab before, or zero
	hasBefore bool
	// floats are the two last converted histograms of cols, by index: a walk
	// converts each only once.
	even, odd   histogram.FloatHistogram
	evenI, oddI int
}

func (s *hintState) reset() {
	s.hasBefore = false
	s.evenI, s.oddI = -2, -2
}

// keep remembers the last sample of the slab if it is a histogram, before the
// next slab is read over it. An empty slab changes nothing.
func (s *hintState) keep(cols *model.Columns) {
	s.evenI, s.oddI = -2, -2
	if cols.Len() == 0 {
		return
	}
	s.hasBefore = false
	if len(cols.Hist) == 0 {
		return
	}
	last := cols.Hist[len(cols.Hist)-1]
	if len(cols.T) == 0 || cols.T[len(cols.T)-1] < last.T {
		s.before, s.hasBefore = last, true
	}
}

// hint returns the hint of cols.Hist[i].
func (s *hintState) hint(cols *model.Columns, i int) histogram.CounterResetHint {
	cur := &cols.Hist[i]
	if hintOf(cur) == histogram.GaugeType {
		return histogram.GaugeType
	}
	prev := s.previous(cols, i)
	if prev == nil || hintOf(prev) == histogram.GaugeType || hintOf(cur) == histogram.CounterReset || (prev.H == nil) != (cur.H == nil) {
		return histogram.UnknownCounterReset
	}
	if value.IsStaleNaN(sumOf(cur)) {
		return histogram.NotCounterReset
	}
	if value.IsStaleNaN(sumOf(prev)) {
		return histogram.UnknownCounterReset
	}
	a, b := s.float(cols, i-1), s.float(cols, i)
	if a.Schema != b.Schema || a.ZeroThreshold != b.ZeroThreshold ||
		!histogram.CustomBucketBoundsMatch(a.CustomValues, b.CustomValues) || b.DetectReset(a) {
		return histogram.UnknownCounterReset
	}
	return histogram.NotCounterReset
}

// previous returns the histogram right before i, nil if there is none or a float
// sample stands between.
func (s *hintState) previous(cols *model.Columns, i int) *model.HistogramPoint {
	t := cols.Hist[i].T
	floats := sort.Search(len(cols.T), func(k int) bool { return cols.T[k] >= t })
	if i > 0 {
		prev := &cols.Hist[i-1]
		if floats > 0 && cols.T[floats-1] > prev.T {
			return nil
		}
		return prev
	}
	if floats > 0 || !s.hasBefore {
		return nil
	}
	return &s.before
}

// float returns histogram i of cols (-1: the one before cols) as a float
// histogram without a hint. The result lives until the second next call.
func (s *hintState) float(cols *model.Columns, i int) *histogram.FloatHistogram {
	p := &s.before
	if i >= 0 {
		p = &cols.Hist[i]
	}
	dst, at := &s.even, &s.evenI
	if i&1 != 0 {
		dst, at = &s.odd, &s.oddI
	}
	if *at != i {
		if p.H != nil {
			p.H.ToFloat(dst)
		} else {
			p.FH.CopyTo(dst)
		}
		dst.CounterResetHint = histogram.UnknownCounterReset
		*at = i
	}
	return dst
}

func hintOf(p *model.HistogramPoint) histogram.CounterResetHint {
	if p.H != nil {
		return p.H.CounterResetHint
	}
	return p.FH.CounterResetHint
}

func sumOf(p *model.HistogramPoint) float64 {
	if p.H != nil {
		return p.H.Sum
	}
	return p.FH.Sum
}
