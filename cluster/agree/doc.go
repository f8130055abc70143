// Package agree decides which ring comes next (invariant C2): single-decree
// Paxos, one decision a ring number. It is pure: no clock, no I/O, no goroutine.
//
// The electorate of ring n+1 are the members that ring n records, each with the
// disk it stands on, whatever anyone believes to be alive. A node that is only
// joining, and a node on another disk than the recorded one, has no vote and
// proposes nothing: what an earlier disk promised is not known to it. A disk that was
// put back to an older copy of itself counts as another one; that it was put back has
// to be found out by the caller (older_test.go says what that must be like). Where all
// votes are needed it may go on answering (NewAcceptor).
//
// A Core is one member's part in one decision. It takes a wish (Propose) or a
// message (Step) and returns a Ready:
//
//	wish ─┐            ┌─▶ Save    first: make it durable
//	      ├─▶ Core ────┼─▶ Send    then: give these to the network, or lose them
//	message            └─▶ Chosen  the decision, once it is known
//
// The order is all that safety needs: messages may be lost, doubled, delayed and
// come in any order, and a process may die between any two steps, as long as
// what was saved is there again when it is back (New with the saved State).
//
// A round of a proposer, with a ballot above all that it has seen:
//
//	preparing ── a majority promised ──▶ accepting ── a majority accepted ──▶ chosen
//	    │                                    │
//	    └───────── refused or silent ────────┴──▶ Propose again, a round higher
//
// Whoever finds in the promises that a value may have been chosen already
// proposes that value and not its own. So a wish may end in another's being
// chosen: the caller looks at what was chosen and wishes again for the next
// number. A proposer promises its own ballot durably before it asks others, so
// that it never uses a ballot twice.
package agree
