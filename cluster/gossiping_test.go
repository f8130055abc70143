package cluster

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/count-db/count/cluster/membership"
	"github.com/count-db/count/cluster/ring"
	"github.com/count-db/count/internal/model"
)

// TestGossip: nodes learn of each other by gossip over the one port: a new node
// is known everywhere within 5 s, one that dies fails after the timeout, and one
// that comes back is itself.
func TestGossip(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 3, 3, func(o *Options) {
			o.NoGossip, o.Heartbeat, o.FailureTimeout = false, time.Second, 6*time.Second
		})
		tc.ready()
		joiner := tc.make(4)
		joiner.alter = tc.nodes[0].alter
		tc.start(joiner)
		status := func(n *testNode, id int) membership.Status {
			for _, seen := range n.Nodes() {
				if int(seen.ID) == id {
					return seen.Status
				}
			}
			return membership.Left
		}
		tc.until("the new node is known everywhere, as joining or a member already", 5*time.Second, func() bool {
			for _, n := range tc.nodes {
				if s := status(n, 4); s != membership.Joining && s != membership.Active {
					return false
				}
			}
			return joiner.Health().Founded
		})
		if _, err := joiner.write("m", 1, 1); err != nil {
			t.Fatalf("a write through a node that holds nothing: %v", err)
		}
		tc.expect(joiner, "m", 1, 1)
		tc.stop(joiner)
		tc.stop(tc.nodes[2])
		tc.until("the dead member has failed", 20*time.Second, func() bool {
			return status(tc.nodes[0], 3) == membership.Failed && status(tc.nodes[1], 3) == membership.Failed
		})
		tc.start(tc.nodes[2])
		tc.ready()
		if s := status(tc.nodes[0], 3); s != membership.Active {
			t.Fatalf("back, and %s", s)
		}
	})
}

// TestMovedNode: a node whose address changed comes back as itself.
func TestMovedNode(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 3, 3)
		tc.ready()
		l := newLedger()
		moved := tc.nodes[2]
		tc.stop(moved)
		if err := l.write(tc.nodes[0], "0001", 1); err != nil {
			t.Fatal(err)
		}
		moved.host = "elsewhere:80"
		tc.start(moved)
		tc.ready()
		tc.until("converged", time.Minute, func() bool { return tc.converged(l) })
		for _, n := range tc.nodes[0].Status().Nodes {
			if n.ID == 3 && n.Address != "elsewhere:80" {
				t.Fatalf("known at %s", n.Address)
			}
		}
	})
}

// TestStrangeNodeIsReplaced: a node with data of its own is told that it does not
// join, and its next start, on an empty disk and at another address, does so, though
// not all others have noticed that the first one is gone.
func TestStrangeNodeIsReplaced(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 3, 3)
		tc.ready()
		// The first node looks for who has gone on the second, the others 0.7 s after.
		phase := func(d time.Duration) { pause(time.Until(time.Now().Truncate(time.Second).Add(time.Second + d))) }
		for _, n := range tc.nodes[1:] {
			phase(700 * time.Millisecond)
			tc.stop(n)
			tc.start(n)
			tc.ready()
		}
		n := tc.make(4)
		ref, err := n.local.Intern(metric("0001"))
		if err != nil {
			t.Fatal(err)
		}
		_, wait, err := n.local.Begin(context.Background(), &model.Batch{Floats: []model.FloatSample{{T: 1, V: 666, Ref: ref}}}, false)
		if err == nil {
			err = wait()
		}
		if err != nil {
			t.Fatal(err)
		}
		tc.mustWrite(tc.nodes[0], "0001", 1, 1)
		tc.nodes = append(tc.nodes, n)
		tc.start(n)
		tc.until("it says why it does not join", time.Minute, func() bool {
			return strings.Contains(strings.Join(n.Health().Problems, " "), "empty DATA_DIR")
		})
		pause(10 * time.Second)
		if r := tc.nodes[0].RingRecord(); r.Number != 1 || !tc.nodes[0].inSight(4) {
			t.Errorf("ring %d; in sight: %v", r.Number, tc.nodes[0].inSight(4))
		}
		phase(650 * time.Millisecond)
		tc.stop(n)
		tc.wipe(n)
		n.host = "elsewhere:80"
		tc.start(n) // the others know that it was gone, the first one does not
		tc.untilMembers(1, 2, 3, 4)
		tc.ready()
		for _, n := range tc.nodes {
			tc.expect(n, "0001", 1, 1)
		}
	})
}

