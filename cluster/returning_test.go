package cluster

import (
	"context"
	"testing"
	"time"

	"github.com/count-db/count/cluster/quorum"
	"github.com/count-db/count/cluster/rebalance"
)

// returns is the life of a series that is deleted, and whose delete is settled and
// forgotten, while one node has an older disk: it comes back and nothing of it may.
// away makes the node's disk old and takes the node out of sight, and back starts
// it again.
func returns(t *testing.T, away, back func(tc *testCluster, n *testNode)) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 4, 3)
		tc.ready()
		old := tc.nodes[3]
		at := time.Now().UnixMilli()
		names := []string{"0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008"}
		for i, name := range names {
			tc.mustWrite(tc.nodes[i%3], name, at, float64(i+1))
		}
		pause(10 * time.Minute) // whatever is owed is handed over
		held := 0
		for _, name := range names {
			if _, has := old.holds(name, at); has {
				held++
			}
		}
		if held == 0 {
			t.Fatal("the node holds nothing: nothing is tested")
		}
		away(tc, old)
		for _, name := range names[1:] {
			if err := tc.nodes[0].delete(name); err != nil {
				t.Fatal(err)
			}
		}
		tc.mustWrite(tc.nodes[1], names[1], at+1, 77) // the series lives on
		back(tc, old)
		gone := func(when string) {
			t.Helper()
			for _, n := range tc.nodes {
				for i, name := range names {
					got, warnings, err := n.read(name, quorum.Quorum)
					if err != nil || len(warnings) > 0 {
						continue // it says that it is not complete
					}
					switch v, has := got[at]; {
					case i == 0 && v != 1:
						t.Fatalf("%s: %s is %g (%v) through node %d", when, name, v, has, n.id)
					case i > 0 && has:
						t.Fatalf("%s: %s, deleted and settled, is back through node %d: %g", when, name, n.id, v)
					case i == 1 && got[at+1] != 77:
						t.Fatalf("%s: %s lacks what was written behind the delete through node %d: %v", when, name, n.id, got)
					}
				}
			}
		}
		for range 120 {
			gone("at its return")
			pause(500 * time.Millisecond)
		}
		tc.ready()
		tc.untilSettled()
		gone("after the next settling")
		for _, n := range tc.nodes {
			if got, warnings, err := n.read(names[0], quorum.Quorum); err != nil || len(warnings) > 0 || got[at] != 1 {
				t.Errorf("node %d: %v %v %v", n.id, got, warnings, err)
			}
			if n.deletes() != 0 {
				t.Errorf("node %d keeps %d deletes", n.id, n.deletes())
			}
			for _, name := range names[1:] {
				if v, has := n.holds(name, at); has {
					t.Errorf("node %d holds %s: %g, which was deleted and settled", n.id, name, v)
				}
			}
		}
	})
}

// settledWithout waits until the nodes that are up have settled and forgotten the
// deletes.
func (tc *testCluster) settledWithout(away *testNode) {
	tc.t.Helper()
	now := time.Now()
	tc.untilSlowly("deletes are settled and forgotten", 8*time.Hour, func() bool {
		for _, n := range tc.nodes {
			if n != away && (n.deletes() > 0 || n.floor().Micros() < now.UnixMicro()) {
				return false
			}
		}
		return true
	})
}

// TestRemovedNodeBringsNothingDeletedBack: a node that was removed while it was
// down is started with its old disk, long after what was deleted meanwhile is
// settled.
func TestRemovedNodeBringsNothingDeletedBack(t *testing.T) {
	returns(t, func(tc *testCluster, n *testNode) {
		tc.stop(n)
		if err := tc.nodes[0].Change(context.Background(), rebalance.Request{Kind: rebalance.Remove, Node: n.id}); err != nil {
			t.Fatal(err)
		}
		tc.untilMembers(1, 2, 3)
	}, func(tc *testCluster, n *testNode) {
		tc.settledWithout(n)
		tc.start(n)
		tc.untilMembers(1, 2, 3, 4)
	})
}

// TestOlderDiskBringsNothingDeletedBack: a member is put back to a copy of its disk
// from before deletes that are settled by now, by all.
func TestOlderDiskBringsNothingDeletedBack(t *testing.T) {
	for _, settledBefore := range []bool{false, true} { // the copy knows a floor of its own
		var copied *oldDisk
		returns(t, func(tc *testCluster, n *testNode) {
			if settledBefore {
				tc.untilSettled()
			}
			copied = n.copyDisk()
			tc.stop(n)
			tc.start(n)
			tc.ready()
		}, func(tc *testCluster, n *testNode) {
			tc.settledWithout(nil)
			tc.stop(n)
			copied.restore()
			tc.start(n)
		})
	}
}

// TestOthersSeeTheEndOfARefill: also where gossip does not tell.
func TestOthersSeeTheEndOfARefill(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 3, 3)
		tc.ready()
		tc.mustWrite(tc.nodes[0], "0001", 1, 1)
		n := tc.nodes[2]
		tc.stop(n)
		tc.wipe(n)
		tc.start(n)
		tc.until("others see that it refills", time.Minute, func() bool { return tc.nodes[0].seesRefilling(n) })
		tc.until("others see that it does not any more", time.Minute, func() bool { return !tc.nodes[0].seesRefilling(n) && !tc.nodes[1].seesRefilling(n) })
	})
}

func (n *testNode) seesRefilling(other *testNode) bool {
	for _, s := range n.Status().Nodes {
		if s.ID == other.id {
			return s.Refilling
		}
	}
	return false
}

// TestConnectedFromAnEarlierRing: a node that went from one ring to a later dual one
// is still connected to who was a member in between no longer. It took that one for
// a visitor that is gone; as a member of the next ring it is in sight.
func TestConnectedFromAnEarlierRing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 3, 3)
		tc.ready()
		a, other := tc.nodes[0], tc.nodes[1]
		a.mu.Lock()
		a.view.SetUp(other.id, false, time.Now())
		a.connectLocked()
		a.mu.Unlock()
		if !a.inSight(other.id) {
			t.Error("a member that is connected is not in sight")
		}
	})
}
