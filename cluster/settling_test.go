package cluster

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/cluster/quorum"
	"github.com/count-db/count/cluster/settle"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/vfs"
)

// floor returns what the node has settled.
func (n *testNode) floor() model.Version { return n.floors.now().Floor }

func (n *testNode) delete(name string) error {
	return n.Delete(context.Background(), model.Tombstone{MaxT: 1 << 50, Matchers: []*labels.Matcher{
		labels.MustNewMatcher(labels.MatchEqual, labels.MetricName, name),
	}})
}

// deletes returns how many deletes the node keeps.
func (n *testNode) deletes() int { return len(n.local.Tombstones(0, 1<<60)) }

// untilSettled waits until all nodes have settled what was written until now.
func (tc *testCluster) untilSettled() {
	tc.t.Helper()
	now := model.VersionAt(time.Now().UnixMicro())
	tc.t.Cleanup(func() {
		for _, n := range tc.nodes {
			if tc.t.Failed() && n.Cluster != nil {
				tc.t.Logf("node %d: %+v %+v", n.id, n.RepairStatus(), n.floors.now())
			}
		}
	})
	tc.untilSlowly("all is settled", 8*time.Hour, func() bool {
		for _, n := range tc.nodes {
			if n.Cluster == nil || n.floor() < now {
				return false
			}
		}
		return true
	})
}

// untilSlowly is until for what takes hours.
func (tc *testCluster) untilSlowly(what string, within time.Duration, cond func() bool) {
	tc.t.Helper()
	for end := time.Now().Add(within); !cond(); pause(time.Minute) {
		if time.Now().After(end) {
			tc.t.Fatalf("not within %s: %s", within, what)
		}
	}
}

// TestSettling: what all owners have is settled; deletes are forgotten, what comes
// below the floor is dropped, and late writes go on to work.
func TestSettling(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 3, 3)
		tc.ready()
		a, b, c := tc.nodes[0], tc.nodes[1], tc.nodes[2]
		at := time.Now().UnixMilli()
		tc.mustWrite(a, "0001", at, 7)
		tc.mustWrite(b, "0002", at, 8)
		below := c.clock.Now()
		pause(time.Second)
		if err := b.delete("0002"); err != nil {
			t.Fatal(err)
		}
		tc.untilSettled()
		for _, n := range tc.nodes {
			if n.deletes() != 0 {
				t.Errorf("node %d keeps %d deletes", n.id, n.deletes())
			}
			n.put(t, "0002", at, 9, below) // a copy that was on its way for hours
			tc.expect(n, "0001", at, 7)
			if got, _, err := n.read("0002", quorum.Quorum); err != nil || len(got) > 0 {
				t.Errorf("what was deleted is back at node %d: %v %v", n.id, got, err)
			}
		}
		tc.mustWrite(c, "0001", at, 70)
		tc.mustWrite(c, "0002", at, 80)
		for _, n := range tc.nodes {
			tc.expect(n, "0001", at, 70)
			tc.expect(n, "0002", at, 80)
		}
		floor := a.floor()
		tc.untilSettled()
		if a.floor() <= floor {
			t.Error("the floor does not rise")
		}
		c.lose("0001", at)
		tc.untilSlowly("what is lost of the settled comes back", 8*time.Hour, func() bool { v, has := c.holds("0001", at); return has && v == 70 })
		if s := a.RepairStatus(); s.Settling.Floor == "" || s.Settling.Problem != "" || s.Settling.Windows == 0 {
			t.Errorf("%+v", s.Settling)
		}
	})
}

// TestSettlingWaits: a member that is away, and a coordinator whose clock is
// behind, neither lose a write nor are passed over.
func TestSettlingWaits(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 3, 3)
		tc.nodes[2].clock.skew = -time.Hour
		tc.ready()
		a, b, c := tc.nodes[0], tc.nodes[1], tc.nodes[2]
		at := time.Now().UnixMilli()
		tc.mustWrite(a, "0001", at, 7)
		tc.stop(b)
		tc.mustWrite(c, "0001", at+1, 8)
		pause(5 * time.Hour)
		if a.floor() != 0 || c.floor() != 0 {
			t.Fatal("settled without a member")
		}
		tc.start(b)
		tc.ready()
		tc.untilSettled()
		tc.mustWrite(c, "0001", at, 9)
		for _, n := range tc.nodes {
			tc.expect(n, "0001", at, 9)
			tc.expect(n, "0001", at+1, 8)
		}
	})
}

// TestSettlingLeaderDies: a round whose leader dies is ended: as decided, when the
// leader had written that down, else not.
func TestSettlingLeaderDies(t *testing.T) {
	for _, decided := range []bool{false, true} {
		bubble(t, func(t *testing.T) {
			tc := newTestCluster(t, 3, 3)
			tc.ready()
			a, b := tc.nodes[0], tc.nodes[1]
			tc.mustWrite(a, "0001", 5, 7)
			pause(10 * time.Minute)
			r := settle.Round{
				Floor: model.VersionAt(time.Now().Add(-time.Minute).UnixMicro()), Leader: a.id, Start: a.instance, Ring: a.topo.Load().ring.Number(),
			}
			a.floors.lead(r)
			for _, n := range tc.nodes {
				for _, step := range []settleStep{stepPromise, stepFreeze} {
					if _, err := n.doSettle(context.Background(), settleAsk{Step: step, Round: r}); err != nil {
						t.Fatal(err)
					}
				}
			}
			if decided {
				if _, err := a.doSettle(context.Background(), settleAsk{Step: stepDecide, Round: r}); err != nil {
					t.Fatal(err)
				}
			}
			tc.stop(a)
			pause(10 * time.Minute)
			if b.floors.now().Frozen != r {
				t.Fatal("a round ends without its leader")
			}
			tc.start(a)
			tc.ready()
			tc.until("the round is over", 10*time.Minute, func() bool { return b.floors.now().Frozen == settle.Round{} && a.floors.now().Frozen == settle.Round{} })
			if (b.floor() == r.Floor) != decided {
				t.Errorf("decided %v: the floor is %d", decided, b.floor())
			}
			tc.untilSettled()
		})
	}
}

