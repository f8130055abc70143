package cluster

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/cluster/merge"
	"github.com/count-db/count/cluster/transport"
	"github.com/count-db/count/internal/model"
)

// memLocal is the plainest storage that keeps the promises of Local.
type memLocal struct {
	mu         sync.Mutex
	series     map[string]*memSeries
	byRef      []*memSeries
	batches    uint64
	floor      model.Version
	tombstones []model.Tombstone
	metadata   map[string]model.Metadata
	exemplars  []model.Exemplar
	fail       error         // non-nil: Begin fails with it
	slow       time.Duration // until a batch is durable
	selects    int           // calls of Select
	settled    model.Version // by SetFloor
	lazy       bool          // what is settled keeps its version, as what the engine has no time for
	lost       timeRange
	losses     uint64 // number of the loss; 0: nothing is lost
}

// Lost implements Local.
func (l *memLocal) Lost() (number uint64, mint, maxt int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.losses, l.lost.mint, l.lost.maxt
}

// Refilled implements Local.
func (l *memLocal) Refilled(number uint64, complete bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if complete && number == l.losses {
		l.losses = 0
	}
	return nil
}

type memSeries struct {
	labels  labels.Labels
	cols    model.Columns
	highest model.Version
	came    map[int64]uint64 // by timestamp: number of the batch
	gone    bool             // its reference was forgotten
}

func newMemLocal() *memLocal {
	return &memLocal{series: map[string]*memSeries{}, metadata: map[string]model.Metadata{}}
}

func (l *memLocal) Intern(ls labels.Labels) (model.Ref, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := ls.String()
	if l.series[key] == nil {
		s := &memSeries{labels: ls.Copy(), came: map[int64]uint64{}}
		l.series[key] = s
		l.byRef = append(l.byRef, s)
	}
	if old := l.series[key]; old.gone {
		s := *old
		s.gone = false
		l.series[key] = &s
		l.byRef = append(l.byRef, &s)
	}
	return model.Ref(slices.Index(l.byRef, l.series[key]) + 1), nil
}

func (l *memLocal) Labels(ref model.Ref) labels.Labels {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.byRef[ref-1]; !s.gone {
		return s.labels
	}
	return labels.EmptyLabels()
}

// forget makes all references be forgotten.
func (l *memLocal) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.byRef {
		s.gone = true
	}
}

func (l *memLocal) Begin(_ context.Context, b *model.Batch, fresh bool) (transport.AppendReply, func() error, error) {
	slow := l.slow
	r, err := l.store(b, fresh)
	return r, func() error {
		if slow > 0 {
			t := time.NewTimer(slow)
			<-t.C
		}
		return nil
	}, err
}

func (l *memLocal) NewBulk() Bulk { return &memBulk{local: l} }

// memBulk keeps what comes in bulk until Commit.
type memBulk struct {
	local   *memLocal
	batches []*model.Batch
	samples int64
}

func (b *memBulk) Append(_ context.Context, batch *model.Batch) error {
	b.batches = append(b.batches, &model.Batch{
		Version: batch.Version, Floats: slices.Clone(batch.Floats), STs: slices.Clone(batch.STs), Hists: slices.Clone(batch.Hists),
	})
	b.samples += int64(batch.Samples())
	return nil
}

func (b *memBulk) Bytes() int64 { return 1000 * b.samples }

func (b *memBulk) Commit(_ context.Context, between func() error) error {
	for len(b.batches) > 0 {
		if _, err := b.local.store(b.batches[0], false); err != nil {
			return err
		}
		b.batches = b.batches[1:]
		if err := between(); err != nil {
			return err
		}
	}
	b.samples = 0
	return nil
}

func (b *memBulk) Close() error {
	b.batches = nil
	return nil
}

func (l *memLocal) store(b *model.Batch, fresh bool) (transport.AppendReply, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail != nil {
		return transport.AppendReply{}, l.fail
	}
	r := transport.AppendReply{Highest: l.floor}
	for _, f := range b.Floats {
		s := l.byRef[f.Ref-1]
		if s.gone {
			return transport.AppendReply{}, fmt.Errorf("%w: %d", ErrUnknownSeries, f.Ref)
		}
		r.Highest = max(r.Highest, s.highest)
	}
	if r.Stale = fresh && b.Version <= r.Highest; r.Stale {
		return r, nil
	}
	l.batches++
	for _, f := range b.Floats {
		s := l.byRef[f.Ref-1]
		s.came[f.T] = l.batches
		s.highest = max(s.highest, b.Version)
		one := &model.Columns{T: []int64{f.T}, V: []float64{f.V}, Ver: []model.Version{b.Version}}
		var out model.Columns
		merge.Columns(&out, []*model.Columns{&s.cols, one}, noHistograms)
		s.cols = out
	}
	for _, m := range b.Metadata {
		l.metadata[m.Family] = m
	}
	l.exemplars = append(l.exemplars, b.Exemplars...)
	return r, nil
}

func noHistograms(_, _ *model.HistogramPoint) int { return 0 }

