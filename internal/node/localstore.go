package node

import (
	"context"
	"fmt"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/engine"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/noted"
	"github.com/count-db/count/promql"
)

// localStore shows this node's own storage to the queries.
type localStore struct{ db *engine.DB }

var _ promql.Store = (*localStore)(nil)

// Select implements promql.Store.
func (s *localStore) Select(ctx context.Context, mint, maxt int64, ms ...*labels.Matcher) (promql.SeriesSet, error) {
	sel, err := s.db.Select(ctx, mint, maxt, ms...)
	if err != nil {
		return nil, fmt.Errorf("select series: %w", err)
	}
	return &localSet{Selection: sel, at: -1, warnings: s.lossIn(mint, maxt)}, nil
}

// lossIn warns of samples of a range that are lost here. In a cluster that is worth
// a warning only of a node that counts: then nobody else has them (C5). It is
// called when what is read is there: a loss is noted before its file is given up.
func (s *localStore) lossIn(mint, maxt int64) promql.Warnings {
	lost := s.db.Lost()
	if !lost.Overlaps(mint, maxt) {
		return nil
	}
	return promql.Warnings{noted.Gone + "this node has lost some " + lost.String() + ", and there is no other copy"}
}

// LabelNames implements promql.Store.
func (s *localStore) LabelNames(ctx context.Context, mint, maxt int64, limit int, ms ...*labels.Matcher) ([]string, promql.Warnings, error) {
	names, err := s.db.LabelNames(ctx, mint, maxt, limit, ms...)
	if err != nil {
		return nil, nil, fmt.Errorf("read label names: %w", err)
	}
	return names, s.lossIn(mint, maxt), nil
}

// LabelValues implements promql.Store.
func (s *localStore) LabelValues(ctx context.Context, name string, mint, maxt int64, limit int, ms ...*labels.Matcher) ([]string, promql.Warnings, error) {
	values, err := s.db.LabelValues(ctx, name, mint, maxt, limit, ms...)
	if err != nil {
		return nil, nil, fmt.Errorf("read values of label %s: %w", name, err)
	}
	return values, s.lossIn(mint, maxt), nil
}

// Exemplars implements promql.Store.
func (s *localStore) Exemplars(ctx context.Context, mint, maxt int64, sets ...[]*labels.Matcher) ([]promql.ExemplarSeries, promql.Warnings, error) {
	found, err := s.db.Exemplars(ctx, mint, maxt, sets...)
	if err != nil {
		return nil, nil, fmt.Errorf("read exemplars: %w", err)
	}
	out := make([]promql.ExemplarSeries, 0, len(found))
	for _, f := range found {
		out = append(out, promql.ExemplarSeries{Labels: f.Labels, Exemplars: f.Exemplars})
	}
	return out, nil, nil
}

// localSet is a selection of the storage as a set of series. It has random
// access too (promql.Selection), by the embedded selection.
type localSet struct {
	*engine.Selection
	at       int
	warnings promql.Warnings
}

var (
	_ promql.SeriesSet = (*localSet)(nil)
	_ promql.Tracked   = (*localSet)(nil)
	_ promql.Condenser = (*localSet)(nil)
)

// Scope implements promql.Tracked: all that the storage has.
func (s *localSet) Scope() string { return "" }

// Next implements promql.SeriesSet.
func (s *localSet) Next() bool {
	s.at++
	return s.at < s.Len()
}

// At implements promql.SeriesSet.
func (s *localSet) At() promql.Series { return localSeries{s.Selection, s.at} }

// Err implements promql.SeriesSet: an index is read before the set is there.
func (s *localSet) Err() error { return nil }

// Warnings implements promql.SeriesSet: one node has all there is, but for what
// is lost.
func (s *localSet) Warnings() promql.Warnings { return s.warnings }

type localSeries struct {
	sel *engine.Selection
	i   int
}

// Labels implements promql.Series.
func (s localSeries) Labels() labels.Labels { return s.sel.Labels(s.i) }

// Read implements promql.Series.
func (s localSeries) Read(mint, maxt int64, dst *model.Columns) error {
	return s.sel.Read(s.i, mint, maxt, dst)
}

// Condense implements promql's store.SeriesCondenser.
func (s localSeries) Condense(mint, maxt int64, how model.Condense, dst *model.Condensed) (bool, error) {
	return s.sel.Condense(s.i, mint, maxt, how, dst)
}
