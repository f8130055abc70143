package engine

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/go-kit/log/level"

	"github.com/count-db/count/engine/file"
	"github.com/count-db/count/engine/manifest"
	"github.com/count-db/count/internal/model"
)

// A floor says what is settled (V4): samples at or below a version, and not
// before a time, count as written at that version. Whoever sets it knows that
// nothing below it arrives any more. Files that are written from then on have one
// version for all of them, which takes next to no room, and deletes at or below it
// are forgotten once they are worked into the files.

// floor is what is settled.
type floor struct {
	version model.Version
	from    int64 // ms
	// epoch is the newest buffer that may hold what came before.
	epoch uint32
}

// SetFloor says that what is at or below the version, and not before from (ms),
// is settled; 0 takes it back. It is not kept across restarts.
func (db *DB) SetFloor(v model.Version, from int64) {
	// A buffer that takes samples now is of this epoch or an earlier one.
	db.epoch.Lock()
	defer db.epoch.Unlock()
	if v == 0 {
		db.floor.Store(nil)
		return
	}
	db.clock.Observe(v)
	db.floor.Store(&floor{version: v, from: from, epoch: db.epochs.Load()})
}

// Floor returns the version of the floor; 0 where none is set.
func (db *DB) Floor() model.Version {
	if f := db.floor.Load(); f != nil {
		return f.version
	}
	return 0
}

// Purge hides all that is stored below the version and not before from (ms), now
// or later, on this node alone: what is settled elsewhere and is not there is gone.
// It is durable when it returns nil.
func (db *DB) Purge(ctx context.Context, v model.Version, from int64) error {
	return db.Delete(ctx, model.Tombstone{Version: v, MinT: from, MaxT: math.MaxInt64})
}

// isPurge says whether a tombstone is a Purge: it has no matchers, which no
// delete of a client lacks.
func (t *tombstone) isPurge() bool { return len(t.Matchers) == 0 }

// KeptFrom returns the time (ms) from which on nothing is dropped by the
// retention; 0 without one.
func (db *DB) KeptFrom() int64 {
	const day = int64(24 * time.Hour / time.Millisecond)
	from := int64(0)
	if r := db.opts.Retention.Milliseconds(); r > 0 {
		from = (db.opts.Now().UnixMilli()-r)/day*day + 2*day
	}
	if held := db.Windows(); db.opts.RetentionBytes > 0 && len(held) > 0 {
		from = max(from, held[0]*db.limits.Window+day)
	}
	return max(from, 0)
}

// settle gives samples that are settled the version of the floor; see settledIn.
func (f *floor) settle(c *model.Columns) {
	if f == nil {
		return
	}
	for i, v := range c.Ver {
		if v != 0 && v <= f.version && c.T[i] >= f.from {
			c.Ver[i] = f.version
		}
	}
	for i := range c.Hist {
		if p := &c.Hist[i]; p.Ver != 0 && p.Ver <= f.version && p.T >= f.from {
			p.Ver = f.version
		}
	}
}

// settledIn returns the floor where files that are written from the inputs may
// give a window the floor's version, else nil: nothing else may hold samples of
// the window at or below it, because between two of one timestamp their own
// versions decide.
func (db *DB) settledIn(v *view, inputs []*liveFile, window int64) *floor {
	f := db.floor.Load()
	if f == nil || window*db.limits.Window < f.from {
		return nil
	}
	for _, lf := range v.files {
		if lf.MinVersion > f.version || lf.isDead(window) || slices.Contains(inputs, lf) {
			continue
		}
		if slices.ContainsFunc(lf.reader.Info().Windows, func(w file.WindowInfo) bool { return w.Window == window }) {
			return nil
		}
	}
	for _, b := range []*epochBuffer{v.frozen, v.active} {
		if b != nil && b.number <= f.epoch && b.windows.has(window) {
			return nil
		}
	}
	for _, b := range v.bulks {
		if b.windows.has(window) {
			return nil
		}
	}
	return f
}

