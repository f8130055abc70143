package cluster

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/count-db/count/cluster/membership"
	"github.com/count-db/count/cluster/rebalance"
	"github.com/count-db/count/cluster/ring"
)

// errTakenBack ends a leave whose change was aborted, and a join.
var errTakenBack = errors.New("the change was taken back")

// hasLeft says whether this node leaves or has left: it does not join again in
// this run.
func (g *changing) hasLeft() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.left
}

func (g *changing) setLeft(left bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.left = left
}

// Leave drains this node: it returns nil when its membership has ended and what
// it held has its full copies elsewhere. Cancelling ctx does not take it back;
// AbortChange does, and Leave fails then.
func (c *Cluster) Leave(ctx context.Context) error {
	tick := time.NewTicker(changeInterval / 4)
	defer tick.Stop()
	begun := false
	for {
		t := c.topo.Load()
		switch {
		case t == nil:
			return unavailable(c.notFounded())
		case !t.member:
			c.changing.setLeft(true)
			c.info("this node has left the cluster", "ring", t.ring.Number())
			return nil
		case t.ring.Changing():
			begun = begun || leaves(t.record, c.opts.Node)
		case begun:
			return errTakenBack
		default:
			var err error
			if begun, err = c.beginLeave(ctx); err != nil {
				return err
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		case <-c.ctx.Done():
			return ErrClosed
		}
	}
}

// beginLeave asks for the change. An error is final; where another change or the
// lack of a majority is in the way, it is to be asked for again.
func (c *Cluster) beginLeave(ctx context.Context) (begun bool, err error) {
	c.changing.setLeft(true)
	err = c.Change(ctx, rebalance.Request{Kind: rebalance.Leave, Node: c.opts.Node})
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, rebalance.ErrRefused):
		c.changing.setLeft(false)
		return false, err
	case c.changing.note(err.Error()):
		c.warn("leaving goes on later", err)
	}
	return false, nil
}

// leaves says whether a ring is one in which a node leaves or is removed.
func leaves(r *membership.RingRecord, node ring.NodeID) bool {
	if r == nil || r.Next == nil || r.Member(node) == nil {
		return false
	}
	for _, m := range r.Next.Members {
		if m.ID == node {
			return false
		}
	}
	return true
}

// noteLeaving keeps a node that was killed while it left, and one whose join was
// taken back, from joining again in this run, and lets one stay whose leave was
// taken back.
func (c *Cluster) noteLeaving(old, record *membership.RingRecord) {
	member := record.Member(c.opts.Node) != nil
	joins := record.Next != nil && slices.ContainsFunc(record.Next.Members, func(m membership.RingMember) bool { return m.ID == c.opts.Node })
	switch {
	case leaves(record, c.opts.Node):
		c.changing.setLeft(true)
	case leaves(old, c.opts.Node) && member:
		c.changing.setLeft(false)
	case old != nil && !member && !joins && c.changing.endJoin(old.Number):
		c.warn("this node does not join: its join was taken back; when it is started again it asks anew", errTakenBack, "ring", record.Number)
	}
}

// noteJoining remembers that this node joins in a ring which is in force at others
// as well: one that is known only from this disk may have been taken back long ago.
func (g *changing) noteJoining(t *topology, node ring.NodeID, reports map[ring.NodeID]rebalance.Report) {
	if !t.ring.Changing() || t.ring.Before().Has(node) || !t.ring.After().Has(node) {
		return // nor does a node join that waits for another's join to end
	}
	for id, r := range reports {
		if id != node && r.Ring == t.ring.Number() {
			g.mu.Lock()
			g.joining = r.Ring
			g.mu.Unlock()
			return
		}
	}
}

// endJoin says whether this node's join was under way in a ring, and refuses to
// join again.
func (g *changing) endJoin(dual uint64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.refused = g.refused || dual != 0 && g.joining == dual
	return g.joining == dual
}

func (g *changing) takenBack() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.refused
}
