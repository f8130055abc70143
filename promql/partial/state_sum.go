package partial

import (
	"math"

	"github.com/prometheus/prometheus/util/kahansum"
)

// sumState is a compensated sum per step.
type sumState struct {
	sum, comp []float64
	seen      []bool
	all       bool // every step has been seen
	histSums
}

func (s *sumState) add(r *row, _ int32) {
	if r.h != nil {
		s.split(r, s.addOne)
		return
	}
	if r.all && s.all {
		addAll(s.sum, s.comp, r.v)
		return
	}
	for k, v := range r.v {
		if r.has(k) {
			s.addOne(k, v)
		}
	}
	s.all = s.all || r.all
}

func (s *sumState) addOne(k int, v float64) {
	if !s.seen[k] {
		// Not the sum with zero: that would lose the sign of a negative zero.
		s.seen[k] = true
		s.sum[k] = v
		return
	}
	s.sum[k], s.comp[k] = kahansum.Inc(v, s.sum[k], s.comp[k])
}

// addAll is kahansum.Inc for all steps, written out because the call would cost
// more than the sum.
func addAll(sum, comp, vs []float64) {
	sum, comp = sum[:len(vs)], comp[:len(vs)]
	for k, v := range vs {
		old := sum[k]
		t := old + v
		switch {
		case t > math.MaxFloat64 || t < -math.MaxFloat64:
			comp[k] = 0
		case math.Abs(old) >= math.Abs(v):
			comp[k] += (old - t) + v
		default:
			comp[k] += (v - t) + old
		}
		sum[k] = t
	}
}

func (s *sumState) merge(other state) {
	o := other.(*sumState)
	for k, v := range o.sum {
		switch {
		case !o.seen[k]:
		case !s.seen[k]:
			s.seen[k], s.sum[k], s.comp[k] = true, v, o.comp[k]
		default:
			s.sum[k], s.comp[k] = kahansum.Inc(v, s.sum[k], s.comp[k])
			if !math.IsInf(s.sum[k], 0) {
				s.comp[k] += o.comp[k]
			}
		}
	}
	s.all = s.all || o.all
	s.mergeHistograms(&o.histSums, len(s.sum))
}

func (s *sumState) finish(r *row) {
	r.reset(len(s.sum))
	for k, v := range s.sum {
		r.v[k] = v + s.comp[k]
	}
	copy(r.ok, s.seen)
}

// avgState is a mean per step: a compensated sum and a count, and from where the
// sum would overflow the mean itself.
type avgState struct {
	value, comp, count []float64
	incremental        []bool // value is the mean
	histSums
}

func (s *avgState) add(r *row, _ int32) {
	if r.h != nil {
		s.split(r, s.addOne)
		return
	}
	for k, v := range r.v {
		if r.has(k) {
			s.addOne(k, v)
		}
	}
}

// misfit finds sums that Prometheus's engine would turn into means too.
func (s *avgState) misfit() bool {
	for k := range s.hists {
		if h := s.hists[k].sum; h != nil && h.HasOverflow() {
			return true
		}
	}
	return s.bad
}

func (s *avgState) addOne(k int, v float64) {
	s.count[k]++
	if s.count[k] == 1 {
		s.value[k] = v
		return
	}
	n := s.count[k]
	if !s.incremental[k] {
		sum, comp := kahansum.Inc(v, s.value[k], s.comp[k])
		if !math.IsInf(sum, 0) {
			s.value[k], s.comp[k] = sum, comp
			return
		}
		s.toMean(k, n-1)
	}
	q := (n - 1) / n
	s.value[k], s.comp[k] = kahansum.Inc(v/n, q*s.value[k], q*s.comp[k])
}

// toMean turns the sum of n values into their mean.
func (s *avgState) toMean(k int, n float64) {
	if !s.incremental[k] {
		s.incremental[k] = true
		s.value[k] /= n
		s.comp[k] /= n
	}
}

func (s *avgState) merge(other state) {
	o := other.(*avgState)
	s.mergeHistograms(&o.histSums, len(s.count))
	for k, n := range o.count {
		if n == 0 {
			continue
		}
		if s.count[k] == 0 {
			s.value[k], s.comp[k], s.count[k], s.incremental[k] = o.value[k], o.comp[k], n, o.incremental[k]
			continue
		}
		all := s.count[k] + n
		if !s.incremental[k] && !o.incremental[k] {
			sum, comp := kahansum.Inc(o.value[k], s.value[k], s.comp[k])
			if !math.IsInf(sum, 0) {
				s.value[k], s.comp[k], s.count[k] = sum, comp+o.comp[k], all
				continue
			}
		}
		s.toMean(k, s.count[k])
		o.toMean(k, n)
		mine, theirs := s.count[k]/all, n/all
		s.value[k], s.comp[k] = kahansum.Inc(theirs*o.value[k], mine*s.value[k], mine*s.comp[k]+theirs*o.comp[k])
		s.count[k] = all
	}
}

func (s *avgState) finish(r *row) {
	r.reset(len(s.count))
	for k, n := range s.count {
		if n == 0 {
			continue
		}
		r.ok[k] = true
		if s.incremental[k] {
			r.v[k] = s.value[k] + s.comp[k]
		} else {
			r.v[k] = s.value[k]/n + s.comp[k]/n
		}
	}
}
