package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/count-db/count/cluster/rebalance"
	"github.com/count-db/count/cluster/ring"
)

func copies(rf int) rebalance.Request { return rebalance.Request{Kind: rebalance.Copies, RF: rf} }

// untilFactor waits until all running nodes have a settled ring of the factor.
func (tc *testCluster) untilFactor(rf int) {
	tc.t.Helper()
	tc.until(fmt.Sprintf("the replication factor is %d everywhere", rf), 2*time.Minute, func() bool {
		for _, n := range tc.nodes {
			if r := n.RingRecord(); n.Cluster != nil && (r == nil || r.Next != nil || r.RF != rf) {
				return false
			}
		}
		return true
	})
}

// TestReplicationFactorUnderLoad: the number of copies changes while clients
// write and read; none of them notices, and when the change is done every new
// owner has its full copy. An old one may still be owed what was on its way to it
// when the change began, and gets that within moments.
func TestReplicationFactorUnderLoad(t *testing.T) {
	for _, c := range []struct{ nodes, from, to int }{{3, 2, 3}, {3, 3, 2}, {4, 2, 3}, {4, 3, 2}, {3, 1, 3}, {3, 3, 1}, {5, 3, 5}, {5, 5, 3}, {2, 1, 2}} {
		t.Run(fmt.Sprintf("%d nodes, %d to %d", c.nodes, c.from, c.to), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				tc := newTestCluster(t, c.nodes, c.from)
				tc.ready()
				l := newLedger()
				tc.fill(l, 200)
				ownersOf := func(name string) []ring.NodeID {
					nodes, owners := tc.nodes[0].Candidates(metric(name))
					return nodes[:owners]
				}
				before := map[string][]ring.NodeID{}
				for i := range 40 {
					name := fmt.Sprintf("%04d", i)
					before[name] = ownersOf(name)
				}
				clients := []*client{tc.client(l, tc.nodes[0], 1), tc.client(l, tc.nodes[1], 2)}
				if err := tc.nodes[1].Change(context.Background(), copies(c.to)); err != nil {
					t.Fatal(err)
				}
				tc.untilFactor(c.to)
				for i := range 200 { // what was there before the change
					name := fmt.Sprintf("%04d", i%40)
					after := ownersOf(name)
					if len(after) != c.to {
						t.Fatalf("%d owners of %s", len(after), name)
					}
					for _, id := range after {
						if _, has := tc.nodes[id-1].holds(name, int64(100+i)); !has && !slices.Contains(before[name], id) {
							t.Fatalf("node %d owns %s now and has not got %d", id, name, 100+i)
						}
					}
				}
				for _, client := range clients {
					client.end()
					if client.refused > 0 || client.marked > 0 {
						t.Errorf("a client noticed: %d writes refused (%v), %d reads marked (%v)", client.refused, client.first, client.marked, client.why)
					}
				}
				tc.endsEqual(l)
			})
		})
	}
}

// TestFactorNobodyNotices: where the cluster is smaller than both factors the
// ring only notes the new one; impossible ones are refused.
func TestFactorNobodyNotices(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 2, 3)
		tc.ready()
		a := tc.nodes[0]
		if err := a.Change(context.Background(), copies(5)); err != nil {
			t.Fatal(err)
		}
		if r := a.RingRecord(); r.RF != 5 || r.Next != nil || r.Number != 2 {
			t.Fatalf("ring %+v", r)
		}
		tc.untilFactor(5)
		if err := a.Change(context.Background(), copies(5)); !errors.Is(err, rebalance.ErrDone) {
			t.Errorf("the same again: %v", err)
		}
		for _, rf := range []int{0, -1, 33} {
			if err := a.Change(context.Background(), copies(rf)); !errors.Is(err, rebalance.ErrRefused) {
				t.Errorf("factor %d: %v", rf, err)
			}
		}
		// The nodes that join copy what the new factor gives them.
		l := newLedger()
		tc.fill(l, 50)
		tc.join()
		tc.untilMembers(1, 2, 3)
		tc.until("converged", 3*time.Minute, func() bool { return tc.converged(l) })
		if nodes, owners := a.Candidates(metric("0001")); owners != 3 {
			t.Errorf("owners %v of %v", owners, nodes)
		}
	})
}

