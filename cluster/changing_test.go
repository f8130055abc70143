package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/count-db/count/cluster/membership"
	"github.com/count-db/count/cluster/quorum"
	"github.com/count-db/count/cluster/rebalance"
	"github.com/count-db/count/cluster/ring"
)

// join starts a further node, which joins through the founders.
func (tc *testCluster) join() *testNode {
	n := tc.make(len(tc.nodes) + 1)
	tc.nodes = append(tc.nodes, n)
	tc.start(n)
	return n
}

// members returns the ring of a node: nil while a change is under way.
func (n *testNode) members() []ring.NodeID {
	r := n.RingRecord()
	if r == nil || r.Next != nil {
		return nil
	}
	var out []ring.NodeID
	for _, m := range r.Members {
		out = append(out, m.ID)
	}
	return out
}

// untilMembers waits until all running nodes have a settled ring of the members.
func (tc *testCluster) untilMembers(want ...ring.NodeID) {
	tc.t.Helper()
	tc.until(fmt.Sprintf("the members are %v everywhere", want), 2*time.Minute, func() bool {
		for _, n := range tc.nodes {
			if n.Cluster != nil && !slices.Equal(n.members(), want) {
				return false
			}
		}
		return true
	})
}

// client writes and reads without a pause until stopped, and counts what failed.
// It ends with its test, also where that fails: before the nodes do.
type client struct {
	stop    func()
	done    chan struct{}
	refused int
	first   error
	marked  int
	why     error // of the first marked read
}

func (tc *testCluster) client(l *ledger, n *testNode, seed uint64) *client {
	stop := make(chan struct{})
	c := &client{stop: sync.OnceFunc(func() { close(stop) }), done: make(chan struct{})}
	rng := rand.New(rand.NewPCG(seed, 1))
	go func() {
		defer close(c.done)
		for {
			select {
			case <-stop:
				return
			default:
			}
			name, at := fmt.Sprintf("%04d", rng.IntN(40)), int64(rng.IntN(3)+1)+int64(seed)*10
			if err := l.write(n, name, at); err != nil {
				c.refused++
				if c.first == nil {
					c.first = err
				}
			}
			if err := l.readOrWhy(tc.t, n, name, at); err != nil {
				c.marked++
				if c.why == nil {
					c.why = err
				}
			}
			pause(5 * time.Millisecond)
		}
	}()
	tc.t.Cleanup(c.end)
	return c
}

func (c *client) end() {
	c.stop()
	<-c.done
}

func (tc *testCluster) fill(l *ledger, keys int) {
	tc.t.Helper()
	for i := range keys {
		if err := l.write(tc.nodes[i%len(tc.nodes)], fmt.Sprintf("%04d", i%40), int64(100+i)); err != nil {
			tc.t.Fatal(err)
		}
	}
}

// TestJoinUnderLoad: a fourth node joins while clients write and read; none of
// them notices.
func TestJoinUnderLoad(t *testing.T) {
	for _, rf := range []int{2, 3} {
		t.Run(fmt.Sprintf("rf%d", rf), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				tc := newTestCluster(t, 3, rf)
				tc.ready()
				l := newLedger()
				tc.fill(l, 400)
				clients := []*client{tc.client(l, tc.nodes[0], 1), tc.client(l, tc.nodes[1], 2)}
				n := tc.join()
				tc.untilMembers(1, 2, 3, 4)
				for _, c := range clients {
					c.end()
					if c.refused > 0 || c.marked > 0 {
						t.Errorf("a client noticed: %d writes refused (%v), %d reads marked (%v)", c.refused, c.first, c.marked, c.why)
					}
				}
				if n.RingRecord().Number != 3 {
					t.Errorf("one join took %d rings", n.RingRecord().Number-1)
				}
				tc.endsEqual(l)
				foreign := 0
				for i := range 40 {
					nodes, _ := n.Candidates(metric(fmt.Sprintf("%04d", i)))
					if _, has := n.holds(fmt.Sprintf("%04d", i), int64(100+i)); has != slices.Contains(nodes, n.id) {
						foreign++
					}
				}
				if foreign > 0 {
					t.Errorf("the new node has %d series that it should not have, or lacks them", foreign)
				}
			})
		})
	}
}

