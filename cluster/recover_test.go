package cluster

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/count-db/count/cluster/rebalance"
	"github.com/count-db/count/cluster/ring"
)

// TestRecoverLostVotes: of four members one is dead for good and one has a new
// disk. Three are in sight, but only two have votes and what both lost had may be
// nowhere: the new disk cannot be filled nor recorded, nor the dead node removed.
// That request ends with an error in time, and the operator's word founds the next
// ring of the three.
func TestRecoverLostVotes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 4, 3)
		tc.ready()
		l := newLedger()
		tc.fill(l, 100)
		pause(3 * time.Minute) // all owners hold everything
		dead, a, wiped := tc.nodes[0], tc.nodes[1], tc.nodes[3]
		tc.stop(dead)
		tc.stop(wiped)
		tc.wipe(wiped)
		tc.start(wiped)
		tc.until("it refills", time.Minute, func() bool { return wiped.Health().Refill != "" && a.inSight(4) })
		pause(20 * time.Second)
		began := time.Now()
		err := a.Change(context.Background(), rebalance.Request{Kind: rebalance.Remove, Node: 1})
		if took := time.Since(began); err == nil || errors.Is(err, rebalance.ErrRefused) || took > 2*wishTimeout {
			t.Errorf("a removal without a majority of votes: %v after %s", err, took)
		}
		out, err := a.Recover(context.Background())
		if err != nil || !slices.Equal(out.Members, []ring.NodeID{2, 3, 4}) || out.Missing < 0.1 || out.Missing > 0.9 {
			t.Fatalf("%+v, %v", out, err)
		}
		tc.untilMembers(2, 3, 4)
		tc.until("the new disk is recorded", time.Minute, func() bool {
			m := a.RingRecord().Member(4)
			return m != nil && m.Disk == wiped.disk.ID && len(wiped.Health().Problems) == 0
		})
		if _, err := a.Recover(context.Background()); !errors.Is(err, rebalance.ErrRefused) {
			t.Errorf("forced again: %v", err)
		}
		for _, n := range []*testNode{a, tc.nodes[2], wiped} {
			l.readAll(t, n)
		}
	})
}
