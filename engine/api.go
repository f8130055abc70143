package engine

import (
	"context"
	"errors"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/vfs"
)

var errNotYet = errors.New("engine: not built yet")

// AppendOptions tell Append what kind of write it is.
type AppendOptions struct {
	// Fresh marks a client's write, which must be above every version seen of
	// its series (V2); hints and repairs are not fresh.
	Fresh bool
}

// AppendResult is the outcome of an Append.
type AppendResult struct {
	// Stale is set when a fresh batch was not above the highest version seen of
	// one of its series: nothing was stored, the caller stamps it anew.
	Stale bool
	// Highest is the highest version seen of the batch's series (0 without
	// Options.Versions).
	Highest model.Version
}

// SeriesExemplars are the exemplars of one series, ascending by timestamp.
type SeriesExemplars struct {
	Labels    labels.Labels
	Exemplars []model.Exemplar
}

// DB is the storage of one node. All methods are safe for concurrent use.
type DB struct{}

// Open opens the data directory dir, made when missing, and locks it.
func Open(fs vfs.FS, dir string, opts Options) (*DB, error) { return nil, errNotYet }

// Close flushes and closes.
func (db *DB) Close() error { return errNotYet }

// Lookup returns the reference of a series that is known.
func (db *DB) Lookup(ls labels.Labels) (model.Ref, bool) { return 0, false }

// Intern returns the reference of a series and makes one for a new series;
// ErrSeriesLimit when there are too many.
func (db *DB) Intern(ls labels.Labels) (model.Ref, error) { return 0, errNotYet }

// Labels returns the labels of a reference; empty when it was forgotten.
func (db *DB) Labels(ref model.Ref) labels.Labels { return labels.EmptyLabels() }

// Append stores a batch; when it returns nil the batch is durable by the
// policy of Options.Sync. The batch belongs to the caller again.
func (db *DB) Append(ctx context.Context, b *model.Batch, opts AppendOptions) (AppendResult, error) {
	return AppendResult{}, errNotYet
}

// Select returns the series that match and may have samples in [mint, maxt] (ms, inclusive).
func (db *DB) Select(ctx context.Context, mint, maxt int64, ms ...*labels.Matcher) (*Selection, error) {
	return nil, errNotYet
}

// LabelNames returns the sorted label names of the matching series with data in the range; limit 0 = all.
func (db *DB) LabelNames(ctx context.Context, mint, maxt int64, limit int, ms ...*labels.Matcher) ([]string, error) {
	return nil, errNotYet
}

// LabelValues returns the sorted values of a label of the matching series with data in the range; limit 0 = all.
func (db *DB) LabelValues(ctx context.Context, name string, mint, maxt int64, limit int, ms ...*labels.Matcher) ([]string, error) {
	return nil, errNotYet
}

// Exemplars returns the exemplars of the series that match one of the matcher sets.
func (db *DB) Exemplars(ctx context.Context, mint, maxt int64, ms ...[]*labels.Matcher) ([]SeriesExemplars, error) {
	return nil, errNotYet
}

// Metadata returns the metadata of a family, or of all when it is empty; limit 0 = all.
func (db *DB) Metadata(family string, limit int) []model.Metadata { return nil }

// Delete stores a tombstone: samples of the matched series in its range with a
// version below its own are gone, whenever they arrive (V3). Without
// Options.Versions its version is the moment of arrival.
func (db *DB) Delete(ctx context.Context, t model.Tombstone) error { return errNotYet }

// Flush writes the buffer to a file and seals every closed window; all that is
// done when it returns.
func (db *DB) Flush(ctx context.Context) error { return errNotYet }

// CleanTombstones rewrites what tombstones hide.
func (db *DB) CleanTombstones(ctx context.Context) error { return errNotYet }

// Snapshot makes dir a data directory with the content of now, by hard links.
func (db *DB) Snapshot(ctx context.Context, dir string) error { return errNotYet }

// Stats returns counters and gauges.
func (db *DB) Stats() Stats { return Stats{} }

// Identity returns which disk this is.
func (db *DB) Identity() Identity { return Identity{} }

// Failed returns the error that stopped the storage, wrapping ErrFailed, or nil.
func (db *DB) Failed() error { return nil }

// Selection is what Select found: series sorted by labels over one atomic
// snapshot of the storage (E4). Close it; Read must not be called after.
type Selection struct{}

// Len returns the number of series.
func (s *Selection) Len() int { return 0 }

// Ref returns the reference of series i; 0 when only an old file names it.
func (s *Selection) Ref(i int) model.Ref { return 0 }

// ID returns the id of series i.
func (s *Selection) ID(i int) model.SeriesID { return model.SeriesID{} }

// Labels returns the labels of series i.
func (s *Selection) Labels(i int) labels.Labels { return labels.EmptyLabels() }

// Read resets dst and reads the samples of series i in [mint, maxt] (ms,
// inclusive) into it. Safe concurrently with distinct dst.
func (s *Selection) Read(i int, mint, maxt int64, dst *model.Columns) error { return errNotYet }

// Close releases the snapshot.
func (s *Selection) Close() {}
