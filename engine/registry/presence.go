package registry

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/count-db/count/internal/model"
)

// presence says which series have samples in which two-hour window. A window
// begins as a short sorted list, because old data may come in thousands of
// windows of a few series each, and becomes a bitmap when it is longer.
type presence struct {
	mu      sync.RWMutex
	windows map[int64]*windowPresence
}

type windowPresence struct {
	few   []model.Ref // ascending; nil once there are pages
	pages []*bitPage  // nil where no series is marked
}

// bitPage is a bitmap of consecutive references: those of long-gone series
// take no room.
type bitPage [bitPageRefs / 64]atomic.Uint64

const bitPageRefs = 4096

// maxFew is the length at which a list is turned into a bitmap.
const maxFew = 256

func (p *presence) init() { p.windows = map[int64]*windowPresence{} }

// MarkPresent notes that a series has samples in a window, which is
// floor(t / 2 h).
func (r *Registry) MarkPresent(ref model.Ref, window int64) {
	p := &r.presence
	p.mu.RLock()
	done := p.windows[window].set(ref)
	p.mu.RUnlock()
	if done {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.windows[window]
	if w == nil {
		w = &windowPresence{}
		p.windows[window] = w
	}
	w.grow(ref)
}

// Present says whether a series was marked in any window of [from, to].
func (r *Registry) Present(ref model.Ref, from, to int64) bool {
	r.presence.mu.RLock()
	defer r.presence.mu.RUnlock()
	for name, w := range r.presence.windows {
		if name >= from && name <= to && w.has(ref) {
			return true
		}
	}
	return false
}

// FilterPresent keeps, in place, the series (ascending by reference) that were
// marked in any window of [from, to].
func (r *Registry) FilterPresent(refs []model.Ref, from, to int64) []model.Ref {
	r.presence.mu.RLock()
	defer r.presence.mu.RUnlock()
	windows := r.presence.between(from, to)
	if len(refs) > 0 && len(refs) > int(refs[len(refs)-1]/64) {
		// Joining the windows costs less than asking each of them.
		joined := joinWindows(windows)
		return slices.DeleteFunc(refs, func(ref model.Ref) bool { return !joined.has(ref) })
	}
	return slices.DeleteFunc(refs, func(ref model.Ref) bool {
		for _, w := range windows {
			if w.has(ref) {
				return false
			}
		}
		return true
	})
}

// PresentAnywhere returns a function that says whether a series was marked in
// any window, as of now.
func (r *Registry) PresentAnywhere() func(model.Ref) bool {
	r.presence.mu.RLock()
	defer r.presence.mu.RUnlock()
	joined := joinWindows(slices.Collect(maps.Values(r.presence.windows)))
	return joined.has
}

// refSet is a bitmap of references.
type refSet []uint64

func (s refSet) has(ref model.Ref) bool {
	i := int(ref / 64)
	return i < len(s) && s[i]&(1<<(ref%64)) != 0
}

// joinWindows returns the series that are in any of the windows; the caller
// holds the lock.
func joinWindows(windows []*windowPresence) refSet {
	words := 0
	for _, w := range windows {
		words = max(words, len(w.pages)*len(bitPage{}))
		if n := len(w.few); n > 0 {
			words = max(words, int(w.few[n-1]/64)+1)
		}
	}
	out := make(refSet, words)
	for _, w := range windows {
		for n, p := range w.pages {
			if p == nil {
				continue
			}
			for i := range p {
				out[n*len(p)+i] |= p[i].Load()
			}
		}
		for _, ref := range w.few {
			out[ref/64] |= 1 << (ref % 64)
		}
	}
	return out
}

// PresentWindows returns the windows that have marks, ascending.
func (r *Registry) PresentWindows() []int64 {
	r.presence.mu.RLock()
	defer r.presence.mu.RUnlock()
	out := make([]int64, 0, len(r.presence.windows))
	for w := range r.presence.windows {
		out = append(out, w)
	}
	slices.Sort(out)
	return out
}

// DropPresence forgets the marks of a window: nothing but sealed days, which
// have their own index, holds samples of it any more.
func (r *Registry) DropPresence(window int64) {
	r.presence.mu.Lock()
	defer r.presence.mu.Unlock()
	delete(r.presence.windows, window)
}

// between returns the windows in [from, to], the newest first; the caller
// holds the lock.
func (p *presence) between(from, to int64) []*windowPresence {
	var names []int64
	// In unsigned arithmetic, because the ends may be those of int64.
	if from <= to && uint64(to)-uint64(from) < uint64(len(p.windows)) {
		for w := from; w <= to; w++ {
			if p.windows[w] != nil {
				names = append(names, w)
			}
		}
	} else {
		for w := range p.windows {
			if w >= from && w <= to {
				names = append(names, w)
			}
		}
		slices.Sort(names)
	}
	out := make([]*windowPresence, 0, len(names))
	for _, w := range slices.Backward(names) {
		out = append(out, p.windows[w])
	}
	return out
}

// forget takes evicted series out of all windows.
func (p *presence) forget(gone map[model.Ref]*entry) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range p.windows {
		w.few = slices.DeleteFunc(w.few, func(ref model.Ref) bool { return gone[ref] != nil })
		for ref := range gone {
			if word, bit := w.word(ref); word != nil {
				word.And(^bit)
			}
		}
	}
}

// word returns the word that holds the bit of a series, nil when there is none.
func (w *windowPresence) word(ref model.Ref) (word *atomic.Uint64, bit uint64) {
	n := int(ref / bitPageRefs)
	if n >= len(w.pages) || w.pages[n] == nil {
		return nil, 0
	}
	return &w.pages[n][ref%bitPageRefs/64], 1 << (ref % 64)
}

func (w *windowPresence) has(ref model.Ref) bool {
	if word, bit := w.word(ref); word != nil {
		return word.Load()&bit != 0
	}
	_, found := slices.BinarySearch(w.few, ref)
	return found
}

// set marks a series if that needs no more room; the caller holds the lock for
// reading at least.
func (w *windowPresence) set(ref model.Ref) bool {
	if w == nil {
		return false
	}
	word, bit := w.word(ref)
	if word == nil {
		return w.has(ref)
	}
	if word.Load()&bit == 0 {
		word.Or(bit)
	}
	return true
}

// grow marks a series, making room; the caller holds the lock for writing.
func (w *windowPresence) grow(ref model.Ref) {
	if w.set(ref) {
		return
	}
	if w.pages == nil && len(w.few) < maxFew {
		i, _ := slices.BinarySearch(w.few, ref)
		w.few = slices.Insert(w.few, i, ref)
		return
	}
	few := w.few
	w.few = nil
	for _, ref := range append(few, ref) {
		n := int(ref / bitPageRefs)
		for n >= len(w.pages) {
			w.pages = append(w.pages, nil)
		}
		if w.pages[n] == nil {
			w.pages[n] = new(bitPage)
		}
		w.set(ref)
	}
}
