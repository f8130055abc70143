package rebalance

import (
	"errors"
	"math/bits"
	"reflect"
	"slices"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/count-db/count/cluster/membership"
	"github.com/count-db/count/cluster/ring"
)

func record(n, rf int) *membership.RingRecord {
	r := &membership.RingRecord{Number: 7, ClusterID: "c", RF: rf}
	for i := range n {
		r.Members = append(r.Members, membership.RingMember{ID: ring.NodeID(i + 1), Disk: "d" + strconv.Itoa(i+1)})
	}
	return r
}

// allAnswer returns the reports of members that stand on their recorded disks and
// have the ring.
func allAnswer(r *membership.RingRecord) map[ring.NodeID]Report {
	out := map[ring.NodeID]Report{}
	for _, m := range slices.Concat(r.Members, r.Next.Members) {
		out[m.ID] = Report{Ring: r.Number, Disk: m.Disk}
	}
	return out
}

// dualOf returns the ring between n nodes and m nodes (less one).
func dualOf(t testing.TB, n, rf, m, rfAfter int, without ring.NodeID) *ring.Ring {
	t.Helper()
	after := record(m, rfAfter)
	after.Members = slices.DeleteFunc(after.Members, func(m membership.RingMember) bool { return m.ID == without })
	now := record(n, rf)
	now.Next = &membership.NextRing{RF: rfAfter, Members: after.Members}
	r, err := now.Ring()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestBegin(t *testing.T) {
	for _, c := range []struct {
		name    string
		n       int
		wish    Request
		members []ring.NodeID // of the next ring
		rf      int
		err     error
	}{
		{"join", 3, Request{Kind: Join, Node: 9, Disk: "x"}, []ring.NodeID{1, 2, 3, 9}, 3, nil},
		{"join of the lowest", 1, Request{Kind: Join, Node: 9, Disk: "x"}, []ring.NodeID{1, 9}, 3, nil},
		{"join of a member", 3, Request{Kind: Join, Node: 2, Disk: "d2"}, nil, 0, ErrDone},
		{"join with another's number", 3, Request{Kind: Join, Node: 2, Disk: "x"}, nil, 0, ErrRefused},
		{"join without a disk", 3, Request{Kind: Join, Node: 9}, nil, 0, ErrRefused},
		{"leave", 3, Request{Kind: Leave, Node: 2}, []ring.NodeID{1, 3}, 3, nil},
		{"leave of the last", 1, Request{Kind: Leave, Node: 1}, nil, 0, ErrRefused},
		{"leave of a stranger", 3, Request{Kind: Leave, Node: 9}, nil, 0, ErrDone},
		{"remove", 3, Request{Kind: Remove, Node: 3}, []ring.NodeID{1, 2}, 3, nil},
		{"fewer copies", 3, Request{Kind: Copies, RF: 2}, []ring.NodeID{1, 2, 3}, 2, nil},
		{"as many copies", 3, Request{Kind: Copies, RF: 3}, nil, 0, ErrDone},
		{"no copies", 3, Request{Kind: Copies}, nil, 0, ErrRefused},
		{"zone", 3, Request{Kind: Zone, Node: 2, Zone: "b"}, []ring.NodeID{1, 2, 3}, 3, nil},
		{"same zone", 3, Request{Kind: Zone, Node: 2}, nil, 0, ErrDone},
		{"nonsense", 3, Request{Kind: "dance", Node: 2}, nil, 0, ErrRefused},
	} {
		t.Run(c.name, func(t *testing.T) {
			now := record(c.n, 3)
			next, err := Begin(now, c.wish)
			if !errors.Is(err, c.err) {
				t.Fatalf("error %v, want %v", err, c.err)
			}
			if err != nil {
				return
			}
			var got []ring.NodeID
			for _, m := range next.Next.Members {
				got = append(got, m.ID)
			}
			if next.Number != 8 || !slices.Equal(got, c.members) || next.Next.RF != c.rf {
				t.Fatalf("next ring %+v of %+v", next, next.Next)
			}
			if !reflect.DeepEqual(next.Members, now.Members) {
				t.Fatal("the members in force changed before the change is done")
			}
			if _, err := Begin(next, c.wish); !errors.Is(err, ErrChanging) {
				t.Fatalf("a second change: %v", err)
			}
			final, err := Finish(next, allAnswer(next))
			if err != nil || final.Number != 9 || !reflect.DeepEqual(final.Members, next.Next.Members) || final.RF != c.rf {
				t.Fatalf("final ring %+v, %v", final, err)
			}
			back, err := Abort(next)
			if err != nil || back.Number != 9 || !reflect.DeepEqual(back.Members, now.Members) || back.RF != 3 {
				t.Fatalf("aborted ring %+v, %v", back, err)
			}
		})
	}
	if _, err := Finish(record(3, 3), nil); !errors.Is(err, ErrDone) {
		t.Errorf("finish without a change: %v", err)
	}
	disk, err := Begin(record(3, 3), Request{Kind: Replace, Node: 2, Disk: "new"})
	if err != nil || disk.Next != nil || disk.Member(2).Disk != "new" {
		t.Errorf("a new disk moves nothing: %+v, %v", disk, err)
	}
}

// TestShare: a change moves about as much as it must.
func TestShare(t *testing.T) {
	for _, c := range []struct {
		name             string
		n, rf, m, after  int
		without          ring.NodeID
		node             ring.NodeID
		least, most, all float64 // share of the node, and at most of all nodes together
	}{
		{"fourth joins three: it holds RF/4", 3, 3, 4, 3, 0, 4, 0.65, 0.85, 0.85},
		{"eleventh joins ten", 10, 3, 11, 3, 0, 11, 0.2, 0.35, 0.35},
		{"fourth of four leaves: each other takes a quarter", 4, 3, 4, 3, 4, 1, 0.15, 0.35, 0.85},
		{"third of three leaves", 3, 3, 3, 3, 3, 1, 0, 0, 0},
		{"two copies become three: the third owner copies", 5, 2, 5, 3, 0, 1, 0.1, 0.3, 1.01},
		{"three become five of five", 5, 3, 5, 5, 0, 1, 0.25, 0.55, 2.01},
		{"three become one: it must have all of it", 3, 3, 3, 1, 0, 1, 0.2, 0.5, 1.01},
	} {
		tasks := Plan(dualOf(t, c.n, c.rf, c.m, c.after, c.without))
		total := 0.0
		for id := ring.NodeID(1); id <= 12; id++ {
			total += Share(tasks, id)
		}
		if s := Share(tasks, c.node); s < c.least || s > c.most || total > c.all {
			t.Errorf("%s: node %d copies %.3f of the circle, want %.2f to %.2f; all together %.3f, want at most %.2f", c.name, c.node, s, c.least, c.most, total, c.all)
		}
	}
}

func TestPlanNamesEnoughSources(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n, m := rapid.IntRange(1, 6).Draw(t, "before"), rapid.IntRange(1, 6).Draw(t, "after")
		rf, rfAfter := rapid.IntRange(1, 5).Draw(t, "rf"), rapid.IntRange(1, 5).Draw(t, "rf after")
		now := record(n, rf)
		now.Next = &membership.NextRing{RF: rfAfter, Members: record(m, rfAfter).Members}
		dual, err := now.Ring()
		if err != nil {
			t.Fatal(err)
		}
		for _, task := range Plan(dual) {
			if len(task.Sources) < task.Need || slices.Contains(task.Sources, task.Node) {
				t.Fatalf("task %+v cannot be done", task)
			}
			old := dual.Before().Candidates(nil, task.To)
			for _, s := range task.Sources {
				if !slices.Contains(old, s) {
					t.Fatalf("task %+v: node %d does not hold the range", task, s)
				}
			}
			if !slices.Contains(dual.After().Candidates(nil, task.To), task.Node) {
				t.Fatalf("task %+v: the node will not hold the range", task)
			}
		}
	})
}

