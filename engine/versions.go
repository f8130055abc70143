package engine

import (
	"github.com/count-db/count/engine/version"
	"github.com/count-db/count/internal/model"
)

// Clock returns the clock that stamps writes (V1). It stands above every
// version in the log and in the files.
func (db *DB) Clock() *version.Clock { return db.clock }

// RaiseVersions makes every series count as having seen the version, so that
// fresh writes at or below it are answered stale (V2).
func (db *DB) RaiseVersions(v model.Version) {
	db.clock.Observe(v)
	db.registry.RaiseVersionFloor(v)
}

// Tombstones returns the deletes that overlap [mint, maxt] (ms, inclusive).
func (db *DB) Tombstones(mint, maxt int64) []model.Tombstone {
	v := db.views.acquire()
	if v == nil {
		return nil
	}
	var out []model.Tombstone
	for i := range v.tombs {
		if t := &v.tombs[i]; t.MinT <= maxt && t.MaxT >= mint {
			out = append(out, t.Tombstone)
		}
	}
	// What release may fail to close was only read.
	_ = db.views.release(v)
	return out
}
