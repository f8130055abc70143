package engine

import (
	"context"
	"slices"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/engine/buffer"
	"github.com/count-db/count/engine/day"
	"github.com/count-db/count/engine/registry"
	"github.com/count-db/count/internal/model"
)

// LabelNames returns the sorted label names of the matching series that may
// have samples in [mint, maxt] (ms, inclusive); limit 0 = all.
func (db *DB) LabelNames(ctx context.Context, mint, maxt int64, limit int, ms ...*labels.Matcher) ([]string, error) {
	return db.labelTexts(ctx, mint, maxt, limit, ms, labelTexts{
		all: func(limit int) []string { return db.registry.LabelNames(limit, ms...) },
		of:  db.registry.LabelNamesOf,
		day: func(d *day.Reader) ([]string, error) { return d.LabelNames(ms...) },
	})
}

// LabelValues returns the sorted values that a label has in the matching series
// that may have samples in [mint, maxt] (ms, inclusive); limit 0 = all.
func (db *DB) LabelValues(ctx context.Context, name string, mint, maxt int64, limit int, ms ...*labels.Matcher) ([]string, error) {
	return db.labelTexts(ctx, mint, maxt, limit, ms, labelTexts{
		all: func(limit int) []string { return db.registry.LabelValues(name, limit, ms...) },
		of:  func(refs []model.Ref, limit int) []string { return db.registry.LabelValuesOf(name, refs, limit) },
		day: func(d *day.Reader) ([]string, error) { return d.LabelValues(name, ms...) },
	})
}

// labelTexts are the ways to come by label names, or by the values of one.
type labelTexts struct {
	all func(limit int) []string // of all matching series of the registry
	of  func(refs []model.Ref, limit int) []string
	day func(*day.Reader) ([]string, error)
}

func (db *DB) labelTexts(ctx context.Context, mint, maxt int64, limit int, ms []*labels.Matcher, from labelTexts) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for {
		drops := db.presenceDrops.Load()
		texts, err := db.labelTextsOnce(mint, maxt, limit, ms, from)
		if err != nil || db.presenceDrops.Load() == drops {
			return texts, err
		}
	}
}

func (db *DB) labelTextsOnce(mint, maxt int64, limit int, ms []*labels.Matcher, from labelTexts) ([]string, error) {
	v := db.views.acquire()
	if v == nil {
		return nil, ErrClosed
	}
	defer func() {
		if err := db.views.release(v); err != nil {
			db.warn("close files that nothing reads any more", err)
		}
	}()
	var texts []string
	if db.coversAll(mint, maxt) {
		texts = from.all(limit)
	} else {
		texts = from.of(db.presentIn(v.files, db.registry.Select(ms...), mint, maxt), limit)
	}
	days := 0
	for _, f := range v.files {
		if f.day == nil || !f.overlaps(mint, maxt) {
			continue
		}
		more, err := from.day(f.day)
		if err != nil {
			return nil, f.damaged(err)
		}
		texts = append(texts, more...)
		days++
	}
	if days == 0 {
		return texts, nil
	}
	slices.Sort(texts)
	texts = slices.Compact(texts)
	if limit > 0 && len(texts) > limit {
		texts = texts[:limit]
	}
	return texts, nil
}

// coversAll says whether the range covers every window that the registry knows
// samples in: then every series counts.
func (db *DB) coversAll(mint, maxt int64) bool {
	windows := db.registry.PresentWindows()
	return len(windows) > 0 && buffer.WindowOf(mint) <= windows[0] && buffer.WindowOf(maxt) >= windows[len(windows)-1]
}

// Cardinality returns where the series in the registry come from: the limit
// highest counts of each kind.
func (db *DB) Cardinality(limit int) registry.Cardinality { return db.registry.Cardinality(limit) }
