package cluster

import (
	"fmt"
	"testing"
	"time"
)

// TestOneCopy: C7. A copy is proved complete when it is, and never when a write
// is missing in it.
func TestOneCopy(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 3, 3)
		tc.ready()
		l := newLedger()
		a, b, c := tc.nodes[0], tc.nodes[1], tc.nodes[2]
		complete := func(n *testNode) bool { return n.CopyIsComplete(t.Context()) }
		tc.until("every copy is complete at the beginning", 5*time.Second, func() bool { return complete(a) && complete(b) && complete(c) })
		for i := range 10 {
			if err := l.write(tc.nodes[i%3], "0001", int64(i)); err != nil {
				t.Fatal(err)
			}
			for _, n := range tc.nodes {
				if !complete(n) {
					t.Fatalf("the copy of node %d is not complete after write %d", n.id, i)
				}
				l.read(t, n, "0001", int64(i))
			}
		}
		// A write that C misses.
		tc.net.Cut(a.host, c.host)
		tc.net.Cut(b.host, c.host)
		if err := l.write(a, "0001", 20); err != nil {
			t.Fatal(err)
		}
		tc.net.Heal()
		for range 100 {
			l.read(t, c, "0001", 20)
			pause(100 * time.Millisecond)
		}
		tc.until("the copy of C is complete again", 3*time.Minute, func() bool { return complete(c) })
		l.read(t, c, "0001", 20)
		// A restart forgets the numbers; a comparison brings them back.
		tc.stop(b)
		if err := l.write(a, "0001", 21); err != nil {
			t.Fatal(err)
		}
		tc.start(b)
		tc.ready()
		for range 100 {
			l.read(t, b, "0001", 21)
			l.read(t, a, "0001", 21)
			pause(100 * time.Millisecond)
		}
		tc.until("all copies are complete after a restart", 3*time.Minute, func() bool { return complete(a) && complete(b) && complete(c) })
		// A delete that C misses.
		tc.stop(c)
		l.read(t, a, "0001", 21)
		tc.start(c)
		tc.ready()
		tc.until("all copies are complete after another", 3*time.Minute, func() bool { return complete(a) && complete(b) && complete(c) })
		if l.alone < 30 {
			t.Fatalf("only %d reads of one copy", l.alone)
		}
	})
}

// TestWritesInARow: a client that writes to one series again and again is
// acknowledged by the two fastest nodes. At the third, where many of its writes
// wait for the disk, none of them is stale for coming behind a later one: it is
// owed nothing, lacks no number, and its copy is proved complete.
func TestWritesInARow(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 3, 3)
		tc.ready()
		a, c := tc.nodes[0], tc.nodes[2]
		tc.until("the copy of C is complete at the beginning", 5*time.Second, func() bool { return c.CopyIsComplete(t.Context()) })
		c.local.slow = time.Second
		for i := range 200 {
			tc.mustWrite(a, "in.a.row", int64(i), 1)
		}
		// Reads show what is not durable yet, so nobody waits for the disk.
		began := time.Now()
		if !c.CopyIsComplete(t.Context()) || time.Since(began) > time.Millisecond {
			t.Errorf("the copy of C is not complete, after %s", time.Since(began))
		}
		pause(3 * time.Second)
		if owed := a.hints.Stats(); owed.Bytes > 0 || c.ledger.Gaps() > 0 {
			t.Errorf("%d bytes are owed, and C lacks %d runs of numbers", owed.Bytes, c.ledger.Gaps())
		}
	})
}

// TestCompleteSoonAfterRestart: the numbers of what a node stored end with its
// start; the others vouch for what it holds within seconds, and it for them.
func TestCompleteSoonAfterRestart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 3, 3)
		tc.ready()
		written := 0
		all := func() bool {
			written++ // writes go on
			tc.mustWrite(tc.nodes[written%3], "soon", int64(written), 1)
			for _, n := range tc.nodes {
				if !n.CopyIsComplete(t.Context()) {
					return false
				}
			}
			return true
		}
		tc.until("all copies are complete at the beginning", 5*time.Second, all)
		pause(time.Minute)
		b := tc.nodes[1]
		tc.stop(b)
		written++
		tc.mustWrite(tc.nodes[0], "soon", int64(written), 1)
		tc.start(b)
		tc.ready()
		tc.until("all copies are complete after the restart of one node", 25*time.Second, all)
		for _, n := range tc.nodes {
			tc.stop(n)
		}
		for _, n := range tc.nodes {
			tc.start(n)
		}
		tc.ready()
		tc.until("all copies are complete after the restart of all nodes", 25*time.Second, all)
	})
}

// TestSeriesIsComplete: where no node owns everything, an owner of a series answers
// for it alone, and nobody else does.
func TestSeriesIsComplete(t *testing.T) {
	for _, c := range []struct{ nodes, rf int }{{3, 2}, {5, 3}, {4, 1}} {
		bubble(t, func(t *testing.T) {
			tc := newTestCluster(t, c.nodes, c.rf)
			tc.ready()
			n := tc.manySeries()
			for i := range n {
				name, owners := fmt.Sprintf("%04d", i), 0
				for _, node := range tc.nodes {
					r := node.topo.Load().ring
					owns := r.Lists()[r.ListOf(tokenOf(name))].Owns(node.opts.Node)
					if owns {
						owners++
					}
					alone := func() bool { return node.SeriesIsComplete(t.Context(), metric(name)) }
					if owns {
						tc.until("an owner answers alone", 5*time.Second, alone) // a write is answered before its last copy is stored
					} else if alone() {
						t.Fatalf("node %d is no owner of %s and answers alone", node.id, name)
					}
				}
				if owners != c.rf {
					t.Fatalf("%d owners of %s", owners, name)
				}
			}
		})
	}
}

// TestSilentMemberHoldsUpNoProof: the member that proved a copy complete the last
// time is asked first; when it is silent another one is enough, at once.
func TestSilentMemberHoldsUpNoProof(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 3, 3)
		tc.ready()
		tc.mustWrite(tc.nodes[0], "0001", 1, 1)
		first := tc.nodes[0]
		for _, other := range tc.nodes[1:] {
			tc.until("each other node can prove the copy complete", time.Minute, func() bool { return first.holdsAllOf(t.Context(), first.topo.Load(), other.opts.Node) })
		}
		for _, silent := range tc.nodes[1:] {
			tc.net.Freeze(silent.host)
			began := time.Now()
			if !first.CopyIsComplete(t.Context()) || time.Since(began) > 2*copyHedge {
				t.Errorf("while node %d is silent: not complete, or only after %s", silent.id, time.Since(began))
			}
			tc.net.Thaw(silent.host)
		}
	})
}
