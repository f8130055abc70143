package cluster

import (
	"context"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/cluster/frontier"
	"github.com/count-db/count/cluster/ring"
	"github.com/count-db/count/cluster/transport"
	"github.com/count-db/count/internal/model"
)

// sweepInterval is how often writes with owners outstanding are looked through.
const sweepInterval = 250 * time.Millisecond

// linger keeps a write whose client is answered until all owners have answered
// or its deadline has passed.
func (c *Cluster) linger(w *write) {
	c.lingerMu.Lock()
	defer c.lingerMu.Unlock()
	c.lingering[w] = struct{}{}
}

// sweep settles the writes whose deadline has passed, and forgets the settled.
func (c *Cluster) sweep() {
	tick := time.NewTicker(sweepInterval)
	defer tick.Stop()
	for {
		select {
		case <-c.ctx.Done():
			return
		case now := <-tick.C:
			for _, w := range c.overdue(now) {
				w.settle()
			}
		}
	}
}

func (c *Cluster) overdue(now time.Time) []*write {
	c.lingerMu.Lock()
	defer c.lingerMu.Unlock()
	var out []*write
	for w := range c.lingering {
		w.mu.Lock()
		settled := w.settled
		w.mu.Unlock()
		if settled || now.After(w.deadline) {
			delete(c.lingering, w)
		}
		if !settled && now.After(w.deadline) {
			out = append(out, w)
		}
	}
	return out
}

// settleAll settles what is outstanding at the end.
func (c *Cluster) settleAll() {
	c.lingerMu.Lock()
	all := c.lingering
	c.lingering = map[*write]struct{}{}
	c.lingerMu.Unlock()
	for w := range all {
		w.settle()
	}
}

// keepHint notes durably, here or at another node that holds the samples, that
// nodes are owed a batch (C6).
func (c *Cluster) keepHint(keeper ring.NodeID, owed []ring.NodeID, body []byte, origins []frontier.Origin) {
	b := c.getBatch()
	defer c.putBatch(b)
	if err := decodeOwn(b, body); err != nil {
		c.warn("a hint could not be made", err)
		return
	}
	if keeper != c.opts.Node {
		p := c.peer(keeper)
		err := transport.ErrUnreachable
		if p != nil {
			a := &transport.Append{Sections: []transport.Section{{Batch: b, Body: body, Owed: owed, Origins: origins}}}
			err = p.Append(a, func(_ transport.AppendReply, err error) {
				if err != nil {
					c.warn("a hint could not be left", err, "keeper", keeper)
				}
			})
		}
		if err == nil {
			return
		}
		// Better here than nowhere: this node hands it over all the same.
	}
	for _, id := range owed {
		if id == c.opts.Node {
			continue // it failed here and is found by the digests
		}
		if err := c.hints.Add(id, b, origins); err != nil {
			c.warn("a hint could not be written", err, "owed", id)
			continue
		}
		c.stats.hinted.Add(float64(b.Samples()))
	}
}

// attend brings another member up to date whenever it is back, or owed
// something.
func (c *Cluster) attend(id ring.NodeID, back <-chan struct{}) {
	problem := "" // that was warned of; it is tried again every second
	for {
		select {
		case <-c.ctx.Done():
			return
		case _, member := <-back:
			if !member {
				return
			}
		}
		n, err := c.hints.Handover(id, &taker{c: c, id: id, v: c.newHanding()})
		switch {
		case err != nil:
			if problem != err.Error() {
				problem = err.Error()
				c.warn("hints could not be handed over, they are kept", err, "node", id)
			}
			continue
		case n > 0:
			c.info("hints handed over", "node", id, "segments", n)
		}
		problem = ""
		c.changes.back(id, c.diskOf(id), 2*c.opts.WriteDeadline)
		c.vouchFromBeginning(id)
	}
}

// diskOf returns the disk that a node was last seen on.
func (c *Cluster) diskOf(id ring.NodeID) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, _ := c.view.Get(id, time.Now())
	return n.Disk
}

const (
	handBatch   = 50_000 // samples that are handed over together
	handTimeout = 30 * time.Second
)

// handing are batches on their way to a node.
type handing struct {
	batches []*model.Batch
	origins []frontier.Origin // of all of them
	samples int
}

func (c *Cluster) newHanding() *handing { return &handing{} }

// taker gives a node what it is owed.
type taker struct {
	c  *Cluster
	id ring.NodeID
	v  *handing
}

// Intern returns the reference of a series.
func (t *taker) Intern(ls labels.Labels) (model.Ref, error) { return t.c.local.Intern(ls) }

// Batch takes a copy of b and sends when there is enough. What is settled is owed to
// nobody: a hint of it was handed over before and is back after a crash, or its node
// was no member meanwhile. A node that joins would take it for something new.
func (t *taker) Batch(b *model.Batch, origins []frontier.Origin) error {
	own := t.c.unsettledOf(t.c.floors.now(), b)
	t.v.origins = append(t.v.origins, origins...)
	t.v.batches = append(t.v.batches, own)
	if t.v.samples += own.Samples(); t.v.samples < handBatch {
		return nil
	}
	return t.Flush()
}

// Delete sends a delete, behind the samples before it.
func (t *taker) Delete(ts model.Tombstone) error {
	if err := t.Flush(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(t.c.ctx, handTimeout)
	defer cancel()
	if err := t.c.sendDelete(ctx, t.id, ts); err != nil && !isSettled(err) {
		return err
	}
	return nil
}

// Flush sends what is left and waits until all is durable there.
func (t *taker) Flush() error {
	if len(t.v.batches) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(t.c.ctx, handTimeout)
	defer cancel()
	err := t.c.sendKnown(ctx, t.id, t.v.batches, t.v.origins)
	if err == nil {
		t.c.stats.handedOver.Add(float64(t.v.samples))
	}
	for _, b := range t.v.batches {
		t.c.putBatch(b)
	}
	t.v.batches, t.v.origins, t.v.samples = t.v.batches[:0], t.v.origins[:0], 0
	return err
}
