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

// state is what is known of one node's copy.
type state struct {
	node  ring.NodeID
	asked bool
	acked bool
	err   error // nil while unanswered
}

// Tracker follows one write over the groups of candidates that its samples
// belong to. A node's answer counts for every group that it is a candidate of.
// It belongs to one goroutine.
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

// Asked notes that the node was sent its copy.
func (t *Tracker) Asked(id ring.NodeID) {
	if s := t.find(id); s != nil {
		s.asked = true
	}
}

// WasAsked says whether the node was sent its copy.
func (t *Tracker) WasAsked(id ring.NodeID) bool {
	s := t.find(id)
	return s != nil && s.asked
}

// Ack notes that the node holds its copy durably.
func (t *Tracker) Ack(id ring.NodeID) {
	if s := t.find(id); s != nil {
		s.asked, s.acked, s.err = true, true, nil
	}
}

// Fail notes that the node's copy failed.
func (t *Tracker) Fail(id ring.NodeID, err error) {
	if s := t.find(id); s != nil && !s.acked {
		s.err = err
	}
}

// Acked says whether the node holds its copy.
func (t *Tracker) Acked(id ring.NodeID) bool {
	s := t.find(id)
	return s != nil && s.acked
}

// Outcome returns the state of the write: it is Durable when all groups are, and
// Failed when one group is.
func (t *Tracker) Outcome() Outcome {
	out := Durable
	for _, g := range t.groups {
		switch {
		case g.Complete(t.Acked):
		case !g.Possible(t.failed):
			return Failed
		default:
			out = Pending
		}
	}
	return out
}

func (t *Tracker) failed(id ring.NodeID) bool {
	s := t.find(id)
	return s != nil && s.err != nil
}

// Copies returns the smallest number of acknowledgements that any group has: so
// many copies of each sample are durable.
func (t *Tracker) Copies() int {
	least := -1
	for _, g := range t.groups {
		for i := range g.Groups() {
			if acked := t.acks(g.Group(i).Nodes); least < 0 || acked < least {
				least = acked
			}
		}
	}
	return max(least, 0)
}

func (t *Tracker) acks(nodes []ring.NodeID) int {
	n := 0
	for _, id := range nodes {
		if t.find(id).acked {
			n++
		}
	}
	return n
}

// StandIns appends the stand-ins to ask now: for each group without W
// acknowledgements, in the group's order, as many as there are owners that
// doubted says are silent or that failed, less the stand-ins asked already.
func (t *Tracker) StandIns(dst []ring.NodeID, doubted func(ring.NodeID) bool) []ring.NodeID {
	for _, g := range t.groups {
		if g.Complete(t.Acked) {
			continue
		}
		missing := 0
		for _, id := range g.Nodes[:g.Owners] {
			if s := t.find(id); !s.acked && (s.err != nil || doubted(id)) {
				missing++
			}
		}
		for _, id := range g.Nodes[g.Owners:] {
			s := t.find(id)
			if missing == 0 {
				break
			}
			if s.err == nil {
				missing--
			}
			if !s.asked && s.err == nil && !contains(dst, id) {
				dst = append(dst, id)
			}
		}
	}
	return dst
}

// Owed appends the owners of group g that have not confirmed: each is owed the
// samples of the group (C6).
func (t *Tracker) Owed(dst []ring.NodeID, g int) []ring.NodeID {
	l := t.groups[g]
	for _, id := range l.Nodes[:l.Owners] {
		if !t.find(id).acked {
			dst = append(dst, id)
		}
	}
	return dst
}

// Keeper returns the candidate of group g that is to keep the hints of those
// owed: prefer if it holds the samples, else the first that does. False when
// none does.
func (t *Tracker) Keeper(g int, prefer ring.NodeID) (ring.NodeID, bool) {
	if s := t.find(prefer); s != nil && s.acked && t.groups[g].Has(prefer) {
		return prefer, true
	}
	for _, id := range t.groups[g].Nodes {
		if t.find(id).acked {
			return id, true
		}
	}
	return 0, false
}

// Err describes the first group that is not durable: nil when all are.
func (t *Tracker) Err() error {
	for _, g := range t.groups {
		if g.Complete(t.Acked) {
			continue
		}
		e := &Error{}
		for i := range g.Groups() {
			group := g.Group(i)
			if acked := t.acks(group.Nodes); e.Need == 0 || acked-group.W < e.Acked-e.Need {
				e.Need, e.Acked = group.W, acked
			}
		}
		for _, id := range g.Nodes {
			switch s := t.find(id); {
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
