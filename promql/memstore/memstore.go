// Package memstore is a store.Store in memory, for tests and benchmarks of the
// query side. It keeps everything it is given and is not meant for production.
package memstore

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"sort"
	"sync"

	"github.com/cespare/xxhash/v2"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/promql/store"
)

// Store keeps series in memory. Use New.
type Store struct {
	mu     sync.RWMutex
	series map[string]*entry // by canonical labels
	sorted []*entry          // by labels; nil when it must be built again
	groups map[uint64]uint64 // hash of a T column -> its number
	// Warn is added to the warnings of every Select.
	Warn store.Warnings
	// NoRandomAccess hides that sets are Selections.
	NoRandomAccess bool
	// FailSelect, when set, is returned by every Select.
	FailSelect error
}

type entry struct {
	labels    labels.Labels
	cols      model.Columns
	exemplars []model.Exemplar
	group     uint64 // number of its T column; 0 = not known yet
}

var _ store.Store = (*Store)(nil)

// New returns an empty store.
func New() *Store {
	return &Store{series: map[string]*entry{}, groups: map[uint64]uint64{}}
}

// Append stores one float sample; a sample at the same time is replaced. st is
// its start timestamp, 0 = none.
func (s *Store) Append(ls labels.Labels, st, t int64, v float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entryLocked(ls)
	e.group = 0
	e.dropHist(t)
	i, found := slices.BinarySearch(e.cols.T, t)
	if st != 0 && len(e.cols.ST) == 0 {
		e.cols.ST = make([]int64, len(e.cols.T))
	}
	withST := st != 0 || len(e.cols.ST) > 0
	if found {
		e.cols.V[i] = v
		if withST {
			e.cols.ST[i] = st
		}
		return
	}
	e.cols.T = slices.Insert(e.cols.T, i, t)
	e.cols.V = slices.Insert(e.cols.V, i, v)
	if withST {
		e.cols.ST = slices.Insert(e.cols.ST, i, st)
	}
}

// AppendHistogram stores one histogram, h or fh; a sample at the same time is
// replaced. The histogram is kept, not copied.
func (s *Store) AppendHistogram(ls labels.Labels, st, t int64, h *histogram.Histogram, fh *histogram.FloatHistogram) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entryLocked(ls)
	e.group = 0
	if i, found := slices.BinarySearch(e.cols.T, t); found {
		e.cols.T = slices.Delete(e.cols.T, i, i+1)
		e.cols.V = slices.Delete(e.cols.V, i, i+1)
		if len(e.cols.ST) > 0 {
			e.cols.ST = slices.Delete(e.cols.ST, i, i+1)
		}
	}
	e.dropHist(t)
	i := e.histAt(t)
	e.cols.Hist = slices.Insert(e.cols.Hist, i, model.HistogramPoint{T: t, ST: st, H: h, FH: fh})
}

// AppendExemplar stores one exemplar of a series.
func (s *Store) AppendExemplar(ls labels.Labels, e model.Exemplar) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.entryLocked(ls)
	x.exemplars = append(x.exemplars, e)
}

// SetColumns stores the float columns of a series whole, without copying: the
// quick way to fill a large store. Series that are given the same T slice
// share it.
func (s *Store) SetColumns(ls labels.Labels, t []int64, v []float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entryLocked(ls)
	e.cols = model.Columns{T: t, V: v}
	e.group = 0
}

func (e *entry) histAt(t int64) int {
	return sort.Search(len(e.cols.Hist), func(i int) bool { return e.cols.Hist[i].T >= t })
}

func (e *entry) dropHist(t int64) {
	if i := e.histAt(t); i < len(e.cols.Hist) && e.cols.Hist[i].T == t {
		e.cols.Hist = slices.Delete(e.cols.Hist, i, i+1)
	}
}

func (s *Store) entryLocked(ls labels.Labels) *entry {
	key := string(model.AppendCanonical(nil, ls))
	e := s.series[key]
	if e == nil {
		e = &entry{labels: ls.Copy()}
		s.series[key] = e
		s.sorted = nil
	}
	return e
}

// prepareLocked sorts the series and numbers the T columns by content.
func (s *Store) prepareLocked() {
	if s.sorted == nil {
		s.sorted = make([]*entry, 0, len(s.series))
		for _, e := range s.series {
			s.sorted = append(s.sorted, e)
		}
		slices.SortFunc(s.sorted, func(a, b *entry) int { return labels.Compare(a.labels, b.labels) })
	}
	for _, e := range s.sorted {
		if e.group != 0 {
			continue
		}
		d := xxhash.New()
		var b [8]byte
		for _, t := range e.cols.T {
			binary.LittleEndian.PutUint64(b[:], uint64(t))
			_, _ = d.Write(b[:])
		}
		h := d.Sum64()
		if s.groups[h] == 0 {
			s.groups[h] = uint64(len(s.groups) + 1)
		}
		e.group = s.groups[h]
	}
}

// Select returns the series that match, whether they have samples or not.
func (s *Store) Select(ctx context.Context, _, _ int64, ms ...*labels.Matcher) (store.SeriesSet, error) {
	if s.FailSelect != nil {
		return nil, s.FailSelect
	}
	set := &Set{ctx: ctx, store: s, at: -1}
	s.mu.Lock()
	s.prepareLocked()
	for _, e := range s.sorted {
		if matches(e.labels, ms) {
			set.entries = append(set.entries, e)
		}
	}
	s.mu.Unlock()
	if s.NoRandomAccess {
		return struct{ store.SeriesSet }{set}, nil
	}
	return set, nil
}

