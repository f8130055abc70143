package cluster

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/count-db/count/cluster/membership"
	"github.com/count-db/count/cluster/rebalance"
	"github.com/count-db/count/cluster/ring"
)

// TestLeaveTakenBack: a leave waits for a dead node that is to get copies. When it
// is aborted the leave ends with an error and the node stays; with the dead one
// removed it leaves.
func TestLeaveTakenBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 4, 3)
		tc.ready()
		l := newLedger()
		tc.fill(l, 100)
		a, leaving := tc.nodes[0], tc.nodes[3]
		tc.stop(tc.nodes[2])
		left := make(chan error, 1)
		go func() { left <- leaving.Leave(context.Background()) }()
		pause(20 * time.Second)
		if s := a.Status().Change; s == nil || len(s.Copying) != 1 || s.Copying[0] != 3 {
			t.Errorf("the leave does not wait for the dead node: %+v", s)
		}
		if err := a.AbortChange(context.Background()); err != nil {
			t.Fatal(err)
		}
		if err := <-left; !errors.Is(err, errTakenBack) {
			t.Fatalf("the leave that was taken back: %v", err)
		}
		pause(20 * time.Second)
		tc.untilMembers(1, 2, 3, 4)
		if err := a.Change(context.Background(), rebalance.Request{Kind: rebalance.Remove, Node: 3}); err != nil {
			t.Fatal(err)
		}
		tc.untilMembers(1, 2, 4)
		if err := leaving.Leave(context.Background()); err != nil {
			t.Fatal(err)
		}
		tc.stop(leaving)
		tc.untilMembers(1, 2)
		tc.until("complete reads", time.Minute, func() bool { return l.read(t, a, "0001", 101) })
		l.readAll(t, a)
	})
}

// TestKilledWhileItLeaves: a node that is killed in the middle of its leave goes
// on with it when it is back, and does not join again by itself; after a further
// start it does.
func TestKilledWhileItLeaves(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 4, 3)
		tc.ready()
		l := newLedger()
		tc.fill(l, 100)
		a, waited, leaving := tc.nodes[0], tc.nodes[2], tc.nodes[3]
		tc.stop(waited) // so that the leave takes as long as it is to
		ctx, cancel := context.WithCancel(context.Background())
		left := make(chan error, 1)
		go func() { left <- leaving.Leave(ctx) }()
		tc.until("the leave begins", time.Minute, func() bool { return a.RingRecord().Next != nil })
		cancel()
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		tc.stop(leaving)
		pause(time.Second)
		tc.start(leaving)
		tc.start(waited)
		tc.untilMembers(1, 2, 3)
		pause(time.Minute)
		tc.untilMembers(1, 2, 3)
		if h := leaving.Health(); !h.Left {
			t.Errorf("the node that left: %+v", h)
		}
		tc.stop(leaving)
		tc.until("nobody speaks of it any more", time.Minute, func() bool { return len(a.Status().Nodes) == 3 })
		l.readAll(t, a)
		tc.start(leaving)
		tc.untilMembers([]ring.NodeID{1, 2, 3, 4}...)
	})
}

// TestJoinTakenBack: a node whose join is taken back while it copies does not ask
// again by itself, says so, and joins when it is started again.
func TestJoinTakenBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 3, 3)
		tc.ready()
		l := newLedger()
		tc.fill(l, 400)
		n := tc.make(4)
		n.alter = func(o *Options) { o.CopyRate = 100 } // it takes a minute
		tc.nodes = append(tc.nodes, n)
		tc.start(n)
		tc.until("it copies", time.Minute, func() bool { return n.RingRecord() != nil && n.RingRecord().Next != nil })
		pause(5 * time.Second)
		if err := tc.nodes[1].AbortChange(context.Background()); err != nil {
			t.Fatal(err)
		}
		tc.until("it knows", time.Minute, func() bool { return n.Health().Refused })
		pause(time.Minute)
		for _, other := range tc.nodes[:3] {
			if r := other.RingRecord(); r.Number != 3 || r.Next != nil {
				t.Errorf("after the abort node %d has ring %+v", other.id, r)
			}
		}
		tc.stop(n)
		n.alter = func(*Options) {}
		tc.start(n)
		tc.untilMembers(1, 2, 3, 4)
		tc.endsEqual(l)
	})
}

