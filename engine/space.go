package engine

import (
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/go-kit/log/level"
)

// space is what is known of the disk's free space.
type space struct {
	full atomic.Bool // less than the reserve is free
	// logBound is the length of the log at which to flush on a disk that is small:
	// with more, file and log would not fit beside one another.
	logBound atomic.Int64
	logged   atomic.Int64 // bytes since the last look
	lookAt   atomic.Int64 // such bytes that are worth a look
}

const (
	// spaceEvery is the longest time between two looks at the free space.
	spaceEvery = time.Second
	// mostReserve and reserveShare make the default of Options.DiskReserve.
	mostReserve  = 128 << 20
	reserveShare = 20
	// leastLogBound keeps a disk that is nearly full from a flush for every write.
	leastLogBound = 1 << 20
)

// reserve returns how many bytes have to stay free on a disk of that size.
func (db *DB) reserve(total uint64) uint64 {
	switch r := db.opts.DiskReserve; {
	case r < 0:
		return 0
	case r > 0:
		return uint64(r)
	}
	return min(total/reserveShare, mostReserve)
}

// lookAtSpace compares the free space with the reserve. A disk whose space
// cannot be told counts as one with room.
func (db *DB) lookAtSpace() {
	s := &db.space
	s.logged.Store(0)
	s.logBound.CompareAndSwap(0, math.MaxInt64)
	s.lookAt.CompareAndSwap(0, math.MaxInt64)
	free, total, err := db.fs.DiskUsage(db.dir)
	if err != nil {
		level.Debug(db.opts.Logger).Log("msg", "the free space of the disk is not known", "err", err)
		return
	}
	reserve := db.reserve(total)
	s.logBound.Store(max(int64(min(free, math.MaxInt64)-min(free, reserve))/2, leastLogBound))
	s.lookAt.Store(int64(max(reserve/8, 1)))
	switch full := s.full.Load(); {
	case !full && free < reserve:
		s.full.Store(true)
		level.Error(db.opts.Logger).Log("msg", "the disk is nearly full: writes are refused until there is room", "free", free, "reserve", reserve)
		db.wakeFlusher() // the log makes room when it is dropped
	case full && free >= reserve+reserve/8: // not in and out with every file
		s.full.Store(false)
		level.Info(db.opts.Logger).Log("msg", "the disk has room again: writes are taken", "free", free, "reserve", reserve)
	}
}

// willLog says that so many bytes are about to be logged: a fast writer fills a
// small disk between two looks.
func (db *DB) willLog(bytes int) {
	if db.space.logged.Add(int64(bytes)) >= db.space.lookAt.Load() {
		db.lookAtSpace()
	}
}

// roomFor says whether a job that writes about so many bytes leaves the
// reserve alone.
func (db *DB) roomFor(bytes int64) error {
	free, total, err := db.fs.DiskUsage(db.dir)
	if err != nil {
		return nil //nolint:nilerr // as in lookAtSpace: the job finds out
	}
	if reserve := db.reserve(total); reserve > 0 && free < reserve+uint64(bytes) {
		return fmt.Errorf("%w: %d bytes free, %d wanted besides a reserve of %d", ErrDiskFull, free, bytes, reserve)
	}
	return nil
}
