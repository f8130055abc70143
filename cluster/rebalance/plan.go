package rebalance

import (
	"slices"

	"github.com/count-db/count/cluster/ring"
)

// Task is a range of positions that a node has to copy in a change.
type Task struct {
	From, To uint64        // behind From, up to and including To; around the end when From >= To
	Node     ring.NodeID   // who copies
	Sources  []ring.NodeID // the old candidates, without the node
	Need     int           // of so many Sources the merged content is complete
}

// Plan returns all tasks of a dual ring: ascending by node, then by To.
// Neighbouring ranges with the same sources are one task.
func Plan(dual *ring.Ring) []Task {
	var tasks []Task
	for bucket := range dual.Buckets() {
		l := &dual.Lists()[dual.ListOfBucket(bucket)]
		from, to := dual.Range(bucket)
		for _, id := range l.Copying {
			tasks = append(tasks, Task{From: from, To: to, Node: id, Sources: sources(l, id), Need: Need(l, id)})
		}
	}
	slices.SortStableFunc(tasks, func(a, b Task) int { return compare(a.Node, b.Node) })
	out := tasks[:0]
	for _, t := range tasks {
		if n := len(out); n > 0 && out[n-1].Node == t.Node && out[n-1].To == t.From && slices.Equal(out[n-1].Sources, t.Sources) {
			out[n-1].To = t.To
			continue
		}
		out = append(out, t)
	}
	return out
}

func compare(a, b ring.NodeID) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func sources(l *ring.List, id ring.NodeID) []ring.NodeID {
	var out []ring.NodeID
	for _, s := range l.Both[0].Nodes {
		if s != id {
			out = append(out, s)
		}
	}
	return out
}

// Need returns how many other old candidates a node merges a range from: W of
// them, and one less where it is an old candidate itself.
func Need(l *ring.List, id ring.NodeID) int {
	if slices.Contains(l.Both[0].Nodes, id) {
		return l.Both[0].W - 1
	}
	return l.Both[0].W
}

// Enough says whether the usable nodes are enough for a node to copy all that a
// dual ring asks of it.
func Enough(dual *ring.Ring, id ring.NodeID, usable func(ring.NodeID) bool) bool {
	lists := dual.Lists()
	for i := range lists {
		l := &lists[i]
		if !l.Copies(id) {
			continue
		}
		n := 0
		for _, s := range sources(l, id) {
			if usable(s) {
				n++
			}
		}
		if n < Need(l, id) {
			return false
		}
	}
	return true
}

// Share returns the part of all positions that the node copies.
func Share(tasks []Task, id ring.NodeID) float64 {
	share := 0.0
	for _, t := range tasks {
		if t.Node == id {
			share += ring.Share(t.From, t.To)
		}
	}
	return share
}
