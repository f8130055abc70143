package registry

import (
	"math/bits"
	"slices"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/internal/model"
)

// Churn says how many series of a two-hour window are new: the window before
// has no samples of them.
type Churn struct {
	Window int64 // floor(t / 2 h)
	Series int   // that have samples in the window
	New    int
	// Metrics are the names with the most new series, descending.
	Metrics []Count
}

// Churn returns the newest windows, at most so many, the newest first, with at
// most limit metrics each. A window is compared with the newest one before it
// that has samples; the oldest one has nothing to be compared with and is left
// out. What is not flushed yet is in no window.
func (r *Registry) Churn(windows, limit int) []Churn {
	names := r.PresentWindows()
	slices.Reverse(names)
	names = names[:min(len(names), windows+1)]
	var out []Churn
	var is refSet
	for i, window := range names {
		was := r.presentIn(window)
		if i > 0 {
			out = append(out, r.churnOf(names[i-1], is, was, limit))
		}
		is = was
	}
	return out
}

// presentIn returns the series of one window.
func (r *Registry) presentIn(window int64) refSet {
	r.presence.mu.RLock()
	defer r.presence.mu.RUnlock()
	return joinWindows(r.presence.between(window, window))
}

func (r *Registry) churnOf(window int64, is, was refSet, limit int) Churn {
	c := Churn{Window: window}
	counts := map[string]uint64{}
	for i, word := range is {
		c.Series += bits.OnesCount64(word)
		if i < len(was) {
			word &^= was[i]
		}
		for ; word != 0; word &= word - 1 {
			e := r.entry(model.Ref(i*64 + bits.TrailingZeros64(word)))
			if e == nil {
				continue // evicted since
			}
			c.New++
			counts[e.labels.Get(labels.MetricName)]++
		}
	}
	top := topCounts{limit: limit}
	for name, n := range counts {
		top.offer(n, name, "")
	}
	c.Metrics = top.list()
	return c
}