func matches(ls labels.Labels, ms []*labels.Matcher) bool {
	for _, m := range ms {
		if !m.Matches(ls.Get(m.Name)) {
			return false
		}
	}
	return true
}

// LabelNames returns the names over all time.
func (s *Store) LabelNames(_ context.Context, _, _ int64, limit int, ms ...*labels.Matcher) ([]string, store.Warnings, error) {
	return s.collect(limit, ms, func(ls labels.Labels, add func(string)) {
		ls.Range(func(l labels.Label) { add(l.Name) })
	})
}

// LabelValues returns the values over all time.
func (s *Store) LabelValues(_ context.Context, name string, _, _ int64, limit int, ms ...*labels.Matcher) ([]string, store.Warnings, error) {
	return s.collect(limit, ms, func(ls labels.Labels, add func(string)) {
		if v := ls.Get(name); v != "" {
			add(v)
		}
	})
}

func (s *Store) collect(limit int, ms []*labels.Matcher, each func(ls labels.Labels, add func(string))) ([]string, store.Warnings, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	seen := map[string]bool{}
	for _, e := range s.series {
		if matches(e.labels, ms) {
			each(e.labels, func(v string) { seen[v] = true })
		}
	}
	out := make([]string, 0, len(seen))
	for v := range seen {
		out = append(out, v)
	}
	slices.Sort(out)
	if limit > 0 && len(out) > limit {
		out = out[:limit]
	}
	return out, s.Warn, nil
}

// Exemplars returns the exemplars in [mint, maxt].
func (s *Store) Exemplars(_ context.Context, mint, maxt int64, sets ...[]*labels.Matcher) ([]store.ExemplarSeries, store.Warnings, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.prepareLocked()
	var out []store.ExemplarSeries
	for _, e := range s.sorted {
		if !slices.ContainsFunc(sets, func(ms []*labels.Matcher) bool { return matches(e.labels, ms) }) {
			continue
		}
		x := store.ExemplarSeries{Labels: e.labels}
		for _, ex := range e.exemplars {
			if ex.T >= mint && ex.T <= maxt {
				x.Exemplars = append(x.Exemplars, ex)
			}
		}
		if len(x.Exemplars) > 0 {
			out = append(out, x)
		}
	}
	return out, s.Warn, nil
}

// read copies the samples of a series in [mint, maxt].
func (s *Store) read(e *entry, mint, maxt int64, dst *model.Columns) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	dst.Reset()
	lo, _ := slices.BinarySearch(e.cols.T, mint)
	hi, found := slices.BinarySearch(e.cols.T, maxt)
	if found {
		hi++
	}
	if hi > lo {
		dst.T = append(dst.T, e.cols.T[lo:hi]...)
		dst.V = append(dst.V, e.cols.V[lo:hi]...)
		if len(e.cols.ST) > 0 {
			dst.ST = append(dst.ST, e.cols.ST[lo:hi]...)
		}
		dst.TKey = tkey(e.group, lo, hi)
	}
	for _, p := range e.cols.Hist[e.histAt(mint):] {
		if p.T > maxt {
			break
		}
		dst.Hist = append(dst.Hist, p)
	}
}

// tkey names the part [lo, hi) of a T column.
func tkey(group uint64, lo, hi int) uint64 {
	var b [24]byte
	binary.LittleEndian.PutUint64(b[:], group)
	binary.LittleEndian.PutUint64(b[8:], uint64(lo))
	binary.LittleEndian.PutUint64(b[16:], uint64(hi))
	return xxhash.Sum64(b[:]) | 1
}

// Set is the result of Select. It is a store.Selection too.
type Set struct {
	ctx     context.Context // as long as the set
	store   *Store
	entries []*entry
	at      int
	err     error
	closed  bool
}

var (
	_ store.SeriesSet = (*Set)(nil)
	_ store.Selection = (*Set)(nil)
)

// Next implements store.SeriesSet.
func (s *Set) Next() bool {
	if err := s.ctx.Err(); err != nil {
		s.err = fmt.Errorf("walk series: %w", err)
		return false
	}
	s.at++
	return s.at < len(s.entries)
}

// At implements store.SeriesSet.
func (s *Set) At() store.Series { return seriesAt{set: s, i: s.at} }

// Err implements store.SeriesSet.
func (s *Set) Err() error { return s.err }

// Warnings implements store.SeriesSet.
func (s *Set) Warnings() store.Warnings { return s.store.Warn }

// Close implements store.SeriesSet.
func (s *Set) Close() { s.closed = true }

// Len implements store.Selection.
func (s *Set) Len() int { return len(s.entries) }

// Labels implements store.Selection.
func (s *Set) Labels(i int) labels.Labels { return s.entries[i].labels }

// Read implements store.Selection.
func (s *Set) Read(i int, mint, maxt int64, dst *model.Columns) error {
	if s.closed {
		return fmt.Errorf("read of a closed set")
	}
	s.store.read(s.entries[i], mint, maxt, dst)
	return nil
}

type seriesAt struct {
	set *Set
	i   int
}

func (s seriesAt) Labels() labels.Labels { return s.set.Labels(s.i) }

func (s seriesAt) Read(mint, maxt int64, dst *model.Columns) error {
	return s.set.Read(s.i, mint, maxt, dst)
}
