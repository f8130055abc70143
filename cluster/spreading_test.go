package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/cluster/frontier"
	"github.com/count-db/count/cluster/quorum"
	"github.com/count-db/count/cluster/ring"
	"github.com/count-db/count/internal/model"
)

// shown is what a spread read computes of a share: the samples by series and
// timestamp.
type shown struct {
	Samples  map[string]map[int64]float64
	Warnings []string
	By       string // which kind of run it was
}

func (s *shown) add(ls labels.Labels, cols *model.Columns) {
	name := ls.Get(labels.MetricName)
	if s.Samples[name] == nil {
		s.Samples[name] = map[int64]float64{}
	}
	for i, t := range cols.T {
		s.Samples[name][t] = cols.V[i]
	}
}

func all() *labels.Matcher { return labels.MustNewMatcher(labels.MatchRegexp, labels.MetricName, ".*") }

// computeShare is the job over a node's own copy.
func computeShare(ctx context.Context, l Reader, share *Share) (*shown, error) {
	out := &shown{Samples: map[string]map[int64]float64{}, By: "copy"}
	sel, err := l.Select(ctx, 0, 1<<50, all())
	if err != nil {
		return nil, err
	}
	var cols model.Columns
	for i := range sel.Len() {
		if !share.Has(0, sel.Labels(i)) {
			continue
		}
		if err := sel.Read(i, 0, 1<<50, &cols); err != nil {
			return nil, err
		}
		out.add(sel.Labels(i), &cols)
	}
	return out, nil
}

func (n *testNode) sharesOf() Reader {
	if n.shares != nil {
		return n.shares
	}
	return n.local
}

// serveShares has a node compute the job for others. asked is called first.
func (n *testNode) serveShares() {
	local := n.sharesOf()
	n.ServeFragments(func(ctx context.Context, share *Share, fragment []byte) ([]byte, error) {
		if string(fragment) != "all" {
			return nil, fmt.Errorf("fragment %q", fragment)
		}
		if n.asked != nil {
			if err := n.asked(ctx); err != nil {
				return nil, err
			}
		}
		out, err := computeShare(ctx, local, share)
		if err != nil {
			return nil, err
		}
		return json.Marshal(out)
	})
}

func (n *testNode) job() Job[*shown] {
	return Job[*shown]{
		Fragment: []byte("all"),
		Here: func(ctx context.Context, share *Share) (*shown, error) {
			return computeShare(ctx, n.sharesOf(), share)
		},
		Decode: func(answer []byte) (*shown, error) {
			out := &shown{}
			return out, json.Unmarshal(answer, out)
		},
		Merged: func(ctx context.Context, share *Share) (*shown, error) {
			set, err := n.SelectShare(ctx, share, 0, 1<<50, all())
			if err != nil {
				return nil, err
			}
			defer set.Close()
			out := &shown{Samples: map[string]map[int64]float64{}, By: "merged"}
			for set.Next() {
				var cols model.Columns
				if err := set.At().Read(0, 1<<50, &cols); err != nil {
					return nil, err
				}
				out.add(set.At().Labels(), &cols)
			}
			out.Warnings = set.Warnings()
			return out, set.Err()
		},
	}
}

// spreadRead reads everything through a node by the owners' copies.
func (n *testNode) spreadRead(t *testing.T, level quorum.Level) (*shown, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(quorum.WithLevel(context.Background(), level), 30*time.Second)
	defer cancel()
	parts, err := Spread(ctx, n.Cluster, n.job())
	if err != nil {
		return nil, err
	}
	out := &shown{Samples: map[string]map[int64]float64{}}
	for _, p := range parts {
		for name, samples := range p.Samples {
			if out.Samples[name] != nil {
				t.Fatalf("C7: series %s was computed twice through node %d", name, n.id)
			}
			out.Samples[name] = samples
		}
		out.Warnings = append(out.Warnings, p.Warnings...)
		out.By += p.By + " "
	}
	return out, nil
}

// manySeries writes series that lie in all lists and returns how many: when the
// copies of all owners can be proved complete. A write is answered before its
// last copy is stored, and each node tells the others that it began empty.
func (tc *testCluster) manySeries() int {
	tc.t.Helper()
	const n = 60
	for i := range n {
		tc.mustWrite(tc.nodes[i%len(tc.nodes)], fmt.Sprintf("%04d", i), 1, float64(i))
	}
	tc.until("every list is computed by one copy", time.Minute, func() bool {
		for _, node := range tc.nodes {
			if got, err := node.spreadRead(tc.t, quorum.Quorum); err != nil || strings.Contains(got.By, "merged") {
				return false
			}
		}
		return true
	})
	return n
}