// history is what one client did to one series, one after the other.
type history struct {
	name  string
	at    int64
	ops   []float64 // values written; 0: a delete
	acked int       // number of the last acknowledged operation, from 1; 0: none
}

// do does the next operation through a node.
func (h *history) do(n *testNode, value float64) {
	h.ops = append(h.ops, value)
	var err error
	if value == 0 {
		err = n.delete(h.name)
	} else {
		_, err = n.write(h.name, h.at, value)
	}
	if err == nil {
		h.acked = len(h.ops)
	}
}

// check reads through a node: a complete answer shows the last acknowledged
// operation or a later one.
func (h *history) check(t *testing.T, n *testNode) bool {
	t.Helper()
	got, warnings, err := n.read(h.name, quorum.Quorum)
	if err != nil || len(warnings) > 0 {
		return false
	}
	v := got[h.at] // 0: nothing
	if h.acked == 0 && v == 0 {
		return true
	}
	for i := max(h.acked-1, 0); i < len(h.ops); i++ {
		if h.ops[i] == v {
			return true
		}
	}
	t.Fatalf("%s is %g through node %d (floor %d); operations %v, acknowledged up to %d", h.name, v, n.id, n.floor(), h.ops, h.acked)
	return true
}

// oldDisk is a copy of a node's disk.
type oldDisk struct {
	node   *testNode
	fs     *vfs.MemFS
	local  *memLocal
	starts uint64
}

func (n *testNode) copyDisk() *oldDisk {
	return &oldDisk{n, n.fs.CrashClone(rand.New(rand.NewPCG(1, 1)), 100), n.local.clone(), n.disk.Starts}
}

// restore puts the copy in the place of the stopped node's disk.
func (o *oldDisk) restore() {
	o.node.fs, o.node.local, o.node.disk.Starts = o.fs, o.local, o.starts-1
}

// TestSettlingUnderFaults: writes, overwrites, deletes and late copies over days,
// while nodes die, are cut off, lose their disks and come back on old ones.
func TestSettlingUnderFaults(t *testing.T) {
	seeds := uint64(2)
	if text := os.Getenv("COUNT_SETTLING_SEEDS"); text != "" {
		if _, err := fmt.Sscan(text, &seeds); err != nil {
			t.Fatal(err)
		}
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			bubble(t, func(t *testing.T) { settlingUnderFaults(t, rand.New(rand.NewPCG(seed, 77))) })
		})
	}
}

func settlingUnderFaults(t *testing.T, rng *rand.Rand) {
	tc := newTestCluster(t, 3, 2+rng.IntN(2))
	tc.ready()
	pick := func() *testNode { return tc.nodes[rng.IntN(len(tc.nodes))] }
	all := []*history{}
	for i := range 4 {
		all = append(all, &history{name: fmt.Sprintf("%04d", i), at: time.Now().UnixMilli() + int64(i)*windowLength/3})
	}
	var down *testNode
	var old *oldDisk
	floors, reads, lost := map[model.Version]bool{}, 0, 0
	value := 0.0
	for range 90 {
		switch rng.IntN(16) {
		case 0:
			if down == nil {
				down = pick()
				tc.stop(down)
			}
		case 1, 2:
			if down != nil {
				switch rng.IntN(6) {
				case 0:
					if lost < 2 {
						lost++
						tc.wipe(down)
					}
				case 1, 2:
					if lost < 2 && old != nil && old.node == down {
						lost++
						old.restore()
						old = nil
					}
				}
				tc.start(down)
				down = nil
			}
		case 10:
			if n := pick(); n.Cluster != nil && old == nil {
				old = n.copyDisk()
			}
		case 3:
			tc.net.Cut(pick().host, pick().host)
		case 4, 5:
			tc.net.Heal()
		case 6, 7, 8:
			pause(time.Duration(rng.IntN(180)) * time.Minute)
		case 9:
			pause(time.Duration(rng.IntN(60)) * time.Second)
		}
		h := all[rng.IntN(len(all))]
		if n := pick(); n.Cluster != nil {
			value++
			if rng.IntN(4) == 0 {
				h.do(n, 0)
			} else {
				h.do(n, value)
			}
		}
		if n := pick(); n.Cluster != nil {
			floors[n.floor()] = true
			if all[rng.IntN(len(all))].check(t, n) {
				reads++
			}
		}
	}
	tc.net.Heal()
	if down != nil {
		tc.start(down)
	}
	tc.ready()
	tc.untilSettled()
	for _, n := range tc.nodes {
		for _, h := range all {
			if !h.check(t, n) {
				t.Errorf("node %d gives no complete answer", n.id)
			}
		}
		if n.deletes() != 0 {
			t.Errorf("node %d keeps %d deletes", n.id, n.deletes())
		}
	}
	t.Logf("%d floors, %d complete reads, %d disks lost", len(floors), reads, lost)
	if len(floors) < 3 || reads < 10 {
		t.Error("nothing is tested")
	}
}
