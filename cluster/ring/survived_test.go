package ring

import (
	"math/bits"
	"slices"
	"testing"
)

// TestSurvivorsMeetEveryWrite goes through every loss of members of small rings and
// every pair of a write acknowledged before it and a read afterwards: a complete read
// in the dual ring meets a survivor that holds the write, and in the final ring that
// survivor or somebody who copied. Where so many candidates are lost that the write
// may be at nobody else, all reads meet all survivors, or somebody who copied from
// all of them.
func TestSurvivorsMeetEveryWrite(t *testing.T) {
	lists, missing := 0, 0
	for n := 2; n <= 6; n++ {
		for rf := 1; rf <= 5; rf++ {
			for zones := range 3 {
				before := mustRing(t, rf, zoned(n, zones)...)
				for lost := 1; lost < 1<<n-1; lost++ {
					all, may := checkLoss(t, before, rf, lost)
					lists, missing = lists+all, missing+may
				}
			}
		}
	}
	t.Logf("%d lists, %d of which may miss writes", lists, missing)
}

// zoned returns n nodes in so many zones; 0: each in its own.
func zoned(n, zones int) []Member {
	members := nodes(n)
	for i := range members {
		if zones > 0 {
			members[i].Zone = string(rune('a' + i%zones))
		}
	}
	return members
}

func checkLoss(t *testing.T, before *Ring, rf, lost int) (lists, missing int) {
	t.Helper()
	gone, left := split(before.Members(), lost)
	dual, err := Dual(9, before.Survived(gone, left), mustRing(t, rf, left...))
	if err != nil {
		t.Fatal(err)
	}
	seen := make([]bool, len(dual.lists))
	for bucket, to := range dual.tokens {
		if seen[dual.listOf[bucket]] {
			continue
		}
		seen[dual.listOf[bucket]] = true
		l, old := &dual.lists[dual.listOf[bucket]], &before.lists[before.ListOf(to)]
		mayMiss := old.MayMiss(gone)
		if mayMiss != (l.Group(0).Held == 0) {
			t.Fatalf("of %+v %v are lost: %+v", old, gone, l)
		}
		checkSurvivors(t, old, l, lost, mayMiss)
		if lists++; mayMiss {
			missing++
		}
	}
	return lists, missing
}

// split divides members by a set of bits into those who are lost and the others.
func split(members []Member, lost int) (gone []NodeID, left []Member) {
	for i, m := range members {
		if lost&(1<<i) != 0 {
			gone = append(gone, m.ID)
		} else {
			left = append(left, m)
		}
	}
	return gone, left
}

func mask(ids []NodeID) (m uint) {
	for _, id := range ids {
		m |= 1 << (id - 1)
	}
	return m
}

func checkSurvivors(t *testing.T, old, l *List, lost int, mayMiss bool) {
	t.Helper()
	was, left, is, copied := mask(old.Nodes), mask(l.Group(0).Nodes), mask(l.Group(1).Nodes), mask(l.Copying)
	if left != was&^uint(lost) {
		t.Fatalf("of %+v without %b %+v is left", old, lost, l)
	}
	for read := uint(0); read < 64; read++ {
		dual := l.Complete(func(id NodeID) bool { return read&(1<<(id-1)) != 0 })
		if mayMiss && dual && read&left != left {
			t.Fatalf("%+v: read from %b, and not from all that survived", l, read)
		}
		final := bits.OnesCount(read&is) >= l.Group(1).W
		if mayMiss && left != 0 && final && read&copied == 0 {
			t.Fatalf("%+v: read from %b, and from nobody that copied", l, read)
		}
		for write := uint(0); write < 64 && !mayMiss; write++ {
			if write&^was != 0 || bits.OnesCount(write) < old.W {
				continue
			}
			if dual && read&write&left == 0 || final && read&(write&left|copied)&is == 0 {
				t.Fatalf("%+v: written at %b, %b lost, read from %b", l, write, lost, read)
			}
		}
	}
}

// TestSurvivedAsksNobodyElse: what was lost is no candidate any more, and of a ring
// without losses everything is left.
func TestSurvivedAsksNobodyElse(t *testing.T) {
	before := mustRing(t, 2, nodes(5)...)
	left := before.Survived([]NodeID{2, 4}, nodes(5)[:1])
	for i, l := range left.Lists() {
		if l.Has(2) || l.Has(4) || l.W > len(l.Nodes) {
			t.Fatalf("%+v", l)
		}
		if !slices.Equal(before.Lists()[i].Nodes, before.Survived(nil, nodes(5)).Lists()[i].Nodes) {
			t.Fatalf("%+v", l)
		}
	}
	for i := range 100 {
		position := uint64(i) << 57
		got, l := left.Candidates(nil, position), left.Lists()[left.ListOf(position)]
		if !slices.Equal(got, l.Nodes) || len(left.Owners(nil, position)) != l.Owners {
			t.Fatalf("%v are candidates of %+v", got, l)
		}
	}
	if shares := left.Shares(); shares[2] != 0 || shares[1] == 0 || len(left.Voters()) != 1 {
		t.Fatalf("%v, voters %v", shares, left.Voters())
	}
}
