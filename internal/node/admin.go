package node

import (
	"context"
	"fmt"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/engine"
	"github.com/count-db/count/internal/caller"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/telemetry"
	"github.com/count-db/count/internal/vfs"
)

// localAdmin are the administrative operations on this node's own storage.
type localAdmin struct {
	db *engine.DB
	fs vfs.FS
}

// Delete implements apiv1.Admin.
func (a *localAdmin) Delete(ctx context.Context, mint, maxt int64, ms ...*labels.Matcher) error {
	if caller.GaveUp(ctx) {
		return errGivenUp
	}
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

// audited writes a line of the log for every administrative operation: who
// asked is found by its request_id in the access log.
type audited struct {
	administration
	logger log.Logger
}

// Delete implements apiv1.Admin.
func (a *audited) Delete(ctx context.Context, mint, maxt int64, ms ...*labels.Matcher) error {
	err := a.administration.Delete(ctx, mint, maxt, ms...)
	return a.note(ctx, "delete_series", err, "matchers", fmt.Sprint(ms), "mint", mint, "maxt", maxt)
}

// CleanTombstones implements apiv1.Admin.
func (a *audited) CleanTombstones(ctx context.Context) error {
	return a.note(ctx, "clean_tombstones", a.administration.CleanTombstones(ctx))
}

// Snapshot implements apiv1.Admin.
func (a *audited) Snapshot(ctx context.Context, dir string) error {
	return a.note(ctx, "snapshot", a.administration.Snapshot(ctx, dir), "dir", dir)
}

// Flush implements apiv1.Admin.
func (a *audited) Flush(ctx context.Context) error {
	return a.note(ctx, "flush", a.administration.Flush(ctx))
}

func (a *audited) note(ctx context.Context, action string, err error, more ...any) error {
	outcome := "done"
	if err != nil {
		outcome = err.Error()
	}
	level.Info(telemetry.Logger(ctx, a.logger)).Log(append([]any{"msg", "audit", "action", action, "outcome", outcome}, more...)...)
	return err
}
