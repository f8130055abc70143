package engine

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/go-kit/log/level"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/engine/file"
	"github.com/count-db/count/engine/manifest"
	"github.com/count-db/count/engine/plan"
	"github.com/count-db/count/engine/registry"
	"github.com/count-db/count/engine/version"
	"github.com/count-db/count/engine/wal"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/vfs"
)

// DB is the storage of one node. All methods are safe for concurrent use.
//
// Locks, in the order in which they are taken: maintenance (one job on files
// at a time), flushing (one flush at a time), epoch, arrival, install, views.mu.
type DB struct {
	fs       vfs.FS
	dir      string
	opts     Options
	limits   plan.Limits
	identity Identity
	dirLock  io.Closer

	registry  *registry.Registry
	clock     *version.Clock
	log       *wal.WAL
	metadata  *metadataStore
	exemplars *exemplarRing
	scratch   *sync.Pool // of *appendScratch

	// epoch is held shared while a batch goes into log and buffer, and alone
	// while the buffer is frozen and the log cut: both see the same batches.
	epoch  sync.RWMutex
	active *epochBuffer // guarded by epoch
	// arrival keeps the order of batches in the log and in the buffer the same,
	// where the order is what decides (no Options.Versions). Held within epoch.
	arrival   sync.Mutex
	maxRecord int // bytes of a log record
	// epochStart is when the first sample came since the last freeze, ms; 0 = none
	// came.
	epochStart atomic.Int64

	// install guards the change of the live set: manifest, tombstones and view.
	install  sync.Mutex
	manifest *manifest.Manifest
	views    viewHolder
	// columnCache holds decoded timestamps of data files.
	columnCache *file.Cache

	// presenceDrops is raised before marks of presence are dropped: who took a
	// view before and looks at marks after looks again.
	presenceDrops atomic.Uint64

	maintenance sync.Mutex
	coldMarked  bool   // series are marked for eviction; guarded by maintenance
	coldSince   uint32 // epochs when they were
	flushing    sync.Mutex
	shedHeld    map[[2]uint64]bool // by ID of a file and shed.seq: the file holds some of it; guarded by maintenance
	frozen      *frozenEpoch       // a flush that is under way or failed; guarded by flushing
	epochs      atomic.Uint32      // buffers made so far
	bulks       atomic.Uint32      // buffers made for what came in bulk so far
	floor       atomic.Pointer[floor]
	deleteHeld  map[[2]uint64]bool // by ID of a file and tombstone.seq: the file has series that the delete names; guarded by maintenance
	lastBorn    atomic.Int64       // manifest.File.Born of the last flush
	background  background

	failed   atomic.Pointer[error]
	space    space // see Options.DiskReserve
	losses   losses
	closed   atomic.Bool
	counters counters
	// mutations tell a cache above what has changed.
	mutations mutations
	replay    ReplayStats
	// cutLog says that the log has what no replay can apply: it goes with the next
	// flush, also where that has no samples.
	cutLog atomic.Bool
}

// Registry returns the registry of series.
func (db *DB) Registry() *registry.Registry { return db.registry }

// Lookup returns the reference of a series that is known.
func (db *DB) Lookup(ls labels.Labels) (model.Ref, bool) { return db.registry.Lookup(ls) }

// Intern returns the reference of a series and makes one for a new series;
// ErrSeriesLimit when there are too many.
func (db *DB) Intern(ls labels.Labels) (model.Ref, error) {
	ref, _, err := db.registry.Intern(ls)
	return ref, err
}

// Labels returns the labels of a reference; empty when it was forgotten.
func (db *DB) Labels(ref model.Ref) labels.Labels { return db.registry.Labels(ref) }

// Identity returns which disk this is (C5).
func (db *DB) Identity() Identity {
	id := db.identity
	id.Gap = db.Lost().Number > 0
	return id
}

// Failed returns the error that stopped the storage, wrapping ErrFailed, or nil.
func (db *DB) Failed() error {
	if err := db.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// usable returns why nothing can be written: ErrClosed, or what Failed says.
func (db *DB) usable() error {
	if db.closed.Load() {
		return ErrClosed
	}
	return db.Failed()
}

// fail stops the storage for good: what the disk holds is unknown after err.
// It returns the error to hand on.
func (db *DB) fail(err error) error {
	if errors.Is(err, ErrFailed) {
		return err
	}
	wrapped := fmt.Errorf("%w: %w", ErrFailed, err)
	if db.failed.CompareAndSwap(nil, &wrapped) {
		level.Error(db.opts.Logger).Log("msg", "storage stopped: nothing is acknowledged until a restart", "err", err)
	}
	return wrapped
}

// warn logs an error that changes nothing for a caller.
func (db *DB) warn(msg string, err error) {
	level.Warn(db.opts.Logger).Log("msg", msg, "err", err)
}

// Close stops the background work, flushes the buffer and closes the files. A
// flush that fails loses nothing: the log is replayed at the next Open.
func (db *DB) Close() error {
	if !db.closed.CompareAndSwap(false, true) {
		return ErrClosed
	}
	db.background.stop()
	var errs []error
	if db.Failed() == nil {
		if err := db.flushBuffer(); err != nil {
			level.Warn(db.opts.Logger).Log("msg", "last flush failed, the log will be replayed", "err", err)
		}
	}
	errs = append(errs, db.log.Close(), db.registry.Close(), db.views.close(), db.dirLock.Close())
	return errors.Join(errs...)
}
