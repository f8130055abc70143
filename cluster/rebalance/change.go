package rebalance

import (
	"errors"
	"fmt"
	"slices"

	"github.com/count-db/count/cluster/membership"
	"github.com/count-db/count/cluster/ring"
)

// Kind is what a change does.
type Kind string

// The kinds of changes.
const (
	Join    Kind = "join"    // a node becomes a member
	Leave   Kind = "leave"   // a member goes, by its own wish
	Remove  Kind = "remove"  // a dead member is taken out
	Replace Kind = "replace" // a member's new disk is recorded: it has a vote again
	Zone    Kind = "zone"    // a member's zone changes
	Copies  Kind = "copies"  // the replication factor changes
)

// MaxCopies is the largest replication factor.
const MaxCopies = 32

// Request is a wish for a change.
type Request struct {
	Kind Kind        `json:"kind"`
	Node ring.NodeID `json:"node_id,omitempty"`            // of all but Copies
	Disk string      `json:"disk_id,omitempty"`            // of Join and Replace
	Zone string      `json:"zone,omitempty"`               // of Join and Zone
	RF   int         `json:"replication_factor,omitempty"` // of Copies
}

// String says what is wished.
func (r Request) String() string {
	if r.Kind == Copies {
		return fmt.Sprintf("replication factor %d", r.RF)
	}
	return fmt.Sprintf("%s of node %d", r.Kind, r.Node)
}

// Errors that callers decide on.
var (
	// ErrChanging means that another change is under way: ask again when it ended.
	ErrChanging = errors.New("another change of the ring is under way")
	// ErrDone means that the ring is already as wished.
	ErrDone = errors.New("nothing is to be done")
	// ErrRefused means that no ring can be as wished.
	ErrRefused = errors.New("the ring cannot be changed so")
	// ErrVotes means that a change must not end yet: too few members would have a
	// vote on the next one.
	ErrVotes = errors.New("no majority of the next ring could vote")
)

// Begin returns the ring that begins a change: the dual one, or, where no data
// moves, the final one.
func Begin(now *membership.RingRecord, wish Request) (*membership.RingRecord, error) {
	if now.Next != nil {
		return nil, ErrChanging
	}
	members, rf, err := apply(now, wish)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", wish, err)
	}
	next := &membership.RingRecord{Number: now.Number + 1, ClusterID: now.ClusterID, RF: now.RF, Members: now.Members}
	if wish.Kind == Replace || wish.Kind == Copies && min(rf, len(members)) == min(now.RF, len(members)) {
		next.RF, next.Members = rf, members
		return next, nil // every series has the candidates that it had
	}
	next.Next = &membership.NextRing{RF: rf, Members: members}
	return next, nil
}

// apply returns the members and the replication factor after a change.
func apply(now *membership.RingRecord, wish Request) ([]membership.RingMember, int, error) {
	members := slices.Clone(now.Members)
	at := slices.IndexFunc(members, func(m membership.RingMember) bool { return m.ID == wish.Node })
	if at < 0 && wish.Kind != Join && wish.Kind != Copies {
		return nil, 0, fmt.Errorf("%w: node %d is no member", ErrDone, wish.Node)
	}
	switch wish.Kind {
	case Join:
		return join(members, now.RF, wish, at)
	case Leave, Remove:
		if len(members) == 1 {
			return nil, 0, fmt.Errorf("%w: node %d is the last member", ErrRefused, wish.Node)
		}
		return slices.Delete(members, at, at+1), now.RF, nil
	case Replace, Zone:
		old := members[at]
		if wish.Kind == Replace {
			members[at].Disk = wish.Disk
		} else {
			members[at].Zone = wish.Zone
		}
		if members[at] == old {
			return nil, 0, ErrDone
		}
		return members, now.RF, nil
	case Copies:
		if wish.RF < 1 || wish.RF > MaxCopies {
			return nil, 0, fmt.Errorf("%w: the replication factor is 1 to %d", ErrRefused, MaxCopies)
		}
		if wish.RF == now.RF {
			return nil, 0, fmt.Errorf("%w: the ring has it already", ErrDone)
		}
		return members, wish.RF, nil
	}
	return nil, 0, fmt.Errorf("%w: unknown change %q", ErrRefused, wish.Kind)
}

func join(members []membership.RingMember, rf int, wish Request, at int) ([]membership.RingMember, int, error) {
	switch {
	case wish.Node == 0 || wish.Disk == "":
		return nil, 0, fmt.Errorf("%w: node and disk are needed", ErrRefused)
	case at >= 0 && members[at].Disk != wish.Disk:
		return nil, 0, fmt.Errorf("%w: node %d is a member on disk %s", ErrRefused, wish.Node, members[at].Disk)
	case at >= 0:
		return nil, 0, ErrDone
	case len(members) >= ring.MaxMembers:
		return nil, 0, fmt.Errorf("%w: %d members are the most", ErrRefused, ring.MaxMembers)
	}
	members = append(members, membership.RingMember{ID: wish.Node, Zone: wish.Zone, Disk: wish.Disk})
	slices.SortFunc(members, func(a, b membership.RingMember) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	return members, rf, nil
}

// Finish returns the ring that ends the change of a dual ring. Assess says when the
// data allows it. ErrVotes means that the members of that ring could agree on
// nothing afterwards.
//
// A vote is bound to the disk that the ring records (C2), and who takes voters out
// must leave a majority of those that can vote. So the final ring records the disks
// that members stand on by now, as a Replace does, and no ring of which only half or
// fewer answer with such a disk comes into force: of three members one leaves, and
// another has lost its disk, and the two that are left could not even agree on
// recording the new one.
func Finish(dual *membership.RingRecord, reports map[ring.NodeID]Report) (*membership.RingRecord, error) {
	if dual.Next == nil {
		return nil, fmt.Errorf("%w: no change of the ring is under way", ErrDone)
	}
	final := &membership.RingRecord{
		Number: dual.Number + 1, ClusterID: dual.ClusterID, RF: dual.Next.RF, Members: slices.Clone(dual.Next.Members),
	}
	var without []ring.NodeID
	for i := range final.Members {
		m := &final.Members[i]
		r, answers := reports[m.ID]
		if r.Disk != "" && r.Ring >= dual.Number && !r.Refill {
			m.Disk = r.Disk
		}
		if !answers || r.Disk != m.Disk && (r.Disk != "" || r.NoVote) {
			without = append(without, m.ID)
		}
	}
	if 2*len(without) >= len(final.Members) {
		return nil, fmt.Errorf("%w: of the members to come %v do not answer, or have not filled their new disks", ErrVotes, without)
	}
	return final, nil
}

// Abort returns the ring that takes the change of a dual ring back. It is right
// at any time: every write of the dual ring is at W of the old candidates. A ring
// founded by force is not taken back (ErrRefused): there is no way back to its lost.
func Abort(dual *membership.RingRecord) (*membership.RingRecord, error) {
	if dual.Next == nil {
		return nil, fmt.Errorf("%w: no change of the ring is under way", ErrDone)
	}
	if len(dual.Lost) > 0 {
		return nil, fmt.Errorf("%w: the members before it are lost", ErrRefused)
	}
	return &membership.RingRecord{Number: dual.Number + 1, ClusterID: dual.ClusterID, RF: dual.RF, Members: dual.Members}, nil
}
