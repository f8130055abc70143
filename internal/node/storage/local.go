package storage

import (
	"context"
	"errors"
	"fmt"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/cluster"
	"github.com/count-db/count/cluster/transport"
	"github.com/count-db/count/engine"
	"github.com/count-db/count/engine/registry"
	"github.com/count-db/count/engine/version"
	"github.com/count-db/count/internal/model"
)

// local shows this node's storage to the cluster.
type local struct{ db *engine.DB }

var _ cluster.Local = local{}

// Local returns the storage as the cluster needs it.
func Local(db *engine.DB) cluster.Local { return local{db} }

// Intern implements cluster.Local.
func (l local) Intern(ls labels.Labels) (model.Ref, error) { return Interner{l.db}.Intern(ls) }

// Labels implements cluster.Local.
func (l local) Labels(ref model.Ref) labels.Labels { return l.db.Labels(ref) }

// Begin implements cluster.Local.
func (l local) Begin(ctx context.Context, b *model.Batch, fresh bool) (transport.AppendReply, func() error, error) {
	begun, err := l.db.Begin(ctx, b, engine.AppendOptions{Fresh: fresh})
	if errors.Is(err, registry.ErrUnknownRef) {
		return transport.AppendReply{}, nil, fmt.Errorf("%w: %w", cluster.ErrUnknownSeries, err)
	}
	reply := transport.AppendReply{Stale: begun.Result.Stale, Highest: begun.Result.Highest}
	return reply, begun.Wait, AdmissionError(err)
}

// NewBulk implements cluster.Local.
func (l local) NewBulk() cluster.Bulk { return bulk{l.db.NewBulk()} }

// bulk shows a Bulk to the cluster.
type bulk struct{ *engine.Bulk }

// Append implements cluster.Bulk.
func (b bulk) Append(ctx context.Context, batch *model.Batch) error {
	err := b.Bulk.Append(ctx, batch)
	if errors.Is(err, registry.ErrUnknownRef) {
		return fmt.Errorf("%w: %w", cluster.ErrUnknownSeries, err)
	}
	return AdmissionError(err)
}

// Delete implements cluster.Local.
func (l local) Delete(ctx context.Context, ts ...model.Tombstone) error {
	return l.db.Delete(ctx, ts...)
}

// RaiseVersions implements cluster.Local.
func (l local) RaiseVersions(v model.Version) { l.db.RaiseVersions(v) }

// Boundary implements cluster.Local.
func (l local) Boundary(ctx context.Context) (uint64, error) { return l.db.Boundary(ctx) }

// Shed implements cluster.Local.
func (l local) Shed(ctx context.Context, tokens model.TokenSet, mark uint64) error {
	return l.db.Shed(ctx, tokens, mark)
}

// Select implements cluster.Local.
func (l local) Select(ctx context.Context, mint, maxt int64, ms ...*labels.Matcher) (cluster.Selection, error) {
	sel, err := l.db.Select(ctx, mint, maxt, ms...)
	if err != nil {
		return nil, fmt.Errorf("select series: %w", err)
	}
	return sel.WithVersions(), nil
}

// Tombstones implements cluster.Local.
func (l local) Tombstones(mint, maxt int64) []model.Tombstone {
	return l.db.Tombstones(mint, maxt)
}

// SetFloor implements cluster.Local.
func (l local) SetFloor(v model.Version, from int64) { l.db.SetFloor(v, from) }

// Purge implements cluster.Local.
func (l local) Purge(ctx context.Context, v model.Version, from int64) error {
	return l.db.Purge(ctx, v, from)
}

// KeptFrom implements cluster.Local.
func (l local) KeptFrom() int64 { return l.db.KeptFrom() }

// Lost implements cluster.Local.
func (l local) Lost() (number uint64, mint, maxt int64) {
	lost := l.db.Lost()
	return lost.Number, lost.MinT, lost.MaxT
}

// Refilled implements cluster.Local.
func (l local) Refilled(number uint64, complete bool) error {
	return l.db.Refilled(number, complete)
}

// Windows implements cluster.Local.
func (l local) Windows() []int64 { return l.db.Windows() }

// LabelNames implements cluster.Local.
func (l local) LabelNames(ctx context.Context, mint, maxt int64, limit int, ms ...*labels.Matcher) ([]string, error) {
	return l.db.LabelNames(ctx, mint, maxt, limit, ms...)
}

// LabelValues implements cluster.Local.
func (l local) LabelValues(ctx context.Context, name string, mint, maxt int64, limit int, ms ...*labels.Matcher) ([]string, error) {
	return l.db.LabelValues(ctx, name, mint, maxt, limit, ms...)
}

// Exemplars implements cluster.Local.
func (l local) Exemplars(ctx context.Context, mint, maxt int64, sets ...[]*labels.Matcher) ([]cluster.ExemplarSeries, error) {
	found, err := l.db.Exemplars(ctx, mint, maxt, sets...)
	if err != nil {
		return nil, fmt.Errorf("read exemplars: %w", err)
	}
	out := make([]cluster.ExemplarSeries, 0, len(found))
	for _, f := range found {
		out = append(out, cluster.ExemplarSeries(f))
	}
	return out, nil
}

// Metadata implements cluster.Local.
func (l local) Metadata(family string, limit int) []model.Metadata {
	return l.db.Metadata(family, limit)
}

// CompareHistograms is the engine's order of histograms of equal versions.
func CompareHistograms(a, b *model.HistogramPoint) int {
	return version.Compare(version.OfHistogram(a), version.OfHistogram(b))
}