// TestLeave: a node drains; when Leave returns the others have full copies, so
// that it and then one more may vanish.
func TestLeave(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 4, 3)
		tc.ready()
		l := newLedger()
		tc.fill(l, 400)
		c := tc.client(l, tc.nodes[0], 1)
		if err := tc.nodes[3].Leave(context.Background()); err != nil {
			t.Fatal(err)
		}
		gone := tc.nodes[3]
		tc.stop(gone)
		tc.untilMembers(1, 2, 3)
		c.end()
		if c.refused > 0 || c.marked > 0 {
			t.Errorf("a client noticed: %d writes refused (%v), %d reads marked (%v)", c.refused, c.first, c.marked, c.why)
		}
		tc.nodes = tc.nodes[:3]
		defer func() { tc.nodes = append(tc.nodes, gone) }()
		tc.until("converged", 3*time.Minute, func() bool { return tc.converged(l) })
		tc.stop(tc.nodes[1])
		tc.until("all is read with one more dead", time.Minute, func() bool { return l.read(t, tc.nodes[0], "0001", 101) })
		l.readAll(t, tc.nodes[0])
	})
}

// TestChangeEndsWithoutTheFirstMembersVote: the first member lost its disk just
// before a change began, so that the ring records another one: it has no vote, and
// the next member ends the change.
func TestChangeEndsWithoutTheFirstMembersVote(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 4, 3)
		tc.ready()
		l := newLedger()
		tc.fill(l, 100)
		first, gone := tc.nodes[0], tc.nodes[3]
		tc.stop(first)
		tc.wipe(first)
		left := make(chan error, 1)
		go func() { left <- gone.Leave(context.Background()) }()
		tc.until("the change has begun", time.Minute, func() bool { return tc.nodes[1].topo.Load().ring.Changing() })
		tc.start(first)
		tc.untilMembers(1, 2, 3)
		if err := <-left; err != nil {
			t.Fatal(err)
		}
		tc.until("the new disk is recorded", time.Minute, func() bool {
			m := tc.nodes[1].topo.Load().record.Member(first.id)
			return m != nil && m.Disk == first.opts.Disk.ID && !tc.nodes[1].topo.Load().ring.Changing()
		})
		tc.stop(gone)
		tc.nodes = tc.nodes[:3]
		defer func() { tc.nodes = append(tc.nodes, gone) }()
		tc.until("converged", 3*time.Minute, func() bool { return tc.converged(l) })
		l.readAll(t, first)
	})
}

// TestGoneWithTheOldRing: a node leaves and is gone with a read and a write that
// go by the ring with it, and that nobody else can answer for it. They go on by
// the ring without it.
func TestGoneWithTheOldRing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 4, 1)
		tc.ready()
		a, gone := tc.nodes[0], tc.nodes[3]
		name := tc.seriesOf(4)
		dual, err := rebalance.Begin(a.RingRecord(), rebalance.Request{Kind: rebalance.Leave, Node: 4})
		if err != nil {
			t.Fatal(err)
		}
		final := &membership.RingRecord{Number: dual.Number + 1, ClusterID: dual.ClusterID, RF: dual.RF, Members: dual.Next.Members}
		adopt := func(r *membership.RingRecord, nodes ...*testNode) {
			for _, n := range nodes {
				n.mu.Lock()
				err := n.adoptNewerLocked(r)
				n.mu.Unlock()
				if err != nil {
					t.Fatal(err)
				}
			}
		}
		adopt(dual, tc.nodes...)
		tc.net.Freeze(gone.host) // so the change does not end by itself
		written, read := make(chan error, 1), make(chan error, 1)
		go func() {
			_, err := a.write(name, 1, 1)
			written <- err
		}()
		go func() {
			_, warnings, err := a.read("other", quorum.Quorum)
			if len(warnings) > 0 {
				err = errors.Join(err, fmt.Errorf("marked: %q", warnings))
			}
			read <- err
		}()
		pause(20 * time.Millisecond) // all others have answered
		adopt(final, tc.nodes[:3]...)
		tc.net.Kill(gone.host)
		if err := <-written; err != nil {
			t.Errorf("write: %v", err)
		}
		if err := <-read; err != nil {
			t.Errorf("read: %v", err)
		}
		tc.expect(a, name, 1, 1)
	})
}

// TestShrinkToOne: all nodes but one leave, one after the other, and the last
// refuses to.
func TestShrinkToOne(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 3, 3)
		tc.ready()
		l := newLedger()
		tc.fill(l, 100)
		for _, i := range []int{2, 1} {
			if err := tc.nodes[i].Leave(context.Background()); err != nil {
				t.Fatal(err)
			}
			tc.fill(l, 50)
		}
		for i := range 40 {
			if !l.read(t, tc.nodes[0], fmt.Sprintf("%04d", i), int64(100+i)) {
				t.Fatal("a read of the last node is not complete")
			}
		}
		if err := tc.nodes[0].Leave(context.Background()); !errors.Is(err, rebalance.ErrRefused) {
			t.Errorf("the last node left: %v", err)
		}
	})
}