func (l *memLocal) Delete(_ context.Context, ts ...model.Tombstone) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, t := range ts {
		if !slices.ContainsFunc(l.tombstones, func(o model.Tombstone) bool { return o.Equal(&t) }) {
			l.tombstones = append(l.tombstones, t)
		}
		l.floor = max(l.floor, t.Version)
	}
	return nil
}

func (l *memLocal) Boundary(context.Context) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.batches, nil
}

func (l *memLocal) Shed(_ context.Context, tokens model.TokenSet, mark uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.series {
		if !tokens.Has(model.SeriesIDOf(s.labels).Token()) {
			continue
		}
		var left model.Columns
		for i, t := range s.cols.T {
			if s.came[t] > mark {
				left.T, left.V, left.Ver = append(left.T, t), append(left.V, s.cols.V[i]), append(left.Ver, s.cols.Ver[i])
			}
		}
		s.cols = left
	}
	return nil
}

func (l *memLocal) RaiseVersions(v model.Version) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.floor = max(l.floor, v)
}

func (l *memLocal) matching(ms []*labels.Matcher) []*memSeries {
	var out []*memSeries
	for _, s := range l.series {
		if !slices.ContainsFunc(ms, func(m *labels.Matcher) bool { return !m.Matches(s.labels.Get(m.Name)) }) {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b *memSeries) int { return labels.Compare(a.labels, b.labels) })
	return out
}

func (l *memLocal) Select(_ context.Context, _, _ int64, ms ...*labels.Matcher) (Selection, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.selects++
	var sel memSelection
	for _, s := range l.matching(ms) {
		var cols model.Columns
		merge.Columns(&cols, []*model.Columns{&s.cols}, noHistograms)
		merge.Hide(&cols, s.labels, l.tombstones)
		sel = append(sel, &Series{labels: s.labels, cols: cols})
	}
	return sel, nil
}

type memSelection []*Series

func (s memSelection) Len() int                   { return len(s) }
func (s memSelection) Labels(i int) labels.Labels { return s[i].labels }
func (s memSelection) Close()                     {}
func (s memSelection) Read(i int, mint, maxt int64, dst *model.Columns) error {
	dst.Reset()
	for j, t := range s[i].cols.T {
		if t >= mint && t <= maxt {
			dst.T, dst.V, dst.Ver = append(dst.T, t), append(dst.V, s[i].cols.V[j]), append(dst.Ver, s[i].cols.Ver[j])
		}
	}
	return nil
}

func (l *memLocal) Tombstones(int64, int64) []model.Tombstone {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.tombstones)
}

func (l *memLocal) SetFloor(v model.Version, _ int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.settled = v
	if v == 0 || l.lazy {
		return
	}
	// At once what the engine does by and by.
	for _, s := range l.series {
		merge.Hide(&s.cols, s.labels, l.tombstones)
		for i, ver := range s.cols.Ver {
			s.cols.Ver[i] = max(ver, v)
		}
	}
	l.tombstones = slices.DeleteFunc(l.tombstones, func(t model.Tombstone) bool { return t.Version <= v })
}

func (l *memLocal) Purge(_ context.Context, v model.Version, from int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.series {
		merge.Hide(&s.cols, s.labels, []model.Tombstone{{Version: v, MinT: from, MaxT: math.MaxInt64}})
	}
	return nil
}

func (l *memLocal) KeptFrom() int64 { return 0 }

func (l *memLocal) Windows() []int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	held := map[int64]bool{}
	for _, s := range l.series {
		for _, t := range s.cols.T {
			held[windowOf(t)] = true
		}
	}
	return slices.Sorted(maps.Keys(held))
}

func (l *memLocal) LabelNames(_ context.Context, _, _ int64, _ int, ms ...*labels.Matcher) ([]string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	names := map[string]bool{}
	for _, s := range l.matching(ms) {
		s.labels.Range(func(lb labels.Label) { names[lb.Name] = true })
	}
	return sortedKeys(names), nil
}

func (l *memLocal) LabelValues(_ context.Context, name string, _, _ int64, _ int, ms ...*labels.Matcher) ([]string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	values := map[string]bool{}
	for _, s := range l.matching(ms) {
		if v := s.labels.Get(name); v != "" {
			values[v] = true
		}
	}
	return sortedKeys(values), nil
}

func (l *memLocal) Exemplars(context.Context, int64, int64, ...[]*labels.Matcher) ([]ExemplarSeries, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []ExemplarSeries
	for _, e := range l.exemplars {
		out = append(out, ExemplarSeries{Labels: l.byRef[e.Ref-1].labels, Exemplars: []model.Exemplar{{T: e.T, V: e.V, Labels: e.Labels}}})
	}
	return out, nil
}

func (l *memLocal) Metadata(family string, _ int) []model.Metadata {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []model.Metadata
	for name, m := range l.metadata {
		if family == "" || family == name {
			out = append(out, m)
		}
	}
	return out
}

func sortedKeys(m map[string]bool) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// samples returns how many are stored.
func (l *memLocal) samples() (n int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.series {
		n += int64(s.cols.Len())
	}
	return n
}
