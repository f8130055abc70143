package engine

import (
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/go-kit/log/level"

	"github.com/count-db/count/engine/buffer"
	"github.com/count-db/count/internal/model"
)

// tidy forgets what nothing needs any more: deletes that are worked in, marks of
// presence, and series that only sealed days name. The caller holds
// maintenance.
func (db *DB) tidy() error {
	if err := db.forgetTombstones(); err != nil {
		return err
	}
	v := db.views.acquire()
	if v == nil {
		return ErrClosed
	}
	defer func() {
		if err := db.views.release(v); err != nil {
			db.warn("close files that nothing reads any more", err)
		}
	}()
	db.dropPresence(v)
	db.evict(v)
	return nil
}

// dropPresence forgets the marks of windows that only day files hold.
func (db *DB) dropPresence(v *view) {
	held := map[int64]bool{}
	for _, f := range v.files {
		if f.day != nil {
			continue
		}
		for _, w := range f.reader.Info().Windows {
			held[w.Window] = held[w.Window] || !f.isDead(w.Window)
		}
	}
	// No batch may come in between looking and forgetting.
	db.epoch.Lock()
	defer db.epoch.Unlock()
	if db.active != v.active || !db.sameBulks(v) {
		return // the buffer in between may be in a file that v does not know: next time
	}
	inBulk := func(window int64) bool {
		return slices.ContainsFunc(v.bulks, func(b *epochBuffer) bool { return b.windows.has(window) })
	}
	for _, window := range db.registry.PresentWindows() {
		if held[window] || v.active.windows.has(window) || inBulk(window) {
			continue
		}
		if v.frozen != nil && v.frozen.windows.has(window) {
			continue
		}
		db.presenceDrops.Add(1)
		db.registry.DropPresence(window)
	}
}

// sameBulks says whether the bulk buffers of a view are still those in use.
func (db *DB) sameBulks(v *view) bool {
	db.install.Lock()
	defer db.install.Unlock()
	return db.views.current != nil && slices.Equal(db.views.current.bulks, v.bulks)
}

// evict forgets series that no open window, buffer, file or exemplar names, in
// two halves with a freeze between them.
func (db *DB) evict(v *view) {
	var broad []*liveFile
	for _, f := range v.files {
		if f.isBroad() {
			broad = append(broad, f)
		}
	}
	// Asked first: what writes left that the freeze has waited for is looked at
	// below. Series that get samples from here on are no longer cold.
	frozen := db.coldMarked && db.epochs.Load() > db.coldSince
	present := db.registry.PresentAnywhere()
	keep := func(ref model.Ref) bool {
		if present(ref) || db.exemplars.holds(ref) {
			return true
		}
		return slices.ContainsFunc(broad, func(f *liveFile) bool {
			_, ok := f.reader.Find(ref)
			return ok
		})
	}
	if frozen {
		db.coldMarked = false
		if db.opts.Versions {
			// What the series have seen goes with them (V2).
			db.registry.RaiseVersionFloor(db.clock.Last())
		}
		if n := db.registry.RemoveCold(keep); n > 0 {
			level.Debug(db.opts.Logger).Log("msg", "forgot series that only sealed days hold", "series", n)
		}
	}
	if !db.coldMarked && db.registry.MarkCold(keep) > 0 {
		// A freeze from here on waits for the writes that took a series before it
		// was marked; a flush that is under way now froze before.
		db.coldMarked, db.coldSince = true, db.epochs.Load()
	}
}

// epochBuffer is the buffer of a flush epoch and the windows it has samples of.
type epochBuffer struct {
	*buffer.Buffer
	windows *windowSet
	number  uint32 // of the epoch
}

// windowSet is a set of windows that only grows.
type windowSet struct {
	last atomic.Int64 // the window added last
	mu   sync.RWMutex
	set  map[int64]struct{}
}

func newWindowSet() *windowSet {
	s := &windowSet{set: map[int64]struct{}{}}
	s.last.Store(math.MinInt64)
	return s
}

func (s *windowSet) add(window int64) {
	if s.last.Load() == window {
		return
	}
	s.mu.Lock()
	s.set[window] = struct{}{}
	s.mu.Unlock()
	s.last.Store(window)
}

func (s *windowSet) has(window int64) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	_, ok := s.set[window]
	return ok
}