// TestSettingOnlyFounds: REPLICATION_FACTOR of a node that starts later says
// nothing: the ring's own counts, and the status tells of the difference.
func TestSettingOnlyFounds(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 3, 3)
		tc.ready()
		l := newLedger()
		tc.fill(l, 40)
		b := tc.nodes[1]
		tc.stop(b)
		tc.rf = 2
		tc.start(b)
		tc.join()
		tc.untilMembers(1, 2, 3, 4)
		for _, n := range tc.nodes {
			want := 3
			if n.id == 2 || n.id == 4 {
				want = 2
			}
			s := n.Status()
			if s.ReplicationFactor != 3 || s.FoundingFactor != want || n.RingRecord().RF != 3 {
				t.Errorf("node %d: %d copies, founded with %d", n.id, s.ReplicationFactor, s.FoundingFactor)
			}
			for _, p := range s.Problems {
				if strings.Contains(p, "REPLICATION_FACTOR") {
					t.Errorf("node %d complains: %s", n.id, p)
				}
			}
		}
		tc.until("converged", 3*time.Minute, func() bool { return tc.converged(l) })
	})
}

// TestZoneOfARunningNode: a node started again with another ZONE has the ring
// changed, under load; copies are in distinct zones then.
func TestZoneOfARunningNode(t *testing.T) {
	bubble(t, func(t *testing.T) {
		zones := map[ring.NodeID]string{1: "a", 2: "a", 3: "a", 4: "a"}
		tc := newTestCluster(t, 4, 2, func(o *Options) { o.Zone = zones[o.Node] })
		tc.ready()
		l := newLedger()
		tc.fill(l, 200)
		c := tc.client(l, tc.nodes[0], 1)
		d := tc.nodes[3]
		tc.stop(d)
		zones[4] = "b"
		tc.start(d)
		tc.until("the ring has the new zone", 2*time.Minute, func() bool {
			for _, n := range tc.nodes {
				if r := n.RingRecord(); r == nil || r.Next != nil || r.Member(4).Zone != "b" {
					return false
				}
			}
			return true
		})
		c.end()
		if c.refused > 0 || c.marked > 0 {
			t.Errorf("a client noticed: %d writes refused (%v), %d reads marked (%v)", c.refused, c.first, c.marked, c.why)
		}
		for i := range 40 {
			name := fmt.Sprintf("%04d", i)
			nodes, owners := tc.nodes[0].Candidates(metric(name))
			if !slices.Contains(nodes[:owners], 4) {
				t.Errorf("%s is owned by %v: all in one zone", name, nodes[:owners])
			}
		}
		tc.endsEqual(l)
	})
}

// TestFactorUnderFaults: the factor goes up and down while nodes are killed,
// frozen and cut off; every complete read is right and in the end all is well.
func TestFactorUnderFaults(t *testing.T) {
	underFaults(t, 6, 11, factorUnderFaults)
}

func factorUnderFaults(t *testing.T, rng *rand.Rand) {
	tc := newTestCluster(t, 3+rng.IntN(3), 1+rng.IntN(4))
	tc.ready()
	l := newLedger()
	tc.fill(l, 60)
	f := faults{tc: tc, rng: rng}
	for range 120 {
		if drawn := f.next(14); drawn == 8 || drawn == 9 {
			if n := f.pick(); n != f.down {
				ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
				// Refused while another change is under way or no majority is there.
				_ = n.Change(ctx, copies(1+rng.IntN(4)))
				cancel()
			}
		}
		f.use(l)
	}
	f.end()
	tc.ready()
	tc.until("the change under way ends", 2*time.Minute, func() bool {
		for _, n := range tc.nodes {
			if n.RingRecord().Next != nil {
				return false
			}
		}
		return true
	})
	for _, n := range tc.nodes {
		l.readAll(t, n)
	}
	t.Logf("%d writes acknowledged, %d complete reads, ring %d of factor %d", l.acks, l.reads, tc.nodes[0].RingRecord().Number, tc.nodes[0].RingRecord().RF)
}
