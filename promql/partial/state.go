package partial

import (
	"math"
	"slices"

	"github.com/prometheus/prometheus/promql/parser"
)

// state is the partial result of one group: what its series have added so far,
// step by step. States of one kind merge in any order.
type state interface {
	// add takes the values of one series; index is its place among the series.
	add(r *row, index int32)
	// merge takes another state of the same kind and size, which is not used any
	// more. Its series come behind those of the receiver.
	merge(other state)
	// finish writes the result of each step.
	finish(r *row)
}

// newState returns an empty state of n steps. Aggregations that keep series
// (topk, bottomk, limitk) have states of their own: see topState.
func newState(op parser.ItemType, n int) state {
	switch op {
	case parser.SUM:
		return &sumState{sum: make([]float64, n), comp: make([]float64, n), seen: make([]bool, n)}
	case parser.AVG:
		return &avgState{value: make([]float64, n), comp: make([]float64, n), count: make([]float64, n), incremental: make([]bool, n)}
	case parser.MIN, parser.MAX:
		return &extremeState{max: op == parser.MAX, best: make([]float64, n), seen: make([]bool, n)}
	case parser.COUNT, parser.GROUP:
		return &countState{group: op == parser.GROUP, count: make([]float64, n)}
	default:
		return &varianceState{root: op == parser.STDDEV, count: make([]float64, n), mean: make([]float64, n), m2: make([]float64, n)}
	}
}

// countState serves count and group.
type countState struct {
	group bool
	count []float64
}

func (s *countState) add(r *row, _ int32) {
	if r.all {
		for k := range s.count {
			s.count[k]++
		}
		return
	}
	for k, ok := range r.ok {
		if ok {
			s.count[k]++
		}
	}
}

func (s *countState) merge(other state) {
	for k, n := range other.(*countState).count {
		s.count[k] += n
	}
}

func (s *countState) finish(r *row) {
	r.reset(len(s.count))
	for k, n := range s.count {
		if n == 0 {
			continue
		}
		r.ok[k] = true
		r.v[k] = n
		if s.group {
			r.v[k] = 1
		}
	}
}

// extremeState serves min and max: the first of the values that none beats, NaN
// only where there is nothing else.
type extremeState struct {
	max  bool
	best []float64
	seen []bool
}

func (s *extremeState) take(k int, v float64) {
	switch best := s.best[k]; {
	case !s.seen[k]:
		s.seen[k] = true
		s.best[k] = v
	case s.max && best < v, !s.max && best > v, math.IsNaN(best):
		s.best[k] = v
	}
}

func (s *extremeState) add(r *row, _ int32) {
	for k, v := range r.v {
		if r.has(k) {
			s.take(k, v)
		}
	}
}

func (s *extremeState) merge(other state) {
	o := other.(*extremeState)
	for k, v := range o.best {
		if o.seen[k] {
			s.take(k, v)
		}
	}
}

func (s *extremeState) finish(r *row) {
	r.reset(len(s.best))
	copy(r.v, s.best)
	copy(r.ok, s.seen)
}

// varianceState serves stddev and stdvar: count, mean and the sum of squared
// distances from it.
type varianceState struct {
	root            bool
	count, mean, m2 []float64
}

func (s *varianceState) add(r *row, _ int32) {
	for k, v := range r.v {
		if !r.has(k) {
			continue
		}
		s.count[k]++
		if s.count[k] == 1 {
			s.mean[k] = v
			if math.IsNaN(v) || math.IsInf(v, 0) {
				s.m2[k] = math.NaN()
			}
			continue
		}
		delta := v - s.mean[k]
		s.mean[k] += delta / s.count[k]
		s.m2[k] += delta * (v - s.mean[k])
	}
}

func (s *varianceState) merge(other state) {
	o := other.(*varianceState)
	for k, n := range o.count {
		switch {
		case n == 0:
		case s.count[k] == 0:
			s.count[k], s.mean[k], s.m2[k] = n, o.mean[k], o.m2[k]
		default:
			all := s.count[k] + n
			delta := o.mean[k] - s.mean[k]
			m2 := s.m2[k] + o.m2[k] + delta*delta*(s.count[k]*n/all)
			if math.IsNaN(m2) && !math.IsNaN(s.m2[k]) && !math.IsNaN(o.m2[k]) {
				m2 = math.Inf(1) // an overflow, see overflows
			}
			s.m2[k] = m2
			s.mean[k] += delta * (n / all)
			s.count[k] = all
		}
	}
}

// overflows says whether values are so large that what comes out depends on their
// order, in which only Prometheus's engine takes them.
func (s *varianceState) overflows() bool {
	return slices.ContainsFunc(s.m2, func(v float64) bool { return math.IsInf(v, 0) })
}

func (s *varianceState) finish(r *row) {
	r.reset(len(s.count))
	for k, n := range s.count {
		if n == 0 {
			continue
		}
		r.ok[k] = true
		r.v[k] = s.m2[k] / n
		if s.root {
			r.v[k] = math.Sqrt(r.v[k])
		}
	}
}
