package node

import (
	"context"
	"fmt"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/engine"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/vfs"
)

// localAdmin are the administrative operations on this node's own storage.
type localAdmin struct {
	db *engine.DB
	fs vfs.FS
}

// Delete implements apiv1.Admin.
func (a *localAdmin) Delete(ctx context.Context, mint, maxt int64, ms ...*labels.Matcher) error {
	return a.db.Delete(ctx, model.Tombstone{MinT: mint, MaxT: maxt, Matchers: ms})
}

// CleanTombstones implements apiv1.Admin.
func (a *localAdmin) CleanTombstones(ctx context.Context) error { return a.db.CleanTombstones(ctx) }

// Flush implements apiv1.Admin.
func (a *localAdmin) Flush(ctx context.Context) error { return a.db.Flush(ctx) }

// Snapshot implements apiv1.Admin. The storage makes the directory by itself.
func (a *localAdmin) Snapshot(ctx context.Context, dir string) error {
	if err := a.fs.Remove(dir); err != nil {
		return fmt.Errorf("make room for the snapshot: %w", err)
	}
	return a.db.Snapshot(ctx, dir)
}

// Metadata implements apiv1.MetadataReader.
func (a *localAdmin) Metadata(_ context.Context, family string, limit int) ([]model.Metadata, error) {
	return a.db.Metadata(family, limit), nil
}
