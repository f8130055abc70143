package quorum

import (
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/count-db/count/cluster/ring"
)

var errDown = errors.New("connection refused")

func list(owners, w int, ids ...ring.NodeID) *ring.List {
	return &ring.List{Nodes: ids, Owners: owners, W: w}
}

func TestThreeCopies(t *testing.T) {
	var tr Tracker
	tr.Reset([]*ring.List{list(3, 2, 1, 2, 3)})
	tr.Ack(1, Owner)
	if tr.Outcome() != Pending {
		t.Fatalf("one of three: %s", tr.Outcome())
	}
	tr.Fail(3, Owner, errDown)
	tr.Ack(2, Owner)
	if tr.Outcome() != Durable || tr.Copies() != 2 {
		t.Fatalf("two of three: %s, %d copies", tr.Outcome(), tr.Copies())
	}
	if owed := tr.Owed(nil, 0); !slices.Equal(owed, []ring.NodeID{3}) {
		t.Fatalf("owed %v", owed)
	}
	if k, ok := tr.Keeper(0, 2); !ok || k != 2 {
		t.Fatalf("keeper %d %v", k, ok)
	}
	if tr.Err() != nil {
		t.Fatal(tr.Err())
	}
}

func TestStandIn(t *testing.T) {
	var tr Tracker
	tr.Reset([]*ring.List{list(2, 2, 1, 2, 3)})
	nobody := func(ring.NodeID) bool { return false }
	if got := tr.StandIns(nil, nobody); len(got) != 0 {
		t.Fatalf("stand-ins %v though nobody is missed", got)
	}
	if got := tr.StandIns(nil, func(id ring.NodeID) bool { return id == 2 }); !slices.Equal(got, []ring.NodeID{3}) {
		t.Fatalf("stand-ins of the silent: %v", got)
	}
	tr.Asked(3, StandIn)
	tr.Fail(2, Owner, errDown)
	if got := tr.StandIns(nil, nobody); len(got) != 0 {
		t.Fatalf("asked again: %v", got)
	}
	tr.Ack(1, Owner)
	tr.Ack(3, StandIn)
	if tr.Outcome() != Durable {
		t.Fatal("owner and stand-in are W")
	}
	if owed := tr.Owed(nil, 0); !slices.Equal(owed, []ring.NodeID{2}) {
		t.Fatalf("owed %v", owed)
	}
}

func TestErrorNamesCulprits(t *testing.T) {
	var tr Tracker
	tr.Reset([]*ring.List{list(3, 2, 1, 2, 3)})
	for _, id := range []ring.NodeID{1, 2, 3} {
		tr.Asked(id, Owner)
	}
	tr.Ack(1, Owner)
	tr.Fail(2, Owner, errDown)
	tr.Fail(3, Owner, errDown)
	if tr.Outcome() != Failed {
		t.Fatal(tr.Outcome())
	}
	err := tr.Err()
	var typed *Error
	if !errors.As(err, &typed) || typed.Need != 2 || typed.Acked != 1 || len(typed.Failed) != 2 || !errors.Is(err, errDown) {
		t.Fatalf("%v", err)
	}
	if got, want := err.Error(), "too few copies: need 2, acked 1 (node 2: connection refused; node 3: connection refused)"; got != want {
		t.Fatalf("%q, want %q", got, want)
	}
}

// TestAgainstSets compares the tracker with counting in plain sets.
func TestAgainstSets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var groups []*ring.List
		for range rapid.IntRange(1, 4).Draw(t, "groups") {
			ids := rapid.Permutation([]ring.NodeID{1, 2, 3, 4, 5, 6}).Draw(t, "nodes")
			w := rapid.IntRange(1, 3).Draw(t, "w")
			groups = append(groups, list(rapid.IntRange(w, 2*w-1).Draw(t, "owners"), w, ids[:2*w-1]...))
		}
		var tr Tracker
		tr.Reset(groups)
		type copyOf struct {
			id   ring.NodeID
			role Role
		}
		acked, failed := map[copyOf]bool{}, map[copyOf]bool{}
		for range rapid.IntRange(0, 12).Draw(t, "events") {
			id := copyOf{ring.NodeID(rapid.IntRange(1, 6).Draw(t, "node")), Role(rapid.IntRange(0, 1).Draw(t, "role"))}
			if rapid.Bool().Draw(t, "ack") {
				tr.Ack(id.id, id.role)
				acked[id] = true
				delete(failed, id)
			} else {
				tr.Fail(id.id, id.role, errDown)
				failed[id] = !acked[id]
			}
		}
		want, least := Durable, 99
		for _, g := range groups {
			a, f := 0, 0
			for i, node := range g.Nodes {
				id := copyOf{node, Owner}
				if i >= g.Owners {
					id.role = StandIn
				}
				if acked[id] {
					a++
				} else if failed[id] {
					f++
				}
			}
			least = min(least, a)
			if a < g.W && want != Failed {
				want = Pending
			}
			if len(g.Nodes)-f < g.W {
				want = Failed
			}
		}
		if got := tr.Outcome(); got != want || tr.Copies() != least {
			t.Fatalf("%s with %d copies, want %s with %d", got, tr.Copies(), want, least)
		}
		if (tr.Err() == nil) != (want == Durable) {
			t.Fatalf("error %v when %s", tr.Err(), want)
		}
	})
}