// TestWaitsForAnothersJoin: a node that wants to join while another one copies for
// long waits for it, and joins by itself when that one is in or taken back.
func TestWaitsForAnothersJoin(t *testing.T) {
	for _, abort := range []bool{false, true} {
		bubble(t, func(t *testing.T) {
			tc := newTestCluster(t, 3, 3)
			tc.ready()
			l := newLedger()
			tc.fill(l, 200)
			first, second := tc.make(4), tc.make(5)
			first.alter = func(o *Options) { o.CopyRate = 100 } // half a minute
			for _, n := range []*testNode{first, second} {
				tc.nodes = append(tc.nodes, n)
				tc.start(n)
				tc.until("it knows the change", time.Minute, func() bool { return n.RingRecord() != nil && n.RingRecord().Next != nil })
			}
			pause(5 * time.Second)
			if s := second.changeStatus(); s == nil || len(s.Joining) != 1 || s.Joining[0] != 4 {
				t.Fatalf("node 4 does not join: %+v", s)
			}
			if !abort {
				tc.untilMembers(1, 2, 3, 4, 5)
				return
			}
			if err := tc.nodes[0].AbortChange(context.Background()); err != nil {
				t.Fatal(err)
			}
			tc.untilMembers(1, 2, 3, 5)
		})
	}
}

// TestLeaveBesideANewDisk: C2. Of three members one leaves while another fills a new
// disk. Until the ring records that, it has no vote, and the two that are left would
// agree on nothing, not even on recording it: the change ends with the disk recorded.
func TestLeaveBesideANewDisk(t *testing.T) {
	for _, beforeItBegins := range []bool{true, false} {
		t.Run(fmt.Sprintf("wiped before the leave %v", beforeItBegins), func(t *testing.T) {
			bubble(t, func(t *testing.T) { leaveBesideANewDisk(t, beforeItBegins) })
		})
	}
}

func leaveBesideANewDisk(t *testing.T, beforeItBegins bool) {
	tc := newTestCluster(t, 3, 2)
	tc.ready()
	l := newLedger()
	tc.fill(l, 100)
	pause(3 * time.Minute) // all owners hold everything
	a, leaving, wiped := tc.nodes[0], tc.nodes[1], tc.nodes[2]
	tc.stop(wiped)
	if beforeItBegins {
		tc.wipe(wiped)
	}
	left := make(chan error, 1)
	go func() { left <- leaving.Leave(context.Background()) }()
	tc.until("the leave has begun", time.Minute, func() bool { return a.RingRecord().Next != nil })
	pause(10 * time.Second)
	if a.RingRecord().Next == nil {
		t.Fatalf("the change ended with one of the two that are left: %+v", a.RingRecord())
	}
	if !beforeItBegins {
		tc.wipe(wiped)
	}
	tc.start(wiped)
	if err := <-left; err != nil {
		t.Fatal(err)
	}
	tc.until("the new disk is recorded", time.Minute, func() bool {
		m := a.RingRecord().Member(3)
		return m != nil && m.Disk == wiped.disk.ID
	})
	if err := a.Change(context.Background(), rebalance.Request{Kind: rebalance.Copies, RF: 1}); err != nil {
		t.Errorf("the two that are left agree on nothing: %v", err)
	}
	tc.stop(leaving)
	tc.nodes = []*testNode{a, wiped}
	tc.untilMembers(1, 3)
	for _, n := range tc.nodes {
		l.readAll(t, n)
	}
}

// TestCopyOfAnEarlierRing: C3. Copying that was under way when the next ring came
// does not take the place of what was copied for that one.
func TestCopyOfAnEarlierRing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 1, 1)
		tc.ready()
		n := tc.nodes[0]
		number := n.RingRecord().Number
		if err := n.noteCopied(membership.CopyProgress{Ring: number, Done: true}); err != nil {
			t.Fatal(err)
		}
		if err := n.noteCopied(membership.CopyProgress{Ring: number - 1, Done: true}); !errors.Is(err, errRingMoved) {
			t.Errorf("what an earlier ring needed was noted: %v", err)
		}
		if p := n.copied(n.topo.Load()); !p.Done || p.Ring != number {
			t.Errorf("kept is %+v", p)
		}
	})
}
