package cluster

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/count-db/count/cluster/quorum"
	"github.com/count-db/count/cluster/rebalance"
	"github.com/count-db/count/cluster/ring"
)

// fillDays writes a sample of each of some series at the noon of each of the last
// days.
func (tc *testCluster) fillDays(days int) (at []int64) {
	tc.t.Helper()
	noon := time.Now().Truncate(24 * time.Hour).Add(-12 * time.Hour)
	for day := range days {
		at = append(at, noon.AddDate(0, 0, -day).UnixMilli())
	}
	slices.Sort(at)
	for i := range 20 {
		for _, t := range at {
			tc.mustWrite(tc.nodes[i%len(tc.nodes)], fmt.Sprintf("%04d", i), t, float64(i))
		}
	}
	return at
}

// isolate cuts a node off from all others.
func (tc *testCluster) isolate(n *testNode) {
	var others []string
	for _, o := range tc.nodes {
		if o != n {
			others = append(others, o.host)
		}
	}
	tc.net.Isolate(n.host, others...)
}

// refilled returns how far the refill of a node has come, ms.
func (n *testNode) refilled() int64 {
	t := n.topo.Load()
	if t == nil {
		return 0
	}
	return n.refilledUntil(t, 0)
}

// TestRefillGoesOnAfterAKill: a node that is killed in the middle of a refill does
// not begin from nothing; put back to an older copy of its disk it does.
func TestRefillGoesOnAfterAKill(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 3, 3)
		tc.ready()
		days := tc.fillDays(10)
		c := tc.nodes[2]
		tc.stop(c)
		tc.wipe(c)
		c.alter = func(o *Options) { o.CopyRate = 64 } // some seconds a day of data
		tc.start(c)
		half := days[4]
		tc.until("half is merged", 10*time.Minute, func() bool { return c.refilled() > half })
		older, starts := c.fs.CrashClone(nil, 100), c.disk.Starts
		tc.stop(c)
		tc.start(c)
		tc.until("it knows its ring", time.Minute, func() bool { return c.topo.Load() != nil })
		if got := c.refilled(); got <= half {
			t.Fatalf("after a kill it begins at %d, it had come beyond %d", got, half)
		}
		tc.until("refilled", 10*time.Minute, func() bool { return c.Health().Refill == "" })
		for i := range 20 {
			for _, at := range days {
				if v, has := c.holds(fmt.Sprintf("%04d", i), at); !has || v != float64(i) {
					t.Fatalf("refilled, and %04d at %d is %g, %v", i, at, v, has)
				}
			}
		}
		pause(time.Minute) // the others remember the start
		tc.stop(c)
		c.fs, c.disk.Starts = older, starts-1
		c.local = newMemLocal() // what the copy has lost
		tc.start(c)
		tc.until("the older copy is found out", time.Minute, func() bool {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.diskID() != c.opts.Disk.ID
		})
		if got := c.refilled(); got != 0 {
			t.Fatalf("an older copy goes on at %d", got)
		}
		tc.until("refilled again", 10*time.Minute, func() bool { return c.Health().Refill == "" })
		for _, at := range days {
			if _, has := c.holds("0003", at); !has {
				t.Fatalf("what the older copy had lost at %d is still missing", at)
			}
		}
	})
}

// TestRemoveWhileHintsArePending: a dead node is removed while others are owed
// hints, the dead one and one that comes back later: that one gets all of them.
func TestRemoveWhileHintsArePending(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 5, 3)
		tc.ready()
		l := newLedger()
		tc.fill(l, 100)
		a, away, dead := tc.nodes[0], tc.nodes[3], tc.nodes[4]
		tc.stop(dead)
		tc.isolate(away)
		for i := range 200 {
			// Where both are owners two of three are missing.
			_ = l.write(tc.nodes[i%3], fmt.Sprintf("%04d", i%40), int64(2000+i))
		}
		pause(20 * time.Second) // hints are written at the deadline
		owed := int64(0)
		for _, n := range tc.nodes[:3] {
			for _, bytes := range n.hints.Stats().PerNode {
				owed += bytes
			}
		}
		if owed == 0 {
			t.Fatal("nobody is owed anything: nothing is tested")
		}
		if err := a.Change(context.Background(), rebalance.Request{Kind: rebalance.Remove, Node: 5}); err != nil {
			t.Fatal(err)
		}
		pause(5 * time.Second)
		tc.heal()
		tc.untilMembers(1, 2, 3, 4)
		tc.until("converged", 3*time.Minute, func() bool { return tc.converged(l) })
		tc.until("nobody owes anything", 3*time.Minute, func() bool {
			for _, n := range tc.nodes[:4] {
				if len(n.hints.Owed()) > 0 {
					return false
				}
			}
			return true
		})
		tc.stop(tc.nodes[2])
		tc.until("complete reads with one more dead", time.Minute, func() bool { return l.read(t, a, "0001", 101) })
		l.readAll(t, a)
	})
}