// expectAll checks a spread read of what manySeries wrote.
func (tc *testCluster) expectAll(n *testNode, count int, by string) {
	tc.t.Helper()
	got, err := n.spreadRead(tc.t, quorum.Quorum)
	if err != nil {
		tc.t.Fatalf("through node %d: %v", n.id, err)
	}
	if len(got.Samples) != count || len(got.Warnings) > 0 {
		tc.t.Fatalf("%d of %d series through node %d, warnings %q", len(got.Samples), count, n.id, got.Warnings)
	}
	for i := range count {
		if v := got.Samples[fmt.Sprintf("%04d", i)][1]; v != float64(i) {
			tc.t.Fatalf("series %04d is %g through node %d", i, v, n.id)
		}
	}
	if by != "" && strings.Contains(got.By, "merged") != (by == "merged") {
		tc.t.Fatalf("computed by %q, expected %s", got.By, by)
	}
}

// TestSpread: every series is computed once, by one copy, through any node.
func TestSpread(t *testing.T) {
	for _, c := range []struct{ nodes, rf int }{{3, 2}, {3, 3}, {5, 3}, {5, 2}, {4, 1}} {
		t.Run(fmt.Sprintf("%d nodes rf %d", c.nodes, c.rf), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				tc := newTestCluster(t, c.nodes, c.rf)
				tc.ready()
				n := tc.manySeries()
				for _, node := range tc.nodes {
					tc.expectAll(node, n, "copy")
					if where := node.ExplainSpread(); !strings.Contains(where, fmt.Sprintf("node %d", node.id)) || strings.Contains(where, "merged") {
						t.Errorf("node %d: %s", node.id, where)
					}
				}
			})
		})
	}
}

// TestSpreadOwnerDies: an owner that dies in the middle of a query is replaced by
// another within it, and so is one that freezes.
func TestSpreadOwnerDies(t *testing.T) {
	for _, freeze := range []bool{false, true} {
		bubble(t, func(t *testing.T) {
			tc := newTestCluster(t, 5, 3)
			tc.ready()
			n := tc.manySeries()
			// The owner that is asked first is the victim, and never answers.
			victims := make(chan *testNode, 1)
			for _, node := range tc.nodes[1:] {
				node.asked = func(ctx context.Context) error {
					select {
					case victims <- node:
						<-ctx.Done()
						return ctx.Err()
					default:
						return nil
					}
				}
			}
			go func() {
				for len(victims) == 0 {
					pause(time.Millisecond)
				}
				victim := <-victims
				victims <- victim
				if freeze {
					tc.net.Freeze(victim.host)
				} else {
					tc.net.Kill(victim.host)
				}
			}()
			began := time.Now()
			tc.expectAll(tc.nodes[0], n, "copy")
			if took := time.Since(began); took > 3*time.Second {
				t.Errorf("took %s", took)
			}
			for _, node := range tc.nodes {
				tc.net.Thaw(node.host)
			}
		})
	}
}

// TestSpreadOwnerFails: an owner whose storage fails is replaced.
func TestSpreadOwnerFails(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 3, 2)
		tc.ready()
		n := tc.manySeries()
		for _, other := range tc.nodes[1:] {
			other.asked = func(context.Context) error { return errors.New("the disk is gone") }
		}
		// The third list has two owners, and both fail: it is read from the copies.
		tc.expectAll(tc.nodes[0], n, "merged")
	})
}

// TestSpreadStaleOwner: what an owner missed is not missing in a read, whoever
// asks; it is computed by another owner until the stale one has it.
func TestSpreadStaleOwner(t *testing.T) {
	for _, rf := range []int{2, 3} {
		bubble(t, func(t *testing.T) {
			tc := newTestCluster(t, 4, rf)
			tc.ready()
			l := newLedger()
			n := tc.manySeries()
			stale := tc.nodes[3]
			for _, other := range tc.nodes[:3] {
				tc.net.Cut(other.host, stale.host)
			}
			for i := range n {
				if err := l.write(tc.nodes[0], fmt.Sprintf("%04d", i), 2); err != nil {
					t.Fatal(err)
				}
			}
			tc.net.Heal()
			tc.ready()
			for range 20 {
				for _, node := range tc.nodes {
					l.readSpread(t, node)
				}
				pause(time.Second)
			}
			tc.until("one copy is enough again", 3*time.Minute, func() bool {
				pause(2 * time.Second)
				got, err := stale.spreadRead(t, quorum.Quorum)
				return err == nil && !strings.Contains(got.By, "merged")
			})
			l.readSpread(t, stale)
			if l.spread < 70 {
				t.Errorf("only %d reads were complete", l.spread)
			}
		})
	}
}

