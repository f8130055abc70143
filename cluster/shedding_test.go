package cluster

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/cluster/rebalance"
)

// foreignSamples returns how many samples a node holds that it does not own.
func (n *testNode) foreignSamples() int {
	t := n.topo.Load()
	n.local.mu.Lock()
	defer n.local.mu.Unlock()
	found := 0
	for _, s := range n.local.series {
		name := s.labels.Get(labels.MetricName)
		if !t.lists[t.ring.ListOf(tokenOf(name))].Owns(n.id) {
			found += s.cols.Len()
		}
	}
	return found
}

// untilShed waits until no running node holds what it does not own.
func (tc *testCluster) untilShed() {
	tc.t.Helper()
	tc.until("all nodes hold what they own alone", 5*time.Minute, func() bool {
		pause(time.Second)
		for _, n := range tc.nodes {
			if n.Cluster != nil && (n.foreignSamples() > 0 || !n.Status().Shed.Done) {
				return false
			}
		}
		return true
	})
}

// TestUnownedDataIsDropped: after a join, a change of the factor, and a leave
// every node comes to hold what it owns and no more; nothing that was acknowledged
// is missing then, nor when the data comes back by a later change.
func TestUnownedDataIsDropped(t *testing.T) {
	for _, rf := range []int{1, 2, 3} {
		t.Run(fmt.Sprintf("rf%d", rf), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				tc := newTestCluster(t, 3, rf)
				tc.ready()
				l := newLedger()
				tc.fill(l, 400)
				during := func(what string, change func()) {
					t.Helper()
					c := tc.client(l, tc.nodes[0], 1)
					change()
					c.end()
					if c.refused > 0 || c.marked > 0 {
						t.Errorf("a client noticed %s: %d writes refused (%v), %d reads marked (%v)", what, c.refused, c.first, c.marked, c.why)
					}
					tc.untilShed()
					tc.endsEqual(l)
				}
				factor := func(rf int) func() {
					return func() {
						if err := tc.nodes[1].Change(context.Background(), copies(rf)); err != nil {
							t.Fatal(err)
						}
						tc.untilFactor(rf)
					}
				}
				during("a join", func() {
					tc.join()
					tc.untilMembers(1, 2, 3, 4)
				})
				during("a change of the factor", factor(rf%3+1))
				during("its way back", factor(rf))
				during("a leave", func() {
					n := tc.nodes[3]
					if err := n.Leave(context.Background()); err != nil {
						t.Fatal(err)
					}
					tc.stop(n)
					tc.untilMembers(1, 2, 3)
					tc.nodes = tc.nodes[:3]
				})
			})
		})
	}
}

// TestNothingIsDroppedWhileAnOwnerIsAway: what an owner may miss stays where it
// is, until the owner is back and has it.
func TestNothingIsDroppedWhileAnOwnerIsAway(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 4, 2)
		tc.ready()
		tc.untilShed()
		l := newLedger()
		name := tc.seriesOf(1, 2, 3) // 3 stands in
		a, b, c := tc.nodes[0], tc.nodes[1], tc.nodes[2]
		tc.stop(b)
		if err := l.write(a, name, 1); err != nil {
			t.Fatal(err)
		}
		if _, has := c.holds(name, 1); !has {
			t.Fatal("the stand-in does not hold the write")
		}
		if _, err := c.shedForeign(context.Background(), c.topo.Load()); err == nil {
			t.Fatal("shed while an owner is away")
		}
		if _, has := c.holds(name, 1); !has {
			t.Fatal("C6: the stand-in dropped a copy that counted")
		}
		tc.start(b)
		tc.ready()
		tc.until("the stand-in sheds", time.Minute, func() bool {
			_, err := c.shedForeign(context.Background(), c.topo.Load())
			return err == nil && c.foreignSamples() == 0
		})
		if _, has := b.holds(name, 1); !has {
			t.Fatal("C6: the stand-in dropped a copy that an owner lacks")
		}
		tc.stop(a)
		tc.until("a complete read", time.Minute, func() bool { return l.read(t, c, name, 1) })
	})
}

// TestNothingIsDroppedWhileTheRingMoves: an owner that has a newer ring may have
// let others copy from it already.
func TestNothingIsDroppedWhileTheRingMoves(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 4, 2)
		tc.ready()
		tc.untilShed()
		l := newLedger()
		name := tc.seriesOf(1, 2, 3)
		a, b, c := tc.nodes[0], tc.nodes[1], tc.nodes[2]
		tc.net.Freeze(b.host)
		if err := l.write(a, name, 1); err != nil {
			t.Fatal(err)
		}
		tc.net.Thaw(b.host)
		old := c.topo.Load()
		next, err := rebalance.Begin(old.record, copies(3))
		if err != nil {
			t.Fatal(err)
		}
		b.mu.Lock()
		err = b.adoptNewerLocked(next)
		b.mu.Unlock()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.shedForeign(context.Background(), old); err == nil {
			t.Fatal("shed under a ring that is over")
		}
		if _, has := c.holds(name, 1); !has {
			t.Fatal("C6: a copy was dropped in the middle of a change")
		}
		tc.untilFactor(3)
		tc.until("converged", 3*time.Minute, func() bool { return tc.converged(l) })
		if nodes, owners := c.Candidates(metric(name)); !slices.Contains(nodes[:owners], 3) {
			t.Fatal("node 3 owns nothing new: nothing was tested")
		}
	})
}