// TestRefusals: nodes that cannot belong together say so clearly.
func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		name  string
		alter func(*Options)
		want  string
	}{
		{"cluster", func(o *Options) {
			if o.Node == 2 {
				o.Cluster = "other"
			}
		}, `CLUSTER_NAME differs: node 2 belongs to "other", node 1 to "test"`},
		{"factor", func(o *Options) {
			if o.Node == 2 {
				o.RF = 2
			}
		}, "REPLICATION_FACTOR differs: node 2 has 2, node 1 has 3"},
		{"node id", func(o *Options) { o.Node = 1 }, "NODE_ID 1 is used twice"},
		{"lists", func(o *Options) {
			if o.Node == 2 {
				o.Seeds = append([]string{"node9:80"}, o.Seeds...)
			}
		}, "CLUSTER_NODES differ"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				tc := newTestCluster(t, 2, 3, c.alter)
				tc.until("the refusal is told", 10*time.Second, func() bool {
					for _, n := range tc.nodes {
						for _, p := range n.Health().Problems {
							if strings.Contains(p, c.want) {
								return true
							}
						}
					}
					return false
				})
				if _, err := tc.nodes[0].write("m", 1, 1); err == nil {
					t.Fatal("a write before the founding")
				}
			})
		})
	}
}

// TestRefusedJoin: a node that a running cluster refuses says why, and goes on
// saying it, for as long as it is refused.
func TestRefusedJoin(t *testing.T) {
	for want, alter := range map[string]func(*Options){
		"CLUSTER_NAME differs":    func(o *Options) { o.Cluster = "other" },
		"NODE_ID 2 is used twice": func(o *Options) { o.Node = 2 },
	} {
		bubble(t, func(t *testing.T) {
			tc := newTestCluster(t, 3, 3)
			tc.ready()
			d := tc.make(4)
			d.alter = alter
			tc.start(d)
			defer tc.stop(d)
			said := func() bool {
				problems := strings.Join(d.Health().Problems, "; ")
				return strings.Contains(problems, want) && !strings.Contains(problems, "none has a ring")
			}
			tc.until("it says why", 10*time.Second, said)
			for range 30 {
				pause(100 * time.Millisecond)
				if !said() {
					t.Fatalf("%s: %q", want, d.Health().Problems)
				}
			}
			if _, err := d.write("m", 1, 1); err == nil {
				t.Fatal("a write at a node that was refused")
			}
		})
	}
}

// TestSeenWhileConnected: a node that answers was seen a moment ago, however seldom
// gossip comes to ask after it; one that is gone was seen when it went.
func TestSeenWhileConnected(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 3, 3) // without gossip
		tc.ready()
		pause(5 * time.Minute)
		ago := func(id ring.NodeID) time.Duration {
			for _, n := range tc.nodes[0].Status().Nodes {
				if n.ID == id {
					return time.Since(time.UnixMilli(n.LastSeen))
				}
			}
			t.Fatalf("node %d is not known", id)
			return 0
		}
		if d := ago(3); d > 5*time.Second {
			t.Errorf("a node that answers was seen %s ago", d)
		}
		tc.stop(tc.nodes[2])
		pause(5 * time.Minute)
		if d := ago(3); d < 4*time.Minute {
			t.Errorf("a node that is gone for 5 minutes was seen %s ago", d)
		}
	})
}
