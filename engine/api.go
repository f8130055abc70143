package engine

import (
	"context"
	"errors"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/internal/model"
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

// Delete stores a tombstone: samples of the matched series in its range with a
// version below its own are gone, whenever they arrive (V3). Without
// Options.Versions its version is the moment of arrival.
func (db *DB) Delete(ctx context.Context, t model.Tombstone) error { return errNotYet }

// Flush writes the buffer to a file and seals every closed window; all that is
// done when it returns.
func (db *DB) Flush(ctx context.Context) error { return nil }

// CleanTombstones rewrites what tombstones hide.
func (db *DB) CleanTombstones(ctx context.Context) error { return errNotYet }

// Snapshot makes dir a data directory with the content of now, by hard links.
func (db *DB) Snapshot(ctx context.Context, dir string) error { return errNotYet }

// Stats returns counters and gauges.
func (db *DB) Stats() Stats {
	return Stats{Series: db.registry.Len(), Replay: db.replay, Failed: db.Failed() != nil}
}

func (db *DB) flushBuffer() error                             { return nil }
func (db *DB) maintain(ctx context.Context, force bool) error { return nil }
func (db *DB) wantsFlush() bool                               { return false }
func (db *DB) full() bool                                     { return false }

type liveFile struct{ *fileHandle }
type fileHandle struct{ refs int }

func closeFiles([]*fileHandle) error { return nil }

type readScratch struct {
	merger merger
	run    model.Columns
	spans  []span
}

// Maintain does what is due: merges, seals, builds days, drops what is beyond
// the retention.
func (db *DB) Maintain(ctx context.Context) error { return nil }