// TestLeaveDuringAPartition: a node leaves while one of the others is cut off; it
// comes to its end without that one, or when it is back, and nobody misses
// anything.
func TestLeaveDuringAPartition(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 4, 3)
		tc.ready()
		l := newLedger()
		tc.fill(l, 200)
		cut, leaving := tc.nodes[1], tc.nodes[3]
		tc.isolate(cut)
		left := make(chan error, 1)
		go func() { left <- leaving.Leave(context.Background()) }()
		c := tc.client(l, tc.nodes[0], 1)
		pause(30 * time.Second)
		if got, warnings, err := cut.read("0001", quorum.Quorum); err == nil && len(warnings) == 0 {
			t.Fatalf("C4: the node that is cut off answered %v as complete", got)
		}
		tc.heal()
		if err := <-left; err != nil {
			t.Fatal(err)
		}
		tc.stop(leaving)
		tc.nodes = tc.nodes[:3]
		tc.untilMembers(1, 2, 3)
		c.end()
		if c.refused > 0 {
			t.Errorf("%d writes refused (%v)", c.refused, c.first)
		}
		tc.endsEqual(l)
		if m := cut.members(); !slices.Equal(m, []ring.NodeID{1, 2, 3}) {
			t.Errorf("the node that was cut off has the members %v", m)
		}
	})
}

// TestLossWhileRunning: C5. A node whose storage loses something while it runs
// counts for no read until it has merged that range, and no more than that, from
// others; its deletes and floors stay in order.
func TestLossWhileRunning(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 3, 3)
		tc.ready()
		a, c := tc.nodes[0], tc.nodes[2]
		old := time.Now().Add(-50 * time.Hour).UnixMilli()
		recent := time.Now().Add(-time.Hour).UnixMilli()
		tc.mustWrite(a, "0001", old, 7)
		tc.mustWrite(a, "0001", recent, 8)
		if err := a.delete("0002"); err != nil {
			t.Fatal(err)
		}
		tc.until("old data is settled", 4*time.Hour, func() bool { return c.floors.now().Floor > 0 && a.floors.now().Floor > 0 })
		c.lose("0001", old)
		c.lose("0001", recent)
		c.local.mu.Lock()
		c.local.losses, c.local.lost = 5, timeRange{old - 1000, old + 1000}
		c.local.mu.Unlock()
		c.NoteLost()
		if !c.refill.running() || c.refill.blocksWrites() {
			t.Fatal("it does not refill, or takes no writes")
		}
		if complete := c.CopyIsComplete(t.Context()); complete {
			t.Fatal("its copy counts as complete")
		}
		tc.until("it has merged what it lost", time.Minute, func() bool { return !c.refill.running() })
		if v, has := c.holds("0001", old); !has || v != 7 {
			t.Errorf("it holds %g (%v)", v, has)
		}
		if _, has := c.holds("0001", recent); has {
			t.Error("it merged more than it lost")
		}
		if lost, _, _ := c.local.Lost(); lost != 0 {
			t.Errorf("loss %d is still marked", lost)
		}
		if c.NoteLost(); c.refill.running() { // another reader tells of the same late
			t.Error("it refills what it has merged back")
		}
		tc.until("it settles with the others again", 4*time.Hour, func() bool { return c.floors.now().Floor > 0 && c.floors.at() == a.floors.at() })
	})
}
