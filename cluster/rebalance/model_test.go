package rebalance

import (
	"fmt"
	"math/bits"
	"testing"

	"github.com/count-db/count/cluster/membership"
	"github.com/count-db/count/cluster/ring"
)

// The exhaustive search follows one range of positions through a change: one
// write, one read begun after the write was acknowledged, every order in which
// nodes take rings, writes and reads reach nodes, and ranges are copied, under
// each of the rings involved. Messages may be lost: what need not happen may
// never happen. What a complete read must show is checked in every state.
//
// A recovery by force is searched in the same way: some of the old candidates are
// lost for good before the dual ring comes, at any point of a write, and of those
// left as many count as ring.Survived says.
//
// Not searched: versions of one sample against each other (merge does that), and
// changes that follow one another; only one is under way at a time (C2).

// The rings of a search.
const (
	oldRing = iota
	dualRing
	finalRing
	abortRing
	none
)

// faults are rules left out, to see that the search finds what they are for.
type faults struct {
	copyFromOld  bool // a source may still take writes of the old ring
	readOnlyOld  bool // a read in the dual ring asks the old candidates alone
	writeOnlyOld bool // a write in the dual ring asks the old candidates alone
	copyOnlyNew  bool // old candidates that stay never copy
	spreadAlone  bool // the end does not wait for copies
}

// change is the searched instance: nodes are bits.
type change struct {
	faults
	nodes      int
	before     uint8
	after      uint8
	wOld, wNew int
	copying    uint8
	lost       uint8 // never in the dual ring
	wBefore    int   // wOld before they were lost
}

type searched struct {
	rings   [6]uint8
	merged  [6]uint8 // by copying node: from whom
	holders uint8
	end     uint8 // none, finalRing or abortRing
	write   uint8 // its ring; none before it begins
	acks    uint8
	acked   bool
	read    uint8 // its ring; none before it begins
	answers uint8
	saw     bool
}

func newChange(l *ring.List, f faults) *change {
	c := &change{faults: f, wOld: l.Both[0].W, wBefore: l.Both[0].W, wNew: l.Both[1].W}
	numbers := map[ring.NodeID]int{}
	mask := func(ids []ring.NodeID) uint8 {
		m := uint8(0)
		for _, id := range ids {
			if _, ok := numbers[id]; !ok {
				numbers[id] = len(numbers)
			}
			m |= 1 << numbers[id]
		}
		return m
	}
	c.before, c.after = mask(l.Both[0].Nodes), mask(l.Both[1].Nodes)
	c.copying = mask(l.Copying)
	if f.copyOnlyNew {
		c.copying &^= c.before
	}
	c.nodes = len(numbers)
	return c
}

// newRecovery is newChange where n of w candidates of the ring before were lost.
func newRecovery(l *ring.List, f faults, n, w int) *change {
	c := newChange(l, f)
	c.wBefore = w
	for range n {
		c.lost |= 1 << c.nodes
		c.nodes++
	}
	return c
}

func (c *change) quorum(number, who uint8, onlyOld bool) bool {
	if number == oldRing {
		return bits.OnesCount8(who&(c.before|c.lost)) >= c.wBefore
	}
	old := bits.OnesCount8(who&c.before) >= c.wOld
	final := bits.OnesCount8(who&c.after) >= c.wNew
	switch number {
	case dualRing:
		return old && (final || onlyOld)
	case finalRing:
		return final
	}
	return old
}

func (c *change) candidates(number uint8) uint8 {
	switch number {
	case dualRing:
		return c.before | c.after
	case finalRing:
		return c.after
	case oldRing:
		return c.before | c.lost
	}
	return c.before
}

// mayFinish is the rule of Assess for one range.
func (c *change) mayFinish(s *searched) bool {
	spread := uint8(0)
	for i := range c.nodes {
		if s.rings[i] >= dualRing {
			spread |= 1 << i
		}
	}
	if bits.OnesCount8(spread&c.before) < c.wOld && !c.copyFromOld {
		return false
	}
	for i := range c.nodes {
		if c.copying&(1<<i) == 0 || c.spreadAlone {
			continue
		}
		need := c.wOld
		if c.before&(1<<i) != 0 {
			need--
		}
		if bits.OnesCount8(s.merged[i]) < need {
			return false
		}
	}
	return true
}