// TestRemoveDead: a dead node is taken out; a live one is not.
func TestRemoveDead(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 4, 3)
		tc.ready()
		l := newLedger()
		tc.fill(l, 200)
		a, dead := tc.nodes[0], tc.nodes[3]
		remove := rebalance.Request{Kind: rebalance.Remove, Node: 4}
		if err := a.Change(context.Background(), remove); !errors.Is(err, rebalance.ErrRefused) {
			t.Fatalf("a node that answers was removed: %v", err)
		}
		tc.stop(dead)
		tc.fillLive(l, 100) // some of it is owed to the dead node
		if err := a.Change(context.Background(), remove); err != nil {
			t.Fatal(err)
		}
		tc.untilMembers(1, 2, 3)
		tc.until("converged", 3*time.Minute, func() bool { return tc.converged(l) })
		tc.stop(tc.nodes[2])
		tc.until("complete reads with one more dead", time.Minute, func() bool { return l.read(t, a, "0001", 101) })
		l.readAll(t, a)
	})
}

func (tc *testCluster) fillLive(l *ledger, keys int) {
	tc.t.Helper()
	for i := range keys {
		if err := l.write(tc.nodes[i%2], fmt.Sprintf("%04d", i%40), int64(1000+i)); err != nil {
			tc.t.Fatal(err)
		}
	}
}

// TestTwoJoinAtOnce: one after the other gets in.
func TestTwoJoinAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 3, 3)
		tc.ready()
		l := newLedger()
		tc.fill(l, 100)
		tc.join()
		tc.join()
		tc.untilMembers(1, 2, 3, 4, 5)
		tc.endsEqual(l)
	})
}

// TestAbort: a join whose node never comes back is taken back.
func TestAbort(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 3, 3)
		tc.ready()
		l := newLedger()
		tc.fill(l, 100)
		n := tc.holdDual()
		tc.stop(n)
		c := tc.client(l, tc.nodes[0], 1)
		pause(10 * time.Second)
		if s := tc.nodes[0].Status().Change; s == nil || !slices.Equal(s.Joining, []ring.NodeID{4}) {
			t.Errorf("status of the change: %+v", s)
		}
		if err := tc.nodes[0].AbortChange(context.Background()); err != nil {
			t.Fatal(err)
		}
		tc.untilMembers(1, 2, 3)
		c.end()
		if c.refused > 0 || c.marked > 0 {
			t.Errorf("a client noticed: %d writes refused (%v), %d reads marked (%v)", c.refused, c.first, c.marked, c.why)
		}
		tc.until("converged", 3*time.Minute, func() bool { return tc.converged(l) })
	})
}

// TestNewDiskVotesAgain: a member on a new disk is recorded when it has merged
// its data back, so that it has a vote on the next change.
func TestNewDiskVotesAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 3, 3)
		tc.ready()
		l := newLedger()
		tc.fill(l, 50)
		b := tc.nodes[1]
		tc.stop(b)
		tc.wipe(b)
		tc.start(b)
		tc.until("the new disk is recorded", 3*time.Minute, func() bool {
			m := tc.nodes[0].RingRecord().Member(2)
			return m != nil && m.Disk == b.disk.ID
		})
		tc.ready()
		tc.stop(tc.nodes[2]) // now the new disk's vote is needed
		pause(time.Second)
		if err := tc.nodes[0].Change(context.Background(), rebalance.Request{Kind: rebalance.Remove, Node: 3}); err != nil {
			t.Fatal(err)
		}
		tc.untilMembers(1, 2)
	})
}

// TestChangesUnderFaults: a node joins and one leaves while nodes are killed,
// frozen and cut off; every complete read is right and in the end all is well.
func TestChangesUnderFaults(t *testing.T) {
	underFaults(t, 8, 7, changesUnderFaults)
}

// underFaults lives so many lives of a cluster, each by the randomness of its own
// seed; stream keeps those of different tests apart.
func underFaults(t *testing.T, n, stream uint64, life func(*testing.T, *rand.Rand)) {
	for _, seed := range seeds(t, n) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			bubble(t, func(t *testing.T) { life(t, rand.New(rand.NewPCG(seed, stream))) })
		})
	}
}

// seeds returns so many seeds; COUNT_SEEDS says how many instead, and COUNT_SEED
// names a single one to be run again.
func seeds(t *testing.T, n uint64) []uint64 {
	t.Helper()
	number := func(name string) (v uint64, ok bool) {
		text := os.Getenv(name)
		if text == "" {
			return 0, false
		}
		v, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return v, true
	}
	if one, ok := number("COUNT_SEED"); ok {
		return []uint64{one}
	}
	if more, ok := number("COUNT_SEEDS"); ok {
		n = more
	}
	var out []uint64
	for seed := range n {
		out = append(out, seed)
	}
	return out
}

