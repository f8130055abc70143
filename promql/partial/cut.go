package partial

import (
	"slices"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/promql/store"
)

// Steps are the states of some consecutive steps of a result, to be kept and put
// together with others: see Result.Cut and Assemble. They do not change and may be
// used by several goroutines.
type Steps struct {
	total, read, points []int64
	rows                []Series
	groups              []cutGroup
	series              []cutSeries // that topk and its kin kept, in their order
	bytes               int64
}

// cutGroup is a group that has values in the steps.
type cutGroup struct {
	labels labels.Labels
	first  cutSeries
	state  cutState
}

// cutSeries is a series of a selection, to be found again in a later one.
type cutSeries struct {
	index  int32 // in the selection that it was met in
	labels labels.Labels
	output labels.Labels // behind the per-series expression; of kept series only
}

// The memory of the parts of Steps beside their slices and labels, about.
const (
	stepsBytes = 256
	groupBytes = 192
	rowBytes   = 96
	seriesSize = 48
)

// Len returns the number of steps.
func (s *Steps) Len() int { return len(s.total) }

// Bytes returns the memory that the steps take, about.
func (s *Steps) Bytes() int64 { return s.bytes }

// Cuttable says whether the result can be cut: it was asked for, and nothing in it
// belongs to no one step. Annotations do, but for the one that follows from there
// being values; subqueries and native histograms are not taken apart.
func (r *Result) Cuttable() bool { return r.points != nil }

// Size returns about how many bytes all steps of the result take when they are
// cut.
func (r *Result) Size() int64 {
	n := int64(r.grid.Len())
	return n*24 + int64(len(r.rows))*(rowBytes+9*n) + int64(len(r.groups))*(groupBytes+25*n) + int64(len(r.names))*seriesSize
}

// Cut copies the steps from up to before to of a result of Run over sel, before
// Final is called.
func (r *Result) Cut(from, to int, sel store.Selection) *Steps {
	s := &Steps{total: slices.Clone(r.Total[from:to]), read: slices.Clone(r.Read[from:to]), points: slices.Clone(r.points[from:to])}
	mem := copies{room: (to - from) * max(len(r.rows), len(r.groups))}
	for i := range r.rows {
		if cut, ok := r.rows[i].cut(from, to, &mem); ok {
			s.rows = append(s.rows, cut)
			s.bytes += rowBytes + int64(cut.Labels.ByteSize())
		}
	}
	for _, g := range r.groups {
		state, ok := g.state.(cutState)
		if !ok || !state.any(from, to) {
			continue
		}
		first := cutSeries{index: g.first, labels: sel.Labels(int(g.first))}
		s.groups = append(s.groups, cutGroup{labels: g.labels, first: first, state: state.cut(from, to, &mem)})
		s.bytes += groupBytes + int64(g.labels.ByteSize()+first.labels.ByteSize())
	}
	s.keepSeries(r, sel)
	s.bytes += stepsBytes + int64(24*s.Len()) + mem.bytes()
	return s
}

// keepSeries notes the series that topk and its kin kept, and numbers them by
// their order.
func (s *Steps) keepSeries(r *Result, sel store.Selection) {
	if !r.prog.agg.keepsLabels() {
		return
	}
	number := map[int32]int32{}
	for i := range s.groups {
		s.groups[i].state.(*topState).eachEntry(func(e *topEntry) {
			number[e.series] = 0
			s.bytes += 16
		})
	}
	for i := range number {
		ls := sel.Labels(int(i))
		s.series = append(s.series, cutSeries{index: i, labels: ls, output: r.names[i]})
		s.bytes += seriesSize + int64(ls.ByteSize()+r.names[i].ByteSize())
	}
	slices.SortFunc(s.series, func(a, b cutSeries) int { return int(a.index) - int(b.index) })
	for n := range s.series {
		number[s.series[n].index] = int32(n)
	}
	for i := range s.groups {
		s.groups[i].state.(*topState).eachEntry(func(e *topEntry) { e.series = number[e.series] })
	}
}

// cut copies some steps of a series; false where it has no value in them.
func (s *Series) cut(from, to int, mem *copies) (Series, bool) {
	if s.OK == nil {
		return Series{Labels: s.Labels, V: mem.floats(s.V[from:to])}, true
	}
	ok := s.OK[from:to]
	if !slices.Contains(ok, true) {
		return Series{}, false
	}
	cut := Series{Labels: s.Labels, V: mem.floats(s.V[from:to])}
	if slices.Contains(ok, false) {
		cut.OK = mem.bools(ok)
	}
	return cut, true
}

// copies allocates the many small slices of Steps together, and no more than they
// take.
type copies struct {
	room  int // elements that are made at once, at least
	f     []float64
	b     []bool
	taken int64
}

// leastCopies keeps the allocations few and not too large.
const leastCopies, mostCopies = 32, 8192

func (m *copies) next(n int) int { return max(n, min(max(m.room, leastCopies), mostCopies)) }

func (m *copies) floats(src []float64) []float64 {
	if cap(m.f)-len(m.f) < len(src) {
		m.f = make([]float64, 0, m.next(len(src)))
		m.taken += int64(8 * cap(m.f))
	}
	at := len(m.f)
	m.f = append(m.f, src...)
	return m.f[at:len(m.f):len(m.f)]
}

func (m *copies) bools(src []bool) []bool {
	if cap(m.b)-len(m.b) < len(src) {
		m.b = make([]bool, 0, m.next(len(src)))
		m.taken += int64(cap(m.b))
	}
	at := len(m.b)
	m.b = append(m.b, src...)
	return m.b[at:len(m.b):len(m.b)]
}

func (m *copies) bytes() int64 { return m.taken }
