package rebalance

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/count-db/count/cluster/membership"
	"github.com/count-db/count/cluster/ring"
)

// TestFinishRecordsDisks: the end of a change records the disks that members have
// filled meanwhile, and waits while no majority of the next ring could vote.
func TestFinishRecordsDisks(t *testing.T) {
	leave, err := Begin(record(3, 3), Request{Kind: Leave, Node: 2})
	if err != nil {
		t.Fatal(err)
	}
	join, err := Begin(record(3, 3), Request{Kind: Join, Node: 4, Disk: "d4"})
	if err != nil {
		t.Fatal(err)
	}
	here := func(n ring.NodeID) Report { return Report{Ring: 8, Disk: fmt.Sprintf("d%d", n)} }
	for _, c := range []struct {
		name string
		dual *membership.RingRecord
		of   map[ring.NodeID]Report
		want string // disk of node 3 in the final ring; empty: it waits
	}{
		{"all answer", leave, map[ring.NodeID]Report{1: here(1), 2: here(2), 3: here(3)}, "d3"},
		{"a new disk is filled", leave, map[ring.NodeID]Report{1: here(1), 3: {Ring: 8, Disk: "new", NoVote: true}}, "new"},
		{"a new disk is not filled", leave, map[ring.NodeID]Report{1: here(1), 3: {Ring: 8, Disk: "new", NoVote: true, Refill: true}}, ""},
		{"a new disk of a node that does not know the ring", leave, map[ring.NodeID]Report{1: here(1), 3: {Ring: 7, Disk: "new", NoVote: true}}, ""},
		{"a refill on the old disk takes no vote", leave, map[ring.NodeID]Report{1: here(1), 3: {Ring: 8, Disk: "d3", Refill: true}}, "d3"},
		{"one of two does not answer", leave, map[ring.NodeID]Report{1: here(1), 2: here(2)}, ""},
		{"one of four does not answer", join, map[ring.NodeID]Report{1: here(1), 2: here(2), 4: here(4)}, "d3"},
		{"one of four fills a new disk", join, map[ring.NodeID]Report{1: here(1), 2: here(2), 3: {Ring: 8, Disk: "new", NoVote: true, Refill: true}, 4: here(4)}, "d3"},
		{"a build that does not tell its disk", leave, map[ring.NodeID]Report{1: {Ring: 8}, 3: {Ring: 8}}, "d3"},
		{"such a build on a new disk", leave, map[ring.NodeID]Report{1: {Ring: 8}, 3: {Ring: 8, NoVote: true}}, ""},
	} {
		final, err := Finish(c.dual, c.of)
		if c.want == "" {
			if !errors.Is(err, ErrVotes) {
				t.Errorf("%s: %+v, %v", c.name, final, err)
			}
			continue
		}
		if err != nil || final.Member(3).Disk != c.want {
			t.Errorf("%s: %+v, %v", c.name, final, err)
		}
	}
	if leave.Next.Members[1].Disk != "d3" {
		t.Error("the dual ring was changed")
	}
}

// The exhaustive search of votes: the members, some that join, the changes that
// they wish, and disks that are lost, or put back to an older copy, and filled, in
// every order. Agreeing is one
// step here, possible when a majority of the electorate stands on its recorded
// disks (package agree proves what that step is made of). Checked in every state is
// that such a majority is there: that the operator's word is never needed.
//
// A disk is lost only where that can be survived at all: every ring that is in
// force, or proposed to end a change, has a majority without it, as C2 says. One that
// is put back has a new id; of two members it answers as the recorded one, so there
// it is enough that the other one can propose.
//
// Not searched: two losses at a time, and two changes at a time (C2).

// votes is one state of that search.
type votes struct {
	Ring     *membership.RingRecord
	Disks    map[ring.NodeID]string // on which the nodes stand
	Filling  ring.NodeID            // it has not merged back what it lost; 0 = none
	Proposed *membership.RingRecord // the end of the change, on its way to the others; nil: none
	Losses   int                    // that may still come
	Changes  int                    // that may still begin
}

// votesSearch is the instance, and the rules left out.
type votesSearch struct {
	oldDisks    bool // the end of a change records what the dual ring did
	neverCounts bool // the end of a change does not look whether a majority can vote
}

func (v *votes) copy() *votes {
	n := *v
	n.Disks = map[ring.NodeID]string{}
	for id, disk := range v.Disks {
		n.Disks[id] = disk
	}
	return &n
}

// majority says whether those of a ring that can vote are enough, and one of them can
// propose; without: leaving one out.
func (v *votes) majority(r *membership.RingRecord, without ring.NodeID) bool {
	n, proposers := 0, 0
	for _, m := range r.Members {
		switch {
		case m.ID == without:
		case v.Disks[m.ID] == m.Disk:
			n++
			proposers++
		case len(r.Members) == 2 && membership.SameDirectory(v.Disks[m.ID], m.Disk):
			n++
		}
	}
	return n >= r.Electorate().Majority() && proposers > 0
}

// goBack returns the state in which a node is back on an older copy of its disk; nil:
// that cannot be survived, or nobody would know.
func (v *votes) goBack(id ring.NodeID) *votes {
	n := v.copy()
	n.Disks[id], n.Losses, n.Filling = membership.Renewed(v.Disks[id], uint64(v.Losses)), v.Losses-1, id
	if v.Ring.Member(id) == nil || len(v.Ring.Members) == 1 || !n.majority(v.Ring, 0) || v.Proposed != nil && !n.majority(v.Proposed, 0) {
		return nil
	}
	return n
}

