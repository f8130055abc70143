package spread

import (
	"cmp"
	"slices"

	"github.com/count-db/count/cluster/ring"
)

// Request is what Assign decides from.
type Request struct {
	Ring *ring.Ring
	// Self is the node that asks. It computes what it owns itself.
	Self ring.NodeID
	// Lists are the lists to assign.
	Lists []int
	// Usable says whether an owner may be given a list.
	Usable func(list int, id ring.NodeID) bool
	// Load is the share of all series that nodes were given before; nil = none.
	// Assign adds to it.
	Load map[ring.NodeID]float64
	// Turn rotates the choice among equal owners from one request to the next.
	Turn uint64
}

// Assign gives each list to one usable owner: to the asking node, else to one in
// its zone, else to any. Each node that is asked looks up the series and reads
// their timestamps by itself, so few are asked, none for more than the asking node
// computes, or its even share. nobody are the lists without a usable owner.
func Assign(r Request) (lists map[ring.NodeID][]int, nobody []int) {
	lists = map[ring.NodeID][]int{}
	load := r.Load
	if load == nil {
		load = map[ring.NodeID]float64{}
	}
	zones := map[ring.NodeID]string{}
	for _, m := range r.Ring.Members() {
		zones[m.ID] = m.Zone
	}
	// Those of the asking node first: they say how much the others may get. Then the
	// largest: the small ones make the loads even.
	owned := func(i int) int {
		if r.Ring.Lists()[i].Owns(r.Self) && r.Usable(i, r.Self) {
			return 0
		}
		return 1
	}
	order := slices.Clone(r.Lists)
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(owned(a), owned(b)), cmp.Compare(r.Ring.Share(b), r.Ring.Share(a)), cmp.Compare(a, b))
	})
	near := func(id ring.NodeID) int {
		switch {
		case id == r.Self:
			return 0
		case zones[id] != "" && zones[id] == zones[r.Self]:
			return 1
		}
		return 2
	}
	even := 1 / float64(len(r.Ring.Members()))
	// full says whether a node is better not given so much more, or not asked yet.
	full := func(id ring.NodeID, share float64) int {
		if load[id] > 0 && load[id]+share <= max(load[r.Self], even)*1.05 {
			return 0
		}
		return 1
	}
	better := func(a, b ring.NodeID, share float64) int {
		return cmp.Or(cmp.Compare(near(a), near(b)), cmp.Compare(full(a, share), full(b, share)), cmp.Compare(load[a], load[b]))
	}
	for _, i := range order {
		l := &r.Ring.Lists()[i]
		best, found := ring.NodeID(0), false
		for k := range l.Owners {
			id := l.Nodes[(k+int(r.Turn%uint64(l.Owners)))%l.Owners]
			if !r.Usable(i, id) {
				continue
			}
			if !found || better(id, best, r.Ring.Share(i)) < 0 {
				best, found = id, true
			}
		}
		if !found {
			nobody = append(nobody, i)
			continue
		}
		lists[best] = append(lists[best], i)
		load[best] += r.Ring.Share(i)
	}
	return lists, nobody
}
