package partial

import (
	"cmp"
	"math"
	"slices"

	"github.com/prometheus/prometheus/promql/parser"
)

// topState serves topk, bottomk and limitk: per step, up to k values and whose
// they are. Among equal values the earlier series stays.
type topState struct {
	op    parser.ItemType
	k     int
	steps [][]topEntry // heaps, the value to lose first on top; limitk: in order
}

type topEntry struct {
	v      float64
	series int32
}

func newTopState(op parser.ItemType, k, n int) *topState {
	return &topState{op: op, k: k, steps: make([][]topEntry, n)}
}

// worse says whether a goes before b when a value must go. NaN goes first; of
// equal values the later series does.
func (s *topState) worse(a, b topEntry) bool {
	an, bn := math.IsNaN(a.v), math.IsNaN(b.v)
	switch {
	case an != bn:
		return an
	case an || a.v == b.v:
		return a.series > b.series
	case s.op == parser.BOTTOMK:
		return a.v > b.v
	default:
		return a.v < b.v
	}
}

func (s *topState) add(r *row, index int32) {
	for k, v := range r.v {
		if r.has(k) {
			s.take(k, topEntry{v: v, series: index})
		}
	}
}

// take offers one value to a step. Series come in ascending order.
func (s *topState) take(k int, e topEntry) {
	h := s.steps[k]
	if len(h) < s.k {
		h = append(h, e)
		if s.op != parser.LIMITK {
			s.up(h)
		}
		s.steps[k] = h
		return
	}
	if s.op == parser.LIMITK || !s.worse(h[0], e) {
		return
	}
	h[0] = e
	s.down(h)
}

// up moves the last entry of a heap to its place.
func (s *topState) up(h []topEntry) {
	for i := len(h) - 1; i > 0; {
		parent := (i - 1) / 2
		if !s.worse(h[i], h[parent]) {
			return
		}
		h[i], h[parent] = h[parent], h[i]
		i = parent
	}
}

// down moves the first entry of a heap to its place.
func (s *topState) down(h []topEntry) {
	for i := 0; ; {
		child := 2*i + 1
		if child >= len(h) {
			return
		}
		if right := child + 1; right < len(h) && s.worse(h[right], h[child]) {
			child = right
		}
		if !s.worse(h[child], h[i]) {
			return
		}
		h[i], h[child] = h[child], h[i]
		i = child
	}
}

// merge keeps the same entries whichever state is merged into which.
func (s *topState) merge(other state) {
	bySeries := func(a, b topEntry) int { return cmp.Compare(a.series, b.series) }
	for k, entries := range other.(*topState).steps {
		if s.op == parser.LIMITK {
			all := slices.Concat(s.steps[k], entries)
			slices.SortFunc(all, bySeries)
			s.steps[k] = all[:min(len(all), s.k)]
			continue
		}
		slices.SortFunc(entries, bySeries)
		for _, e := range entries {
			s.take(k, e)
		}
	}
}

// finish is not how these states end: see Result.series.
func (s *topState) finish(r *row) { r.reset(len(s.steps)) }

// ranked returns the entries of a step, the best first; limitk: in order.
func (s *topState) ranked(k int) []topEntry {
	entries := s.steps[k]
	if s.op != parser.LIMITK {
		slices.SortFunc(entries, func(a, b topEntry) int {
			switch {
			case s.worse(b, a):
				return -1
			case s.worse(a, b):
				return 1
			default:
				return 0
			}
		})
	}
	return entries
}
