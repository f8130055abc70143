package ring

import (
	"errors"
	"fmt"
	"slices"
)

// Group is one ring's candidates of a bucket in the middle of a change.
type Group struct {
	Nodes []NodeID
	W     int
	// Held is how many of Nodes, at the least, hold each acknowledged write: W, or
	// fewer where candidates were lost, down to 0 where nobody is sure to.
	Held int
}

// Dual returns the ring of a change in which the one before and the one after
// are both in force (C3): a write needs W of the old and W of the new
// candidates, and so does a read. Its members are those of both.
//
// Whoever reads under the old ring meets a node that has the dual one among
// every W old candidates of a write under it, and whoever reads under the dual
// ring meets one that has the final one, so nobody misses an acknowledged write
// by not knowing of a change (TestDualQuorumsOverlap, rebalance's model).
func Dual(number uint64, before, after *Ring) (*Ring, error) {
	if before == nil || after == nil || before.Changing() || after.Changing() {
		return nil, errors.New("ring: a change leads from one settled ring to another")
	}
	r := &Ring{number: number, rf: after.rf, before: before, after: after}
	r.members = slices.Clone(after.members)
	for _, m := range before.members {
		if !after.Has(m.ID) {
			r.members = append(r.members, m)
		}
	}
	if len(r.members) > MaxMembers {
		return nil, fmt.Errorf("ring: %d members of two rings: at most %d are possible", len(r.members), MaxMembers)
	}
	slices.SortFunc(r.members, byID)
	r.tokens = slices.Concat(before.tokens, after.tokens)
	slices.Sort(r.tokens)
	r.tokens = slices.Compact(r.tokens)
	r.groupDual()
	r.index()
	return r, nil
}

func byID(a, b Member) int {
	switch {
	case a.ID < b.ID:
		return -1
	case a.ID > b.ID:
		return 1
	}
	return 0
}

func (r *Ring) groupDual() {
	r.listOf = make([]uint32, len(r.tokens))
	numbers := map[[2]int]uint32{}
	for bucket, token := range r.tokens {
		key := [2]int{r.before.ListOf(token), r.after.ListOf(token)}
		n, ok := numbers[key]
		if !ok {
			n = uint32(len(r.lists))
			numbers[key] = n
			r.lists = append(r.lists, dualList(&r.before.lists[key[0]], &r.after.lists[key[1]]))
		}
		r.listOf[bucket] = n
	}
}

// dualList is the list of a bucket of both rings.
func dualList(before, after *List) List {
	l := List{W: max(before.W, after.W), Both: []Group{before.Group(0), after.Group(0)}}
	l.Nodes = union(before.Nodes[:before.Owners], after.Nodes[:after.Owners])
	slices.Sort(l.Nodes)
	l.Owners = len(l.Nodes)
	l.Nodes = union(l.Nodes, before.Nodes[before.Owners:])
	l.Nodes = union(l.Nodes, after.Nodes[after.Owners:])
	l.Copying = copying(before, after)
	return l
}

func union(a, b []NodeID) []NodeID {
	out := slices.Clone(a)
	for _, id := range b {
		if !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	return out
}

// copying returns the new candidates that must merge the range from W old ones
// before the old ring may end, ascending: those that the range is new to, those
// who stood in and own it now, so that every owner has its full copy, and all
// where these are too few. An old write is at W of the old candidates, of which
// some may leave; W of the new ones read without those who copied must still meet
// one that has it. Where candidates were lost all copy: afterwards a write is to be
// at W of them again, so that as many may be lost once more.
func copying(before, after *List) []NodeID {
	gained := without(after.Nodes, before.Nodes)
	left := len(before.Nodes) - (len(after.Nodes) - len(gained))
	holders := len(gained) + max(0, before.W-left)
	if holders > len(after.Nodes)-after.W && !before.lost {
		out := union(gained, without(after.Nodes[:after.Owners], before.Nodes[:before.Owners]))
		slices.Sort(out)
		return out
	}
	all := slices.Clone(after.Nodes)
	slices.Sort(all)
	return all
}

// Changing says whether the ring is a dual one.
func (r *Ring) Changing() bool { return r.before != nil }

// Recovering says whether the ring is a dual one of which the ring before has lost
// members for good (Survived).
func (r *Ring) Recovering() bool { return r.before != nil && r.before.order == nil }

// Before returns the ring that a dual ring leads from; nil for others.
func (r *Ring) Before() *Ring { return r.before }

// After returns the ring that a dual ring leads to; nil for others.
func (r *Ring) After() *Ring { return r.after }

// Voters returns the members whose majority counts (C4) and who agree on the
// next ring (C2): in a dual ring those of the ring before. The slice must not be
// changed.
func (r *Ring) Voters() []Member {
	if r.before != nil {
		return r.before.members
	}
	return r.members
}

// Copies says whether the node must copy the list's buckets in a change.
func (l *List) Copies(id NodeID) bool { return slices.Contains(l.Copying, id) }

// Groups returns how many groups of candidates are counted: one, or in a dual
// ring one a ring. A group may be empty (Survived): it asks for nothing.
func (l *List) Groups() int { return max(len(l.Both), 1) }

// Group returns group i.
func (l *List) Group(i int) Group {
	if l.Both != nil {
		return l.Both[i]
	}
	return Group{l.Nodes, l.W, l.held}
}

// Possible says whether W of the candidates can still be reached when those for
// which failed holds are lost.
func (l *List) Possible(failed func(NodeID) bool) bool {
	if l.Both == nil {
		return possible(l.Nodes, l.W, failed)
	}
	return possible(l.Both[0].Nodes, l.Both[0].W, failed) && possible(l.Both[1].Nodes, l.Both[1].W, failed)
}

func possible(nodes []NodeID, w int, failed func(NodeID) bool) bool {
	return len(nodes)-count(nodes, failed) >= w
}

// Any says whether at least one of the nodes holds all of the range: a node that
// the range is new to does not.
func (l *List) Any(has func(NodeID) bool) bool {
	if l.Both != nil && len(l.Both[0].Nodes) > 0 {
		return count(l.Both[0].Nodes, has) > 0
	}
	return count(l.Nodes, has) > 0
}

func count(nodes []NodeID, has func(NodeID) bool) int {
	n := 0
	for _, id := range nodes {
		if has(id) {
			n++
		}
	}
	return n
}

// without returns what a has and b has not, ascending.
func without(a, b []NodeID) []NodeID {
	var out []NodeID
	for _, id := range a {
		if !slices.Contains(b, id) {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}
