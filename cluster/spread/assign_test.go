package spread

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/count-db/count/cluster/ring"
)

func newRing(t testing.TB, n, rf, zones int) *ring.Ring {
	t.Helper()
	var members []ring.Member
	for i := range n {
		m := ring.Member{ID: ring.NodeID(i + 1)}
		if zones > 0 {
			m.Zone = fmt.Sprintf("z%d", i%zones)
		}
		members = append(members, m)
	}
	r, err := ring.New(1, rf, members)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func all(r *ring.Ring) []int {
	out := make([]int, len(r.Lists()))
	for i := range out {
		out[i] = i
	}
	return out
}

// TestAssignOnce: every list goes to exactly one of its usable owners, or to
// nobody when it has none.
func TestAssignOnce(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, 8).Draw(rt, "nodes")
		r := newRing(t, n, rapid.IntRange(1, 4).Draw(rt, "rf"), rapid.IntRange(0, 3).Draw(rt, "zones"))
		down := rapid.SliceOf(rapid.IntRange(1, n)).Draw(rt, "down")
		usable := func(_ int, id ring.NodeID) bool {
			for _, d := range down {
				if ring.NodeID(d) == id {
					return false
				}
			}
			return true
		}
		self := ring.NodeID(rapid.IntRange(1, n).Draw(rt, "self"))
		byNode, nobody := Assign(Request{Ring: r, Self: self, Lists: all(r), Usable: usable})
		given := map[int]ring.NodeID{}
		for id, lists := range byNode {
			for _, i := range lists {
				if other, twice := given[i]; twice {
					rt.Fatalf("list %d is computed by %d and %d", i, other, id)
				}
				given[i] = id
				l := &r.Lists()[i]
				if !l.Owns(id) || !usable(i, id) {
					rt.Fatalf("list %d of %v is given to %d", i, l.Nodes, id)
				}
				if l.Owns(self) && usable(i, self) && id != self {
					rt.Fatalf("list %d is the asking node's and goes to %d", i, id)
				}
			}
		}
		for _, i := range nobody {
			for _, id := range r.Lists()[i].Nodes[:r.Lists()[i].Owners] {
				if usable(i, id) {
					rt.Fatalf("list %d has %d", i, id)
				}
			}
		}
		if len(given)+len(nobody) != len(r.Lists()) {
			rt.Fatalf("%d of %d lists", len(given)+len(nobody), len(r.Lists()))
		}
	})
}

func anyone(int, ring.NodeID) bool { return true }

// TestAssignFew: what the asking node does not own goes to few others, and none
// gets much more than the asking node has; over the turns all are asked.
func TestAssignFew(t *testing.T) {
	r := newRing(t, 7, 3, 0)
	sum := map[ring.NodeID]float64{}
	const turns = 60
	for turn := range uint64(turns) {
		load := map[ring.NodeID]float64{}
		byNode, nobody := Assign(Request{Ring: r, Self: 1, Lists: all(r), Usable: anyone, Load: load, Turn: turn})
		if len(nobody) > 0 || len(byNode) > 5 {
			t.Fatalf("%d nodes, nobody for %v", len(byNode), nobody)
		}
		total := 0.0
		for id, l := range load {
			total += l
			sum[id] += l
			if l > 1.1*load[1] {
				t.Errorf("node %d has %.3f, the asking node %.3f", id, l, load[1])
			}
		}
		if total < 0.999999 || total > 1.000001 {
			t.Errorf("the shares are %f together", total)
		}
	}
	for id := ring.NodeID(2); id <= 7; id++ {
		if sum[id] == 0 {
			t.Errorf("node %d is never asked", id)
		}
	}
}

// TestAssignNear: owners in the zone of the asking node come before others.
func TestAssignNear(t *testing.T) {
	r := newRing(t, 6, 2, 2)
	byNode, _ := Assign(Request{Ring: r, Self: 1, Lists: all(r), Usable: anyone})
	for id := range byNode {
		if id%2 != 1 {
			t.Errorf("node %d of the other zone computes %v", id, byNode[id])
		}
	}
}
