package agree

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/count-db/count/cluster/ring"
)

func electorate(n int) Electorate {
	var e Electorate
	for i := range n {
		e = append(e, Voter{Node: ring.NodeID(i + 1), Disk: fmt.Sprintf("disk-%d", i+1)})
	}
	return e
}

// group is an electorate whose messages a test moves by hand.
type group struct {
	slot   uint64
	e      Electorate
	cores  map[ring.NodeID]*Core
	saved  map[ring.NodeID]State
	chosen map[ring.NodeID][]byte
	net    []Message
}

func newGroup(n int) *group {
	g := &group{slot: 2, e: electorate(n), cores: map[ring.NodeID]*Core{}, saved: map[ring.NodeID]State{}, chosen: map[ring.NodeID][]byte{}}
	for _, v := range g.e {
		g.restart(v.Node)
	}
	return g
}

func (g *group) restart(id ring.NodeID) {
	g.cores[id] = New(g.e[id-1], g.slot, g.e, g.saved[id])
}

func (g *group) take(id ring.NodeID, r Ready) {
	if r.Save != nil {
		g.saved[id] = *r.Save
	}
	if r.Chosen != nil {
		g.chosen[id] = r.Chosen
	}
	g.net = append(g.net, r.Send...)
}

func (g *group) propose(t fataler, id ring.NodeID, value string) {
	t.Helper()
	r, err := g.cores[id].Propose([]byte(value))
	if err != nil {
		t.Fatal(err)
	}
	g.take(id, r)
}

// run delivers everything to the nodes that pass.
func (g *group) run(pass func(Message) bool) {
	for len(g.net) > 0 {
		m := g.net[0]
		g.net = g.net[1:]
		if pass == nil || pass(m) {
			g.take(m.To, g.cores[m.To].Step(m))
		}
	}
}

func (g *group) wantChosen(t testing.TB, value string, nodes ...ring.NodeID) {
	t.Helper()
	for _, id := range nodes {
		if got := string(g.chosen[id]); got != value {
			t.Errorf("node %d knows %q as chosen, want %q", id, got, value)
		}
	}
}

func TestOneProposerDecides(t *testing.T) {
	for _, n := range []int{1, 2, 3, 5} {
		g := newGroup(n)
		g.propose(t, 1, "x")
		g.run(nil)
		for _, v := range g.e {
			g.wantChosen(t, "x", v.Node)
		}
	}
}

func TestMajorityIsNeeded(t *testing.T) {
	for _, c := range []struct {
		n, up int
		want  string
	}{{3, 2, "x"}, {3, 1, ""}, {2, 1, ""}, {4, 2, ""}, {4, 3, "x"}, {5, 3, "x"}, {5, 2, ""}} {
		g := newGroup(c.n)
		g.propose(t, 1, "x")
		g.run(func(m Message) bool { return int(m.To) <= c.up && int(m.From.Node) <= c.up })
		g.wantChosen(t, c.want, 1)
	}
}

func TestEarlierValueIsKept(t *testing.T) {
	g := newGroup(3)
	g.propose(t, 1, "x")
	// Node 1 decides with node 2 and nobody hears of it.
	g.run(func(m Message) bool { return m.To != 3 && m.Kind != Chosen })
	g.wantChosen(t, "x", 1)
	g.propose(t, 3, "y")
	g.run(func(m Message) bool { return m.To != 1 && m.From.Node != 1 })
	g.wantChosen(t, "x", 2, 3)
}

func TestRefusedProposerGoesAbove(t *testing.T) {
	g := newGroup(3)
	g.propose(t, 3, "y")
	g.run(func(m Message) bool { return m.Kind == Prepare || m.Kind == Promise && m.To != 3 })
	g.propose(t, 1, "x") // ballot 1 of node 1, below ballot 1 of node 3
	g.run(func(m Message) bool { return m.From.Node != 3 && m.To != 3 })
	if g.cores[1].Pending() {
		t.Fatal("a refused proposal is still pending")
	}
	g.propose(t, 1, "x")
	g.run(func(m Message) bool { return m.From.Node != 3 && m.To != 3 })
	g.wantChosen(t, "x", 1, 2)
}

