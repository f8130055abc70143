package cluster

import (
	"context"
	"time"

	"github.com/count-db/count/cluster/frontier"
	"github.com/count-db/count/cluster/ring"
)

// Where no node owns everything a copy is proved complete list by list (C7). Of
// the numbers only those of the ring in force matter then: what was acknowledged
// under an earlier ring was with W candidates of this one before it came into
// force (C3), so it is behind the bases, which are of this ring.

// vouchedFor keeps of the sets that a member sent with its word what that word is
// about: lists of which it is a candidate and this node an owner. It knows of
// others too, but compared nothing of them.
func (c *Cluster) vouchedFor(from ring.NodeID, number uint64, sets frontier.Sets) frontier.Sets {
	t := c.topo.Load()
	return sets.Of(func(s frontier.Stream) bool {
		if s.Ring != number {
			return true // of no use where lists are proved one by one
		}
		if t == nil || t.ring.Number() != number || int(s.List) >= len(t.lists) {
			return false
		}
		l := &t.lists[s.List]
		return l.Has(from) && l.Owns(c.opts.Node)
	})
}

// proof is how far the proof of some lists has come.
type proof struct {
	c       *Cluster
	t       *topology
	need    map[int]int // by list: how many more candidates must hold nothing that this node lacks
	answers chan held
}

// held says that this node holds all that a member holds of the lists.
type held struct {
	lists []int
	last  bool // the member is asked no more
}

// prove divides lists into those for which this node's own copy holds every
// write that was acknowledged before the call, and the others: it is an owner of
// them, and holds all that W-1 other candidates hold.
func (c *Cluster) prove(ctx context.Context, t *topology, lists []int) (proved, others []int) {
	if t.ring.Changing() || c.refill.running() {
		return nil, lists
	}
	p := &proof{c: c, t: t, need: map[int]int{}}
	for _, i := range lists {
		if l := &t.lists[i]; l.Owns(c.opts.Node) {
			p.need[i] = l.W - 1
		}
	}
	p.run(ctx)
	for _, i := range lists {
		if need, mine := p.need[i]; mine && need <= 0 {
			proved = append(proved, i)
		} else {
			others = append(others, i)
		}
	}
	return proved, others
}

// run asks the other candidates until the lists are proved or nobody is left.
func (p *proof) run(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, frontierTimeout)
	defer cancel()
	asked := 0
	members := p.t.ring.Members()
	p.answers = make(chan held, len(members)*(len(p.need)+2)) // no sender waits
	for _, m := range members {
		if lists := p.listsOf(m.ID); len(lists) > 0 {
			asked++
			go p.ask(ctx, m.ID, lists)
		}
	}
	for asked > 0 && !p.done() {
		h := <-p.answers // every member's last answer comes: it ends with ctx
		for _, i := range h.lists {
			p.need[i]--
		}
		if h.last {
			asked--
		}
	}
}

func (p *proof) done() bool {
	for _, need := range p.need {
		if need > 0 {
			return false
		}
	}
	return true
}

// listsOf returns the lists that a member can help to prove.
func (p *proof) listsOf(id ring.NodeID) []int {
	if id == p.c.opts.Node || p.c.doubtfulNode(id) {
		return nil
	}
	var out []int
	for i, need := range p.need {
		if need > 0 && p.t.lists[i].Has(id) {
			out = append(out, i)
		}
	}
	return out
}

// ask finds out which of the lists a member holds nothing of that this node
// lacks, after waiting a moment for what is on its way.
func (p *proof) ask(ctx context.Context, id ring.NodeID, lists []int) {
	c := p.c
	k, err := c.frontierOf(ctx, id)
	if err != nil || !k.counts || k.ring != p.t.ring.Number() || !c.hasDeletes(k.deletes) {
		p.answers <- held{last: true}
		return
	}
	byList := map[int]frontier.Sets{}
	for stream, set := range k.sets {
		if stream.Ring != p.t.ring.Number() {
			continue
		}
		i := int(stream.List)
		if byList[i] == nil {
			byList[i] = frontier.Sets{}
		}
		byList[i][stream] = set
	}
	wait := time.NewTimer(inFlight)
	defer wait.Stop()
	for {
		now, later, changed := p.look(id, k.epoch, lists, byList)
		lists = later
		if len(now) > 0 || len(lists) == 0 {
			p.answers <- held{now, len(lists) == 0}
		}
		if len(lists) == 0 {
			return
		}
		select {
		case <-changed:
			continue
		case <-wait.C:
			for _, i := range lists {
				c.ledger.GiveUp(byList[i])
			}
		case <-ctx.Done():
		}
		p.answers <- held{last: true}
		return
	}
}

// look returns the lists of which this node holds all that a member has in its
// sets now, and those of which it may when changed is closed.
func (p *proof) look(id ring.NodeID, epoch uint64, lists []int, byList map[int]frontier.Sets) (now, later []int, changed <-chan struct{}) {
	for _, i := range lists {
		switch ok, _, more := p.c.ledger.Complete(id, epoch, byList[i]); {
		case ok:
			now = append(now, i)
		case more != nil:
			later = append(later, i)
			if changed == nil {
				changed = more // of the first look: what came since has closed it
			}
		}
	}
	return now, later, changed
}
