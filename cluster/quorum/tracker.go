package quorum

import (
	"errors"

	"github.com/count-db/count/cluster/ring"
)

// Outcome is the state of a write.
type Outcome uint8

const (
	// Pending: not enough answers yet.
	Pending Outcome = iota
	// Durable: every group has W acknowledgements.
	Durable
	// Failed: some group has so many failures that it cannot get W any more.
	Failed
)

// String names the outcome.
func (o Outcome) String() string { return [...]string{"pending", "durable", "failed"}[o] }

// ErrSilent is the reason given for a node that has not answered.
var ErrSilent = errors.New("no answer yet")

// Role says for which of its groups a node was asked, and answers: what it holds
// of the groups it owns is no copy of those that it stands in for.
type Role uint8

const (
	// Owner is of the groups that the node owns.
	Owner Role = iota
	// StandIn is of the groups that the node is a candidate of and no owner.
	StandIn
	roles
)

// RoleIn returns the node's role in a group that it is a candidate of.
func RoleIn(g *ring.List, id ring.NodeID) Role {
	if g.Owns(id) {
		return Owner
	}
	return StandIn
}

// copyState is what is known of one node's copy of the groups of one role.
type copyState struct {
	asked bool
	acked bool
	err   error // nil while unanswered
}

type state struct {
	node ring.NodeID
	as   [roles]copyState
}

// Tracker follows one write over the groups of candidates that its samples
// belong to. A node's answer counts for every group in which it has the role
// that it was asked in. It belongs to one goroutine.
type Tracker struct {
	groups []*ring.List
	nodes  []state
}

// Reset begins a new write over the groups and keeps the memory.
func (t *Tracker) Reset(groups []*ring.List) {
	t.groups = groups
	t.nodes = t.nodes[:0]
	for _, g := range groups {
		for _, id := range g.Nodes {
			if t.find(id) == nil {
				t.nodes = append(t.nodes, state{node: id})
			}
		}
	}
}

func (t *Tracker) find(id ring.NodeID) *state {
	for i := range t.nodes {
		if t.nodes[i].node == id {
			return &t.nodes[i]
		}
	}
	return nil
}

// in returns the state of the node's copy of a group that it is a candidate of.
func (t *Tracker) in(g *ring.List, id ring.NodeID) *copyState {
	return &t.find(id).as[RoleIn(g, id)]
}

// Asked notes that the node was sent its copy of the groups of a role.
func (t *Tracker) Asked(id ring.NodeID, role Role) {
	if s := t.find(id); s != nil {
		s.as[role].asked = true
	}
}

// Ack notes that the node holds its copy durably.
func (t *Tracker) Ack(id ring.NodeID, role Role) {
	if s := t.find(id); s != nil {
		s.as[role] = copyState{asked: true, acked: true}
	}
}

// Fail notes that the node's copy failed.
func (t *Tracker) Fail(id ring.NodeID, role Role, err error) {
	if s := t.find(id); s != nil && !s.as[role].acked {
		s.as[role].err = err
	}
}

// Again calls ask for every copy that failed in a group which is not durable, and
// forgets the failure where ask says so: the node is being asked again.
func (t *Tracker) Again(ask func(id ring.NodeID, role Role, err error) bool) {
	for _, g := range t.groups {
		if g.Complete(t.ackedIn(g)) {
			continue
		}
		for _, id := range g.Nodes {
			if s := t.in(g, id); s.err != nil && ask(id, RoleIn(g, id), s.err) {
				s.err = nil
			}
		}
	}
}

func (t *Tracker) ackedIn(g *ring.List) func(ring.NodeID) bool {
	return func(id ring.NodeID) bool { return t.in(g, id).acked }
}

// Outcome returns the state of the write: it is Durable when all groups are, and
// Failed when one group is.
func (t *Tracker) Outcome() Outcome {
	out := Durable
	for _, g := range t.groups {
		switch {
		case g.Complete(t.ackedIn(g)):
		case !g.Possible(func(id ring.NodeID) bool { return t.in(g, id).err != nil }):
			return Failed
		default:
			out = Pending
		}
	}
	return out
}

