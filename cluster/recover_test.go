package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/count-db/count/cluster/quorum"
	"github.com/count-db/count/cluster/rebalance"
	"github.com/count-db/count/cluster/ring"
)

// majorityLost is a cluster of six of which 1, 5 and 6 are lost for good, and a
// ledger of writes to series of which at most one candidate is. Node 3 was down
// when they were written, and what it is owed was lost with node 1, who kept that: of
// the candidates 1, 2 and 3 only node 2 has the writes, and node 4 is to have them in
// a ring of the survivors.
func majorityLost(t *testing.T, alter ...func(*Options)) (*testCluster, *ledger) {
	t.Helper()
	tc := newTestCluster(t, 6, 3, alter...)
	tc.ready()
	return tc, tc.loseMajority()
}

func (tc *testCluster) loseMajority() *ledger {
	tc.t.Helper()
	tc.lose(3)
	tc.until("all know", time.Minute, func() bool { return !tc.nodes[0].inSight(3) && !tc.nodes[1].inSight(3) })
	l := newLedger()
	tc.writeWhatSurvives(l, tc.nodes[0], 100, 1, 5, 6)
	pause(15 * time.Second) // who did not answer is owed it now
	tc.lose(1, 5, 6)
	tc.start(tc.nodes[2])
	tc.untilSurvivorsMeet()
	only := 0
	for k := range l.acked {
		name, at := parseKey(tc.t, k)
		_, two := tc.nodes[1].holds(name, at)
		_, three := tc.nodes[2].holds(name, at)
		_, four := tc.nodes[3].holds(name, at)
		if two && !three && !four {
			only++
		}
	}
	if only == 0 {
		tc.t.Fatal("nothing is at one survivor only: nothing is tested")
	}
	pause(recoverPatience + time.Second)
	return l
}

func (tc *testCluster) untilSurvivorsMeet() {
	tc.t.Helper()
	tc.until("the survivors see each other", time.Minute, func() bool {
		return tc.nodes[1].inSight(3) && tc.nodes[1].inSight(4) && tc.nodes[2].inSight(2) && tc.nodes[2].inSight(4) && tc.nodes[3].inSight(2) && tc.nodes[3].inSight(3)
	})
}

// writeWhatSurvives writes to all series of which fewer than W candidates will be lost.
func (tc *testCluster) writeWhatSurvives(l *ledger, n *testNode, at int64, lost ...ring.NodeID) {
	tc.t.Helper()
	rg := n.topo.Load().ring
	for i := range 60 {
		name := fmt.Sprintf("%04d", i)
		if list := rg.Lists()[rg.ListOf(tokenOf(name))]; !list.MayMiss(lost) {
			if err := l.write(n, name, at); err != nil {
				tc.t.Fatal(err)
			}
		}
	}
}

func (tc *testCluster) lose(ids ...int) {
	for _, id := range ids {
		tc.stop(tc.nodes[id-1])
	}
}

func (tc *testCluster) recover(id int, members ...ring.NodeID) Recovered {
	tc.t.Helper()
	out, err := tc.nodes[id-1].Recover(context.Background())
	if err != nil || !slices.Equal(out.Members, members) {
		tc.t.Fatalf("%+v, %v", out, err)
	}
	return out
}

// readsComplete reads all through nodes: every answer must be complete and right.
func (tc *testCluster) readsComplete(l *ledger, ids ...int) {
	tc.t.Helper()
	for _, id := range ids {
		for k := range l.tried {
			name, at := parseKey(tc.t, k)
			if err := l.readOrWhy(tc.t, tc.nodes[id-1], name, at); err != nil {
				tc.t.Fatalf("%s through node %d is not complete: %v", k, id, err)
			}
		}
	}
}

