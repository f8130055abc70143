package agree

import (
	"fmt"
	"math/bits"
	"os"
	"testing"

	"github.com/count-db/count/cluster/ring"
)

// The same search with a disk that is copied at any time and put back to the copy at
// any later one: the node is started again without what it has saved since. What was
// sent before may still arrive.
//
// The rule against it, as package cluster keeps it: each vote counts a mark on, and
// nothing of it leaves before a majority, the voter included, remembers the mark. A node
// that starts hears what others remember before it votes; one of which more is
// remembered than its disk has is not the voter any more that the electorate names, and
// where there are but two it answers as that voter and proposes nothing.

// older says which disk is put back, and the rule.
type older struct {
	node     ring.NodeID // 0 = none
	tells    bool        // nothing of a vote leaves before a majority remembers it
	hears    int         // of how many others it hears what they remember before it votes
	proposes bool        // of two: found out, it goes on proposing: the fault that must be found
}

// putBack is how far that is in one state of the search.
type putBack struct {
	copied, done bool
	copy         State
	know         uint8 // bitmap over others: who remembers more than the copy has
	untold       bool  // no majority remembers the last vote
}

func (p *putBack) key(b []byte) []byte {
	if !p.copied {
		return b
	}
	b = append(append(appendBallot(appendBallot(b, p.copy.Promised), p.copy.Accepted), p.copy.Value...), 1, p.know)
	if p.done {
		b = append(b, 1)
	}
	if p.untold {
		b = append(b, 2)
	}
	return b
}

// sets returns all sets of so many of the others.
func (s *searcher) sets(n int) (out []uint8) {
	for set := range uint8(1) << s.voters {
		if bits.OnesCount8(set) == n && set&(1<<(s.older.node-1)) == 0 {
			out = append(out, set)
		}
	}
	return out
}

// leave is take where a vote must be remembered by others first: by each of the
// smallest sets that are enough, or by none, and then nothing leaves.
func (s *searcher) leave(t *testing.T, w *world, i int, r Ready) (out []*world) {
	if s.e[i].Node != s.older.node || w.back.done || r.Save == nil && !w.back.untold {
		return []*world{s.take(t, w, i, r)}
	}
	if !w.back.copied {
		// Only what is saved behind the copy makes it an older one.
		now := *w
		out = append(out, s.take(t, &now, i, r))
		w.back = putBack{copied: true, copy: w.saved[i]}
	}
	if !s.older.tells {
		return append(out, s.take(t, w, i, r))
	}
	silent := r
	silent.Send = nil
	none := *w
	none.back.untold = true
	out = append(out, s.take(t, &none, i, silent))
	sets := s.sets(s.e.Majority() - 1)
	if s.older.hears == s.voters-1 {
		sets = sets[:1] // it hears all of them: who remembers makes no difference
	}
	for _, set := range sets {
		told := *w
		told.back.know |= set
		told.back.untold = false
		out = append(out, s.take(t, &told, i, r))
	}
	return out
}

// backSteps are the starts on the copy.
func (s *searcher) backSteps(w *world) (out []*world) {
	if !w.back.copied || w.back.done {
		return nil
	}
	i := int(s.older.node) - 1
	outcomes := map[bool]bool{} // by whether the older copy is found out
	for _, heard := range s.sets(s.older.hears) {
		outcomes[s.older.tells && w.back.know&heard != 0] = true
	}
	for found := range outcomes {
		n := w.with(i)
		n.back = putBack{copied: true, done: true}
		n.saved = append([]State(nil), w.saved...)
		n.saved[i] = w.back.copy
		self := s.e[i]
		switch {
		case found && s.voters == 2 && !s.older.proposes:
			n.cores[i] = *NewAcceptor(self, 2, s.e, n.saved[i])
		case found && s.voters > 2:
			self.Disk = "new"
			fallthrough
		default:
			n.cores[i] = *New(self, 2, s.e, n.saved[i])
		}
		out = append(out, n)
	}
	return out
}

// someStates is how many states a search walks: COUNT_STATES, by default enough for
// those of two voters and to find each fault. Three voters have up to 700,106.
func someStates(t *testing.T) int {
	n := 150_000
	if text := os.Getenv("COUNT_STATES"); text != "" {
		if _, err := fmt.Sscan(text, &n); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

// TestModelOlderCopy: with the rule a voter that is put back to an older copy of its
// disk breaks nothing: always where there are two, and of three where the others are
// both there when it is back.
func TestModelOlderCopy(t *testing.T) {
	for _, in := range []instance{
		{voters: 2, proposers: []ring.NodeID{1, 2}, rounds: []int{2, 1}, older: older{node: 1, tells: true, hears: 1}},
		{voters: 2, proposers: []ring.NodeID{1, 2}, rounds: []int{1, 2}, older: older{node: 1, tells: true, hears: 1}},
		{voters: 3, proposers: []ring.NodeID{1, 3}, rounds: []int{1, 1}, older: older{node: 2, tells: true, hears: 2}},
		{voters: 3, proposers: []ring.NodeID{1, 3}, rounds: []int{1, 1}, older: older{node: 1, tells: true, hears: 2}},
		{voters: 3, proposers: []ring.NodeID{1}, rounds: []int{2}, older: older{node: 1, tells: true, hears: 2}},
	} {
		in.maxStates = someStates(t)
		states, whole, disagreed := search(t, in)
		if disagreed || !whole && in.voters == 2 {
			t.Errorf("%d voters, %+v: disagreed %v, searched to the end %v, %d states", in.voters, in.older, disagreed, whole, states)
		}
		t.Logf("%d voters, rounds %v, %+v: %d states, all of them: %v", in.voters, in.rounds, in.older, states, whole)
	}
}

// TestModelFindsOlderCopy: the same search finds what each part of the rule is for, and
// what the rule does not cover: of three, the one that remembers is away when the voter
// is back, and all that the two in sight know is nothing.
func TestModelFindsOlderCopy(t *testing.T) {
	for _, c := range []struct {
		name string
		in   instance
	}{
		{"an acceptor keeps its vote", instance{voters: 3, proposers: []ring.NodeID{1, 3}, rounds: []int{1, 1}, older: older{node: 2, hears: 2}}},
		{"a proposer keeps its vote", instance{voters: 3, proposers: []ring.NodeID{1}, rounds: []int{2}, older: older{node: 1, hears: 2}}},
		{"it hears nobody", instance{voters: 3, proposers: []ring.NodeID{1, 3}, rounds: []int{1, 1}, older: older{node: 2, tells: true}}},
		{"one of two goes on proposing", instance{voters: 2, proposers: []ring.NodeID{1, 2}, rounds: []int{2, 1}, older: older{node: 1, tells: true, hears: 1, proposes: true}}},
		{"not covered: it hears only who does not remember", instance{voters: 3, proposers: []ring.NodeID{1, 3}, rounds: []int{1, 1}, older: older{node: 2, tells: true, hears: 1}}},
	} {
		c.in.maxStates = someStates(t)
		states, _, disagreed := search(t, c.in)
		if !disagreed {
			t.Errorf("%s: not found in %d states", c.name, states)
			continue
		}
		t.Logf("%s: found in %d states", c.name, states)
	}
}
