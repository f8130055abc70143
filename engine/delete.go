package engine

import (
	"context"
	"fmt"
	"slices"

	"github.com/go-kit/log/level"

	"github.com/count-db/count/engine/manifest"
	"github.com/count-db/count/internal/model"
)

// Delete stores tombstones, all or none: samples of the matched series in the
// range of one with a version below its own are gone, whenever they arrive (V3).
// One that is there already is not stored again. Without
// Options.Versions the version is the moment of arrival: what was acknowledged
// before the call is deleted, what arrives after it returned is not.
func (db *DB) Delete(ctx context.Context, ts ...model.Tombstone) error {
	if err := db.usable(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	db.flushing.Lock()
	defer db.flushing.Unlock()
	if !db.opts.Versions {
		// From here on files are older than the delete, and the buffer younger.
		if err := db.flushLocked(); err != nil {
			return fmt.Errorf("flush before a delete: %w", err)
		}
	}
	ts = slices.Clone(ts)
	highest := model.Version(0)
	for i := range ts {
		if ts[i].Version == 0 {
			ts[i].Version = db.clock.Now()
		}
		highest = max(highest, ts[i].Version)
	}
	db.clock.Observe(highest)
	added, err := db.addTombstones(ts)
	if err != nil {
		return err
	}
	if db.opts.Versions {
		db.registry.RaiseVersionFloor(highest)
	}
	db.counters.deletes.Add(uint64(added))
	return nil
}

// addTombstones makes those durable and visible that are not there yet.
func (db *DB) addTombstones(ts []model.Tombstone) (added int, err error) {
	db.install.Lock()
	defer db.install.Unlock()
	next := db.views.current.clone()
	all := slices.Clone(next.tombs)
	for _, t := range ts {
		all = append(all, tombstone{Tombstone: t, seq: db.manifest.NewID()})
	}
	all = distinct(all)
	if added = len(all) - len(next.tombs); added == 0 {
		return 0, nil
	}
	next.tombs = all
	if err := db.installTombstones(next); err != nil {
		return 0, err
	}
	for i := range ts {
		db.mutations.between(ts[i].MinT, ts[i].MaxT)
	}
	return added, nil
}

// installTombstones makes the tombstones of next durable and then visible; the
// caller holds install.
func (db *DB) installTombstones(next *view) error {
	if err := writeTombstones(db.fs, db.dir, next.tombs); err != nil {
		return fmt.Errorf("store a delete: %w", err)
	}
	if err := db.views.replace(next, nil); err != nil {
		db.warn("close files that nothing reads any more", err)
	}
	return nil
}

// CleanTombstones works all deletes into the files, and forgets those that
// nothing needs any more. With Options.Versions a delete stays until it is settled
// (SetFloor): it is for what arrives later, too.
func (db *DB) CleanTombstones(ctx context.Context) error {
	if err := db.usable(); err != nil {
		return err
	}
	if err := db.flushBuffer(); err != nil {
		return err
	}
	if err := db.cleanFiles(ctx); err != nil {
		return err
	}
	return db.maintain(ctx, newWork())
}

// cleanFiles rewrites every file that a delete reaches.
func (db *DB) cleanFiles(ctx context.Context) error {
	db.maintenance.Lock()
	defer db.maintenance.Unlock()
	for range maxJobs {
		if err := ctx.Err(); err != nil {
			return err
		}
		more, err := db.cleanNext()
		if err != nil || !more {
			return err
		}
	}
	return fmt.Errorf("cleaning does not come to an end after %d files", maxJobs)
}

func (db *DB) cleanNext() (more bool, err error) {
	v, ok := db.acquireWork()
	if !ok {
		return false, ErrClosed
	}
	defer func() {
		if err := db.views.release(v.view); err != nil {
			db.warn("close files that nothing reads any more", err)
		}
	}()
	for _, f := range v.files {
		windows := f.windowsCutBy(v.tombs)
		if len(windows) == 0 && !(db.opts.Versions && db.flushedUnder(v.tombs, f)) {
			continue
		}
		if f.Kind == manifest.Wide {
			return true, db.mergeWide(v, []*liveFile{f})
		}
		return true, db.cleanFile(v, f, windows[0])
	}
	return false, nil
}

// forgetTombstones drops deletes that are worked into all files they reach.
// Without versions whatever arrives from now on is younger than they are.
func (db *DB) forgetTombstones() error {
	if db.opts.Versions {
		return db.forgetSettled()
	}
	db.flushing.Lock() // a frozen buffer is older than some
	defer db.flushing.Unlock()
	if db.frozen != nil {
		return nil
	}
	db.install.Lock()
	defer db.install.Unlock()
	current := db.views.current
	next := current.clone()
	next.tombs = slices.DeleteFunc(slices.Clone(current.tombs), func(t tombstone) bool {
		return !slices.ContainsFunc(current.files, func(f *liveFile) bool {
			return len(f.windowsCutBy([]tombstone{t})) > 0
		})
	})
	if n := len(current.tombs) - len(next.tombs); n > 0 {
		level.Debug(db.opts.Logger).Log("msg", "deletes are worked into all files", "deletes", n)
		return db.installTombstones(next)
	}
	return nil
}
