package cluster

import (
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/cluster/quorum"
	"github.com/count-db/count/internal/noted"
)

// TestLostForGoodIsMarked: what the only owner has lost is marked in answers over
// that range of time, and in no others.
func TestLostForGoodIsMarked(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 3, 1)
		tc.ready()
		a, c := tc.nodes[0], tc.nodes[2]
		mine, other := tc.seriesOf(3), tc.seriesOf(1)
		for _, name := range []string{mine, other} {
			tc.mustWrite(a, name, 1000, 1)
			tc.mustWrite(a, name, 5000, 2)
		}
		warnings := func(n *testNode, mint, maxt int64, name string) []string {
			set, err := n.SelectSeries(t.Context(), mint, maxt, labels.FromStrings(labels.MetricName, name))
			if err != nil {
				t.Fatal(err)
			}
			defer set.Close()
			for set.Next() {
			}
			if set.Err() != nil {
				t.Fatal(set.Err())
			}
			return set.Warnings()
		}
		for _, n := range tc.nodes {
			if w := warnings(n, 0, 9000, mine); len(w) > 0 {
				t.Fatalf("nothing is lost, and node %d says %q", n.id, w)
			}
		}
		c.lose(mine, 1000)
		c.local.mu.Lock()
		c.local.losses, c.local.lost = 3, timeRange{500, 1500}
		c.local.mu.Unlock()
		c.NoteLost()
		tc.until("it counts again", time.Minute, func() bool { return !c.refill.running() })
		tc.ready()
		for _, n := range tc.nodes {
			if w := warnings(n, 0, 2000, mine); len(w) != 1 || !noted.OnlyGone(w) {
				t.Errorf("node %d says of what is lost %q", n.id, w)
			}
			if w := warnings(n, 2000, 9000, mine); len(w) > 0 {
				t.Errorf("node %d says of what is there %q", n.id, w)
			}
			if w := warnings(n, 0, 2000, other); len(w) > 0 {
				t.Errorf("node %d says of another node's series %q", n.id, w)
			}
			if _, w, err := n.read(mine, quorum.Quorum); err != nil || len(w) != 1 {
				t.Errorf("node %d says of all time %q, %v", n.id, w, err)
			}
			if _, w, err := n.LabelValues(t.Context(), labels.MetricName, 0, 2000, 0); err != nil || len(w) != 1 {
				t.Errorf("node %d says of names %q, %v", n.id, w, err)
			}
			if _, w, err := n.LabelValues(t.Context(), labels.MetricName, 2000, 3000, 0); err != nil || len(w) > 0 {
				t.Errorf("node %d says of later names %q, %v", n.id, w, err)
			}
		}
	})
}

// TestStandingByte: what nodes from before losses were told read as such.
func TestStandingByte(t *testing.T) {
	for _, s := range []standing{{}, {counts: true}, {counts: true, lost: true}} {
		if got := standingOf(s.byte()); got != s {
			t.Errorf("%+v is read as %+v", s, got)
		}
	}
	if got := standingOf((standing{lost: true}).byte()); got.counts {
		t.Error("one that refills counts")
	}
	if standingOf(7).counts {
		t.Error("an unknown byte counts")
	}
}