func (v *votes) reports() map[ring.NodeID]Report {
	out := map[ring.NodeID]Report{}
	for id, disk := range v.Disks {
		m := v.Ring.Member(id)
		out[id] = Report{Ring: v.Ring.Number, Disk: disk, NoVote: m != nil && m.Disk != disk, Refill: id == v.Filling}
	}
	return out
}

func (s *votesSearch) finish(v *votes) (*membership.RingRecord, error) {
	final, err := Finish(v.Ring, v.reports())
	if s.neverCounts && errors.Is(err, ErrVotes) || s.oldDisks && err == nil {
		return &membership.RingRecord{Number: v.Ring.Number + 1, ClusterID: v.Ring.ClusterID, RF: v.Ring.Next.RF, Members: v.Ring.Next.Members}, nil
	}
	return final, err
}

// steps returns the states after each possible step.
func (s *votesSearch) steps(v *votes) (out []*votes) {
	step := func(f func(n *votes)) {
		n := v.copy()
		f(n)
		out = append(out, n)
	}
	adopt := func(next *membership.RingRecord) {
		step(func(n *votes) { n.Ring, n.Proposed = next, nil })
	}
	begin := func(wish Request) {
		if next, err := Begin(v.Ring, wish); err == nil {
			step(func(n *votes) { n.Ring, n.Changes = next, v.Changes-1 })
		}
	}
	if v.Filling != 0 {
		step(func(n *votes) { n.Filling = 0 })
	}
	for id, disk := range v.Disks {
		if m := v.Ring.Member(id); v.Ring.Next == nil && m != nil && m.Disk != disk && id != v.Filling {
			if next, err := Begin(v.Ring, Request{Kind: Replace, Node: id, Disk: disk}); err == nil {
				adopt(next)
			}
		}
		if v.Losses > 0 && v.Filling == 0 && v.majority(v.Ring, id) && (v.Proposed == nil || v.majority(v.Proposed, id)) {
			step(func(n *votes) {
				n.Disks[id], n.Losses = fmt.Sprintf("d%d-%d", id, v.Losses), v.Losses-1
				if v.Ring.Member(id) != nil {
					n.Filling = id
				}
			})
		}
		if v.Losses > 0 && v.Filling == 0 {
			if n := v.goBack(id); n != nil {
				out = append(out, n)
			}
		}
		if m := v.Ring.Member(id); v.Changes > 0 && m == nil {
			begin(Request{Kind: Join, Node: id, Disk: disk})
		} else if v.Changes > 0 && len(v.Ring.Members) > 1 {
			begin(Request{Kind: Leave, Node: id})
		}
	}
	if v.Ring.Next == nil {
		return out
	}
	if back, err := Abort(v.Ring); err == nil {
		adopt(back)
	}
	if v.Proposed != nil {
		adopt(v.Proposed)
		step(func(n *votes) { n.Proposed = nil })
	} else if final, err := s.finish(v); err == nil {
		step(func(n *votes) { n.Proposed = final })
	}
	return out
}

// run returns how many states there are, and the first in which nobody can agree
// on anything any more; nil: there is none.
func (s *votesSearch) run(t *testing.T, members, joining int) (states int, stuck *votes) {
	t.Helper()
	first := &votes{Ring: record(members, 3), Disks: map[ring.NodeID]string{}, Losses: 2, Changes: 2}
	for i := range members + joining {
		first.Disks[ring.NodeID(i+1)] = fmt.Sprintf("d%d", i+1)
	}
	seen := map[string]bool{}
	queue := []*votes{first}
	for at := 0; at < len(queue); at++ {
		v := queue[at]
		form, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if seen[string(form)] {
			continue
		}
		seen[string(form)] = true
		if !v.majority(v.Ring, 0) {
			return len(seen), v
		}
		queue = append(queue, s.steps(v)...)
	}
	return len(seen), nil
}

func TestModelVotesSurviveChanges(t *testing.T) {
	for _, c := range []struct{ members, joining int }{{1, 1}, {2, 1}, {3, 0}, {3, 1}, {4, 0}} {
		states, stuck := new(votesSearch).run(t, c.members, c.joining)
		if stuck != nil {
			t.Errorf("%d members, %d that join: no majority can vote: ring %+v, disks %v", c.members, c.joining, stuck.Ring, stuck.Disks)
		}
		t.Logf("%d members, %d that join: %d states, all of them", c.members, c.joining, states)
	}
}

// TestModelFindsLostVotes: the search sees what the rules of Finish are for.
func TestModelFindsLostVotes(t *testing.T) {
	for _, c := range []struct {
		name string
		s    votesSearch
	}{
		{"the old disks are recorded", votesSearch{oldDisks: true}},
		{"votes are not counted", votesSearch{neverCounts: true}},
	} {
		_, stuck := c.s.run(t, 3, 0)
		if stuck == nil {
			t.Errorf("%s: not found", c.name)
			continue
		}
		recorded := slices.Collect(func(yield func(string) bool) {
			for _, m := range stuck.Ring.Members {
				if !yield(m.Disk) {
					return
				}
			}
		})
		t.Logf("%s: found: the ring records %v, the nodes stand on %v", c.name, recorded, stuck.Disks)
	}
}
