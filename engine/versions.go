package engine

import (
	"fmt"

	"github.com/count-db/count/engine/manifest"
	"github.com/count-db/count/engine/version"
	"github.com/count-db/count/internal/model"
)

// Clock returns the clock that stamps writes (V1). It stands above every
// version in the log and in the files.
func (db *DB) Clock() *version.Clock { return db.clock }

// Versioned says whether the versions of samples are kept: Options.Versions, or
// a directory that was opened with them once. Batches then need a version.
func (db *DB) Versioned() bool { return db.opts.Versions }

// keepVersions makes a directory that has versions go on with them, and one that
// begins to have them remember it: what a delete reaches, and which of two
// samples is the later one, nobody could tell without.
func (db *DB) keepVersions() error {
	if db.manifest.State().Mark > 0 {
		db.opts.Versions = true
		return nil
	}
	if !db.opts.Versions {
		return nil
	}
	err := db.manifest.Update(func(s *manifest.State) error {
		s.Mark = 1 // below every version
		return nil
	})
	if err != nil {
		return fmt.Errorf("note that there are versions: %w", err)
	}
	return nil
}

// RaiseVersions makes every series count as having seen the version, so that
// fresh writes at or below it are answered stale (V2).
func (db *DB) RaiseVersions(v model.Version) {
	db.clock.Observe(v)
	db.registry.RaiseVersionFloor(v)
}

// Tombstones returns the deletes that overlap [mint, maxt] (ms, inclusive), but
// for purges: these are this node's own.
func (db *DB) Tombstones(mint, maxt int64) []model.Tombstone {
	v := db.views.acquire()
	if v == nil {
		return nil
	}
	var out []model.Tombstone
	for i := range v.tombs {
		if t := &v.tombs[i]; t.MinT <= maxt && t.MaxT >= mint && !t.isPurge() {
			out = append(out, t.Tombstone)
		}
	}
	// What release may fail to close was only read.
	_ = db.views.release(v)
	return out
}