// TestSpreadRefillingOwner: a node with an empty disk computes nothing for others
// until it has merged its data back, and nothing for itself.
func TestSpreadRefillingOwner(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 4, 3)
		tc.ready()
		n := tc.manySeries()
		wiped := tc.nodes[3]
		tc.stop(wiped)
		tc.wipe(wiped)
		tc.stop(tc.nodes[2]) // two of three others: it cannot refill yet
		tc.start(wiped)
		tc.until("it refills", time.Minute, func() bool { return wiped.Health().Refill != "" && wiped.Health().Majority })
		wiped.asked = func(context.Context) error {
			t.Error("C5: a refilling node was asked")
			return nil
		}
		for range 20 {
			got, err := tc.nodes[0].spreadRead(t, quorum.Quorum)
			if err == nil && len(got.Warnings) == 0 && len(got.Samples) != n {
				t.Fatalf("%d of %d series", len(got.Samples), n)
			}
			pause(200 * time.Millisecond)
		}
		wiped.asked = nil
		tc.start(tc.nodes[2])
		tc.ready()
		tc.until("all is computed by one copy again", 3*time.Minute, func() bool {
			pause(2 * time.Second)
			got, err := wiped.spreadRead(t, quorum.Quorum)
			return err == nil && len(got.Samples) == n && !strings.Contains(got.By, "merged")
		})
	})
}

// TestSpreadIsRefused where only a read of several copies is right.
func TestSpreadIsRefused(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 3, 2)
		tc.ready()
		n := tc.manySeries()
		if _, err := tc.nodes[0].spreadRead(t, quorum.All); !errors.Is(err, ErrNotSpread) {
			t.Errorf("all: %v", err)
		}
		if got, err := tc.nodes[0].spreadRead(t, quorum.One); err != nil || len(got.Samples) != n {
			t.Errorf("one: %+v, %v", got, err)
		}
		tc.stop(tc.nodes[1])
		tc.stop(tc.nodes[2])
		tc.until("the minority is known", time.Minute, func() bool { return !tc.nodes[0].Health().Majority })
		if _, err := tc.nodes[0].spreadRead(t, quorum.Quorum); !errors.Is(err, ErrNotSpread) {
			t.Errorf("minority: %v", err)
		}
	})
}

// TestVouchedFor: of what a member knows only that counts which it compared: the
// lists of which it is a candidate and the other an owner.
func TestVouchedFor(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 5, 2)
		tc.ready()
		self := tc.nodes[0]
		topo := self.topo.Load()
		all := frontier.Sets{}
		for i := range topo.lists {
			all.Add(&frontier.Origin{Stream: frontier.Stream{Node: 3, Start: 1, Ring: topo.ring.Number(), List: uint32(i)}, Number: 1})
		}
		all.Add(&frontier.Origin{Stream: frontier.Stream{Node: 3, Start: 1, Ring: topo.ring.Number(), List: 10_000}, Number: 1})
		kept := self.vouchedFor(ring.NodeID(2), topo.ring.Number(), all)
		for i := range topo.lists {
			l := &topo.lists[i]
			_, got := kept[frontier.Stream{Node: 3, Start: 1, Ring: topo.ring.Number(), List: uint32(i)}]
			if want := l.Has(2) && l.Owns(self.id); got != want {
				t.Errorf("list %v: kept %v, want %v", l.Nodes, got, want)
			}
		}
		if len(kept) == 0 || len(kept) >= len(all) {
			t.Errorf("kept %d of %d", len(kept), len(all))
		}
	})
}

// TestHearsay: a member that is no candidate of a list hears its numbers from
// others; its word to an owner that missed them is not about them.
func TestHearsay(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 5, 3)
		tc.ready()
		l := newLedger()
		name := tc.seriesOf(1, 2, 5)
		y := tc.nodes[4]
		for _, other := range tc.nodes[:2] {
			tc.net.Cut(other.host, y.host)
		}
		pause(30 * time.Second) // nothing is on its way when they are joined again
		if err := l.write(tc.nodes[0], name, 1); err != nil {
			t.Fatal(err)
		}
		// All comparisons that are possible are made, and the next is some seconds off.
		pause(10*time.Minute + 2*time.Second)
		if _, ok := y.holds(name, 1); ok {
			t.Fatal("the write came by another way")
		}
		for _, other := range tc.nodes {
			if err := other.hints.Drop(y.id); err != nil {
				t.Fatal(err)
			}
		}
		tc.net.Heal()
		tc.until("it sees them", time.Minute, func() bool {
			return y.Health().Majority && !y.doubtfulNode(1) && !y.doubtfulNode(2)
		})
		for range 200 {
			l.readSpread(t, y)
			pause(10 * time.Millisecond)
		}
		if l.spread < 100 {
			t.Errorf("only %d reads were complete", l.spread)
		}
	})
}
