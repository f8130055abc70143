package engine

import (
	"context"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/engine/buffer"
	"github.com/count-db/count/internal/model"
)

// LabelNames returns the sorted label names of the matching series that may
// have samples in [mint, maxt] (ms, inclusive); limit 0 = all.
func (db *DB) LabelNames(ctx context.Context, mint, maxt int64, limit int, ms ...*labels.Matcher) ([]string, error) {
	refs, all, err := db.presentSeries(ctx, mint, maxt, ms)
	if err != nil {
		return nil, err
	}
	if all {
		return db.registry.LabelNames(limit, ms...), nil
	}
	return db.registry.LabelNamesOf(refs, limit), nil
}

// LabelValues returns the sorted values that a label has in the matching series
// that may have samples in [mint, maxt] (ms, inclusive); limit 0 = all.
func (db *DB) LabelValues(ctx context.Context, name string, mint, maxt int64, limit int, ms ...*labels.Matcher) ([]string, error) {
	refs, all, err := db.presentSeries(ctx, mint, maxt, ms)
	if err != nil {
		return nil, err
	}
	if all {
		return db.registry.LabelValues(name, limit, ms...), nil
	}
	return db.registry.LabelValuesOf(name, refs, limit), nil
}

// presentSeries returns the matching series with samples in the range; all
// instead when the range covers everything that the registry knows of.
func (db *DB) presentSeries(ctx context.Context, mint, maxt int64, ms []*labels.Matcher) (refs []model.Ref, all bool, err error) {
	if db.closed.Load() {
		return nil, false, ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return nil, false, err
	}
	from, to := buffer.WindowOf(mint), buffer.WindowOf(maxt)
	windows := db.registry.PresentWindows()
	if len(windows) > 0 && from <= windows[0] && to >= windows[len(windows)-1] {
		return nil, true, nil
	}
	return db.registry.FilterPresent(db.registry.Select(ms...), from, to), false, nil
}