func TestNoVoteOnAnotherDisk(t *testing.T) {
	e := electorate(3)
	wiped := New(Voter{Node: 2, Disk: "new"}, 2, e, State{})
	if _, err := wiped.Propose([]byte("x")); !errors.Is(err, ErrNoVote) {
		t.Fatalf("proposing on a new disk: %v", err)
	}
	r := wiped.Step(Message{Kind: Prepare, Slot: 2, From: e[0], To: 2, Ballot: Ballot{1, 1}})
	if r.Save != nil || len(r.Send) > 0 {
		t.Fatalf("a new disk voted: %+v", r)
	}
	// Even if it did, nobody would count it.
	c := New(e[0], 2, e, State{})
	ready, err := c.Propose([]byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		ready = c.Step(Message{Kind: Promise, Slot: 2, From: Voter{Node: 2, Disk: "new"}, To: 1, Ballot: ready0(ready)})
		if len(ready.Send) > 0 {
			t.Fatal("the promise of a new disk was counted")
		}
	}
	outsider := New(Voter{Node: 4, Disk: "disk-4"}, 2, e, State{})
	if outsider.Voter() {
		t.Fatal("a joining node has a vote")
	}
	if r := outsider.Step(Message{Kind: Chosen, Slot: 2, From: e[0], Value: []byte("x")}); string(r.Chosen) != "x" {
		t.Fatal("a joining node does not hear the decision")
	}
}

func ready0(r Ready) Ballot {
	if len(r.Send) > 0 {
		return r.Send[0].Ballot
	}
	return Ballot{1, 1}
}

func TestOtherRingsDoNothing(t *testing.T) {
	e := electorate(3)
	c := New(e[0], 5, e, State{Slot: 4, Promised: Ballot{9, 2}, Accepted: Ballot{9, 2}, Value: []byte("old")})
	for _, slot := range []uint64{4, 6} {
		if r := c.Step(Message{Kind: Prepare, Slot: slot, From: e[1], To: 1, Ballot: Ballot{1, 2}}); len(r.Send) > 0 || r.Save != nil {
			t.Fatalf("a message about ring %d was answered by a node that decides ring 5", slot)
		}
	}
	r := c.Step(Message{Kind: Prepare, Slot: 5, From: e[1], To: 1, Ballot: Ballot{1, 2}})
	if len(r.Send) != 1 || r.Send[0].Kind != Promise || r.Send[0].Value != nil {
		t.Fatalf("the state of ring 4 counted for ring 5: %+v", r)
	}
}

// TestAgreementAtRandom runs electorates of one to five under loss, doubling,
// reordering and restarts: no two nodes ever know different decisions, and when
// the faults end one is reached.
func TestAgreementAtRandom(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 5).Draw(t, "voters")
		g := newGroup(n)
		node := rapid.IntRange(1, n)
		var decided []byte
		check := func() {
			for id, v := range g.chosen {
				if decided == nil {
					decided = v
				}
				if !bytes.Equal(decided, v) {
					t.Fatalf("node %d knows %q, another %q", id, v, decided)
				}
			}
		}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 9).Draw(t, "step") {
			case 0:
				id := ring.NodeID(node.Draw(t, "proposer"))
				r, err := g.cores[id].Propose([]byte{byte(id)})
				if err != nil {
					t.Fatal(err)
				}
				g.take(id, r)
			case 1:
				g.restart(ring.NodeID(node.Draw(t, "restarted")))
			default:
				if len(g.net) == 0 {
					continue
				}
				i := rapid.IntRange(0, len(g.net)-1).Draw(t, "message")
				m := g.net[i]
				if !rapid.Bool().Draw(t, "doubled") {
					g.net = slices.Delete(g.net, i, i+1)
				}
				if rapid.IntRange(0, 4).Draw(t, "lost") > 0 {
					g.take(m.To, g.cores[m.To].Step(m))
				}
			}
			check()
		}
		// Quiet: the first node goes on until it is through.
		for range 50 {
			if g.chosen[1] != nil {
				break
			}
			g.propose(t, 1, "late")
			g.run(nil)
			check()
		}
		if g.chosen[1] == nil {
			t.Fatal("no decision although nothing fails any more")
		}
	})
}

// fataler is what testing.TB and rapid.T have in common.
type fataler interface {
	Helper()
	Fatal(args ...any)
}
