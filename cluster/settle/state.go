package settle

import (
	"errors"
	"fmt"

	"github.com/count-db/count/cluster/ring"
	"github.com/count-db/count/internal/model"
)

// Round is one attempt to settle.
type Round struct {
	Floor model.Version `json:"floor,omitempty"`
	// From is the oldest time that is settled, in ms: what is older is beyond the
	// retention of some member.
	From   int64       `json:"from,omitempty"`
	Leader ring.NodeID `json:"leader,omitempty"`
	Start  uint64      `json:"start,omitempty"` // names the run of the leader's process
	Ring   uint64      `json:"ring,omitempty"`
}

// State is what a member has promised and knows. What a method changes must be
// durable before anybody is told.
type State struct {
	// Mark is promised: no fresh write at or below it is taken.
	Mark model.Version `json:"mark,omitempty"`
	// Floor and From: what is at or below the one and not before the other is
	// settled.
	Floor model.Version `json:"floor,omitempty"`
	From  int64         `json:"from,omitempty"`
	// Frozen is the round in which no copy at or below its floor is taken.
	Frozen Round `json:"frozen,omitzero"`
	// Decided is the round that Floor came from.
	Decided Round `json:"decided,omitzero"`
}

// Errors of a member's part in a round.
var (
	// ErrFrozen means that another round is under way at the member.
	ErrFrozen = errors.New("another round of settling is under way")
	// ErrNotFrozen means that a round is over at the member.
	ErrNotFrozen = errors.New("the round of settling is over")
	// ErrOtherRing means that the round is of another ring.
	ErrOtherRing = errors.New("the round of settling is of another ring")
)

// Promise has fresh writes at or below the version refused from now on.
func (s *State) Promise(f model.Version) { s.Mark = max(s.Mark, f) }

// Fresh says whether a fresh write or delete with the version is taken; else it
// is stamped anew.
func (s *State) Fresh(v model.Version) bool { return v > s.Mark }

// Freeze begins to refuse copies for a round of the ring in force.
func (s *State) Freeze(r Round, number uint64) error {
	switch {
	case s.Frozen == r:
		return nil
	case r.Ring != number:
		return fmt.Errorf("%w: %d, not %d", ErrOtherRing, r.Ring, number)
	case s.Frozen != Round{}:
		return fmt.Errorf("%w: of node %d", ErrFrozen, s.Frozen.Leader)
	case r.Floor <= s.Floor, r.Floor > s.Mark:
		return fmt.Errorf("%w: its floor %d is not above %d or not promised (%d)", ErrNotFrozen, r.Floor, s.Floor, s.Mark)
	}
	s.Frozen = r
	return nil
}

// Decide ends a round: its floor is in force. It may be said again.
func (s *State) Decide(r Round) error {
	switch {
	case s.Decided == r:
		return nil
	case s.Frozen != r:
		return ErrNotFrozen
	}
	s.Floor, s.From, s.Decided, s.Frozen = r.Floor, r.From, r, Round{}
	return nil
}

// Release ends a round that came to nothing.
func (s *State) Release(r Round) {
	if s.Frozen == r {
		s.Frozen = Round{}
	}
}

// Enter notes the number of the ring that comes into force: a round of another
// one is over.
func (s *State) Enter(number uint64) {
	if s.Frozen.Ring != number {
		s.Frozen = Round{}
	}
}

// Revoke takes the floor back: this node has lost data, or is about to copy what
// it becomes a candidate of. The mark stays.
func (s *State) Revoke() { *s = State{Mark: s.Mark} }

// Outcome is what a leader says of a round.
type Outcome byte

// The outcomes.
const (
	Pending Outcome = 1 // it goes on
	Settled Outcome = 2 // its floor was decided
	Dropped Outcome = 3 // it will never be
)

// OutcomeOf is a leader's answer to a frozen member; running is the round that
// it drives now. A round that it does not drive it releases, and cannot decide
// after that.
func (s *State) OutcomeOf(r, running Round) Outcome {
	switch {
	case s.Decided == r:
		return Settled
	case running == r:
		return Pending
	}
	s.Release(r)
	return Dropped
}

// Verdict is what a member does with a copy: a sample or a delete that keeps its
// version.
type Verdict byte

// The verdicts.
const (
	Take  Verdict = 1
	Drop  Verdict = 2 // it is settled that this is not there
	Later Verdict = 3 // refuse it: a round is under way
)

// Copy says what becomes of a copy of a sample at time t (ms) that was sent here
// unasked.
func (s *State) Copy(v model.Version, t int64) Verdict {
	switch {
	case s.Frozen.Floor > 0 && v <= s.Frozen.Floor:
		return Later
	case s.Below(v, t):
		return Drop
	}
	return Take
}

// Below says whether a copy of a sample at time t (ms) is from below the floor: what
// became of it is settled.
func (s *State) Below(v model.Version, t int64) bool { return v < s.Floor && t >= s.From }

// Delete says what becomes of a copy of a delete of what lies in [mint, maxt]; of
// one that is taken maxt is where it ends now: what is settled it does not reach.
func (s *State) Delete(v model.Version, mint, maxt int64) (verdict Verdict, end int64) {
	switch {
	case s.Frozen.Floor > 0 && v <= s.Frozen.Floor:
		return Later, maxt
	case v > s.Floor:
		return Take, maxt
	case mint >= s.From:
		return Drop, maxt
	}
	return Take, min(maxt, s.From-1)
}

// Quiet is the version at or below which members may differ in versions alone,
// because some have the floor of a round and others have not yet.
func (s *State) Quiet() model.Version { return max(s.Floor, s.Frozen.Floor) }
