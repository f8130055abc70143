package cluster

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/count-db/count/cluster/frontier"
	"github.com/count-db/count/cluster/ring"
)

// Where no node owns everything a copy is proved complete list by list (C7). Of
// the numbers only those of the ring in force matter then: what was acknowledged
// under an earlier ring was with W candidates of this one before it came into
// force (C3), so it is behind the bases, which are of this ring.

// proofHedge is how long a proof waits for the members that are enough before it
// asks the others too.
const proofHedge = 10 * time.Millisecond

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

// frontierSource returns what a member has stored, as of some time after the read
// began.
type frontierSource func(ctx context.Context) (known, error)

// proof is how far the proof of some lists has come.
type proof struct {
	c       *Cluster
	t       *topology
	need    map[int]int // by list: how many more candidates must hold nothing that this node lacks
	given   map[ring.NodeID]frontierSource
	asked   map[ring.NodeID]bool
	open    int // members that may still answer
	answers chan held
}

// held says that this node holds all that a member holds of the lists.
type held struct {
	lists []int
	last  bool // the member is asked no more
}

// prove divides lists into those for which this node's own copy holds every
// write that was acknowledged before the call, and the others: it is an owner of
// them, and holds all that W-1 other candidates hold. given are members whose
// frontiers come by another way than a question.
func (c *Cluster) prove(ctx context.Context, t *topology, lists []int, given map[ring.NodeID]frontierSource) (proved, others []int) {
	if t.ring.Changing() || c.refill.running() {
		return nil, lists
	}
	members := len(t.ring.Members())
	p := &proof{
		c: c, t: t, need: map[int]int{}, given: given, asked: map[ring.NodeID]bool{c.opts.Node: true},
		answers: make(chan held, members*(len(lists)+2)), // no sender waits
	}
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

// run asks other candidates until the lists are proved or nobody is left: first
// as many as are enough, all when one of them does not help or is slow.
func (p *proof) run(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, frontierTimeout)
	defer cancel()
	p.askEnough(ctx)
	hedge := time.NewTimer(proofHedge)
	defer hedge.Stop()
	for !p.done() {
		if p.open == 0 && !p.askAll(ctx) {
			return
		}
		select {
		case h := <-p.answers: // every member's last answer comes: it ends with ctx
			for _, i := range h.lists {
				p.need[i]--
			}
			if h.last {
				p.open--
			}
		case <-hedge.C:
			p.askAll(ctx)
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

// askEnough asks few members that together can prove all lists: those first that
// need no question, then those that help with the most.
func (p *proof) askEnough(ctx context.Context) {
	type helper struct {
		id    ring.NodeID
		lists []int
	}
	var helpers []helper
	for _, m := range p.t.ring.Members() {
		if lists := p.listsOf(m.ID); len(lists) > 0 {
			helpers = append(helpers, helper{m.ID, lists})
		}
	}
	asks := func(h helper) int {
		if p.given[h.id] != nil {
			return 0
		}
		return 1
	}
	slices.SortFunc(helpers, func(a, b helper) int {
		return cmp.Or(cmp.Compare(asks(a), asks(b)), cmp.Compare(len(b.lists), len(a.lists)), cmp.Compare(a.id, b.id))
	})
	missing := map[int]int{}
	for i, need := range p.need {
		missing[i] = need
	}
	for _, h := range helpers {
		helps := false
		for _, i := range h.lists {
			if missing[i] > 0 {
				missing[i]--
				helps = true
			}
		}
		if helps {
			p.begin(ctx, h.id, h.lists)
		}
	}
}

// askAll asks the members that were not asked; false when there are none that
// can help.
func (p *proof) askAll(ctx context.Context) bool {
	any := false
	for _, m := range p.t.ring.Members() {
		if lists := p.listsOf(m.ID); len(lists) > 0 {
			p.begin(ctx, m.ID, lists)
			any = true
		}
	}
	return any
}

// listsOf returns the lists that a member which was not asked can help to prove.
func (p *proof) listsOf(id ring.NodeID) []int {
	if p.asked[id] || p.c.doubtfulNode(id) {
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

func (p *proof) begin(ctx context.Context, id ring.NodeID, lists []int) {
	p.asked[id] = true
	p.open++
	source := p.given[id]
	if source == nil {
		source = func(ctx context.Context) (known, error) { return p.c.frontierOf(ctx, id) }
	}
	go p.ask(ctx, id, lists, source)
}

// ask finds out which of the lists a member holds nothing of that this node
// lacks, after waiting a moment for what is on its way.
func (p *proof) ask(ctx context.Context, id ring.NodeID, lists []int, source frontierSource) {
	c := p.c
	k, err := source(ctx)
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
