package cluster

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/count-db/count/cluster/rebalance"
)

// TestPause: the copying for a join rests at the word of any node, also after a
// restart of the node that joins and of the one that was told; writes go on; the
// status says how far it is and how long it takes; it goes on at the word of
// another node and comes to its end.
func TestPause(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const days, perDay = 8, 100
		slow := func(o *Options) { o.CopyRate = 300 } // seconds for a day of data
		tc := newTestCluster(t, 3, 3)
		for _, n := range tc.nodes {
			n.alter = func(o *Options) {
				slow(o)
				o.Samples = n.local.samples
			}
			tc.stop(n)
			tc.start(n)
		}
		tc.ready()
		l := newLedger()
		first := time.Now().Add(-days * 24 * time.Hour).UnixMilli()
		for i := range days * perDay {
			at := first + int64(i)*(24*time.Hour).Milliseconds()/perDay
			if err := l.write(tc.nodes[i%3], fmt.Sprintf("%04d", i%40), at); err != nil {
				t.Fatal(err)
			}
		}
		if err := tc.nodes[0].PauseChange(context.Background(), true); !errors.Is(err, rebalance.ErrDone) {
			t.Errorf("a pause without a change: %v", err)
		}
		n := tc.make(4)
		n.alter = func(o *Options) { slow(o); o.Samples = n.local.samples }
		tc.nodes = append(tc.nodes, n)
		tc.start(n)
		change := func(n *testNode) ChangeStatus {
			if s := n.changeStatus(); s != nil {
				return *s
			}
			return ChangeStatus{}
		}
		far := func(n *testNode) (samples int64) { return n.copied(n.topo.Load()).Samples }
		tc.until("some of it is copied", time.Minute, func() bool { return n.RingRecord() != nil && far(n) > perDay })
		tc.until("the status says how far it is", time.Minute, func() bool {
			s := change(tc.nodes[1])
			return s.Progress > 0.1 && s.Progress < 0.9 && s.Left > 3 && s.Left < 120
		})
		if err := tc.nodes[1].PauseChange(context.Background(), true); err != nil {
			t.Fatal(err)
		}
		for _, n := range tc.nodes {
			if s := change(n); !s.Paused || s.Left != 0 {
				t.Errorf("after the pause node %d says %+v", n.id, s)
			}
		}
		c := tc.client(l, tc.nodes[0], 1)
		pause(5 * time.Second) // the slice under way ends
		have := far(n)
		for _, n := range []*testNode{n, tc.nodes[1]} {
			tc.stop(n)
			pause(time.Second)
			tc.start(n)
			tc.ready()
		}
		pause(6 * time.Second)
		if s := change(tc.nodes[2]); !s.Paused || far(n) != have || s.Progress > 0.9 {
			t.Errorf("in a pause %d samples became %d: %+v", have, far(n), s)
		}
		if err := tc.nodes[2].PauseChange(context.Background(), false); err != nil {
			t.Fatal(err)
		}
		tc.untilMembers(1, 2, 3, 4)
		c.end()
		if c.refused > 0 {
			t.Errorf("%d writes were refused: %v", c.refused, c.first)
		}
		tc.endsEqual(l)
	})
}

// TestPauseEndsWithItsChange: a change that is taken back takes its pause along;
// the next one copies.
func TestPauseEndsWithItsChange(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 3, 3)
		tc.ready()
		l := newLedger()
		tc.fill(l, 100)
		n := tc.holdDual()
		tc.stop(n)
		n.alter = func(*Options) {}
		if err := tc.nodes[0].PauseChange(context.Background(), true); err != nil {
			t.Fatal(err)
		}
		if err := tc.nodes[1].AbortChange(context.Background()); err != nil {
			t.Fatal(err)
		}
		tc.until("it is taken back", time.Minute, func() bool { return len(tc.nodes[0].members()) == 3 })
		tc.start(n)
		tc.untilMembers(1, 2, 3, 4)
		tc.until("converged", 3*time.Minute, func() bool { return tc.converged(l) })
	})
}