// TestRecoverAsksAllSurvivors: what only one survivor holds is in every complete
// read from the moment of the recovery, also while that one is away; and in every
// read without it when the others have merged it.
func TestRecoverAsksAllSurvivors(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc, l := majorityLost(t)
		out := tc.recover(2, 2, 3, 4)
		if !slices.Equal(out.Lost, []ring.NodeID{1, 5, 6}) || out.Missing < 0.1 || out.Missing > 0.9 {
			t.Errorf("%+v", out)
		}
		tc.lose(2)
		for range 20 {
			l.readAll(t, tc.nodes[2])
			l.readAll(t, tc.nodes[3])
			pause(time.Second)
		}
		if l.reads > 0 && len(tc.nodes[2].members()) > 0 {
			t.Errorf("the recovery ended without node 2: %+v", tc.nodes[2].RingRecord())
		}
		tc.start(tc.nodes[1])
		tc.untilMembers(2, 3, 4)
		tc.lose(2)
		tc.readsComplete(l, 3, 4)
	})
}

// TestRecoverTakesWritesAtOnce: as soon as the ring is founded everything is
// written and read completely, before anything is copied; a survivor that is killed
// meanwhile goes on where it was.
func TestRecoverTakesWritesAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc, l := majorityLost(t, func(o *Options) { o.CopyRate = 100 })
		tc.recover(4, 2, 3, 4)
		tc.until("all have the ring", time.Minute, func() bool {
			return !slices.ContainsFunc(tc.nodes[1:4], func(n *testNode) bool { return n.RingRecord().Next == nil })
		})
		tc.readsComplete(l, 2, 3, 4)
		for i := range 60 {
			if err := l.write(tc.nodes[1+i%3], fmt.Sprintf("%04d", i), 101); err != nil {
				t.Fatal(err)
			}
		}
		if back := tc.nodes[1].AbortChange(context.Background()); !errors.Is(back, rebalance.ErrRefused) {
			t.Errorf("the lost members are back: %v", back)
		}
		if tc.nodes[1].RingRecord().Next == nil {
			t.Fatal("all was copied: nothing was tested")
		}
		for id := 2; id <= 4; id++ {
			tc.lose(id)
			l.readAll(t, tc.nodes[id%3+1])
			tc.start(tc.nodes[id-1])
			tc.untilSurvivorsMeet()
			tc.readsComplete(l, 2, 3, 4)
		}
		tc.untilMembers(2, 3, 4)
		for id := 2; id <= 4; id++ {
			tc.lose(id)
			tc.readsComplete(l, (id-1)%3+2, id%3+2)
			tc.start(tc.nodes[id-1])
			tc.untilSurvivorsMeet()
		}
	})
}

// TestRecoverOnceMore: one of the survivors is lost as well before the others have
// merged what it holds. The recovery cannot end any more, and the operator's word
// founds the next ring again though a majority of this one is in sight.
func TestRecoverOnceMore(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc, _ := majorityLost(t, func(o *Options) { o.CopyRate = 100 })
		first := tc.recover(2, 2, 3, 4)
		if _, err := tc.nodes[2].Recover(context.Background()); !errors.Is(err, rebalance.ErrRefused) {
			t.Errorf("forced again with everybody there: %v", err)
		}
		l := newLedger()
		tc.until("all have the ring", time.Minute, func() bool { return tc.nodes[3].RingRecord().Next != nil })
		tc.writeWhatSurvives(l, tc.nodes[2], 200, 2)
		tc.lose(2)
		pause(recoverPatience + time.Second)
		if tc.nodes[2].RingRecord().Next == nil {
			t.Fatal("all was copied: nothing was tested")
		}
		second := tc.recover(3, 3, 4)
		if second.Missing < first.Missing || !slices.Equal(second.Lost, []ring.NodeID{2}) {
			t.Errorf("%+v, then %+v", first, second)
		}
		tc.untilMembers(3, 4)
		tc.readsComplete(l, 3, 4)
	})
}

// TestRecoverDuringAChange: a node was joining when the majority was lost. The join
// is taken back, and nothing is missed.
func TestRecoverDuringAChange(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 6, 3)
		tc.ready()
		tc.fill(newLedger(), 80)
		tc.holdDual()
		l := tc.loseMajority()
		tc.recover(2, 2, 3, 4)
		tc.lose(2)
		l.readAll(t, tc.nodes[2])
		l.readAll(t, tc.nodes[3])
		tc.start(tc.nodes[1])
		tc.until("the recovery ends", time.Minute, func() bool { return slices.Equal(tc.nodes[2].members(), []ring.NodeID{2, 3, 4}) })
		joining := tc.nodes[6]
		tc.stop(joining)
		tc.lose(2)
		tc.readsComplete(l, 3, 4)
		tc.start(tc.nodes[1])
		joining.alter = func(*Options) {}
		tc.start(joining) // it asks anew
		tc.untilMembers(2, 3, 4, 7)
		tc.readsComplete(l, 2, 3, 4, 7)
	})
}

