package cluster

import (
	"sync"
	"time"

	"github.com/count-db/count/internal/model"
)

// cut is how far a comparison goes: samples with lower versions are compared, the
// others may still be on their way.
type cut struct {
	version model.Version
	at      time.Time // all that was stored here by then has a lower version
}

// cutSlack is how much earlier than the cut's own time the clock is looked up:
// clocks that differ by less do not move a cut off the grid.
const cutSlack = time.Second

// cut returns the cut two write deadlines ago, on a grid of parts of the interval,
// so that all members ask for the same digests and compute them once. Where a
// member's clock is ahead, and with it the versions of all, the cut is as far
// ahead: it is where this node's clock stood then.
func (c *Cluster) cut(parts time.Duration) cut {
	at := time.Now().Add(-2 * c.opts.WriteDeadline).Truncate(c.opts.DigestInterval / parts)
	r := c.readings.before(at.Add(-cutSlack))
	return cut{max(model.VersionAt(at.UnixMicro()), r.highest+1), r.at}
}

// noteReading notes where the clock stands.
func (c *Cluster) noteReading() {
	now := time.Now()
	c.readings.note(reading{now, c.clock.Now()}, now.Add(-2*c.opts.WriteDeadline-c.opts.DigestInterval/2-cutSlack))
}

// reading is where the clock stood at a moment: at or above all versions that were
// stored by then.
type reading struct {
	at      time.Time
	highest model.Version
}

// readings are the readings of the last minute, one a look of the comparing loop
// and one of the start.
type readings struct {
	mu   sync.Mutex
	kept []reading // guarded by mu; ascending
}

// note adds a reading and forgets those that are older than needed, but for one.
func (r *readings) note(one reading, needed time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.kept) > 1 && r.kept[1].at.Before(needed) {
		r.kept = r.kept[1:]
	}
	r.kept = append(r.kept, one)
}

// before returns the last reading before a time, or else the first one that there
// is.
func (r *readings) before(t time.Time) reading {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.kept[0]
	for _, one := range r.kept {
		if one.at.Before(t) {
			out = one
		}
	}
	return out
}
