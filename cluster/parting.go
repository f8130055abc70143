package cluster

import (
	"github.com/count-db/count/cluster/membership"
	"github.com/count-db/count/cluster/ring"
)

// partLocked takes leave of the members of a ring that the next one does not
// have: their connections end, and nobody owes them anything any more. The
// caller holds c.mu.
func (c *Cluster) partLocked(before, now *membership.RingRecord) {
	if before == nil || now.Next != nil && len(now.Lost) == 0 {
		return // while a change is under way all are needed, but those who are lost
	}
	old := before.Members
	if before.Next != nil {
		old = append(old[:len(old):len(old)], before.Next.Members...)
	}
	for _, m := range old {
		if now.Member(m.ID) == nil {
			c.view.Depart(m.ID)
			c.forgetLocked(m.ID)
		}
	}
}

func (c *Cluster) forgetLocked(id ring.NodeID) {
	if id == c.opts.Node {
		return
	}
	if p := c.peer(id); p != nil {
		c.wg.Go(p.Close) // it calls back, and c.mu is held
		c.peers.setLocked(id, nil)
	}
	if back := c.back[id]; back != nil {
		close(back) // senders hold c.mu
		delete(c.back, id)
	}
	delete(c.state.Addresses, id)
	delete(c.state.Seen, id)
	if err := c.hints.Drop(id); err != nil {
		c.warn("hints for a node that is no member any more could not be dropped", err, "node", id)
	}
	c.saveLocked()
}

// strangeFor is for how many seconds a node must be no member before what it is
// owed is dropped: a hint may come from a node that has a newer ring already.
const strangeFor = 10

// dropStrangers drops what nodes that are no members are owed, once a second:
// written down by a write that ended after they left, found again after a crash, or
// kept by a node that was out of the ring itself when they left. It would hold up
// settling for ever. seen counts for how long they were none.
func (c *Cluster) dropStrangers(seen map[ring.NodeID]int) {
	c.mu.Lock() // no ring comes into force meanwhile
	defer c.mu.Unlock()
	r := c.state.Ring
	if r == nil || r.Next != nil {
		clear(seen)
		return
	}
	for _, id := range c.hints.Owed() {
		if r.Member(id) != nil {
			delete(seen, id)
			continue
		}
		if seen[id]++; seen[id] < strangeFor {
			continue
		}
		if err := c.hints.Drop(id); err != nil {
			c.warn("hints for a node that is no member could not be dropped", err, "node", id)
		}
	}
}

// owesLocked says whether this node keeps hints for members that stay and are in
// sight: it hands them over before it goes. What is owed to members out of sight
// is at W other candidates by then.
func (c *Cluster) owesLocked() bool {
	t := c.topo.Load()
	if t == nil || !t.ring.Changing() {
		return false
	}
	for id, bytes := range c.hints.Stats().PerNode {
		if bytes > 0 && t.ring.After().Has(id) && c.view.InSight(id) {
			return true
		}
	}
	return false
}