// TestDualQuorumsOverlap goes through every pair of quorums of every list of
// small changes: dual ones share a node with old and new ones in the group that
// the other counts, and after the copying every new read meets a holder of every
// old write.
func TestDualQuorumsOverlap(t *testing.T) {
	lists := 0
	for n := 1; n <= 5; n++ {
		for m := 1; m <= 5; m++ {
			for rf := 1; rf <= 5; rf++ {
				for rfAfter := 1; rfAfter <= 5; rfAfter++ {
					dual := dualOf(t, n, rf, m, rfAfter, 0)
					for i := range dual.Lists() {
						checkOverlap(t, &dual.Lists()[i])
						lists++
					}
				}
			}
		}
	}
	t.Logf("%d lists", lists)
}

func checkOverlap(t *testing.T, l *ring.List) {
	t.Helper()
	c := newChange(l, faults{})
	all := uint8(1)<<c.nodes - 1
	gained := c.copying
	for a := uint8(0); a <= all; a++ {
		old := bits.OnesCount8(a&c.before) >= c.wOld
		dual := old && bits.OnesCount8(a&c.after) >= c.wNew
		has := func(id ring.NodeID) bool { return a&(1<<slices.Index(order(l), id)) != 0 }
		if l.Complete(has) != dual {
			t.Fatalf("%+v: Complete(%b) is not W of both", l, a)
		}
		if !old {
			continue
		}
		for b := uint8(0); b <= all; b++ {
			if bits.OnesCount8(b&c.before) >= c.wOld && a&b&c.before == 0 {
				t.Fatalf("%+v: old quorums %b and %b share no old candidate", l, a, b)
			}
			if bits.OnesCount8(b&c.after) < c.wNew {
				continue
			}
			if dual && a&b&c.after == 0 {
				t.Fatalf("%+v: the dual quorum %b and the new one %b share no new candidate", l, a, b)
			}
			if (a&c.before|gained)&b&c.after == 0 {
				t.Fatalf("%+v: written at %b, copied to %b, read from %b", l, a, gained, b)
			}
		}
	}
}

