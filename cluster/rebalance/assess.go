package rebalance

import (
	"fmt"
	"slices"

	"github.com/count-db/count/cluster/membership"
	"github.com/count-db/count/cluster/ring"
)

// Stage is how far a dual ring has come; the drawing is in the package comment.
type Stage uint8

// The stages.
const (
	Spreading Stage = iota // not enough old candidates have the dual ring
	Copying                // new candidates copy
	Ready                  // the final ring may be proposed
)

// String returns the name.
func (s Stage) String() string { return [...]string{"spreading", "copying", "ready"}[s] }

// Report is what a member says of its part in a change.
type Report struct {
	Ring   uint64  // the ring in force there, durably: it refuses older ones
	Copied bool    // it has merged, under that ring, all that it has to copy
	Done   float64 // the part of that, 0 to 1
	Owes   bool    // it keeps hints for others
	NoVote bool    // its disk is not the one that the ring records (C2)
	Disk   string  // id of the disk that it stands on; empty: not known
	Refill bool    // it has not merged back what it lost (C5)
	Left   int64   // seconds until it has copied all, about; 0 = not known
	// Problem says why its copying does not go on; empty: it does.
	Problem string
	// Samples is how many it stores, about.
	Samples int64
	// Pause is what it knows of pausing this change; nil: nothing.
	Pause *membership.Pause
}

// Assessment is where a change stands.
type Assessment struct {
	Stage    Stage
	Waiting  []ring.NodeID // members that have not reported the dual ring, ascending
	Copying  []ring.NodeID // members that have to copy and have not finished, ascending
	Handing  []ring.NodeID // leaving members that still hand over hints, ascending
	Progress float64       // part of the copying that is done, 0 to 1
	// Left is how many seconds the copying will take, about; 0 = not known.
	Left int64
	// Problem says why the copying of one member does not go on.
	Problem string
}

// Assess says where the change of a dual ring stands. A member without a report
// cannot be reached: that holds the change up only where it has to copy or too
// few old candidates are left.
func Assess(dual *ring.Ring, reports map[ring.NodeID]Report) Assessment {
	var a Assessment
	has := func(id ring.NodeID) bool { return reports[id].Ring >= dual.Number() }
	for _, m := range dual.Members() {
		if !has(m.ID) {
			a.Waiting = append(a.Waiting, m.ID)
		}
		if !dual.After().Has(m.ID) && has(m.ID) && reports[m.ID].Owes {
			a.Handing = append(a.Handing, m.ID)
		}
	}
	lists := dual.Lists()
	spread := true
	copiers := map[ring.NodeID]bool{}
	for i := range lists {
		old := &lists[i].Both[0]
		n := 0
		for _, id := range old.Nodes {
			if has(id) {
				n++
			}
		}
		spread = spread && n >= old.W
		for _, id := range lists[i].Copying {
			copiers[id] = true
		}
	}
	done, worst := 0.0, ring.NodeID(0)
	for id := range copiers {
		// A new disk of a survivor is filled from those who were whole then: afterwards
		// they might not be enough.
		if r := reports[id]; has(id) && r.Copied && !(r.Refill && dual.Recovering()) {
			done++
		} else {
			done += r.Done
			a.Copying = append(a.Copying, id)
			a.Left = max(a.Left, r.Left)
			if r.Problem != "" && (a.Problem == "" || id < worst) {
				a.Problem, worst = fmt.Sprintf("node %d: %s", id, r.Problem), id
			}
		}
	}
	slices.Sort(a.Copying)
	a.Progress = 1
	if len(copiers) > 0 {
		a.Progress = done / float64(len(copiers))
	}
	switch {
	case !spread:
		a.Stage = Spreading
	case len(a.Copying) > 0 || len(a.Handing) > 0:
		a.Stage = Copying
	default:
		a.Stage = Ready
	}
	return a
}
