package manifest

import (
	"cmp"
	"fmt"
	"slices"
)

// Range is a run of windows, both ends inclusive.
type Range struct{ First, Last int64 }

// Windows is a set of windows: ascending ranges that do not touch. It does not
// change; Add returns another.
type Windows []Range

// Has says whether the window is in the set.
func (ws Windows) Has(window int64) bool {
	i, found := slices.BinarySearchFunc(ws, window, func(r Range, w int64) int { return cmp.Compare(r.First, w) })
	return found || (i > 0 && ws[i-1].Last >= window)
}

// Add returns the set with the window in it.
func (ws Windows) Add(window int64) Windows {
	if ws.Has(window) {
		return ws
	}
	out := make(Windows, 0, len(ws)+1)
	added := false
	for _, r := range ws {
		if !added && window < r.First {
			out = out.push(Range{window, window})
			added = true
		}
		out = out.push(r)
	}
	if !added {
		out = out.push(Range{window, window})
	}
	return out
}

// push appends a range behind all others and joins it to the last if they
// touch.
func (ws Windows) push(r Range) Windows {
	if n := len(ws); n > 0 && ws[n-1].Last+1 == r.First {
		ws[n-1].Last = r.Last
		return ws
	}
	return append(ws, r)
}

// Len returns the number of windows.
func (ws Windows) Len() int64 {
	var n int64
	for _, r := range ws {
		n += r.Last - r.First + 1
	}
	return n
}

func (ws Windows) validate() error {
	for i, r := range ws {
		if r.First > r.Last || (i > 0 && r.First <= ws[i-1].Last) {
			return fmt.Errorf("windows %d to %d out of order", r.First, r.Last)
		}
	}
	return nil
}