// settledParts returns, for the building of a day, the version that a chunk of
// the inputs is settled at; 0 where its own versions stay.
func (db *DB) settledParts(v *view, inputs []*liveFile) func(*file.Chunk) model.Version {
	known := map[int64]*floor{}
	return func(c *file.Chunk) model.Version {
		f, ok := known[c.Window]
		if !ok {
			f = db.settledIn(v, inputs, c.Window)
			known[c.Window] = f
		}
		if f == nil || c.MinVersion == 0 || c.MinVersion == c.MaxVersion || c.MaxVersion > f.version {
			return 0
		}
		return f.version
	}
}

// forgetSettled drops the deletes that are settled and worked into all files.
// The caller holds maintenance.
func (db *DB) forgetSettled() error {
	f := db.floor.Load()
	if f == nil {
		return nil
	}
	db.flushing.Lock()
	defer db.flushing.Unlock()
	if db.frozen != nil || !db.bufferIsAbove(f) {
		return nil // what came before the floor is not in files yet
	}
	kept := db.KeptFrom()
	db.install.Lock()
	defer db.install.Unlock()
	current := db.views.current
	if len(current.bulks) > 0 {
		return nil // what is in them, too
	}
	done := func(t tombstone) bool {
		if t.Version > f.version || max(t.MinT, kept, 0) < f.from {
			return false
		}
		return !slices.ContainsFunc(current.files, func(lf *liveFile) bool { return db.mayReach(&t, lf) })
	}
	next := current.clone()
	next.tombs = slices.DeleteFunc(slices.Clone(current.tombs), done)
	n := len(current.tombs) - len(next.tombs)
	if n == 0 {
		return nil
	}
	level.Info(db.opts.Logger).Log("msg", "deletes are settled and worked into all files", "deletes", n)
	return db.installTombstones(next)
}

// bufferIsAbove says whether the buffer can hold only what came after the floor
// was set; the caller holds flushing.
func (db *DB) bufferIsAbove(f *floor) bool {
	db.epoch.RLock()
	defer db.epoch.RUnlock()
	return db.epochs.Load() > f.epoch || db.active.Samples() == 0
}

// mayReach says whether a file may hold samples that a delete hides.
func (db *DB) mayReach(t *tombstone, f *liveFile) bool {
	overlaps := slices.ContainsFunc(f.reader.Info().Windows, func(w file.WindowInfo) bool {
		return !f.isDead(w.Window) && t.MinT <= w.MaxT && t.MaxT >= w.MinT
	})
	switch raw := f.Kind == manifest.Wide && f.Arrival == f.ID; {
	case !overlaps, f.MinVersion != 0 && f.MinVersion >= t.Version:
		return false
	case f.ID < t.seq:
		return db.holdsMatching(t, f)
	case raw && f.MaxVersion != 0:
		return db.holdsMatching(t, f) // a flush takes nothing out
	}
	return false
}

// flushedUnder says whether a flush wrote a file that still holds what deletes of
// before it hide. The caller holds maintenance.
func (db *DB) flushedUnder(tombs []tombstone, f *liveFile) bool {
	if f.Kind != manifest.Wide || f.Arrival != f.ID {
		return false
	}
	return slices.ContainsFunc(tombs, func(t tombstone) bool { return t.seq < f.ID && db.mayReach(&t, f) })
}

// holdsMatching says whether a file has series that a delete names.
func (db *DB) holdsMatching(t *tombstone, f *liveFile) bool {
	key := [2]uint64{f.ID, t.seq}
	held, known := db.deleteHeld[key]
	if known {
		return held
	}
	for i := 0; i < f.reader.Len() && !held; i++ {
		if f.day == nil {
			held = t.Matches(db.registry.Labels(f.reader.Ref(i)))
			continue
		}
		ls, err := f.day.Labels(i)
		held = err != nil || t.Matches(ls) // what cannot be read may be one
	}
	if db.deleteHeld == nil || len(db.deleteHeld) > maxDeleteHeld {
		db.deleteHeld = map[[2]uint64]bool{}
	}
	db.deleteHeld[key] = held
	return held
}

// maxDeleteHeld bounds what is remembered of which deletes name series of which
// files.
const maxDeleteHeld = 100_000
