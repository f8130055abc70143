// Package prom shows a store.Store as Prometheus's storage interfaces. It is the
// only package of promql that implements them, because they change often.
package prom

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/count-db/count/internal/noted"
	"github.com/count-db/count/promql/store"
)

// Queryable implements storage.SampleAndChunkQueryable and
// storage.ExemplarQueryable over a store.
type Queryable struct {
	store store.Store
}

var (
	_ storage.SampleAndChunkQueryable = (*Queryable)(nil)
	_ storage.ExemplarQueryable       = (*Queryable)(nil)
)

// New returns the adapter. It has no state of its own.
func New(s store.Store) *Queryable { return &Queryable{store: s} }

// Store returns the store below.
func (q *Queryable) Store() store.Store { return q.store }

// Querier returns a querier for [mint, maxt], ms.
func (q *Queryable) Querier(mint, maxt int64) (storage.Querier, error) {
	return &querier{labelQuerier: labelQuerier{store: q.store, mint: mint, maxt: maxt}}, nil
}

// ChunkQuerier returns a querier for [mint, maxt], ms, whose series are encoded
// in chunks that every reader of remote read knows: plain XOR, which has no
// start timestamps.
func (q *Queryable) ChunkQuerier(mint, maxt int64) (storage.ChunkQuerier, error) {
	return &chunkQuerier{labelQuerier: labelQuerier{store: q.store, mint: mint, maxt: maxt}}, nil
}

// ExemplarQuerier returns a querier of exemplars under the context.
func (q *Queryable) ExemplarQuerier(ctx context.Context) (storage.ExemplarQuerier, error) {
	return &exemplarQuerier{ctx: ctx, store: q.store}, nil
}

// labelQuerier holds what both kinds of queriers share: the store, the range and
// the sets to close at the end.
type labelQuerier struct {
	store      store.Store
	mint, maxt int64

	mu   sync.Mutex
	sets []store.SeriesSet
}

// open starts a select in the range of the hints, cut to that of the querier.
func (q *labelQuerier) open(ctx context.Context, hints *storage.SelectHints, ms []*labels.Matcher) (*seriesSet, error) {
	mint, maxt := q.mint, q.maxt
	if hints != nil && (hints.Start != 0 || hints.End != 0) {
		mint, maxt = max(mint, hints.Start), min(maxt, hints.End)
	}
	if mint > maxt {
		return nil, nil
	}
	set, err := q.find(ctx, mint, maxt, hints, ms)
	if err != nil {
		noted.Fail(ctx, err)
		return nil, fmt.Errorf("select series: %w", err)
	}
	q.mu.Lock()
	q.sets = append(q.sets, set)
	q.mu.Unlock()
	return &seriesSet{ctx: ctx, set: set, mint: mint, maxt: maxt, hints: hints, warned: annotations.Annotations{}}, nil
}

// seriesFunc is the function that Prometheus names in the hints where it wants the
// labels of series and none of their samples.
const seriesFunc = "series"

func (q *labelQuerier) find(ctx context.Context, mint, maxt int64, hints *storage.SelectHints, ms []*labels.Matcher) (store.SeriesSet, error) {
	lister, ok := q.store.(store.SeriesLister)
	if !ok || hints == nil || hints.Func != seriesFunc {
		return q.store.Select(ctx, mint, maxt, ms...) //nolint:wrapcheck // the caller says what was done
	}
	limit := hints.Limit
	if hints.ShardCount > 0 {
		limit = 0 // it is of one shard
	}
	return lister.ListSeries(ctx, mint, maxt, limit, ms...) //nolint:wrapcheck // the caller says what was done
}

func (q *labelQuerier) LabelNames(ctx context.Context, hints *storage.LabelHints, ms ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	if q.mint > q.maxt {
		return nil, nil, nil // a store may look at whole windows
	}
	names, warnings, err := q.store.LabelNames(ctx, q.mint, q.maxt, limitOf(hints), ms...)
	if err != nil {
		return nil, Annotations(warnings), fmt.Errorf("label names: %w", err)
	}
	return names, Annotations(warnings), nil
}

func (q *labelQuerier) LabelValues(ctx context.Context, name string, hints *storage.LabelHints, ms ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	if q.mint > q.maxt {
		return nil, nil, nil
	}
	values, warnings, err := q.store.LabelValues(ctx, name, q.mint, q.maxt, limitOf(hints), ms...)
	if err != nil {
		return nil, Annotations(warnings), fmt.Errorf("values of label %q: %w", name, err)
	}
	return values, Annotations(warnings), nil
}

// Close closes all sets that were selected.
func (q *labelQuerier) Close() error {
	q.mu.Lock()
	sets := q.sets
	q.sets = nil
	q.mu.Unlock()
	for _, set := range sets {
		set.Close()
	}
	return nil
}

type querier struct{ labelQuerier }

// Select returns at once; the order is always sorted.
func (q *querier) Select(ctx context.Context, _ bool, hints *storage.SelectHints, ms ...*labels.Matcher) storage.SeriesSet {
	set, err := q.open(ctx, hints, ms)
	if err != nil {
		return storage.ErrSeriesSet(err)
	}
	if set == nil {
		return storage.EmptySeriesSet()
	}
	return set
}

type chunkQuerier struct{ labelQuerier }

func (q *chunkQuerier) Select(ctx context.Context, _ bool, hints *storage.SelectHints, ms ...*labels.Matcher) storage.ChunkSeriesSet {
	set, err := q.open(ctx, hints, ms)
	if err != nil {
		return storage.ErrChunkSeriesSet(err)
	}
	if set == nil {
		return storage.EmptyChunkSeriesSet()
	}
	set.dropST = true
	return storage.NewSeriesSetToChunkSet(set)
}

type exemplarQuerier struct {
	ctx   context.Context // the querier lives as long as one request
	store store.Store
}

// Select returns the exemplars in [start, end], ms, of the series that match one
// of the sets of matchers.
func (q *exemplarQuerier) Select(start, end int64, sets ...[]*labels.Matcher) ([]exemplar.QueryResult, error) {
	series, warnings, err := q.store.Exemplars(q.ctx, start, end, sets...)
	if err != nil {
		return nil, fmt.Errorf("select exemplars: %w", err)
	}
	noted.Add(q.ctx, warnings) // the interface has no place for them
	results := make([]exemplar.QueryResult, 0, len(series))
	for _, s := range series {
		r := exemplar.QueryResult{SeriesLabels: s.Labels, Exemplars: make([]exemplar.Exemplar, len(s.Exemplars))}
		for i, e := range s.Exemplars {
			r.Exemplars[i] = exemplar.Exemplar{Labels: e.Labels, Value: e.V, Ts: e.T, HasTs: e.T != 0}
		}
		results = append(results, r)
	}
	return results, nil
}

func limitOf(hints *storage.LabelHints) int {
	if hints == nil {
		return 0
	}
	return max(hints.Limit, 0)
}

// Annotations makes annotations of the plain texts; Prometheus shows errors
// that are not its own infos as warnings.
func Annotations(ws store.Warnings) annotations.Annotations {
	if len(ws) == 0 {
		return nil
	}
	a := annotations.New()
	for _, w := range ws {
		a.Add(errors.New(w))
	}
	return *a
}
