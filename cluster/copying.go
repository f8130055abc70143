package cluster

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"time"

	"github.com/count-db/count/cluster/membership"
	"github.com/count-db/count/cluster/quorum"
	"github.com/count-db/count/cluster/rebalance"
	"github.com/count-db/count/cluster/ring"
)

// Copying what a change makes this node a candidate of: slice by slice of time,
// from W old candidates that have the dual ring, which they keep durably, so that
// they take no write of an older one any more (C3). How far it came is durable,
// so a restart goes on there.

const (
	copySlice   = 24 * time.Hour
	copyDays    = 31 // everything older is one slice
	sampleBytes = 16 // what a sample counts for in the budget
)

// copyWhenNeeded begins to copy for a dual ring, once.
func (c *Cluster) copyWhenNeeded(t *topology) {
	needed := false
	for i := range t.lists {
		needed = needed || t.lists[i].Copies(c.opts.Node)
	}
	if !needed {
		return
	}
	c.changing.mu.Lock()
	defer c.changing.mu.Unlock()
	if c.changing.copying == t.ring.Number() {
		return
	}
	c.changing.copying = t.ring.Number()
	c.wg.Go(func() { c.copyFor(t) })
}

// copyFor copies until all is done, the ring has changed or the node stops.
func (c *Cluster) copyFor(t *topology) {
	began := time.Now()
	last := ""
	c.changing.measure(t, c.opts.Node, c.copied(t).Samples)
	for c.ctx.Err() == nil && c.topo.Load() == t {
		var done bool
		var samples int
		err := errPaused
		if !c.paused() {
			done, samples, err = c.copyNext(t)
		}
		c.changing.noteStuck(err)
		switch {
		case errors.Is(err, errPaused):
		case done:
			c.info("all ranges of the next ring are copied", "ring", t.ring.Number(), "seconds", time.Since(began).Seconds())
			c.changing.now()
			return
		case err == nil:
			c.stats.copied.Add(float64(samples))
			continue
		case c.ctx.Err() == nil && err.Error() != last:
			last = err.Error()
			c.warn("copying goes on later", err, "ring", t.ring.Number())
		}
		timer := time.NewTimer(refillRetry)
		select {
		case <-timer.C:
		case <-c.ctx.Done():
		}
		timer.Stop()
	}
}

// copyNext copies the next slice of time.
func (c *Cluster) copyNext(t *topology) (done bool, samples int, err error) {
	p := c.copied(t)
	if p.Done {
		return true, 0, nil
	}
	sources, err := c.copySources(t)
	if err != nil {
		return false, 0, err
	}
	if !t.ring.Before().Has(c.opts.Node) {
		settled, err := c.floorsOf(c.ctx, sources)
		if err != nil {
			return false, 0, err
		}
		if err := c.joinFloor(c.ctx, settled); err != nil {
			return false, 0, err
		}
		if floor := c.floors.pulled().version; floor != p.Floor {
			p.Until, p.Floor = 0, floor // what was copied so far may be hidden
		}
	}
	if p.Until == 0 {
		// What was acknowledged before is known to be older than these marks (V2).
		if err := c.takeMarks(sources); err != nil {
			return false, 0, err
		}
	}
	until := nextCut(p.Until, time.Now())
	q := sliceRequest(t, c.opts.Node, p.Until, until)
	q.copying = true
	c.changing.beginSlice()
	samples, err = c.mergeSlice(t, sources, q, c.opts.CopyShare)
	if err != nil {
		return false, 0, err
	}
	p.Until, p.Samples = until, c.changing.endSlice()
	if until == math.MaxInt64 {
		if err := c.takeMetadata(sources); err != nil {
			return false, 0, err
		}
		p.Done = true
	}
	err = c.noteCopied(p)
	return p.Done && err == nil, samples, err
}

