package version

import (
	"sync/atomic"
	"time"

	"github.com/count-db/count/internal/model"
)

// Clock is a hybrid logical clock: it follows the time source while that moves
// on, counts in the lower bits while it does not, and never goes back. Safe for
// concurrent use.
type Clock struct {
	now  func() time.Time
	last atomic.Uint64 // the highest version given out or met
}

// NewClock returns a clock over the time source, above the version last, the
// highest that is known from before a restart.
func NewClock(now func() time.Time, last model.Version) *Clock {
	c := &Clock{now: now}
	c.last.Store(uint64(last))
	return c
}

// Now returns a version above every one that the clock gave out or met.
func (c *Clock) Now() model.Version {
	physical := uint64(model.VersionAt(max(c.now().UnixMicro(), 0)))
	for {
		last := c.last.Load()
		// A counter that overflows runs into the microseconds, which is as good.
		next := max(physical, last+1)
		if c.last.CompareAndSwap(last, next) {
			return model.Version(next)
		}
	}
}

// Observe moves the clock past a version that came from elsewhere.
func (c *Clock) Observe(v model.Version) {
	for {
		last := c.last.Load()
		if uint64(v) <= last || c.last.CompareAndSwap(last, uint64(v)) {
			return
		}
	}
}

// Last returns the highest version that the clock gave out or met.
func (c *Clock) Last() model.Version { return model.Version(c.last.Load()) }

// Ahead returns how far a version lies ahead of the time source: a node whose
// time is wrong shows itself by it.
func (c *Clock) Ahead(v model.Version) time.Duration {
	return time.Duration(v.Micros()-c.now().UnixMicro()) * time.Microsecond
}
