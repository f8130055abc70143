package cluster

import (
	"time"

	"github.com/count-db/count/cluster/ring"
)

// markInterval is how often a node that stores samples counts its mark on: a copy
// of its disk that is younger is not told from the disk itself.
const markInterval = 10 * time.Second

// markLater notes that something was stored since the last mark.
func (c *Cluster) markLater() {
	if !c.unmarked.Load() {
		c.unmarked.Store(true)
	}
}

// markNow counts this node's mark on where something was stored since, durably
// before anybody is told, and keeps what was heard of the marks of others (C5).
func (c *Cluster) markNow() {
	stored := c.unmarked.Swap(false)
	c.mu.Lock()
	defer c.mu.Unlock()
	last := len(c.state.Past) - 1
	stored = stored && last >= 0
	if !stored && !c.heard {
		return
	}
	if stored {
		c.state.Past[last].Mark++
	}
	c.heard = false
	if err := c.state.Save(c.opts.FS, c.opts.Dir); err != nil {
		c.warn("cluster.state could not be written", err)
		c.heard = true
		if stored {
			c.state.Past[last].Mark--
			c.unmarked.Store(true)
		}
	}
}

// mark returns this node's mark; 0 when this start has none.
func (c *Cluster) mark() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if last := len(c.state.Past) - 1; last >= 0 {
		return c.state.Past[last].Mark
	}
	return 0
}

// heardMark remembers the mark of another node's start, if it is of the last one
// that was seen: what the start before it had sent may come later, and its mark
// would make the disk look like a copy from before it.
func (c *Cluster) heardMark(from ring.NodeID, number, epoch, mark uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if seen := c.state.Seen[from]; mark > seen.Mark && isEpochOf(seen.Random, number, epoch) {
		seen.Mark = mark
		c.state.Seen[from], c.heard = seen, true
	}
}