// TestRecoverLostComesBack: one that was given up comes back with its disk. It joins
// the new ring, and what it alone holds is in every complete read then, also where
// everybody had settled it before.
func TestRecoverLostComesBack(t *testing.T) {
	for _, settled := range []bool{false, true} {
		t.Run(fmt.Sprintf("settled=%v", settled), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				tc := newTestCluster(t, 6, 3)
				tc.ready()
				for _, n := range tc.nodes {
					n.local.lazy = true
				}
				l := newLedger()
				tc.fill(l, 80)
				pause(3 * time.Minute)
				if settled {
					tc.untilSettled()
				}
				alone := 0
				rg := tc.nodes[0].topo.Load().ring
				for i := range 40 {
					if list := rg.Lists()[rg.ListOf(tokenOf(fmt.Sprintf("%04d", i)))]; !list.Has(2) && !list.Has(3) && !list.Has(4) {
						alone++
					}
				}
				if alone == 0 {
					t.Fatal("the survivors hold some of everything: nothing is tested")
				}
				tc.lose(1, 5, 6)
				pause(recoverPatience + time.Second)
				tc.recover(3, 2, 3, 4)
				tc.untilMembers(2, 3, 4)
				tc.start(tc.nodes[0])
				tc.untilMembers(1, 2, 3, 4)
				owned := newLedger() // what node 1 was a candidate of, or fewer than two of the lost
				for k, v := range l.acked {
					name, _ := parseKey(t, k)
					if list := rg.Lists()[rg.ListOf(tokenOf(name))]; list.Has(1) || !list.MayMiss([]ring.NodeID{5, 6}) {
						owned.acked[k], owned.tried[k] = v, l.tried[k]
					}
				}
				tc.until("all owners hold the same", 10*time.Minute, func() bool {
					for k := range owned.acked {
						name, at := parseKey(t, k)
						nodes, owners := tc.nodes[1].Candidates(metric(name))
						for _, id := range nodes[:owners] {
							if _, has := tc.nodes[id-1].holds(name, at); !has {
								return false
							}
						}
					}
					return true
				})
				tc.readsComplete(owned, 1, 2, 3, 4)
			})
		})
	}
}

// TestRecoverFillsNewDisks: one of four is lost, and two have lost their disks. The
// next ring records these, so that there are votes, and they are filled from the one
// that is whole.
func TestRecoverFillsNewDisks(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 4, 3)
		tc.ready()
		tc.fill(newLedger(), 80)
		pause(3 * time.Minute)
		whole := tc.nodes[1]
		tc.lose(1, 3, 4)
		for _, n := range tc.nodes[2:] {
			tc.wipe(n)
			tc.start(n)
		}
		tc.until("they refill", time.Minute, func() bool { return tc.nodes[2].Health().Refill != "" && tc.nodes[3].Health().Refill != "" })
		pause(recoverPatience + time.Second)
		if out := tc.recover(2, 2, 3, 4); out.Missing < 0.99 {
			t.Errorf("%+v", out)
		}
		tc.untilMembers(2, 3, 4)
		tc.ready()
		held := newLedger()
		for i := range 80 {
			name, at := fmt.Sprintf("%04d", i%40), int64(100+i)
			if v, has := whole.holds(name, at); has {
				held.acked[key(name, at)], held.tried[key(name, at)] = v, v
			}
		}
		tc.readsComplete(held, 2, 3, 4)
		for i := range 40 {
			tc.mustWrite(tc.nodes[1+i%3], fmt.Sprintf("%04d", i), 5, 1)
			if got, warnings, err := tc.nodes[1+i%3].read(fmt.Sprintf("%04d", i), quorum.All); err != nil || len(warnings) > 0 || got[5] != 1 {
				t.Fatalf("%v, %v, %v", got, warnings, err)
			}
		}
	})
}

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
