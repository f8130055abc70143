package engine

import (
	"maps"
	"slices"
)

// Windows returns the windows (floor(t / Window)) that hold samples, in files
// or in memory: ascending. All samples of one of them may be deleted.
func (db *DB) Windows() []int64 {
	v := db.views.acquire()
	if v == nil {
		return nil
	}
	held := map[int64]bool{}
	for _, f := range v.files {
		for _, w := range f.reader.Info().Windows {
			if !f.isDead(w.Window) {
				held[w.Window] = true
			}
		}
	}
	for _, b := range []*epochBuffer{v.frozen, v.active} {
		if b != nil {
			b.windows.each(func(window int64) { held[window] = true })
		}
	}
	// What release may fail to close was only read.
	_ = db.views.release(v)
	return slices.Sorted(maps.Keys(held))
}

func (s *windowSet) each(f func(window int64)) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for w := range s.set {
		f(w)
	}
}
