package agree

import (
	"crypto/sha256"
	"slices"
	"testing"

	"github.com/count-db/count/cluster/ring"
	"github.com/count-db/count/internal/wire"
)

// The exhaustive search runs the real Core over every interleaving of a small
// instance. The network is the set of all messages ever sent: any of them may be
// delivered at any time, again and again, or never, which is loss, doubling,
// delay and reordering at once. A crash takes all that a node has not saved. As
// messages are lost anyway, dying between Save and Send needs no step of its
// own.
//
// One disk may also be put back to an earlier state of itself (older_test.go).
//
// Not searched: more rounds and restarts than the bounds below, and electorates
// of more than three; TestAgreementAtRandom goes there.

// instance bounds a search.
type instance struct {
	voters    int
	proposers []ring.NodeID
	rounds    []int       // proposals that each proposer begins at most
	crashes   int         // restarts of all nodes together
	only      ring.NodeID // the one that restarts; 0 = any
	forgets   bool        // a restart loses what was saved: the fault that must be found
	sameDisk  bool        // with forgets: the node comes back with the vote of its disk
	older     older       // the disk that is put back
	maxStates int
}

// world is one state of the search.
type world struct {
	cores   []Core
	saved   []State
	begun   []int
	crashed int
	sent    [2]uint64 // bitmap over search.messages
	back    putBack
	chosen  string // first value that any node learnt
}

// searcher is one search.
type searcher struct {
	instance
	e        Electorate
	messages []Message      // each message that was ever sent, in any state
	numbers  map[string]int // by encoded form
	scratch  []byte
}

// with returns a copy in which core i may be changed.
func (w *world) with(i int) *world {
	o := *w
	o.cores = slices.Clone(w.cores)
	if p := o.cores[i].proposal; p != nil {
		c := *p
		c.votes = slices.Clone(p.votes)
		o.cores[i].proposal = &c
	}
	return &o
}

// key is equal for equal states.
func (s *searcher) key(w *world) [16]byte {
	b := s.scratch[:0]
	flag := func(is bool) {
		if is {
			b = append(b, 1)
		} else {
			b = append(b, 0)
		}
	}
	for i := range w.cores {
		c := &w.cores[i]
		b = appendBallot(appendBallot(b, c.state.Promised), c.state.Accepted)
		b = append(b, byte(c.round), byte(w.begun[i]), c.self.Disk[0])
		b = append(append(append(b, c.state.Value...), ';'), c.chosen...)
		flag(c.proposal != nil)
		if p := c.proposal; p != nil {
			b = appendBallot(append(b, p.value...), p.last)
			flag(p.accepting)
			flag(p.refused)
			votes := byte(0)
			for _, id := range p.votes {
				votes |= 1 << id
			}
			b = append(b, votes)
		}
	}
	b = w.back.key(append(append(b, byte(w.crashed)), w.chosen...))
	b = wire.AppendUint64(wire.AppendUint64(b, w.sent[0]), w.sent[1])
	s.scratch = b
	sum := sha256.Sum256(b)
	return [16]byte(sum[:16])
}

// take does what a Ready asks for. It returns nil when two values are chosen.
func (s *searcher) take(t *testing.T, w *world, i int, r Ready) *world {
	if r.Save != nil {
		w.saved = slices.Clone(w.saved)
		w.saved[i] = *r.Save
	}
	for _, m := range r.Send {
		if m.Kind == Chosen {
			continue // carries only what was found chosen before
		}
		form := string(EncodeMessage(&m))
		n, ok := s.numbers[form]
		if !ok {
			n = len(s.messages)
			s.numbers[form] = n
			s.messages = append(s.messages, m)
			if n >= 128 {
				t.Fatal("more messages than the bitmap holds")
			}
		}
		w.sent[n/64] |= 1 << (n % 64)
	}
	if r.Chosen != nil {
		if w.chosen == "" {
			w.chosen = string(r.Chosen)
		}
		if w.chosen != string(r.Chosen) {
			return nil
		}
	}
	return w
}

