package engine

import (
	"errors"

	"github.com/count-db/count/engine/registry"
	"github.com/count-db/count/engine/wal"
)

// Errors that callers decide on; everything else is wrapped with what was
// being done.
var (
	// ErrClosed is returned by every call on a DB that was closed.
	ErrClosed = errors.New("storage is closed")
	// ErrFailed marks a storage that stopped: a write or sync of the log failed,
	// so what the disk holds is unknown. It stays until the process restarts.
	ErrFailed = errors.New("storage has stopped after an error")
	// ErrOverloaded is returned by Append when flushing cannot keep up and the
	// buffer is full; the write may be retried as it is.
	ErrOverloaded = errors.New("storage is overloaded: flushing cannot keep up")
	// ErrDiskFull is returned by Append while less than Options.DiskReserve is free;
	// nothing was stored, and the write may be retried as it is.
	ErrDiskFull = errors.New("the disk is nearly full")
	// ErrUnknownRef is returned by Append when a reference of the batch names no
	// series any more: intern its labels again; nothing was stored.
	ErrUnknownRef = registry.ErrUnknownRef
	// ErrSeriesLimit is returned when a new series would pass Options.MaxSeries.
	ErrSeriesLimit = registry.ErrLimit
	// ErrTooLarge is returned by Append for a batch with one sample or label set
	// that is too large for a record of the log; nothing was stored.
	ErrTooLarge = wal.ErrRecordTooLarge
	// ErrSnapshotExists is returned by Snapshot when its directory is there.
	ErrSnapshotExists = errors.New("snapshot directory exists")
)
