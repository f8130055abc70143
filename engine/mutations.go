package engine

import (
	"math"
	"sync"

	"github.com/count-db/count/internal/model"
)

// Changes are noted by slices of time, finer than windows: most writes are of the
// last minute, and what lies before it is to stay known as unchanged.
const (
	mutationSlice   = 60_000                         // ms
	mutationWindow  = mutationSlice * mutationSlices // ms
	mutationSlices  = 120                            // of one window
	mutationWindows = 1024                           // noted apart, about 1 KiB each
)

// mutations remembers when what readers see changed last: each change (a batch, a
// delete, a loss) has a number, the next one, and each slice of time the number of
// the last change in it. A change is numbered after it has been made and before
// anybody is told that it was: so who takes a mark, reads, and finds later that
// nothing in the range has a number above the mark, has read all that was
// acknowledged since. What moves samples from one place to another without a
// change for readers (flush, merge, seal, days) has no number.
type mutations struct {
	mu      sync.RWMutex
	last    uint64                     // number of the last change; guarded by mu, as all
	all     uint64                     // number of the last change that may lie anywhere
	windows map[int64]*windowMutations // by time / mutationWindow
}

// windowMutations are the changes of one window.
type windowMutations struct {
	last   uint64
	slices [mutationSlices]uint64
}

// mark returns the number of the last change.
func (m *mutations) mark() uint64 {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.last
}

// everywhere notes a change of which nobody knows where it lies.
func (m *mutations) everywhere() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last++
	m.forgetLocked()
}

// forgetLocked makes the last change one that may lie anywhere.
func (m *mutations) forgetLocked() {
	m.all = m.last
	clear(m.windows)
}

// batch notes the samples of a batch.
func (m *mutations) batch(b *model.Batch) {
	if b.Samples() == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last++
	from, to := int64(1), int64(0) // the slice noted last
	for i := range b.Floats {
		if t := b.Floats[i].T; t < from || t > to {
			from, to = m.noteLocked(t)
		}
	}
	for i := range b.Hists {
		if t := b.Hists[i].T; t < from || t > to {
			from, to = m.noteLocked(t)
		}
	}
}

// between notes a change in [mint, maxt].
func (m *mutations) between(mint, maxt int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last++
	// The width as uint64: the bounds may be those of int64.
	if mint > maxt || uint64(maxt)-uint64(mint) >= mutationWindows/2*mutationWindow {
		m.forgetLocked()
		return
	}
	for t := mint; ; {
		_, to := m.noteLocked(t)
		if to >= maxt {
			return
		}
		t = to + 1
	}
}

// noteLocked gives the number of the last change to the slice of t and returns
// that slice's bounds, both inclusive.
func (m *mutations) noteLocked(t int64) (from, to int64) {
	n := floorDiv(t, mutationWindow)
	w := m.windows[n]
	if w == nil {
		if len(m.windows) >= mutationWindows {
			m.forgetLocked()
		}
		if m.windows == nil {
			m.windows = map[int64]*windowMutations{}
		}
		w = new(windowMutations)
		m.windows[n] = w
	}
	slice := floorDiv(t, mutationSlice)
	w.last, w.slices[slice-n*mutationSlices] = m.last, m.last
	from = slice * mutationSlice
	return from, from + mutationSlice - 1
}

func floorDiv(a, b int64) int64 {
	n := a / b
	if a%b < 0 {
		n--
	}
	return n
}

// changedFrom returns the first time in [mint, maxt] from which on there may have
// been a change since the mark, above maxt where there was none.
func (m *mutations) changedFrom(mark uint64, mint, maxt int64) int64 {
	m.mu.RLock()
	defer m.mu.RUnlock()
	switch {
	case m.last == mark || mint > maxt:
		return after(maxt)
	case m.all > mark:
		return mint
	}
	first, last := floorDiv(mint, mutationWindow), floorDiv(maxt, mutationWindow)
	if uint64(last)-uint64(first) < mutationWindows {
		for n := first; n <= last; n++ {
			if t, ok := m.windows[n].changedFrom(n, mark, mint, maxt); ok {
				return t
			}
		}
		return after(maxt)
	}
	earliest := after(maxt)
	for n, w := range m.windows {
		if t, ok := w.changedFrom(n, mark, mint, maxt); ok {
			earliest = min(earliest, t)
		}
	}
	return earliest
}

// after is the time behind t, t itself where there is none.
func after(t int64) int64 {
	if t == math.MaxInt64 {
		return t
	}
	return t + 1
}

// changedFrom returns the first time in [mint, maxt] and in window n from which on
// there may have been a change since the mark.
func (w *windowMutations) changedFrom(n int64, mark uint64, mint, maxt int64) (int64, bool) {
	if w == nil || w.last <= mark {
		return 0, false
	}
	start := n * mutationWindow
	if start > maxt || start+mutationWindow <= mint {
		return 0, false
	}
	for i, last := range w.slices {
		from := start + int64(i)*mutationSlice
		if last > mark && from <= maxt && from+mutationSlice > mint {
			return max(from, mint), true
		}
	}
	return 0, false
}