// noteCopied keeps durably how far this node has come, for the ring in force: what
// was under way when another one came says nothing of that, and must not take the
// place of what is kept of it.
func (c *Cluster) noteCopied(p membership.CopyProgress) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r := c.state.Ring; r == nil || r.Number != p.Ring {
		return errRingMoved
	}
	c.state.Copied = &p
	if err := c.state.Save(c.opts.FS, c.opts.Dir); err != nil {
		return err
	}
	if p.Done {
		c.floors.endPull()
	}
	return nil
}

func (c *Cluster) copied(t *topology) membership.CopyProgress {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.state.Copied; p != nil && p.Ring == t.ring.Number() {
		return *p
	}
	return membership.CopyProgress{Ring: t.ring.Number()}
}

// nextCut returns where the slice that begins at from ends.
func nextCut(from int64, now time.Time) int64 {
	day := copySlice.Milliseconds()
	first := (now.UnixMilli()/day - copyDays) * day
	if from < first {
		return first
	}
	next := (from/day + 1) * day
	if next > now.UnixMilli()+day {
		return math.MaxInt64 // all that lies ahead
	}
	return next
}

// progressOf returns how much of the time is copied, 0 to 1.
func progressOf(p *membership.CopyProgress, now time.Time) float64 {
	if p.Done {
		return 1
	}
	return min(max(1-now.Sub(time.UnixMilli(p.Until)).Hours()/24/(copyDays+2), 0), 0.99)
}

// copySources returns the old candidates to merge from: members in sight that
// are not refilling, when they are enough.
func (c *Cluster) copySources(t *topology) ([]ring.NodeID, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	usable := func(id ring.NodeID) bool {
		n, ok := c.view.Get(id, now)
		return id != c.opts.Node && ok && n.Up && !n.Refilling
	}
	if !rebalance.Enough(t.ring, c.opts.Node, usable) {
		return nil, fmt.Errorf("%w: too few of the nodes that hold the ranges of ring %d are in sight", ErrNoAnswer, t.ring.Number())
	}
	var out []ring.NodeID
	for _, m := range t.ring.Before().Members() {
		if usable(m.ID) {
			out = append(out, m.ID)
		}
	}
	return out, nil
}

// sliceRequest asks for what a node is a candidate of in a slice of time, which
// ends before until.
func sliceRequest(t *topology, holder ring.NodeID, from, until int64) selectRequest {
	q := selectRequest{ring: t.ring.Number(), mint: from, maxt: until - 1, holder: holder}
	if until == math.MaxInt64 {
		q.maxt = until
	}
	return q
}

// mergeSlice stores the merged content of the sources, which send no more than a
// little ahead of what it takes.
func (c *Cluster) mergeSlice(t *topology, sources []ring.NodeID, q selectRequest, share float64) (samples int, err error) {
	s, err := c.open(c.ctx, newAnswers(t, quorum.Quorum), sources, q)
	if err != nil {
		return 0, err
	}
	defer s.Close()
	s.patient = true
	// One goroutine does most of it.
	in := c.newIntake(min(share*float64(runtime.GOMAXPROCS(0)), 1), q.copying)
	defer func() { err = errors.Join(err, in.close()) }()
	settled := c.floors.pulled()
	for s.Next() {
		settled.raise(&s.At().cols)
		if err := in.add(s.At()); err != nil {
			return samples, err
		}
		samples += s.At().cols.Len()
	}
	for _, src := range s.sources {
		if src.err != nil {
			return samples, fmt.Errorf("copy from node %d: %w", src.id, src.err)
		}
		if !src.counts {
			return samples, fmt.Errorf("copy from node %d: %w", src.id, ErrRefilling)
		}
	}
	if err := c.takeDeletes(s); err != nil {
		return samples, err
	}
	return samples, in.end()
}

// rest waits, unless the node stops.
func (c *Cluster) rest(d time.Duration) error {
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-c.ctx.Done():
		return ErrClosed
	}
}