func (c *change) steps(out []searched, s searched) []searched {
	add := func(f func(n *searched)) {
		n := s
		f(&n)
		if n != s {
			out = append(out, n)
		}
	}
	if s.end == none {
		if c.lost == 0 {
			add(func(n *searched) { n.end = abortRing })
		}
		if c.mayFinish(&s) {
			add(func(n *searched) { n.end = finalRing })
		}
	}
	alive := true // are those who will be lost
	for _, number := range s.rings {
		alive = alive && number == oldRing
	}
	for i := range c.nodes {
		bit := uint8(1) << i
		if c.lost&bit != 0 && !alive {
			continue
		}
		if s.rings[i] == oldRing && c.lost&bit == 0 {
			add(func(n *searched) { n.rings[i] = dualRing })
		}
		if s.end != none && s.rings[i] != s.end {
			add(func(n *searched) {
				n.rings[i] = n.end
				if c.candidates(n.end)&bit == 0 {
					n.holders &^= bit // what is not owned any more is dropped at once
				}
			})
		}
		if s.write < none && s.rings[i] == s.write && c.candidates(s.write)&bit != 0 {
			add(func(n *searched) { n.holders |= bit; n.acks |= bit })
		}
		if s.read < none && s.rings[i] == s.read && c.candidates(s.read)&bit != 0 {
			add(func(n *searched) { n.answers |= bit; n.saw = n.saw || n.holders&bit != 0 })
		}
		if c.copying&bit != 0 && s.rings[i] == dualRing {
			out = c.copies(out, s, i)
		}
	}
	for number := uint8(oldRing); number < none; number++ {
		if number >= finalRing && number != s.end {
			continue
		}
		if s.write == none {
			add(func(n *searched) { n.write = number })
		}
		if s.acked && s.read == none {
			add(func(n *searched) { n.read = number })
		}
	}
	if s.write < none && c.quorum(s.write, s.acks, c.writeOnlyOld) {
		add(func(n *searched) { n.acked = true })
	}
	return out
}

// copies lets node i merge from each source.
func (c *change) copies(out []searched, s searched, i int) []searched {
	for j := range c.nodes {
		from := uint8(1) << j
		if j == i || c.before&from == 0 || s.merged[i]&from != 0 || (s.rings[j] < dualRing && !c.copyFromOld) {
			continue
		}
		if s.rings[j] >= finalRing && c.candidates(s.rings[j])&from == 0 {
			continue // it has dropped the range, and says so
		}
		n := s
		n.merged[i] |= from
		if n.holders&from != 0 {
			n.holders |= 1 << i
		}
		out = append(out, n)
	}
	return out
}

// run returns the number of states and whether some complete read misses an
// acknowledged write.
func (c *change) run() (states int, missed bool) {
	first := searched{end: none, write: none, read: none}
	seen := map[searched]bool{first: true}
	queue := []searched{first}
	var next []searched
	for at := 0; at < len(queue); at++ {
		s := queue[at]
		if s.read < none && !s.saw && c.quorum(s.read, s.answers, c.readOnlyOld) {
			return len(seen), true
		}
		next = c.steps(next[:0], s)
		for _, n := range next {
			if !seen[n] {
				seen[n] = true
				queue = append(queue, n)
			}
		}
	}
	return len(seen), false
}

func TestModelNoReadMissesAWrite(t *testing.T) {
	for _, c := range []struct {
		name          string
		before, after int // nodes 1 to n
		rf, rfAfter   int
		without       ring.NodeID
		lists         int // how many lists are searched; they differ in who is who
	}{
		{"one node gets a second", 1, 2, 3, 3, 0, 2},
		{"two nodes get a third", 2, 3, 3, 3, 0, 2},
		{"three nodes get a fourth", 3, 4, 3, 3, 0, 2},
		{"four nodes lose one", 4, 4, 3, 3, 4, 2},
		{"three nodes lose one", 3, 3, 3, 3, 3, 2},
		{"two copies, a node joins", 3, 4, 2, 2, 0, 2},
		{"three copies become one", 3, 3, 3, 1, 0, 2},
		{"one copy becomes three", 3, 3, 1, 3, 0, 2},
	} {
		dual := dualOf(t, c.before, c.rf, c.after, c.rfAfter, c.without)
		total := 0
		for i := range min(c.lists, len(dual.Lists())) {
			states, missed := newChange(&dual.Lists()[i], faults{}).run()
			if missed {
				t.Errorf("%s: a complete read misses an acknowledged write (list %+v)", c.name, dual.Lists()[i])
			}
			total += states
		}
		t.Logf("%s: %d states", c.name, total)
	}
}