// search walks all states breadth first. It returns how many there are, whether
// that is all of them, and whether two values were chosen in one.
func search(t *testing.T, in instance) (states int, whole, disagreed bool) {
	t.Helper()
	s := &searcher{instance: in, e: electorate(in.voters), numbers: map[string]int{}}
	first := &world{saved: make([]State, in.voters), begun: make([]int, in.voters)}
	for _, v := range s.e {
		first.cores = append(first.cores, *New(v, 2, s.e, State{}))
	}
	seen := map[[16]byte]bool{s.key(first): true}
	queue := []*world{first}
	var next []*world
	for at := 0; at < len(queue); at++ {
		next = s.steps(t, next[:0], queue[at])
		queue[at] = nil
		for _, n := range next {
			if n == nil {
				return len(seen), false, true
			}
			if k := s.key(n); !seen[k] {
				seen[k] = true
				queue = append(queue, n)
			}
		}
		if len(seen) > in.maxStates {
			return len(seen), false, false
		}
	}
	return len(seen), true, false
}

// steps appends the states after each possible step; nil for one in which two
// values are chosen.
func (s *searcher) steps(t *testing.T, out []*world, w *world) []*world {
	for k, id := range s.proposers {
		i := int(id) - 1
		if c := &w.cores[i]; w.begun[i] == s.rounds[k] || c.Pending() || c.chosen != nil || !c.Voter() || c.mute {
			continue
		}
		n := w.with(i)
		n.begun = slices.Clone(w.begun)
		n.begun[i]++
		r, err := n.cores[i].Propose([]byte{'a' + byte(i) + byte(4*w.begun[i])})
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, s.leave(t, n, i, r)...)
	}
	for k := range s.messages {
		if w.sent[k/64]&(1<<(k%64)) == 0 {
			continue
		}
		m := s.messages[k]
		i := int(m.To) - 1
		if w.cores[i].outdated(&m) {
			continue
		}
		n := w.with(i)
		out = append(out, s.leave(t, n, i, n.cores[i].Step(m))...)
	}
	for i := range w.cores {
		if w.crashed < s.crashes && (s.only == 0 || s.only == s.e[i].Node) {
			out = append(out, s.restart(w, i))
		}
	}
	return append(out, s.backSteps(w)...)
}

// outdated says whether a message is an answer that changes nothing any more.
func (c *Core) outdated(m *Message) bool {
	answer := m.Kind == Promise || m.Kind == Accepted || m.Kind == Refuse
	return answer && max(m.Ballot.Round, m.Last.Round) <= c.round && (c.proposal == nil || c.proposal.ballot != m.Ballot)
}

func (s *searcher) restart(w *world, i int) *world {
	n := w.with(i)
	n.crashed++
	self := s.e[i]
	if s.forgets {
		n.saved = slices.Clone(w.saved)
		n.saved[i] = State{}
		if !s.sameDisk {
			self.Disk = "new"
		}
	}
	n.cores[i] = *New(self, 2, s.e, n.saved[i])
	return n
}

func TestModelAgreement(t *testing.T) {
	for _, in := range []instance{
		{voters: 2, proposers: []ring.NodeID{1, 2}, rounds: []int{2, 1}, crashes: 1, maxStates: 400_000},
		{voters: 3, proposers: []ring.NodeID{1, 3}, rounds: []int{1, 1}, crashes: 0, maxStates: 400_000},
		{voters: 3, proposers: []ring.NodeID{1, 2}, rounds: []int{1, 1}, crashes: 1, only: 1, maxStates: 400_000},
	} {
		states, whole, disagreed := search(t, in)
		if disagreed {
			t.Errorf("%+v: two values were chosen", in)
		}
		if !whole {
			t.Fatalf("%+v: not searched to the end in %d states", in, states)
		}
		t.Logf("%d voters, %d proposers, rounds %v, %d crashes: %d states, all of them", in.voters, len(in.proposers), in.rounds, in.crashes, states)
	}
}

// TestModelNewDisk: a voter that loses its disk breaks nothing, because the new
// disk has no vote.
func TestModelNewDisk(t *testing.T) {
	in := instance{voters: 3, proposers: []ring.NodeID{1, 3}, rounds: []int{1, 1}, crashes: 1, only: 2, forgets: true, maxStates: 400_000}
	states, whole, disagreed := search(t, in)
	if disagreed || !whole {
		t.Errorf("disagreed %v, searched to the end %v, %d states", disagreed, whole, states)
	}
	t.Logf("%d states, all of them", states)
}

// TestModelFindsLostState: the same search finds the fault when a voter comes
// back with its vote and without what it had saved.
func TestModelFindsLostState(t *testing.T) {
	in := instance{voters: 3, proposers: []ring.NodeID{1, 3}, rounds: []int{1, 1}, crashes: 1, only: 2, forgets: true, sameDisk: true, maxStates: 400_000}
	if _, _, disagreed := search(t, in); !disagreed {
		t.Error("an acceptor that forgets was not found to break agreement: the search proves nothing")
	}
}
