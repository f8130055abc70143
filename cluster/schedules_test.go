package cluster

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/count-db/count/cluster/quorum"
)

// seriesOf returns a name of four letters whose candidates are the given nodes,
// clockwise.
func (tc *testCluster) seriesOf(nodes ...int) string {
	for i := range 10000 {
		name := fmt.Sprintf("%04d", i)
		got, _ := tc.nodes[0].Candidates(metric(name))
		match := true
		for j, n := range nodes {
			match = match && int(got[j]) == n
		}
		if match {
			return name
		}
	}
	tc.t.Fatalf("no series with candidates %v", nodes)
	return ""
}

// TestOwnerAndStandIn: acknowledged on owner and stand-in, the other owner back,
// the first owner dead (RF 2).
func TestOwnerAndStandIn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 3, 2)
		tc.ready()
		l := newLedger()
		name := tc.seriesOf(1, 2, 3)
		a, b, c := tc.nodes[0], tc.nodes[1], tc.nodes[2]
		tc.stop(b)
		if err := l.write(a, name, 1); err != nil {
			t.Fatal(err)
		}
		if _, ok := c.holds(name, 1); !ok {
			t.Fatal("the stand-in does not hold the write")
		}
		tc.start(b)
		tc.stop(a)
		tc.until("a complete read", 20*time.Second, func() bool { return l.read(t, b, name, 1) && l.read(t, c, name, 1) })
		tc.until("the other owner gets it from the stand-in", 3*time.Minute, func() bool {
			_, ok := b.holds(name, 1)
			return ok
		})
		tc.start(a)
		tc.until("converged", 3*time.Minute, func() bool { return tc.converged(l) })
	})
}

// TestSilentOwner: an owner that only stops answering is replaced by the
// stand-in within moments, and by the next write at once (RF 2).
func TestSilentOwner(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 3, 2)
		tc.ready()
		l := newLedger()
		name := tc.seriesOf(1, 2, 3)
		a, b := tc.nodes[0], tc.nodes[1]
		tc.net.Freeze(b.host)
		began := time.Now()
		if err := l.write(a, name, 1); err != nil || time.Since(began) > time.Second {
			t.Fatalf("%v after %s", err, time.Since(began))
		}
		began = time.Now()
		if err := l.write(a, name, 1); err != nil || time.Since(began) > 100*time.Millisecond {
			t.Fatalf("the second write: %v after %s", err, time.Since(began))
		}
		tc.net.Thaw(b.host)
		tc.until("the thawed owner has it", time.Minute, func() bool { return tc.converged(l) })
		l.read(t, b, name, 1)
	})
}

// TestWipedAndBack: acknowledged on A and B, A wiped and back, B dead. What C
// has not seen must not be missing in a complete read (C5).
func TestWipedAndBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 3, 3)
		tc.ready()
		l := newLedger()
		a, b, c := tc.nodes[0], tc.nodes[1], tc.nodes[2]
		tc.stop(c)
		if err := l.write(a, "0001", 1); err != nil {
			t.Fatal(err)
		}
		tc.stop(a)
		tc.stop(b)
		tc.wipe(a)
		tc.start(c)
		tc.start(a)
		tc.until("the wiped node sees the other", time.Minute, func() bool { return a.Health().Majority && c.Health().Majority })
		for range 50 {
			for _, n := range []*testNode{a, c} {
				if l.read(t, n, "0001", 1) {
					t.Fatal("C5: a refilling node counted for a complete read")
				}
			}
			pause(100 * time.Millisecond)
		}
		if a.Health().Refill == "" {
			t.Fatal("the wiped node does not refill")
		}
		tc.start(b)
		tc.until("the wiped node has merged its data back", time.Minute, func() bool { return a.Health().Refill == "" })
		tc.until("converged", 3*time.Minute, func() bool { return tc.converged(l) })
		tc.stop(b)
		if !l.read(t, a, "0001", 1) {
			t.Fatal("the refilled node does not count")
		}
		// Another start on the same disk is no reason to refill again.
		tc.start(b)
		tc.stop(a)
		tc.start(a)
		tc.ready()
	})
}

// TestOlderCopyRefills: a disk that was restored from an older copy refills.
func TestOlderCopyRefills(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 3, 3)
		tc.ready()
		a := tc.nodes[0]
		older, starts := a.fs.CrashClone(rand.New(rand.NewPCG(1, 1)), 100), a.disk.Starts
		tc.stop(a)
		tc.start(a)
		tc.ready()
		l := newLedger()
		if err := l.write(tc.nodes[1], "0001", 1); err != nil {
			t.Fatal(err)
		}
		tc.stop(a)
		a.fs, a.local, a.disk.Starts = older, newMemLocal(), starts // it starts as often as the disk has
		tc.start(a)
		tc.until("the older copy is noticed", 20*time.Second, func() bool { return a.Health().Refill != "" })
		tc.ready()
		if v, ok := a.holds("0001", 1); !ok || v != 1 {
			t.Fatal("refilled without what was written meanwhile")
		}
	})
}