// TestDualNeedsBoth: in the middle of a change W of the old and W of the new
// candidates make a write durable (C3).
func TestDualNeedsBoth(t *testing.T) {
	l := &ring.List{
		Nodes: []ring.NodeID{1, 2, 3, 4}, Owners: 4, W: 2,
		Both: []ring.Group{{Nodes: []ring.NodeID{1, 2, 3}, W: 2}, {Nodes: []ring.NodeID{2, 3, 4}, W: 2}},
	}
	var tr Tracker
	for _, c := range []struct {
		acked, failed []ring.NodeID
		want          Outcome
		copies        int
	}{
		{[]ring.NodeID{1, 2}, nil, Pending, 1},
		{[]ring.NodeID{2, 3}, nil, Durable, 2},
		{[]ring.NodeID{1, 2, 4}, nil, Durable, 2},
		{[]ring.NodeID{1, 4}, []ring.NodeID{2}, Pending, 1},
		{[]ring.NodeID{1}, []ring.NodeID{2, 3}, Failed, 0},
		{[]ring.NodeID{1, 2}, []ring.NodeID{3, 4}, Failed, 1},
	} {
		tr.Reset([]*ring.List{l})
		for _, id := range c.acked {
			tr.Ack(id, Owner)
		}
		for _, id := range c.failed {
			tr.Fail(id, Owner, errors.New("down"))
		}
		if got := tr.Outcome(); got != c.want || tr.Copies() != c.copies {
			t.Errorf("acked %v, failed %v: %s with %d copies, want %s with %d", c.acked, c.failed, got, tr.Copies(), c.want, c.copies)
		}
		if (tr.Err() == nil) != (c.want == Durable) {
			t.Errorf("acked %v: error %v", c.acked, tr.Err())
		}
	}
}

// TestRolesAreApart: what a node holds as an owner of one group is no copy of
// another that it stands in for, and it may be asked for both.
func TestRolesAreApart(t *testing.T) {
	var tr Tracker
	tr.Reset([]*ring.List{list(2, 2, 1, 2, 3), list(2, 2, 2, 3, 1)})
	tr.Ack(1, Owner)
	tr.Ack(2, Owner)
	if tr.Outcome() != Pending || tr.Copies() != 1 {
		t.Fatalf("the second group has one copy: %s with %d", tr.Outcome(), tr.Copies())
	}
	if got := tr.StandIns(nil, func(id ring.NodeID) bool { return id == 3 }); !slices.Equal(got, []ring.NodeID{1}) {
		t.Fatalf("stand-ins %v", got)
	}
	tr.Ack(1, StandIn)
	if tr.Outcome() != Durable || tr.Copies() != 2 {
		t.Fatalf("%s with %d copies", tr.Outcome(), tr.Copies())
	}
	if owed := tr.Owed(nil, 1); !slices.Equal(owed, []ring.NodeID{3}) {
		t.Fatalf("owed %v", owed)
	}
}

// TestAgain: a failed copy of a group that is not durable may be asked for again.
func TestAgain(t *testing.T) {
	var tr Tracker
	tr.Reset([]*ring.List{list(3, 2, 1, 2, 3)})
	tr.Ack(1, Owner)
	tr.Fail(2, Owner, errDown)
	tr.Fail(3, Owner, errDown)
	tr.Again(func(id ring.NodeID, role Role, err error) bool {
		return id == 3 && role == Owner && errors.Is(err, errDown)
	})
	if tr.Outcome() != Pending {
		t.Fatal(tr.Outcome())
	}
	tr.Ack(3, Owner)
	tr.Again(func(ring.NodeID, Role, error) bool {
		t.Fatal("asked though the write is durable")
		return false
	})
}

// TestDualStandIns: each ring of a change has stand-ins of its own, and all that
// are needed are asked: one for the owner that both rings miss.
func TestDualStandIns(t *testing.T) {
	var tr Tracker
	tr.Reset([]*ring.List{{
		Nodes: []ring.NodeID{1, 2, 3, 4}, Owners: 2, W: 2,
		Both: []ring.Group{{Nodes: []ring.NodeID{1, 2, 3}, W: 2}, {Nodes: []ring.NodeID{1, 2, 4}, W: 2}},
	}})
	tr.Asked(1, Owner)
	tr.Asked(2, Owner)
	tr.Ack(2, Owner)
	tr.Fail(1, Owner, errDown)
	nobody := func(ring.NodeID) bool { return false }
	if got := tr.StandIns(nil, nobody); !slices.Equal(got, []ring.NodeID{3, 4}) {
		t.Fatalf("stand-ins %v, want one of each ring", got)
	}
	tr.Ack(3, StandIn)
	if got := tr.StandIns(nil, nobody); !slices.Equal(got, []ring.NodeID{4}) || tr.Outcome() != Pending {
		t.Fatalf("stand-ins %v, %s: the new ring lacks one", got, tr.Outcome())
	}
	tr.Ack(4, StandIn)
	if tr.Outcome() != Durable {
		t.Fatal(tr.Outcome())
	}
}
