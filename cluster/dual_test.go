package cluster

import (
	"fmt"
	"testing"
	"time"

	"github.com/count-db/count/cluster/rebalance"
	"github.com/count-db/count/cluster/ring"
)

// holdDual has a fourth node join so slowly that the dual ring stays: it copies a
// byte a second.
func (tc *testCluster) holdDual() *testNode {
	tc.t.Helper()
	n := tc.make(len(tc.nodes) + 1)
	n.alter = func(o *Options) { o.CopyRate = 1 }
	tc.nodes = append(tc.nodes, n)
	tc.start(n)
	tc.until("all have the dual ring", time.Minute, func() bool {
		for _, n := range tc.nodes {
			if r := n.RingRecord(); r == nil || r.Next == nil {
				return false
			}
		}
		return true
	})
	return n
}

// TestOwnerDiesInDualRing: in the middle of a join at RF 2 one dead owner stops
// no write, also where the old and the new ring have different stand-ins for it.
func TestOwnerDiesInDualRing(t *testing.T) {
	for dead := 1; dead <= 3; dead++ {
		t.Run(fmt.Sprintf("node%d", dead), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				tc := newTestCluster(t, 3, 2)
				tc.ready()
				l := newLedger()
				tc.fill(l, 40)
				tc.holdDual()
				tc.stop(tc.nodes[dead-1])
				through := tc.nodes[dead%3]
				apart := 0
				dual := through.topo.Load().ring
				for i := range 200 {
					name := fmt.Sprintf("%04d", i)
					began := time.Now()
					if err := l.write(through, name, 7); err != nil || time.Since(began) > time.Second {
						g := dual.Lists()[dual.ListOf(tokenOf(name))]
						t.Fatalf("%v after %s: candidates %+v", err, time.Since(began), g)
					}
					if g := &dual.Lists()[dual.ListOf(tokenOf(name))]; g.Owns(ring.NodeID(dead)) && len(g.Nodes)-g.Owners == 2 {
						apart++
					}
				}
				if apart == 0 {
					t.Error("no series has two stand-ins for the dead owner: nothing was tested")
				}
				if tc.nodes[3].RingRecord().Next == nil {
					t.Error("the change ended: nothing was tested")
				}
			})
		})
	}
}

// TestRingMovesUnderWrites: a newer ring is in force at one node after the other
// while writes go through the rest: each is sent anew by the newer ring, within
// its deadline, and no client notices.
func TestRingMovesUnderWrites(t *testing.T) {
	for _, rf := range []int{2, 3} {
		t.Run(fmt.Sprintf("rf%d", rf), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				tc := newTestCluster(t, 3, rf)
				tc.ready()
				l := newLedger()
				tc.fill(l, 40)
				joining := tc.holdDual()
				for at, moved := range tc.nodes {
					// The next ring: back to three members, or on with the join.
					next := moved.RingRecord()
					if next.Next != nil {
						back, err := rebalance.Abort(next)
						if err != nil {
							t.Fatal(err)
						}
						moved.mu.Lock()
						err = moved.adoptNewerLocked(back)
						moved.mu.Unlock()
						if err != nil {
							t.Fatal(err)
						}
					}
					for i := range 60 {
						through := tc.nodes[(at+1+i%3)%len(tc.nodes)]
						if through == joining {
							continue
						}
						began := time.Now()
						if err := l.write(through, fmt.Sprintf("%04d", i%40), int64(1000+at)); err != nil || time.Since(began) > time.Second {
							t.Fatalf("write through node %d: %v after %s", through.id, err, time.Since(began))
						}
					}
				}
			})
		})
	}
}

// TestJoinWithADeadMember: one of three is dead when a fourth joins. The moment
// the dual ring is in force the new node is needed for some writes and is not
// connected to yet: they wait for it.
func TestJoinWithADeadMember(t *testing.T) {
	for _, rf := range []int{2, 3} {
		t.Run(fmt.Sprintf("rf%d", rf), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				tc := newTestCluster(t, 3, rf)
				tc.ready()
				l := newLedger()
				tc.fill(l, 100)
				tc.stop(tc.nodes[2])
				tc.until("the others know", time.Minute, func() bool { return tc.nodes[0].Health().Size == 2 && tc.nodes[1].Health().Size == 2 })
				// What connects to the new node takes its time.
				tc.net.Delay(hostOf(1), hostOf(4), 30*time.Millisecond)
				tc.net.Delay(hostOf(2), hostOf(4), 30*time.Millisecond)
				clients := []*client{tc.client(l, tc.nodes[0], 1), tc.client(l, tc.nodes[1], 2)}
				tc.join()
				tc.until("the join is done", 2*time.Minute, func() bool {
					return len(tc.nodes[0].members()) == 4 && len(tc.nodes[1].members()) == 4 && len(tc.nodes[3].members()) == 4
				})
				for _, c := range clients {
					c.end()
					if c.refused > 0 || c.marked > 0 {
						t.Errorf("a client noticed: %d writes refused (%v), %d reads marked (%v)", c.refused, c.first, c.marked, c.why)
					}
				}
				tc.start(tc.nodes[2])
				tc.untilMembers(1, 2, 3, 4)
				tc.endsEqual(l)
			})
		})
	}
}
