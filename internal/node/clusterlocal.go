package node

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

// clusterLocal shows this node's storage to the cluster.
type clusterLocal struct{ db *engine.DB }

var _ cluster.Local = clusterLocal{}

// Intern implements cluster.Local.
func (l clusterLocal) Intern(ls labels.Labels) (model.Ref, error) { return interner(l).Intern(ls) }

// Labels implements cluster.Local.
func (l clusterLocal) Labels(ref model.Ref) labels.Labels { return l.db.Labels(ref) }

// Begin implements cluster.Local.
func (l clusterLocal) Begin(ctx context.Context, b *model.Batch, fresh bool) (transport.AppendReply, func() error, error) {
	begun, err := l.db.Begin(ctx, b, engine.AppendOptions{Fresh: fresh})
	if errors.Is(err, registry.ErrUnknownRef) {
		return transport.AppendReply{}, nil, fmt.Errorf("%w: %w", cluster.ErrUnknownSeries, err)
	}
	reply := transport.AppendReply{Stale: begun.Result.Stale, Highest: begun.Result.Highest}
	return reply, begun.Wait, admissionError(err)
}

// NewBulk implements cluster.Local.
func (l clusterLocal) NewBulk() cluster.Bulk { return clusterBulk{l.db.NewBulk()} }

// clusterBulk shows bulk to the cluster.
type clusterBulk struct{ *engine.Bulk }

// Append implements cluster.Bulk.
func (b clusterBulk) Append(ctx context.Context, batch *model.Batch) error {
	err := b.Bulk.Append(ctx, batch)
	if errors.Is(err, registry.ErrUnknownRef) {
		return fmt.Errorf("%w: %w", cluster.ErrUnknownSeries, err)
	}
	return admissionError(err)
}

// Delete implements cluster.Local.
func (l clusterLocal) Delete(ctx context.Context, ts ...model.Tombstone) error {
	return l.db.Delete(ctx, ts...)
}

// RaiseVersions implements cluster.Local.
func (l clusterLocal) RaiseVersions(v model.Version) { l.db.RaiseVersions(v) }

// Boundary implements cluster.Local.
func (l clusterLocal) Boundary(ctx context.Context) (uint64, error) { return l.db.Boundary(ctx) }

// Shed implements cluster.Local.
func (l clusterLocal) Shed(ctx context.Context, tokens model.TokenSet, mark uint64) error {
	return l.db.Shed(ctx, tokens, mark)
}

// Select implements cluster.Local.
func (l clusterLocal) Select(ctx context.Context, mint, maxt int64, ms ...*labels.Matcher) (cluster.Selection, error) {
	sel, err := l.db.Select(ctx, mint, maxt, ms...)
	if err != nil {
		return nil, fmt.Errorf("select series: %w", err)
	}
	return sel.WithVersions(), nil
}

// Tombstones implements cluster.Local.
func (l clusterLocal) Tombstones(mint, maxt int64) []model.Tombstone {
	return l.db.Tombstones(mint, maxt)
}

// SetFloor implements cluster.Local.
func (l clusterLocal) SetFloor(v model.Version, from int64) { l.db.SetFloor(v, from) }

// Purge implements cluster.Local.
func (l clusterLocal) Purge(ctx context.Context, v model.Version, from int64) error {
	return l.db.Purge(ctx, v, from)
}

// KeptFrom implements cluster.Local.
func (l clusterLocal) KeptFrom() int64 { return l.db.KeptFrom() }

// Lost implements cluster.Local.
func (l clusterLocal) Lost() (number uint64, mint, maxt int64) {
	lost := l.db.Lost()
	return lost.Number, lost.MinT, lost.MaxT
}

// Refilled implements cluster.Local.
func (l clusterLocal) Refilled(number uint64, complete bool) error {
	return l.db.Refilled(number, complete)
}

// Windows implements cluster.Local.
func (l clusterLocal) Windows() []int64 { return l.db.Windows() }

// LabelNames implements cluster.Local.
func (l clusterLocal) LabelNames(ctx context.Context, mint, maxt int64, limit int, ms ...*labels.Matcher) ([]string, error) {
	return l.db.LabelNames(ctx, mint, maxt, limit, ms...)
}

// LabelValues implements cluster.Local.
func (l clusterLocal) LabelValues(ctx context.Context, name string, mint, maxt int64, limit int, ms ...*labels.Matcher) ([]string, error) {
	return l.db.LabelValues(ctx, name, mint, maxt, limit, ms...)
}

// Exemplars implements cluster.Local.
func (l clusterLocal) Exemplars(ctx context.Context, mint, maxt int64, sets ...[]*labels.Matcher) ([]cluster.ExemplarSeries, error) {
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
func (l clusterLocal) Metadata(family string, limit int) []model.Metadata {
	return l.db.Metadata(family, limit)
}

// compareHistograms is the engine's order of histograms of equal versions.
func compareHistograms(a, b *model.HistogramPoint) int {
	return version.Compare(version.OfHistogram(a), version.OfHistogram(b))
}

// ClusterLocal returns the storage as a cluster needs it: for tests that put
// nodes together by themselves.
func ClusterLocal(db *engine.DB) cluster.Local { return clusterLocal{db} }
