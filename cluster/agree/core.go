package agree

import (
	"errors"
	"fmt"
	"slices"

	"github.com/count-db/count/cluster/ring"
)

// ErrNoVote means that this node may not propose: the ring does not record it,
// or records another disk for it. Somebody with a vote has to wish in its place.
var ErrNoVote = errors.New("this node has no vote on the next ring")

// Core is one member's part in one decision. It is not safe for concurrent use.
type Core struct {
	self       Voter
	slot       uint64
	electorate Electorate
	mute       bool      // it proposes nothing
	state      State     // as it was saved last, or is about to be by the caller
	round      uint64    // the highest heard of
	proposal   *proposal // nil: none of this node is under way
	chosen     []byte    // nil: not known
}

// New returns the part of self in deciding the ring of number slot. saved is
// what it saved last; what is about another number does not count.
func New(self Voter, slot uint64, electorate Electorate, saved State) *Core {
	if saved.Slot != slot {
		saved = State{Slot: slot}
	}
	return &Core{self: self, slot: slot, electorate: electorate, state: saved, round: saved.Promised.Round}
}

// NewAcceptor is New for a member that may have forgotten what it saved: it answers,
// and proposes nothing, for it might use a ballot twice, unless it is alone. That is
// safe where nothing is decided without the votes of all, since all others remember.
func NewAcceptor(self Voter, slot uint64, electorate Electorate, saved State) *Core {
	c := New(self, slot, electorate, saved)
	c.mute = len(electorate) > 1
	return c
}

// Slot returns the number of the ring that is decided.
func (c *Core) Slot() uint64 { return c.slot }

// Voter says whether this node has a vote.
func (c *Core) Voter() bool { return c.electorate.Has(c.self) }

// Pending says whether a proposal of this node is under way and not refused: it
// may still succeed without another Propose.
func (c *Core) Pending() bool { return c.proposal != nil && !c.proposal.refused }

// Propose begins a round for a value (not empty), above all rounds heard of. It
// is called again, after a while, when the round came to nothing.
func (c *Core) Propose(value []byte) (Ready, error) {
	switch {
	case c.chosen != nil:
		return Ready{Chosen: c.chosen}, nil
	case !c.Voter() || c.mute:
		return Ready{}, fmt.Errorf("%w: node %d with disk %s, ring %d", ErrNoVote, c.self.Node, c.self.Disk, c.slot)
	}
	c.round++
	c.proposal = &proposal{ballot: Ballot{Round: c.round, Node: c.self.Node}, value: value}
	var r Ready
	r.Send = c.toOthers(Message{Kind: Prepare, Ballot: c.proposal.ballot})
	c.vote(&r, c.reply(&r, Message{Kind: Prepare, From: c.self, Ballot: c.proposal.ballot}))
	return r, nil
}

// Step takes a message. Messages about other rings, and from whoever has no
// vote, do nothing: but a decision is taken from any member.
func (c *Core) Step(m Message) Ready {
	var r Ready
	if m.Slot != c.slot || !c.electorate.Has(m.From) {
		return r
	}
	c.round = max(c.round, m.Ballot.Round, m.Last.Round)
	switch m.Kind {
	case Prepare, Accept:
		if c.Voter() {
			r.Send = append(r.Send, c.reply(&r, m))
		}
	case Promise, Accepted, Refuse:
		c.vote(&r, m)
	case Chosen:
		c.choose(&r, m.Value)
	}
	return r
}

// reply is the acceptor: what this node answers a proposer.
func (c *Core) reply(r *Ready, m Message) Message {
	out := Message{Slot: c.slot, From: c.self, To: m.From.Node, Ballot: m.Ballot}
	switch {
	case c.chosen != nil:
		out.Kind, out.Value = Chosen, c.chosen
	case m.Ballot.Less(c.state.Promised):
		out.Kind, out.Last = Refuse, c.state.Promised
	case m.Kind == Prepare:
		if c.state.Promised != m.Ballot {
			c.state.Promised = m.Ballot
			c.save(r)
		}
		out.Kind, out.Last, out.Value = Promise, c.state.Accepted, c.state.Value
	default:
		if c.state.Accepted != m.Ballot {
			c.state.Promised, c.state.Accepted, c.state.Value = m.Ballot, m.Ballot, m.Value
			c.save(r)
		}
		out.Kind = Accepted
	}
	return out
}

func (c *Core) save(r *Ready) {
	s := c.state
	r.Save = &s
}

// vote is the proposer: it counts an answer to its round, its own included.
func (c *Core) vote(r *Ready, m Message) {
	if m.Kind == Chosen {
		c.choose(r, m.Value)
		return
	}
	p := c.proposal
	if p == nil || m.Ballot != p.ballot || c.chosen != nil {
		return
	}
	switch {
	case m.Kind == Refuse:
		p.refused = true
	case m.Kind == Promise && !p.accepting:
		if p.last.Less(m.Last) {
			p.last, p.value = m.Last, m.Value
		}
		if p.count(m.From.Node) < c.electorate.Majority() {
			return
		}
		p.accepting = true
		p.votes = nil
		accept := Message{Kind: Accept, From: c.self, Ballot: p.ballot, Value: p.value}
		r.Send = append(r.Send, c.toOthers(accept)...)
		c.vote(r, c.reply(r, accept))
	case m.Kind == Accepted && p.accepting:
		if p.count(m.From.Node) < c.electorate.Majority() {
			return
		}
		r.Send = append(r.Send, c.toOthers(Message{Kind: Chosen, Ballot: p.ballot, Value: p.value})...)
		c.choose(r, p.value)
	}
}

func (c *Core) choose(r *Ready, value []byte) {
	c.chosen, c.proposal = value, nil
	r.Chosen = value
}

// toOthers addresses a message to every other voter.
func (c *Core) toOthers(m Message) []Message {
	var out []Message
	m.Slot, m.From = c.slot, c.self
	for _, v := range c.electorate {
		if v.Node != c.self.Node {
			m.To = v.Node
			out = append(out, m)
		}
	}
	return out
}

// proposal is a round of this node.
type proposal struct {
	ballot    Ballot
	value     []byte
	last      Ballot        // the highest ballot among the accepted values that promises told of
	accepting bool          // a majority promised
	refused   bool          // somebody promised a higher ballot to another
	votes     []ring.NodeID // distinct
}

func (p *proposal) count(id ring.NodeID) int {
	if !slices.Contains(p.votes, id) {
		p.votes = append(p.votes, id)
	}
	return len(p.votes)
}
