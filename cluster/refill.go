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
	"github.com/count-db/count/cluster/settle"
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
	whole   bool   // guarded by mu; everything was merged in this run
	blocked bool   // guarded by mu
	merged  uint64 // guarded by mu; refills that were completed in this run
	losses  uint64 // guarded by mu; of the storage, since the start
	meter   refillMeter
}

// start begins a refill; one under way, for a lesser reason, does not end as done.
func (r *refillState) start(reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.reason != "" {
		r.losses++
	}
	r.reason, r.blocked = reason, true
}

// lose notes that the storage has lost something while it was running: it still
// knows how high its versions are.
func (r *refillState) lose() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.losses++
	if r.reason == "" {
		r.reason = membership.GapReason
	}
}

func (r *refillState) lossesSoFar() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.losses
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

// covers says whether what was merged in this run covers what the disk lost for
// such a reason.
func (r *refillState) covers(reason string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch reason {
	case membership.GapReason:
		return r.merged > 0
	case membership.OlderReason:
		return r.whole
	}
	return false
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

// done ends the refill, unless the storage has lost more since the losses were
// counted.
func (r *refillState) done(losses uint64, whole bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.losses != losses {
		return false
	}
	r.reason, r.blocked, r.whole = "", false, r.whole || whole
	r.merged++
	return true
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
	losses := c.refill.lossesSoFar()
	lost, mint, maxt := c.local.Lost()
	if err := c.noteRefilling(); err != nil {
		return err
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
	span, whole := timeRange{0, math.MaxInt64}, true
	if c.refill.why() == membership.GapReason && lost > 0 && maxt < math.MaxInt64 && c.sharesFloor(before) {
		span, whole = timeRange{max(mint, 0), maxt}, false
	}
	if err := c.revokeFloor(c.ctx, before, whole); err != nil {
		return err
	}
	began := time.Now()
	samples, err := c.mergeFrom(t, others, span, lost)
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
	if err := c.local.Refilled(lost, c.othersHoldAll(t)); err != nil {
		return err
	}
	if err := c.endRefill(losses, whole); err != nil {
		return err
	}
	c.info("refilled: this node counts again", "samples", samples, "seconds", time.Since(began).Seconds())
	return nil
}

// endRefill notes durably that everything which was lost is merged.
func (c *Cluster) endRefill(losses uint64, whole bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refill.lossesSoFar() != losses {
		return errLostMore
	}
	// What others have seen of a time before this merge proves nothing any more.
	c.state.Past = c.state.Past[max(0, len(c.state.Past)-1):]
	c.state.Refilling, c.state.Merged, c.state.Refilled = "", c.diskID(), nil
	if err := c.state.Save(c.opts.FS, c.opts.Dir); err != nil {
		return err
	}
	if !c.refill.done(losses, whole) {
		return errLostMore
	}
	c.floors.endPull()
	c.windows.clear()
	c.changes.restart() // what was merged came without numbers (C7)
	c.changing.now()    // until the ring records the disk it has no vote
	return nil
}

// errLostMore means that the storage has lost more while it was refilled.
var errLostMore = errors.New("more was lost meanwhile")

// NoteLost is called when the storage has lost something while it was running:
// until that is merged from others, this node counts for no read.
func (c *Cluster) NoteLost() {
	lost, mint, maxt := c.local.Lost()
	t := c.topo.Load()
	if t == nil || lost == 0 {
		return // whoever puts a ring in force looks for losses; or it was told late, and is merged back already
	}
	if t.alone {
		c.warn("data was lost and there is nobody to refill from", c.local.Refilled(lost, false), "loss", lost, "from", mint, "to", maxt)
		return
	}
	c.refill.lose()
	c.warn("this node has lost data: it counts for no read until it has merged it back", errors.New(membership.GapReason), "loss", lost, "from", mint, "to", maxt)
}

// noteRefilling keeps in the state that this node refills, when it began while
// running.
func (c *Cluster) noteRefilling() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state.Refilling != "" {
		return nil
	}
	c.state.Refilling = c.refill.why()
	return c.state.Save(c.opts.FS, c.opts.Dir)
}

// sharesFloor says whether this node has settled what the others have: then all
// that it holds may stay, and only what it lost is to be merged.
func (c *Cluster) sharesFloor(others []settle.State) bool {
	mine := c.floors.at().higher(c.floors.pulled()) // it may be taken back for this refill
	for i := range others {
		if (settledAt{others[i].Floor, others[i].From}) != mine {
			return false
		}
	}
	return true
}

// othersHoldAll says whether all that this node is a candidate of has another one.
func (c *Cluster) othersHoldAll(t *topology) bool {
	for i := range t.lists {
		l := &t.lists[i]
		if l.Has(c.opts.Node) && !l.Any(func(id ring.NodeID) bool { return id != c.opts.Node }) {
			return false
		}
	}
	return true
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

// mergeFrom stores the merged content of the others in a range of time, slice by
// slice and within the same budget as what a change of the ring copies. How far it
// came is durable, so a restart goes on there; lost numbers what the storage lacks.
func (c *Cluster) mergeFrom(t *topology, others []ring.NodeID, span timeRange, lost uint64) (samples int, err error) {
	done := c.refilledUntil(t, lost)
	resumed, from := done > 0, max(done, span.mint)
	c.refill.meter.begin(0, 0)
	if span == (timeRange{0, math.MaxInt64}) {
		c.measureRefill(t, others, resumed)
	}
	for {
		until := nextCut(from, time.Now())
		if until > span.maxt {
			until = span.maxt
			if until < math.MaxInt64 {
				until++ // the range is inclusive
			}
		}
		n, err := c.mergeSlice(t, others, sliceRequest(t, c.opts.Node, from, until), 2*c.opts.CopyShare)
		samples += n
		if err != nil {
			return samples, err
		}
		if until > span.maxt || until == math.MaxInt64 {
			return samples, c.takeMetadata(others)
		}
		if resumed && c.refilledUntil(t, lost) == 0 {
			return samples, errOlderCopy
		}
		from = until
		if err := c.noteRefilled(t, from, lost); err != nil {
			return samples, err
		}
	}
}

// refilledUntil returns where a refill of an earlier run goes on: it filled this
// disk under this ring, and for the reason that there is now.
func (c *Cluster) refilledUntil(t *topology, lost uint64) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.state.Refilled
	if p == nil || p.Disk != c.diskID() || p.Ring != t.ring.Number() || p.Reason != c.state.Refilling || p.Floor != c.floors.pulled().version {
		return 0
	}
	if p.Lost != lost {
		return 0 // something was lost since
	}
	return p.Until
}

func (c *Cluster) noteRefilled(t *topology, until int64, lost uint64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state.Refilled = &membership.RefillProgress{
		Disk: c.diskID(), Starts: c.opts.Disk.Starts, Ring: t.ring.Number(), Reason: c.state.Refilling, Until: until,
		Floor: c.floors.pulled().version, Lost: lost,
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