// Copies returns the smallest number of acknowledgements that any group has: so
// many copies of each sample are durable.
func (t *Tracker) Copies() int {
	least := -1
	for _, g := range t.groups {
		for i := range g.Groups() {
			if len(g.Group(i).Nodes) == 0 {
				continue
			}
			if acked := t.acks(g, i); least < 0 || acked < least {
				least = acked
			}
		}
	}
	return max(least, 0)
}

// acks counts the acknowledgements of candidates i of group g.
func (t *Tracker) acks(g *ring.List, i int) int {
	n := 0
	for _, id := range g.Group(i).Nodes {
		if t.in(g, id).acked {
			n++
		}
	}
	return n
}

// StandIns appends the stand-ins to ask now: for each group without W
// acknowledgements, in the group's order, as many as there are owners that
// doubted says are silent or that failed, less the stand-ins asked already. In a
// dual ring the candidates of each ring are looked at by themselves: a stand-in
// of one is none for the other.
func (t *Tracker) StandIns(dst []ring.NodeID, doubted func(ring.NodeID) bool) []ring.NodeID {
	for _, g := range t.groups {
		for i := range g.Groups() {
			if t.acks(g, i) < g.Group(i).W {
				dst = t.standIns(dst, g, g.Group(i).Nodes, doubted)
			}
		}
	}
	return dst
}

// standIns is StandIns for some of the candidates of group g.
func (t *Tracker) standIns(dst []ring.NodeID, g *ring.List, nodes []ring.NodeID, doubted func(ring.NodeID) bool) []ring.NodeID {
	missing := 0
	for _, id := range nodes {
		if s := t.in(g, id); g.Owns(id) && !s.acked && (s.err != nil || doubted(id)) {
			missing++
		}
	}
	for _, id := range nodes {
		if missing == 0 {
			break
		}
		if g.Owns(id) {
			continue
		}
		s := t.in(g, id)
		if s.err == nil {
			missing--
		}
		if !s.asked && s.err == nil && !contains(dst, id) {
			dst = append(dst, id)
		}
	}
	return dst
}

// Owed appends the owners of group g that have not confirmed: each is owed the
// samples of the group (C6).
func (t *Tracker) Owed(dst []ring.NodeID, g int) []ring.NodeID {
	l := t.groups[g]
	for _, id := range l.Nodes[:l.Owners] {
		if !t.in(l, id).acked {
			dst = append(dst, id)
		}
	}
	return dst
}

// Keeper returns the candidate of group g that is to keep the hints of those
// owed: prefer if it holds the samples, else the first that does. False when
// none does.
func (t *Tracker) Keeper(g int, prefer ring.NodeID) (ring.NodeID, bool) {
	l := t.groups[g]
	if l.Has(prefer) && t.in(l, prefer).acked {
		return prefer, true
	}
	for _, id := range l.Nodes {
		if t.in(l, id).acked {
			return id, true
		}
	}
	return 0, false
}

// Err describes the first group that is not durable: nil when all are.
func (t *Tracker) Err() error {
	for _, g := range t.groups {
		if g.Complete(t.ackedIn(g)) {
			continue
		}
		e := &Error{}
		for i := range g.Groups() {
			group := g.Group(i)
			if acked := t.acks(g, i); e.Need == 0 || acked-group.W < e.Acked-e.Need {
				e.Need, e.Acked = group.W, acked
			}
		}
		for _, id := range g.Nodes {
			switch s := t.in(g, id); {
			case s.acked:
			case s.err != nil:
				e.Failed = append(e.Failed, NodeError{id, s.err})
			case s.asked:
				e.Failed = append(e.Failed, NodeError{id, ErrSilent})
			}
		}
		return e
	}
	return nil
}

func contains(ids []ring.NodeID, id ring.NodeID) bool {
	for _, x := range ids {
		if x == id {
			return true
		}
	}
	return false
}
