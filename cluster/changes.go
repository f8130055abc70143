package cluster

import (
	"math"
	"slices"
	"sync"
	"time"

	"github.com/count-db/count/cluster/ring"
	"github.com/count-db/count/internal/model"
)

const (
	maxChanged = 50_000 // slices remembered as written to; beyond that all count as
	maxRanges  = 16     // ranges of time that are compared one by one
)

// timeRange is a range of time in ms, inclusive.
type timeRange struct{ mint, maxt int64 }

// changes remembers which slices of time were written to and when, and since
// when each member has to be caught up with.
type changes struct {
	mu     sync.Mutex
	slices map[int64]time.Time       // guarded by mu; slice to when it was last written to
	since  map[ring.NodeID]time.Time // guarded by mu; members to compare with now: what was written to since then; zero = everything
	lost   map[ring.NodeID]time.Time // guarded by mu; members out of sight, since when
	met    map[ring.NodeID]string    // guarded by mu; members seen since the start, and their disks
	full   map[ring.NodeID]bool      // guarded by mu; members with which everything was compared, and all since
	all    time.Time                 // guarded by mu; too much was written to until then
	failed map[ring.NodeID]string    // guarded by mu; why the last comparison with a member failed
}

func newChanges() *changes {
	return &changes{
		slices: map[int64]time.Time{}, since: map[ring.NodeID]time.Time{}, lost: map[ring.NodeID]time.Time{}, met: map[ring.NodeID]string{}, full: map[ring.NodeID]bool{}, failed: map[ring.NodeID]string{},
	}
}

// note notes the slices that a batch touches, and tells of each.
func (c *changes) note(b *model.Batch, now time.Time, touched func(slice int64)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	last := int64(math.MinInt64)
	note := func(t int64) {
		if slice := t / sliceLength; slice != last {
			last = slice
			c.slices[slice] = now
			touched(slice)
		}
	}
	for i := range b.Floats {
		note(b.Floats[i].T)
	}
	for i := range b.Hists {
		note(b.Hists[i].T)
	}
	c.boundLocked(now)
}

func (c *changes) boundLocked(now time.Time) {
	if len(c.slices) > maxChanged {
		clear(c.slices)
		c.all = now
	}
}

// noteSlices notes slices that were written to.
func (c *changes) noteSlices(touched map[int64]bool, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for slice := range touched {
		c.slices[slice] = now
	}
	c.boundLocked(now)
}

// gone notes that a member is out of sight.
func (c *changes) gone(id ring.NodeID, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.lost[id]; !known {
		c.lost[id] = now
	}
}

// back notes that a member is in sight on a disk, and has been given its hints.
func (c *changes) back(id ring.NodeID, disk string, margin time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	since, wasLost := c.lost[id]
	delete(c.lost, id)
	switch {
	case c.met[id] != disk:
		c.met[id] = disk
		c.since[id] = time.Time{}
		delete(c.full, id)
	case wasLost:
		c.sinceLocked(id, since.Add(-margin))
	}
}

// again makes what was due be due once more, because it failed, and says whether
// it did so for another reason than before.
func (c *changes) again(id ring.NodeID, since time.Time, err error) (isNew bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sinceLocked(id, since)
	isNew = c.failed[id] != err.Error()
	c.failed[id] = err.Error()
	return isNew
}

func (c *changes) sinceLocked(id ring.NodeID, since time.Time) {
	if old, known := c.since[id]; !known || since.Before(old) {
		c.since[id] = since
	}
}

// due returns the ranges of time to compare with a member now: what it must be
// caught up with, or, in a regular comparison, what was written to since then.
func (c *changes) due(id ring.NodeID, regular bool, then time.Time) (ranges []timeRange, since time.Time, any bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	since, catchUp := c.since[id]
	switch {
	case catchUp:
		delete(c.since, id)
	case regular:
		since = then
	default:
		return nil, since, false
	}
	if since.IsZero() || since.Before(c.all) {
		return []timeRange{{0, math.MaxInt64}}, since, true
	}
	return c.rangesLocked(since), since, true
}

// done notes that the comparison that was due succeeded. It says whether the
// member holds everything that this node held before its cut: everything was
// compared once, and all that was written since, with nothing outstanding.
func (c *changes) done(id ring.NodeID, since time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.failed, id)
	if since.IsZero() {
		c.full[id] = true
	}
	_, outstanding := c.since[id]
	_, lost := c.lost[id]
	return c.full[id] && !outstanding && !lost
}

// restart makes everything be compared with all members: another ring gives them
// other ranges.
func (c *changes) restart() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.full)
	for id := range c.met {
		c.since[id] = time.Time{}
	}
}

// rangesLocked joins the slices written to since then to few ranges.
func (c *changes) rangesLocked(since time.Time) []timeRange {
	var touched []int64
	for slice, at := range c.slices {
		if !at.Before(since) {
			touched = append(touched, slice)
		}
	}
	slices.Sort(touched)
	var out []timeRange
	for _, slice := range touched {
		r := timeRange{slice * sliceLength, (slice+1)*sliceLength - 1}
		if n := len(out); n > 0 && (out[n-1].maxt+1 == r.mint || n == maxRanges) {
			out[n-1].maxt = r.maxt
			continue
		}
		out = append(out, r)
	}
	return out
}

// prune forgets what nobody needs: written to before then, before all members are
// known to hold everything, and before the longest absence of a member began.
func (c *changes) prune(then, held time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if held = held.Add(-time.Minute); held.Before(then) {
		then = held
	}
	for _, m := range []map[ring.NodeID]time.Time{c.lost, c.since} {
		for _, at := range m {
			if at = at.Add(-time.Minute); at.Before(then) {
				then = at
			}
		}
	}
	for slice, at := range c.slices {
		if at.Before(then) {
			delete(c.slices, slice)
		}
	}
}
