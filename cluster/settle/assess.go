package settle

import (
	"errors"
	"fmt"

	"github.com/count-db/count/cluster/antientropy"
	"github.com/count-db/count/cluster/ring"
)

// Holding is what a member says of itself in a round.
type Holding struct {
	// Lists are the digests, without versions, of all that the member holds at or
	// below the floor and not before From, by list of candidates; of lists that
	// it is no candidate of too.
	Lists map[int]antientropy.Digest
	// Deletes is a digest of the deletes at or below the floor, but for those that
	// the highest floor of a member made nothing of. Where a member lacks one it
	// must be given to it: an old sample that is still on its way would stay there.
	Deletes antientropy.Digest
	// Owes says that the member keeps something for another.
	Owes bool
}

// ErrNotSettled is wrapped by what Assess finds: anti-entropy, hand-over or the
// dropping of what is no longer owned must come first.
var ErrNotSettled = errors.New("not settled yet")

// Assess says whether the floor may be decided: all members have answered, none
// owes anything or lacks a delete, the owners of every list hold the same and no other member holds
// anything of it.
func Assess(r *ring.Ring, holdings map[ring.NodeID]Holding) error {
	if r.Changing() {
		return fmt.Errorf("%w: the ring is changing", ErrNotSettled)
	}
	for _, m := range r.Members() {
		h, ok := holdings[m.ID]
		switch {
		case !ok:
			return fmt.Errorf("%w: node %d has not answered", ErrNotSettled, m.ID)
		case h.Owes:
			return fmt.Errorf("%w: node %d keeps what others are owed", ErrNotSettled, m.ID)
		case h.Deletes != holdings[r.Members()[0].ID].Deletes:
			return fmt.Errorf("%w: node %d does not know the same deletes as node %d", ErrNotSettled, m.ID, r.Members()[0].ID)
		}
	}
	lists := r.Lists()
	for n := range lists {
		l := &lists[n]
		first := l.Nodes[0]
		want := holdings[first].Lists[n]
		for _, m := range r.Members() {
			switch got := holdings[m.ID].Lists[n]; {
			case l.Owns(m.ID) && got != want:
				return fmt.Errorf("%w: nodes %d and %d hold different samples (%d and %d)", ErrNotSettled, first, m.ID, want.Count, got.Count)
			case !l.Owns(m.ID) && got.Count > 0:
				return fmt.Errorf("%w: node %d keeps %d samples that it does not own", ErrNotSettled, m.ID, got.Count)
			}
		}
	}
	return nil
}
