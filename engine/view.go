package engine

import (
	"slices"
	"sync"
)

// view is one atomic snapshot of what readers see (E4): it does not change, but
// for the active buffer, which grows. Parts are in the order of arrival:
// files, frozen, active. Whoever makes a view that shows something else than the one
// before says so to DB.mutations.
type view struct {
	files  []*liveFile
	frozen *epochBuffer // nil when no flush is under way
	active *epochBuffer
	// bulks are not read yet (Bulk); what they have samples of is kept.
	bulks  []*epochBuffer
	tombs  []tombstone
	byName tombIndex // of tombs
	sheds  []shed

	refs int // readers, and one for being the current view; guarded by viewHolder.mu
}

// viewHolder hands out the current view and keeps the files of older ones
// open while somebody reads them.
type viewHolder struct {
	mu      sync.Mutex
	current *view
}

// acquire returns the current view; nil after close. The caller releases it.
func (h *viewHolder) acquire() *view {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.current != nil {
		h.current.refs++
	}
	return h.current
}

// release gives a view back and lets go of the files that only it had.
func (h *viewHolder) release(v *view) error {
	h.mu.Lock()
	gone := h.releaseLocked(v)
	h.mu.Unlock()
	return closeFiles(gone)
}

func (h *viewHolder) releaseLocked(v *view) (gone []*fileHandle) {
	if v == nil {
		return nil
	}
	if v.refs--; v.refs > 0 {
		return nil
	}
	for _, f := range v.files {
		if f.refs--; f.refs == 0 {
			gone = append(gone, f.fileHandle)
		}
	}
	return gone
}

// replace makes next the current view; the files of removed are gone from disk
// when nobody reads them any more. The caller holds DB.install.
func (h *viewHolder) replace(next *view, removed []*fileHandle) error {
	h.mu.Lock()
	next.refs = 1
	for _, f := range next.files {
		f.refs++
	}
	for _, f := range removed {
		f.removed = true
	}
	gone := h.releaseLocked(h.current)
	h.current = next
	h.mu.Unlock()
	return closeFiles(gone)
}

// close lets go of the current view; acquire returns nil from then on.
func (h *viewHolder) close() error {
	h.mu.Lock()
	gone := h.releaseLocked(h.current)
	h.current = nil
	h.mu.Unlock()
	return closeFiles(gone)
}

// clone returns a copy to be changed and set; the files' slice is its own.
func (v *view) clone() *view {
	return &view{files: slices.Clone(v.files), frozen: v.frozen, active: v.active, bulks: v.bulks, tombs: v.tombs, sheds: v.sheds}
}