// TestCopyOfTheLastStartRefills: a copy that was made in the middle of the last start
// comes back with a start of its own; what others heard of marks tells it.
func TestCopyOfTheLastStartRefills(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 3, 3)
		tc.ready()
		a, l := tc.nodes[0], newLedger()
		restart := func() { tc.stop(a); tc.start(a); tc.ready(); pause(time.Minute) }
		tc.mustWrite(a, "0000", 1, 1)
		restart()
		if a.refill.times() > 0 {
			t.Fatal("it refilled after a plain restart")
		}
		for again := range 2 { // the second copy is made in a start that refilled
			older, starts := a.fs.CrashClone(rand.New(rand.NewPCG(1, 1)), 100), a.disk.Starts
			name := fmt.Sprintf("000%d", again+1)
			if err := l.write(tc.nodes[1], name, 1); err != nil {
				t.Fatal(err)
			}
			pause(time.Minute)
			tc.stop(a)
			a.fs, a.local, a.disk.Starts = older, newMemLocal(), starts
			tc.start(a)
			tc.until("the older copy is noticed", 20*time.Second, func() bool { return a.Health().Refill != "" })
			tc.ready()
			if v, ok := a.holds(name, 1); !ok || v != 1 {
				t.Fatal("refilled without what was written meanwhile")
			}
			restart()
			if a.refill.times() > 0 {
				t.Fatal("it refilled again after a plain restart")
			}
		}
	})
}

// TestLateMarkOfAnEarlierStart: a mark that an earlier start of a node had sent,
// and that comes after the next one was seen, does not make its disk an older copy.
func TestLateMarkOfAnEarlierStart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 3, 3)
		tc.ready()
		a, b := tc.nodes[0], tc.nodes[1]
		tc.mustWrite(a, "0000", 1, 1)
		pause(time.Minute)
		number, epoch, mark := a.topo.Load().ring.Number(), a.epoch(a.topo.Load()), a.mark()
		if mark == 0 {
			t.Fatal("nothing was marked")
		}
		restart := func() { tc.stop(a); tc.start(a); tc.ready(); pause(time.Minute) }
		restart()
		b.heardMark(a.id, number, epoch, mark)
		restart()
		if a.refill.times() > 0 {
			t.Fatal("it refilled after plain restarts")
		}
	})
}

// TestCoordinatorKilledBetweenCopies: the coordinator dies when one copy besides
// its own is there and nothing says that the third is missing.
func TestCoordinatorKilledBetweenCopies(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 3, 3)
		tc.ready()
		l := newLedger()
		a, b, c := tc.nodes[0], tc.nodes[1], tc.nodes[2]
		tc.net.CutOneWay(a.host, c.host)
		if err := l.write(a, "0001", 1); err != nil {
			t.Fatal(err)
		}
		tc.stop(a)
		tc.net.Heal()
		if !l.read(t, b, "0001", 1) || !l.read(t, c, "0001", 1) {
			t.Fatal("two of three do not answer completely")
		}
		tc.until("the third copy is found by digests", 3*time.Minute, func() bool {
			_, ok := c.holds("0001", 1)
			return ok
		})
	})
}

// TestFrozenCoordinator: a coordinator that was frozen in the middle of a write
// is thawed after a newer write was acknowledged.
func TestFrozenCoordinator(t *testing.T) {
	for _, frozen := range []time.Duration{time.Second, 20 * time.Second} {
		bubble(t, func(t *testing.T) {
			tc := newTestCluster(t, 3, 3)
			tc.ready()
			a, b, c := tc.nodes[0], tc.nodes[1], tc.nodes[2]
			tc.net.Freeze(a.host)
			done := make(chan error, 1)
			go func() {
				_, err := a.write("m", 1, 1)
				done <- err
			}()
			pause(100 * time.Millisecond)
			tc.mustWrite(b, "m", 1, 2)
			pause(frozen)
			tc.net.Thaw(a.host)
			err := <-done
			tc.ready()
			pause(10 * time.Second)
			for _, n := range []*testNode{a, b, c} {
				got, _, readErr := n.read("m", quorum.Quorum)
				// The old write is refused, and then gone, or acknowledged, and then
				// the later one.
				if want := map[bool]float64{true: 1, false: 2}[err == nil]; readErr != nil || got[1] != want {
					t.Fatalf("frozen for %s, its write %v: node %d reads %v, %v", frozen, err, n.id, got, readErr)
				}
			}
		})
	}
}