func changesUnderFaults(t *testing.T, rng *rand.Rand) {
	tc := newTestCluster(t, 3+rng.IntN(2), 2+rng.IntN(2))
	tc.ready()
	l := newLedger()
	tc.fill(l, 60)
	tc.join()
	leaving := tc.nodes[0]
	leave := make(chan error, 1)
	f := faults{tc: tc, rng: rng, spared: leaving}
	for step := range 100 {
		if step == 40 {
			go func() { leave <- leaving.Leave(context.Background()) }()
		}
		f.next(12)
		f.use(l)
	}
	f.end()
	if err := <-leave; err != nil {
		t.Fatalf("leave: %v", err)
	}
	tc.stop(leaving)
	tc.nodes = tc.nodes[1:]
	defer func() { tc.nodes = append(tc.nodes, leaving) }()
	var want []ring.NodeID
	for _, n := range tc.nodes {
		want = append(want, n.id)
	}
	tc.untilMembers(want...)
	tc.ready()
	for _, n := range tc.nodes {
		l.readAll(t, n)
	}
	t.Logf("%d writes acknowledged, %d complete reads, ring %d", l.acks, l.reads, tc.nodes[0].RingRecord().Number)
}

// faults are what happens to a cluster by chance; one node at a time is down.
type faults struct {
	tc           *testCluster
	rng          *rand.Rand
	down, spared *testNode // spared is never stopped
}

func (f *faults) pick() *testNode { return f.tc.nodes[f.rng.IntN(len(f.tc.nodes))] }

// next draws one of so many kinds of things and has it happen; those from 8
// upwards are the caller's.
func (f *faults) next(kinds int) (drawn int) {
	drawn = f.rng.IntN(kinds)
	switch drawn {
	case 0:
		if n := f.pick(); f.down == nil && n != f.spared {
			f.down = n
			f.tc.stop(n)
		}
	case 1, 2:
		f.restart()
	case 3:
		f.tc.net.Cut(f.pick().host, f.pick().host)
	case 4:
		f.tc.net.Freeze(f.pick().host)
	case 5, 6:
		f.tc.heal()
	case 7:
		pause(time.Duration(f.rng.IntN(4000)) * time.Millisecond)
	}
	return drawn
}

func (f *faults) restart() {
	if f.down != nil {
		f.tc.start(f.down)
		f.down = nil
	}
}

// use writes and reads a key through nodes that are not down.
func (f *faults) use(l *ledger) {
	name, at := fmt.Sprintf("%04d", f.rng.IntN(5)), int64(f.rng.IntN(3)+1)
	if n := f.pick(); n != f.down {
		// A refused write is in the ledger as tried.
		_ = l.write(n, name, at)
	}
	if n := f.pick(); n != f.down {
		l.read(f.tc.t, n, name, at)
	}
}

// end takes all faults back.
func (f *faults) end() {
	f.tc.heal()
	f.restart()
}

func (tc *testCluster) heal() {
	tc.net.Heal()
	for _, n := range tc.nodes {
		tc.net.Thaw(n.host)
	}
}

// TestRecover: two of three are lost for good; the third goes on alone by force,
// and takes joins. While a majority is there nothing is forced.
func TestRecover(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 3, 3)
		tc.ready()
		l := newLedger()
		tc.fill(l, 100)
		a := tc.nodes[0]
		if _, err := a.Recover(context.Background()); !errors.Is(err, rebalance.ErrRefused) {
			t.Fatalf("forced with a majority in sight: %v", err)
		}
		pause(3 * time.Minute) // all three hold everything
		tc.stop(tc.nodes[1])
		tc.stop(tc.nodes[2])
		pause(time.Second)
		if _, err := a.Recover(context.Background()); err == nil {
			t.Fatal("forced within moments of a failure")
		}
		pause(time.Minute)
		out, err := a.Recover(context.Background())
		if err != nil || !slices.Equal(out.Lost, []ring.NodeID{2, 3}) || out.Missing < 0.99 {
			t.Fatalf("%+v, %v", out, err)
		}
		for i := range 40 {
			if !l.read(t, a, fmt.Sprintf("%04d", i), int64(100+i)) {
				t.Fatal("a read is not complete")
			}
		}
		tc.mustWrite(a, "0001", 5, 1)
		old := tc.nodes[1]
		tc.start(old) // it was not dead: it joins the new ring
		tc.untilMembers(1, 2)
		tc.expect(old, "0001", 5, 1)
	})
}