// recoveries calls f for the lists of recoveries of small rings in which fewer than
// W candidates were lost.
func recoveries(t *testing.T, f func(l *ring.List, lost, w int)) {
	t.Helper()
	for _, c := range []struct{ n, rf, lost int }{{3, 3, 1}, {4, 3, 2}, {5, 3, 2}, {4, 2, 2}, {3, 2, 1}, {6, 3, 3}} {
		forced := record(c.n, c.rf)
		forced.Lost, forced.Members = forced.Members[:c.lost], forced.Members[c.lost:]
		before, err := record(c.n, c.rf).Ring()
		if err != nil {
			t.Fatal(err)
		}
		forced.Next = &membership.NextRing{RF: c.rf, Members: forced.Members}
		dual, err := forced.Ring()
		if err != nil {
			t.Fatal(err)
		}
		for bucket := range dual.Buckets() {
			_, at := dual.Range(bucket)
			l, old := &dual.Lists()[dual.ListOfBucket(bucket)], &before.Lists()[before.ListOf(at)]
			if lost := len(old.Nodes) - len(l.Both[0].Nodes); lost > 0 && l.Both[0].Held > 0 {
				f(l, lost, old.W)
			}
		}
	}
}

// TestModelNoReadMissesAWriteAfterRecovery is the same for recoveries.
func TestModelNoReadMissesAWriteAfterRecovery(t *testing.T) {
	seen := map[string]bool{}
	recoveries(t, func(l *ring.List, lost, w int) {
		c := newRecovery(l, faults{}, lost, w)
		if form := fmt.Sprintf("%+v", c); !seen[form] {
			seen[form] = true
			states, missed := c.run()
			if missed {
				t.Errorf("a complete read misses an acknowledged write: %d lost, list %+v", lost, l)
			}
			t.Logf("%d states: %d of %d lost, then %v", states, lost, lost+len(l.Both[0].Nodes), l.Both)
		}
	})
}

// TestModelFindsBrokenRecovery: the search sees that the ranges gained must be
// copied, from survivors that take no write of the ring before any more.
func TestModelFindsBrokenRecovery(t *testing.T) {
	for _, f := range []faults{{spreadAlone: true}, {copyFromOld: true}} {
		found := false
		recoveries(t, func(l *ring.List, lost, w int) {
			if !found && len(l.Copying) > 0 {
				_, found = newRecovery(l, f, lost, w).run()
			}
		})
		if !found {
			t.Errorf("%+v: no read was found that misses a write", f)
		}
	}
}

// TestModelFindsBrokenRules: the search sees what each rule is for.
func TestModelFindsBrokenRules(t *testing.T) {
	join := dualOf(t, 3, 3, 4, 3, 0)
	fewer := dualOf(t, 3, 3, 3, 1, 0)
	for _, c := range []struct {
		name string
		dual *ring.Ring
		f    faults
	}{
		{"copied from nodes that still take old writes", join, faults{copyFromOld: true}},
		{"dual reads ask the old candidates alone", join, faults{readOnlyOld: true}},
		{"dual writes ask the old candidates alone", join, faults{writeOnlyOld: true}},
		{"those who stay never copy", fewer, faults{copyOnlyNew: true}},
		{"the end does not wait for copies", join, faults{spreadAlone: true}},
	} {
		found := false
		for i := range c.dual.Lists() {
			if l := &c.dual.Lists()[i]; len(l.Copying) > 0 {
				_, missed := newChange(l, c.f).run()
				found = found || missed
				if found {
					break
				}
			}
		}
		if !found {
			t.Errorf("%s: no read was found that misses a write", c.name)
		}
	}
}
