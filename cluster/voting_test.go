package cluster

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/count-db/count/cluster/membership"
	"github.com/count-db/count/cluster/rebalance"
	"github.com/count-db/count/cluster/ring"
	"github.com/count-db/count/cluster/transport"
	"github.com/count-db/count/internal/vfs"
)

// copyOf returns a copy of a node's state and how often its disk has been started.
func copyOf(n *testNode) (fs *vfs.MemFS, starts uint64) {
	return n.fs.CrashClone(rand.New(rand.NewPCG(1, 1)), 100), n.disk.Starts
}

// putBack puts a stopped node back to a copy of its disk, without its samples.
func putBack(n *testNode, fs *vfs.MemFS, starts uint64) {
	n.fs, n.local, n.disk.Starts = fs, newMemLocal(), starts
}

// changeFactor wishes a change of the ring that moves no data.
func changeFactor(n *testNode, rf int) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	return n.Change(ctx, rebalance.Request{Kind: rebalance.Copies, RF: rf})
}

// factorOf returns the ring's factor at a node that has the ring of some number, 0 at
// one that has not.
func factorOf(n *testNode, number uint64) int {
	if r := n.RingRecord(); r != nil && r.Number == number {
		return r.RF
	}
	return 0
}

// TestOlderCopyHasNoVote: two of three members agree on a ring, and the third does not
// hear of it. Then one of the two is put back to an older copy of its disk, which knows
// nothing of it, and the other one is away. The two that see each other must not agree
// on another ring of that number.
func TestOlderCopyHasNoVote(t *testing.T) {
	for _, c := range []struct {
		name string
		// meanwhile is what happens between the copy and the vote.
		meanwhile func(tc *testCluster, a, b, third *testNode)
		slow      bool // the other of the two is not away: its word comes late
	}{
		{"of three starts before", func(tc *testCluster, a, b, third *testNode) {
			for range 3 {
				tc.stop(a)
				tc.start(a)
				tc.ready()
			}
			tc.net.Isolate(third.host, a.host, b.host)
		}, false},
		{"of the last start, without a sample since", func(tc *testCluster, a, b, third *testNode) {
			tc.net.Cut(third.host, b.host)
			tc.net.Delay(third.host, a.host, 30*time.Millisecond) // the ring does not come in time, the mark does
		}, false},
		{"of which only the slower one knows", func(tc *testCluster, a, b, third *testNode) {
			tc.net.Isolate(third.host, a.host, b.host)
		}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				tc := newTestCluster(t, 3, 3)
				tc.ready()
				a, b, third := tc.nodes[0], tc.nodes[1], tc.nodes[2]
				fs, starts := copyOf(a)
				c.meanwhile(tc, a, b, third)
				if err := changeFactor(b, 4); err != nil {
					t.Fatal(err)
				}
				tc.stop(a)
				if factorOf(b, 2) != 4 || third.RingRecord().Number != 1 {
					t.Fatalf("not the start of the story: rings %+v and %+v", b.RingRecord(), third.RingRecord())
				}
				tc.net.Heal()
				tc.net.Delay(third.host, a.host, 0)
				if c.slow {
					tc.net.Cut(b.host, third.host)
					tc.net.Delay(b.host, a.host, 200*time.Millisecond)
				} else {
					tc.stop(b)
				}
				putBack(a, fs, starts)
				tc.start(a)
				tc.until("the two see each other", time.Minute, func() bool { return a.Health().Majority && third.Health().Majority })
				for _, n := range []*testNode{third, a} {
					if err := changeFactor(n, 5); err == nil {
						t.Fatal("C2: two rings of one number: a node on an older copy of its disk has voted")
					}
				}
				tc.net.Heal()
				if !c.slow {
					tc.start(b)
				}
				tc.until("the ring that was agreed on is in force, and records the disk", 2*time.Minute, func() bool {
					r := a.RingRecord()
					return r.Number > 2 && r.RF == 4 && r.Member(a.id).Disk == a.diskID() && a.Health().Refill == "" && third.RingRecord().Number == r.Number
				})
				if err := changeFactor(a, 5); err != nil {
					t.Fatalf("it has no vote on its recorded disk: %v", err)
				}
				renewed := a.diskID()
				tc.stop(a)
				tc.start(a)
				tc.ready()
				if a.refill.times() > 0 || a.diskID() != renewed {
					t.Fatal("it refilled again after a plain restart")
				}
			})
		})
	}
}

