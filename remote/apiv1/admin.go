package apiv1

import (
	"context"
	"net/http"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb"

	"github.com/count-db/count/internal/model"
)

// Admin are the administrative operations on the data. All methods are safe
// for concurrent use.
type Admin interface {
	// Delete stores a tombstone for the samples of the matched series in
	// [mint, maxt], ms.
	Delete(ctx context.Context, mint, maxt int64, ms ...*labels.Matcher) error
	// CleanTombstones removes from the files what tombstones hide.
	CleanTombstones(ctx context.Context) error
	// Snapshot puts a copy of the data into dir, which exists and is empty.
	Snapshot(ctx context.Context, dir string) error
	// Flush writes the buffer to disk and seals every closed window.
	Flush(ctx context.Context) error
}

// MetadataReader tells what metric families are.
type MetadataReader interface {
	// Metadata returns the metadata of one family, or of all, sorted by name,
	// when it is empty. limit 0 = all.
	Metadata(ctx context.Context, family string, limit int) ([]model.Metadata, error)
}

// adminAdapter shows Admin as Prometheus's handlers want it.
type adminAdapter struct {
	admin  Admin
	status StatusReader
}

// Delete implements api.TSDBAdminStats. A selector without matchers, {}, selects
// nothing, as in Prometheus: elsewhere none means all.
func (a *adminAdapter) Delete(ctx context.Context, mint, maxt int64, ms ...*labels.Matcher) error {
	if len(ms) == 0 {
		return nil
	}
	return a.admin.Delete(ctx, mint, maxt, ms...)
}

// CleanTombstones implements api.TSDBAdminStats. Prometheus passes no context.
func (a *adminAdapter) CleanTombstones() error { return a.admin.CleanTombstones(context.Background()) }

// Snapshot implements api.TSDBAdminStats. The buffer is always part of it.
func (a *adminAdapter) Snapshot(dir string, _ bool) error {
	return a.admin.Snapshot(context.Background(), dir)
}

// Stats implements api.TSDBAdminStats.
func (a *adminAdapter) Stats(_ string, limit int) (*tsdb.Stats, error) {
	return tsdbStats(a.status, limit)
}

// WALReplayStatus implements api.TSDBAdminStats: requests are answered only
// after the replay.
func (*adminAdapter) WALReplayStatus() (tsdb.WALReplayStatus, error) {
	return tsdb.WALReplayStatus{}, nil
}

// BlockMetas implements api.TSDBAdminStats: Count has no blocks.
func (*adminAdapter) BlockMetas() ([]tsdb.BlockMeta, error) { return []tsdb.BlockMeta{}, nil }

// flushHandler answers 204 when the buffer is flushed and every closed window
// is sealed.
func flushHandler(a Admin, unavailable func(error) bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := a.Flush(r.Context()); err != nil {
			code, kind := http.StatusInternalServerError, "internal"
			if isUnavailable(unavailable, err) {
				code, kind = http.StatusServiceUnavailable, "unavailable"
			}
			failure(w, code, kind, "flush: "+err.Error())
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
}
