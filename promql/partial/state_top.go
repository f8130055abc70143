package partial

import (
	"cmp"
	"container/heap"
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
		if s.op == parser.LIMITK {
			s.steps[k] = append(h, e)
			return
		}
		t := topHeap{state: s, entries: h}
		heap.Push(&t, e)
		s.steps[k] = t.entries
		return
	}
	if s.op == parser.LIMITK || !s.worse(h[0], e) {
		return
	}
	h[0] = e
	heap.Fix(&topHeap{state: s, entries: h}, 0)
}

func (s *topState) merge(other state) {
	for k, entries := range other.(*topState).steps {
		slices.SortFunc(entries, func(a, b topEntry) int { return cmp.Compare(a.series, b.series) })
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

// topHeap is a step of a topState as a heap.
type topHeap struct {
	state   *topState
	entries []topEntry
}

func (h *topHeap) Len() int           { return len(h.entries) }
func (h *topHeap) Less(i, j int) bool { return h.state.worse(h.entries[i], h.entries[j]) }
func (h *topHeap) Swap(i, j int)      { h.entries[i], h.entries[j] = h.entries[j], h.entries[i] }
func (h *topHeap) Push(x any)         { h.entries = append(h.entries, x.(topEntry)) }

func (h *topHeap) Pop() any {
	last := len(h.entries) - 1
	e := h.entries[last]
	h.entries = h.entries[:last]
	return e
}
