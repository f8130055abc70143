package cluster

import (
	"context"
	"errors"
	"fmt"

	"github.com/count-db/count/cluster/quorum"
	"github.com/count-db/count/cluster/ring"
	"github.com/count-db/count/cluster/transport"
	"github.com/count-db/count/internal/caller"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/wire"
)

// Delete deletes the samples of the matched series in the tombstone's range that
// were acknowledged before (V3). It is stamped here: above every version that a
// complete set of nodes has met. It returns nil when W candidates of every series
// hold the tombstone; nodes that missed it are owed it.
func (c *Cluster) Delete(ctx context.Context, t model.Tombstone) error {
	topo := c.topo.Load()
	switch {
	case topo == nil:
		return unavailable(c.notFounded())
	case topo.alone:
		t.Version = c.clock.Now()
		if caller.GaveUp(ctx) {
			return unavailable(ErrGivenUp)
		}
		return c.local.Delete(ctx, t)
	case !c.majority.Load():
		return unavailable(ErrMinority)
	}
	ctx, cancel := context.WithTimeout(ctx, c.opts.WriteDeadline)
	defer cancel()
	if err := c.passAllClocks(ctx, topo); err != nil {
		return err
	}
	t.Version = c.clock.Now()
	if caller.GaveUp(ctx) {
		return unavailable(ErrGivenUp)
	}
	return c.spreadDelete(ctx, topo, t)
}

// passAllClocks moves the clock past every version that was acknowledged: each
// of them was met by a node of every complete set.
func (c *Cluster) passAllClocks(ctx context.Context, topo *topology) error {
	return c.askMembers(ctx, topo, func(ctx context.Context, id ring.NodeID) error {
		if id == c.opts.Node {
			return nil
		}
		v, err := c.clockOf(ctx, id)
		c.clock.Observe(v)
		return err
	}, nil)
}

func (c *Cluster) clockOf(ctx context.Context, id ring.NodeID) (model.Version, error) {
	p := c.peer(id)
	if p == nil {
		return 0, transport.ErrUnreachable
	}
	answer, err := p.Call(ctx, opClock, nil)
	if err != nil {
		return 0, err
	}
	d := wire.NewDecoder(answer)
	return model.Version(d.Uvarint()), d.Err()
}

func (c *Cluster) spreadDelete(ctx context.Context, topo *topology, t model.Tombstone) error {
	return c.askMembers(ctx, topo, func(ctx context.Context, id ring.NodeID) error {
		return c.sendDelete(ctx, id, t)
	}, func(missed, holders []ring.NodeID) {
		for _, id := range missed {
			c.keepDelete(holders, id, t)
		}
	})
}

// askMembers does something at all members and returns nil when it was done at W
// candidates of every series. done is told who missed it, when all are through.
func (c *Cluster) askMembers(ctx context.Context, topo *topology, do func(context.Context, ring.NodeID) error, done func(missed, holders []ring.NodeID)) error {
	type answer struct {
		id  ring.NodeID
		err error
	}
	members := topo.ring.Members()
	in := make(chan answer, len(members))
	for _, m := range members {
		go func() { in <- answer{m.ID, do(ctx, m.ID)} }()
	}
	var tracker quorum.Tracker
	lists := make([]*ring.List, len(topo.lists))
	for i := range topo.lists {
		lists[i] = &topo.lists[i]
	}
	tracker.Reset(lists)
	left := len(members)
	var missed, holders []ring.NodeID
	take := func(a answer) {
		left--
		if a.err != nil {
			missed = append(missed, a.id)
			tracker.Fail(a.id, quorum.Owner, a.err)
			tracker.Fail(a.id, quorum.StandIn, a.err)
			return
		}
		holders = append(holders, a.id)
		tracker.Ack(a.id, quorum.Owner)
		tracker.Ack(a.id, quorum.StandIn)
	}
	for left > 0 && tracker.Outcome() == quorum.Pending {
		take(<-in) // every answer comes: do ends with its context
	}
	outcome, err := tracker.Outcome(), tracker.Err()
	if done != nil {
		c.wg.Go(func() {
			for left > 0 {
				take(<-in)
			}
			done(missed, holders)
		})
	}
	if outcome != quorum.Durable {
		return unavailable(err)
	}
	return nil
}

// sendDelete has a member store a tombstone.
func (c *Cluster) sendDelete(ctx context.Context, id ring.NodeID, t model.Tombstone) error {
	if id == c.opts.Node {
		return c.storeDeletes(ctx, t)
	}
	p := c.peer(id)
	if p == nil {
		return transport.ErrUnreachable
	}
	_, err := p.Call(ctx, opDelete, transport.AppendTombstones(nil, []model.Tombstone{t}))
	return err
}

func (c *Cluster) storeDeletes(ctx context.Context, ts ...model.Tombstone) error {
	for i := range ts {
		c.clock.Observe(ts[i].Version)
	}
	err := c.deletesHere(ctx, ts)
	c.markLater()
	for i := range ts {
		c.windows.touch(windowOf(ts[i].MinT), windowOf(ts[i].MaxT))
	}
	return err
}

func (c *Cluster) serveDelete(ctx context.Context, d *wire.Decoder) error {
	all := transport.DecodeTombstones(d)
	if d.Err() != nil {
		return d.Err()
	}
	return c.storeDeletes(ctx, all...)
}

// keepDelete notes durably, here or at another holder, that a node is owed a
// delete (C6).
func (c *Cluster) keepDelete(holders []ring.NodeID, owed ring.NodeID, t model.Tombstone) {
	for _, id := range holders {
		if id == c.opts.Node {
			if err := c.hints.AddDelete(owed, t); err != nil {
				c.warn("a hint of a delete could not be written", err, "owed", owed)
			}
			return
		}
	}
	err := errors.New("no node holds it")
	for _, id := range holders {
		p := c.peer(id)
		if p == nil {
			continue
		}
		ctx, cancel := context.WithTimeout(c.ctx, c.opts.WriteDeadline)
		body := wire.AppendUvarint(nil, uint64(owed))
		_, err = p.Call(ctx, opOwe, transport.AppendTombstones(body, []model.Tombstone{t}))
		cancel()
		if err == nil {
			return
		}
	}
	c.warn("a hint of a delete could not be left anywhere", err, "owed", owed)
}

func (c *Cluster) serveOwe(d *wire.Decoder) error {
	owed := ring.NodeID(d.Uvarint())
	all := transport.DecodeTombstones(d)
	if d.Err() != nil {
		return d.Err()
	}
	for _, t := range all {
		if err := c.hints.AddDelete(owed, t); err != nil {
			return fmt.Errorf("keep a delete for node %d: %w", owed, err)
		}
	}
	return nil
}