// TestSplitThreeTwo: five nodes split 3/2: the two refuse, the three go on where
// they have a quorum, and all is one again afterwards.
func TestSplitThreeTwo(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 5, 3)
		tc.ready()
		l := newLedger()
		for i := range 3 {
			for _, small := range tc.hosts[3:] {
				tc.net.Cut(tc.hosts[i], small)
			}
		}
		tc.until("the two know", 20*time.Second, func() bool { return !tc.nodes[3].Health().Majority && !tc.nodes[4].Health().Majority })
		name := tc.seriesOf(1, 2)
		if err := l.write(tc.nodes[0], name, 1); err != nil {
			t.Fatal(err)
		}
		if err := l.write(tc.nodes[4], name, 2); !errors.Is(err, ErrMinority) {
			t.Fatalf("C4: %v", err)
		}
		if !l.read(t, tc.nodes[2], name, 1) && l.read(t, tc.nodes[4], name, 1) {
			t.Fatal("the minority gives complete answers")
		}
		tc.net.Heal()
		tc.ready()
		tc.until("converged", 3*time.Minute, func() bool { return tc.converged(l) })
	})
}

// TestSelectSeries: a read of one series needs only its candidates: with two of
// five nodes dead it is complete where two of its three are alive, while a read of
// everything is marked.
func TestSelectSeries(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 5, 3)
		tc.ready()
		alive, short := tc.seriesOf(1, 2, 3), tc.seriesOf(4, 5, 1)
		tc.mustWrite(tc.nodes[0], alive, 1, 1)
		tc.mustWrite(tc.nodes[0], short, 1, 2)
		tc.stop(tc.nodes[3])
		tc.stop(tc.nodes[4])
		for _, c := range []struct {
			name     string
			complete bool
		}{{alive, true}, {short, false}} {
			set, err := tc.nodes[1].SelectSeries(t.Context(), 0, 10, metric(c.name))
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for set.Next() {
				n++
			}
			if set.Err() != nil || n != 1 || (len(set.Warnings()) == 0) != c.complete {
				t.Errorf("%s: %d series, warnings %q, error %v", c.name, n, set.Warnings(), set.Err())
			}
			set.Close()
		}
		if _, warnings, err := tc.nodes[1].read(alive, quorum.Quorum); err != nil || len(warnings) == 0 {
			t.Errorf("a read that may need any range: %q, %v", warnings, err)
		}
	})
}

// TestRandomFaults runs clients against a cluster to which things happen, and
// checks every complete read and the state after the last fault.
func TestRandomFaults(t *testing.T) {
	for _, rf := range []int{2, 3} {
		for seed := range uint64(6) {
			t.Run(fmt.Sprintf("rf%d/%d", rf, seed), func(t *testing.T) {
				bubble(t, func(t *testing.T) { randomFaults(t, rf, rand.New(rand.NewPCG(seed, uint64(rf)))) })
			})
		}
	}
}

// maxSkew is how far a clock is ahead or behind in these runs.
const maxSkew = 2500 * time.Millisecond

func randomFaults(t *testing.T, rf int, rng *rand.Rand) {
	tc := newTestCluster(t, 3+rng.IntN(2), rf)
	for _, n := range tc.nodes {
		n.clock.skew = time.Duration(rng.Int64N(int64(2*maxSkew))) - maxSkew
	}
	tc.ready()
	l := newLedger()
	pick := func() *testNode { return tc.nodes[rng.IntN(len(tc.nodes))] }
	var down *testNode
	for range 120 {
		switch rng.IntN(14) {
		case 0:
			if down == nil {
				down = pick()
				tc.stop(down)
			}
		case 1:
			if down != nil {
				tc.start(down)
				down = nil
			}
		case 2:
			tc.net.Cut(pick().host, pick().host)
		case 3:
			tc.net.CutOneWay(pick().host, pick().host)
		case 4:
			tc.net.Freeze(pick().host)
		case 5, 6:
			tc.net.Heal()
			for _, n := range tc.nodes {
				tc.net.Thaw(n.host)
			}
		case 7:
			tc.net.Delay(pick().host, pick().host, time.Duration(rng.IntN(300))*time.Millisecond)
		case 8:
			pause(time.Duration(rng.IntN(8000)) * time.Millisecond)
		case 9:
			pause(time.Duration(rng.IntN(120)) * time.Second)
		}
		name, at := fmt.Sprintf("%04d", rng.IntN(5)), int64(rng.IntN(3)+1)
		if n := pick(); n != down && l.write(n, name, at) != nil {
			// A refused write may show over a later one while the clocks differ by
			// more than the time between the two: the client waits for longer.
			pause(2 * maxSkew)
		}
		if n := pick(); n != down {
			l.read(t, n, name, at)
		}
		if n := pick(); n != down {
			l.readSpread(t, n)
		}
	}
	tc.net.Heal()
	for _, n := range tc.nodes {
		tc.net.Thaw(n.host)
	}
	if down != nil {
		tc.start(down)
	}
	tc.ready()
	tc.until("converged", 5*time.Minute, func() bool { return tc.converged(l) })
	for _, n := range tc.nodes {
		l.readAll(t, n)
		l.readSpread(t, n)
	}
	t.Logf("%d writes acknowledged of %d keys, %d complete reads, %d of one copy, %d spread", l.acks, len(l.acked), l.reads, l.alone, l.spread)
}
