package cluster

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/count-db/count/cluster/membership"
	"github.com/count-db/count/cluster/quorum"
	"github.com/count-db/count/cluster/ring"
)

// refillRetry is the time between two attempts.
const refillRetry = time.Second

// refillState is where a refill stands (C5):
//
//	idle ──▶ blocked (no write is acknowledged: the versions that were lost are
//	         not known) ──▶ merging (takes writes, counts for no read) ──▶ idle
type refillState struct {
	mu      sync.Mutex
	reason  string // guarded by mu; empty: idle
	blocked bool   // guarded by mu
	merged  uint64 // guarded by mu; refills that were completed in this run
}

func (r *refillState) start(reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reason, r.blocked = reason, true
}

func (r *refillState) running() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.reason != ""
}

func (r *refillState) why() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.reason
}

func (r *refillState) blocksWrites() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.blocked
}

func (r *refillState) mergedThisRun() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.merged > 0
}

// times returns how many refills were completed in this run.
func (r *refillState) times() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.merged
}

func (r *refillState) unblock() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.blocked = false
}

func (r *refillState) done() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reason, r.blocked = "", false
	r.merged++
}

// refillWhenNeeded watches for a refill to be due and carries it out, again and
// again until it is done.
func (c *Cluster) refillWhenNeeded() {
	tick := time.NewTicker(refillRetry)
	defer tick.Stop()
	last := ""
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-tick.C:
		}
		if !c.refill.running() {
			continue
		}
		if err := c.refillOnce(); err != nil && c.ctx.Err() == nil && err.Error() != last {
			last = err.Error()
			c.warn("refilling goes on later", err)
		}
	}
}

// refillOnce merges everything that this node is a candidate of from W other
// candidates, all others where fewer exist.
func (c *Cluster) refillOnce() error {
	t := c.topo.Load()
	if t == nil {
		return ErrNotFounded
	}
	others, err := c.refillFrom(t)
	if err != nil {
		return err
	}
	if c.refill.blocksWrites() {
		if err := c.takeMarks(others); err != nil {
			return err
		}
		c.refill.unblock()
	}
	before, err := c.floorsOf(c.ctx, others)
	if err != nil {
		return err
	}
	if err := c.revokeFloor(c.ctx, before); err != nil {
		return err
	}
	began := time.Now()
	samples, err := c.mergeFrom(t, others)
	if err != nil {
		return err
	}
	after, err := c.floorsOf(c.ctx, others)
	if err == nil && !sameFloors(before, after) {
		err = errFloorMoved // what they settled meanwhile may be hidden here, or not yet
	}
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state.Refilling, c.state.Merged, c.state.Refilled = "", c.opts.Disk.ID, nil
	if err := c.state.Save(c.opts.FS, c.opts.Dir); err != nil {
		return err
	}
	c.refill.done()
	c.floors.endPull()
	c.windows.clear()
	c.changes.restart() // what was merged came without numbers (C7)
	c.info("refilled: this node counts again", "samples", samples, "seconds", time.Since(began).Seconds())
	return nil
}

// refillFrom returns the nodes to merge from: those in sight, when they hold W
// others of each list that this node is a candidate of.
func (c *Cluster) refillFrom(t *topology) ([]ring.NodeID, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	self := c.opts.Node
	usable := func(id ring.NodeID) bool {
		n, ok := c.view.Get(id, time.Now())
		return id != self && ok && n.Up && !n.Refilling
	}
	for i := range t.lists {
		l := &t.lists[i]
		if !l.Has(self) {
			continue
		}
		// In the middle of a change only the old candidates are sure to hold the range.
		old := l.Group(0)
		have := 0
		for _, id := range old.Nodes {
			if usable(id) {
				have++
			}
		}
		if need := min(old.W, len(old.Nodes)-1); have < need {
			return nil, &quorum.Error{Need: need, Acked: have, Failed: []quorum.NodeError{{Node: self, Err: fmt.Errorf("%w from the candidates %v", ErrRefilling, old.Nodes)}}}
		}
	}
	var out []ring.NodeID
	for _, m := range t.ring.Members() {
		if usable(m.ID) {
			out = append(out, m.ID)
		}
	}
	return out, nil
}

// takeMarks raises the mark of every series above all that the others have met:
// what this node acknowledged before it lost its data is among that (V2).
func (c *Cluster) takeMarks(others []ring.NodeID) error {
	ctx, cancel := context.WithTimeout(c.ctx, c.opts.WriteDeadline)
	defer cancel()
	for _, id := range others {
		v, err := c.clockOf(ctx, id)
		if err != nil {
			return fmt.Errorf("versions of node %d: %w", id, err)
		}
		c.clock.Observe(v)
		c.local.RaiseVersions(v)
	}
	return nil
}

var errOlderCopy = errors.New("the disk was found to be an older copy meanwhile: everything is merged anew")

// mergeFrom stores the merged content of the others, slice by slice of time and
// within the same budget as what a change of the ring copies. How far it came is
// durable, so a restart goes on there.
func (c *Cluster) mergeFrom(t *topology, others []ring.NodeID) (samples int, err error) {
	from := c.refilledUntil(t)
	resumed := from > 0
	for {
		until := nextCut(from, time.Now())
		n, err := c.mergeSlice(t, others, sliceRequest(t, c.opts.Node, from, until), 2*c.opts.CopyShare)
		samples += n
		if err != nil {
			return samples, err
		}
		if until == math.MaxInt64 {
			return samples, c.takeMetadata(others)
		}
		if resumed && c.refilledUntil(t) == 0 {
			return samples, errOlderCopy
		}
		from = until
		if err := c.noteRefilled(t, from); err != nil {
			return samples, err
		}
	}
}

// refilledUntil returns where a refill of an earlier run goes on: it filled this
// disk under this ring, and for the reason that there is now.
func (c *Cluster) refilledUntil(t *topology) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.state.Refilled
	if p == nil || p.Disk != c.opts.Disk.ID || p.Ring != t.ring.Number() || p.Reason != c.state.Refilling || p.Floor != c.floors.pulled().version {
		return 0
	}
	if c.opts.Disk.Gap && p.Starts != c.opts.Disk.Starts || c.seenStarts > c.opts.Disk.Starts {
		return 0 // this start has lost something again, or the disk is an older copy
	}
	return p.Until
}

func (c *Cluster) noteRefilled(t *topology, until int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state.Refilled = &membership.RefillProgress{
		Disk: c.opts.Disk.ID, Starts: c.opts.Disk.Starts, Ring: t.ring.Number(), Reason: c.state.Refilling, Until: until,
		Floor: c.floors.pulled().version,
	}
	return c.state.Save(c.opts.FS, c.opts.Dir)
}

func (c *Cluster) takeDeletes(s *Set) error {
	if len(s.tombstones) == 0 {
		return nil
	}
	if err := c.storeDeletes(c.ctx, s.tombstones...); err != nil && !isSettled(err) {
		return err
	}
	return nil
}

func (c *Cluster) takeMetadata(others []ring.NodeID) error {
	for _, id := range others {
		all, err := c.metadataOf(c.ctx, id)
		if err != nil {
			return fmt.Errorf("metadata of node %d: %w", id, err)
		}
		b := c.getBatch()
		b.Version = c.clock.Now()
		b.Metadata = append(b.Metadata, all...)
		_, err = c.store(c.ctx, b)
		c.putBatch(b)
		if err != nil {
			return err
		}
	}
	return nil
}
