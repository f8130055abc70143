package ring

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestDualIsBoth compares the dual ring with the two that it is made of.
func TestDualIsBoth(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(name string) *Ring {
			var members []Member
			for _, id := range rapid.SliceOfNDistinct(rapid.IntRange(1, 9), 1, 6, rapid.ID).Draw(t, name) {
				members = append(members, Member{ID: NodeID(id)})
			}
			r, err := New(4, rapid.IntRange(1, 5).Draw(t, "rf"), members)
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		before, after := draw("before"), draw("after")
		dual, err := Dual(5, before, after)
		if err != nil {
			t.Fatal(err)
		}
		if !dual.Changing() || dual.Number() != 5 || dual.Before() != before || dual.After() != after {
			t.Fatal("the dual ring does not say what it is")
		}
		position := rapid.Uint64().Draw(t, "position")
		l := &dual.Lists()[dual.ListOf(position)]
		old, next := before.Candidates(nil, position), after.Candidates(nil, position)
		got := dual.Candidates([]NodeID{77}, position)
		want := append([]NodeID{77}, union(old, next)...)
		if !slices.Equal(got, want) {
			t.Fatalf("candidates %v, want %v", got, want)
		}
		for _, id := range want[1:] {
			if !l.Has(id) || !dual.Has(id) {
				t.Fatalf("node %d is no candidate of %+v", id, l)
			}
			owns := slices.Contains(before.Owners(nil, position), id) || slices.Contains(after.Owners(nil, position), id)
			if l.Owns(id) != owns || slices.Contains(dual.Owners(nil, position), id) != owns {
				t.Fatalf("node %d owns: %v of %+v", id, !owns, l)
			}
			if slices.Contains(next, id) && !slices.Contains(old, id) && !l.Copies(id) {
				t.Fatalf("node %d is new to the range and does not copy it: %+v", id, l)
			}
			if l.Copies(id) && !slices.Contains(next, id) {
				t.Fatalf("node %d copies what it will not hold: %+v", id, l)
			}
		}
		if len(l.Nodes) != len(want)-1 || l.Groups() != 2 {
			t.Fatalf("list %+v", l)
		}
		if _, err := Dual(6, dual, after); err == nil {
			t.Fatal("a change in the middle of another")
		}
	})
}

func TestDualToItselfMovesNothing(t *testing.T) {
	for _, n := range []int{1, 3, 7} {
		dual, err := Dual(2, mustRing(t, 3, nodes(n)...), mustRing(t, 3, nodes(n)...))
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range dual.Lists() {
			if len(l.Copying) > 0 {
				t.Fatalf("%d nodes: %v copy %+v", n, l.Copying, l)
			}
		}
	}
}