// TestOlderCopyOfOneOfTwo: of two members one is put back to an older copy: they agree
// on recording its disk by themselves, because the other one has a part in all votes.
func TestOlderCopyOfOneOfTwo(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 2, 2)
		tc.ready()
		a, b := tc.nodes[0], tc.nodes[1]
		fs, starts := copyOf(a)
		for rf := 3; rf <= 4; rf++ {
			if err := changeFactor(a, rf); err != nil {
				t.Fatal(err)
			}
		}
		tc.stop(a)
		putBack(a, fs, starts)
		tc.start(a)
		tc.until("its disk is recorded anew", time.Minute, func() bool {
			r := b.RingRecord()
			return r.RF == 4 && a.diskID() != a.disk.ID && r.Member(a.id).Disk == a.diskID()
		})
		tc.ready()
		for _, n := range tc.nodes {
			tc.until("the ring can be changed", time.Minute, func() bool { return changeFactor(n, 4+int(n.id)) == nil })
		}
	})
}

// TestVotesAfterAPowerCut: members that are started all at once agree again, within
// seconds and by themselves.
func TestVotesAfterAPowerCut(t *testing.T) {
	for _, n := range []int{1, 2, 3, 4} {
		bubble(t, func(t *testing.T) {
			tc := newTestCluster(t, n, 2)
			tc.ready()
			for _, n := range tc.nodes {
				tc.stop(n)
			}
			for _, n := range tc.nodes {
				tc.start(n)
			}
			began := time.Now()
			tc.until("they agree", 5*time.Second, func() bool { return changeFactor(tc.nodes[0], 5) == nil })
			t.Logf("%d members: after %s", n, time.Since(began))
		})
	}
}

// TestRestartedNodeVotesInAMajority: with one of three away a node that was restarted
// has its vote within seconds.
func TestRestartedNodeVotesInAMajority(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 3, 3)
		tc.ready()
		a, b := tc.nodes[0], tc.nodes[1]
		tc.stop(tc.nodes[2])
		tc.stop(a)
		tc.start(a)
		tc.until("the two agree", hearingPatience+2*time.Second, func() bool { return changeFactor(b, 4) == nil })
	})
}

// TestOlderCopyFromBeforeItWasAMember: a copy of a disk from when its node was no member
// yet is found out, too, when the node has learnt of the ring that records it.
func TestOlderCopyFromBeforeItWasAMember(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 3, 3)
		tc.ready()
		n := tc.join()
		tc.until("it knows of a ring", time.Minute, func() bool { return n.RingRecord() != nil })
		if n.RingRecord().Member(n.id) != nil {
			t.Fatal("it is a member already")
		}
		fs, starts := copyOf(n)
		tc.until("it is a member", time.Minute, func() bool { return len(n.members()) == 4 })
		tc.stop(n)
		tc.start(n)
		tc.ready()
		tc.stop(n)
		putBack(n, fs, starts)
		tc.start(n)
		tc.until("the older copy is noticed", 20*time.Second, func() bool { return n.Health().Refill == membership.OlderReason })
		tc.until("its disk is recorded anew", time.Minute, func() bool { return n.RingRecord().Member(n.id).Disk == n.diskID() })
	})
}

// earlierBuild answers others as a build does that knows no opRemember.
type earlierBuild struct{ *handler }

func (h earlierBuild) Call(ctx context.Context, from ring.NodeID, op transport.Op, payload []byte, w *transport.Answer) error {
	if op >= opRemember {
		return transport.Errorf(transport.CodeOther, "unknown operation %d of node %d", op, from)
	}
	return h.handler.Call(ctx, from, op, payload, w)
}

// TestVotesBesideAnEarlierBuild: in the middle of an upgrade the ring can be changed.
func TestVotesBesideAnEarlierBuild(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 3, 3)
		tc.ready()
		for _, n := range tc.nodes[1:] {
			tc.stop(n)
			n.made = func(c *Cluster) {
				c.server = transport.NewServer(c, earlierBuild{(*handler)(c)}, c.opts.RequestIDs, c.takeGossip)
			}
			tc.start(n)
		}
		tc.ready()
		for _, n := range tc.nodes {
			if err := changeFactor(n, 3+int(n.id)); err != nil {
				t.Fatalf("through node %d: %v", n.id, err)
			}
			tc.until("all have the ring", time.Minute, func() bool {
				for _, o := range tc.nodes {
					if o.RingRecord().RF != 3+int(n.id) {
						return false
					}
				}
				return true
			})
		}
	})
}