// order is how newChange numbers the nodes of a list.
func order(l *ring.List) []ring.NodeID {
	out := slices.Clone(l.Both[0].Nodes)
	for _, id := range l.Both[1].Nodes {
		if !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	return out
}

func TestAssess(t *testing.T) {
	join := dualOf(t, 3, 3, 4, 3, 0)
	leave := dualOf(t, 4, 3, 4, 3, 4)
	has := Report{Ring: 7}
	done := Report{Ring: 7, Copied: true, Done: 1}
	for _, c := range []struct {
		name    string
		dual    *ring.Ring
		reports map[ring.NodeID]Report
		stage   Stage
		waiting []ring.NodeID
		copying []ring.NodeID
	}{
		{"nobody has heard", join, nil, Spreading, []ring.NodeID{1, 2, 3, 4}, []ring.NodeID{4}},
		{"one old candidate has it", join, map[ring.NodeID]Report{1: has, 4: has}, Spreading, []ring.NodeID{2, 3}, []ring.NodeID{4}},
		{"two have it, the new one copies", join, map[ring.NodeID]Report{1: has, 2: has, 4: {Ring: 7, Done: 0.5}}, Copying, []ring.NodeID{3}, []ring.NodeID{4}},
		{"copied with one dead", join, map[ring.NodeID]Report{1: has, 2: has, 4: done}, Ready, []ring.NodeID{3}, nil},
		{"copied under an older ring", join, map[ring.NodeID]Report{1: has, 2: has, 3: has, 4: {Ring: 6, Copied: true}}, Copying, []ring.NodeID{4}, []ring.NodeID{4}},
		{"the dead one of four is removed", leave, map[ring.NodeID]Report{1: done, 2: done, 3: done}, Ready, []ring.NodeID{4}, nil},
		{"a leaving one owes hints", leave, map[ring.NodeID]Report{1: done, 2: done, 3: done, 4: {Ring: 7, Owes: true}}, Copying, nil, nil},
		{"one has not copied", leave, map[ring.NodeID]Report{1: done, 2: has, 3: done, 4: has}, Copying, nil, []ring.NodeID{2}},
	} {
		a := Assess(c.dual, c.reports)
		if a.Stage != c.stage || !slices.Equal(a.Waiting, c.waiting) || !slices.Equal(a.Copying, c.copying) {
			t.Errorf("%s: %s, waiting %v, copying %v; want %s, %v, %v", c.name, a.Stage, a.Waiting, a.Copying, c.stage, c.waiting, c.copying)
		}
	}
	if !Enough(join, 4, func(id ring.NodeID) bool { return id != 2 }) || Enough(join, 4, func(id ring.NodeID) bool { return id == 1 }) {
		t.Error("two of three sources are enough, one is not")
	}
}

func TestThrottle(t *testing.T) {
	now := time.Unix(0, 0)
	th := NewThrottle(100)
	var waited time.Duration
	for range 50 {
		wait := th.Take(now, 20)
		waited += wait
		now = now.Add(wait)
	}
	// 1000 units at 100 a second, less the burst of a second.
	if waited < 8900*time.Millisecond || waited > 9100*time.Millisecond {
		t.Errorf("1000 units took %s", waited)
	}
	if w := NewThrottle(0).Take(now, 1<<30); w != 0 {
		t.Errorf("an unlimited throttle waits %s", w)
	}
}

// TestMembersMoveNoMoreThanTheyMust: at an unchanged replication factor only
// those copy to whom a range is new, or new as an owner (docs/decisions/0005).
func TestMembersMoveNoMoreThanTheyMust(t *testing.T) {
	for n := 1; n <= 7; n++ {
		for rf := 1; rf <= 5; rf++ {
			changes := []*ring.Ring{dualOf(t, n, rf, n+1, rf, 0)}
			if n > 1 {
				changes = append(changes, dualOf(t, n, rf, n, rf, ring.NodeID(n)))
			}
			for _, dual := range changes {
				for _, l := range dual.Lists() {
					owned := l.Both[0].Nodes[:min(rf, n)] // the owners come first
					for _, id := range l.Copying {
						if slices.Contains(owned, id) {
							t.Fatalf("%d nodes, %d copies: node %d copies what it holds: %+v", n, rf, id, l)
						}
					}
				}
			}
		}
	}
}
