package cluster

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/cluster/quorum"
	"github.com/count-db/count/internal/admission"
	"github.com/count-db/count/internal/model"
)

func TestThreeNodes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 3, 3)
		tc.ready()
		a, b, c := tc.nodes[0], tc.nodes[1], tc.nodes[2]
		for i, n := range tc.nodes {
			copies, err := n.write("m", int64(i+1), float64(i))
			if err != nil || copies < 2 {
				t.Fatalf("%d copies, %v", copies, err)
			}
		}
		for _, n := range tc.nodes {
			tc.expect(n, "m", 2, 1)
		}
		// A later write of the same timestamp wins, whoever coordinates it.
		tc.mustWrite(a, "m", 9, 1)
		tc.mustWrite(b, "m", 9, 2)
		tc.expect(c, "m", 9, 2)

		tc.stop(c)
		tc.mustWrite(a, "m", 10, 5)
		tc.mustWrite(b, "n", 10, 6)
		tc.expect(b, "m", 10, 5)
		tc.start(c)
		tc.ready()
		tc.until("the node that was away holds what it missed", 30*time.Second, func() bool {
			v, ok := c.holds("m", 10)
			w, too := c.holds("n", 10)
			return ok && too && v == 5 && w == 6
		})
	})
}

func TestMinorityRefuses(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 3, 3)
		tc.ready()
		a, b := tc.nodes[0], tc.nodes[1]
		tc.mustWrite(a, "m", 1, 1)
		tc.net.Isolate(a.host, tc.hosts...)
		tc.until("the node knows that it is alone", 20*time.Second, func() bool { return !a.Health().Majority })
		began := time.Now()
		_, err := a.write("m", 2, 2)
		var unavailable *admission.UnavailableError
		if !errors.Is(err, ErrMinority) || !errors.As(err, &unavailable) || time.Since(began) > time.Millisecond {
			t.Fatalf("C4: %v after %s", err, time.Since(began))
		}
		got, warnings, err := a.read("m", quorum.Quorum)
		if err != nil || len(warnings) == 0 || got[1] != 1 {
			t.Fatalf("read in the minority: %v, %q, %v", got, warnings, err)
		}
		tc.mustWrite(b, "m", 3, 3)
		tc.net.Heal()
		tc.ready()
		tc.expect(a, "m", 3, 3)
		tc.mustWrite(a, "m", 4, 4)
	})
}

func TestTooFewCopiesNamesWhy(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 3, 3)
		tc.ready()
		tc.nodes[1].local.fail = errors.New("disk is full")
		tc.nodes[2].local.fail = errors.New("disk is full")
		_, err := tc.nodes[0].write("m", 1, 1)
		var q *quorum.Error
		if !errors.As(err, &q) || q.Need != 2 || q.Acked != 1 || !strings.Contains(err.Error(), "disk is full") {
			t.Fatalf("%v", err)
		}
		if code, after := admission.StatusOf(err); code != 503 || after == 0 {
			t.Fatalf("status %d", code)
		}
	})
}

// TestClocksApart: clocks a minute apart. A later acknowledged overwrite never
// gives way to an earlier one (V2).
func TestClocksApart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 3, 3)
		tc.nodes[0].clock.skew = time.Minute
		tc.nodes[2].clock.skew = -time.Minute
		tc.ready()
		v := 0.0
		for range 5 {
			for _, n := range tc.nodes {
				v++
				tc.mustWrite(n, "m", 1, v)
				for _, r := range tc.nodes {
					tc.expect(r, "m", 1, v)
				}
			}
		}
	})
}

func TestDelete(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 3, 3)
		tc.nodes[0].clock.skew = time.Minute
		tc.ready()
		tc.mustWrite(tc.nodes[0], "m", 1, 1)
		tc.mustWrite(tc.nodes[0], "other", 1, 1)
		tc.stop(tc.nodes[2])
		ts := model.Tombstone{MinT: 0, MaxT: 10, Matchers: []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, labels.MetricName, "m")}}
		if err := tc.nodes[1].Delete(t.Context(), ts); err != nil {
			t.Fatal(err)
		}
		tc.start(tc.nodes[2])
		tc.ready()
		for _, n := range tc.nodes {
			if got, _, err := n.read("m", quorum.Quorum); err != nil || len(got) != 0 {
				t.Fatalf("deleted, read through node %d: %v, %v", n.id, got, err)
			}
			tc.expect(n, "other", 1, 1)
		}
		tc.until("the node that was away has the delete", 30*time.Second, func() bool {
			return len(tc.nodes[2].local.Tombstones(0, 10)) > 0
		})
		tc.mustWrite(tc.nodes[1], "m", 1, 2)
		tc.expect(tc.nodes[0], "m", 1, 2)
	})
}

func TestLabelsAndMetadata(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 5, 3)
		tc.ready()
		for i := range 20 {
			tc.mustWrite(tc.nodes[i%5], fmt.Sprintf("m%02d", i), 1, float64(i))
		}
		meta := &model.Batch{Metadata: []model.Metadata{{Family: "m00"}, {Family: "m01"}}}
		if err := tc.nodes[0].Append(t.Context(), meta); err != nil {
			t.Fatal(err)
		}
		for _, n := range tc.nodes {
			values, warnings, err := n.LabelValues(t.Context(), labels.MetricName, 0, 10, 0)
			if err != nil || len(values) != 20 || len(warnings) > 0 {
				t.Fatalf("%d values, %q, %v", len(values), warnings, err)
			}
			names, _, err := n.LabelNames(t.Context(), 0, 10, 0)
			if err != nil || len(names) != 1 {
				t.Fatalf("%q, %v", names, err)
			}
			all, _, err := n.Metadata(t.Context(), "", 0)
			if err != nil || len(all) != 2 {
				t.Fatalf("%v, %v", all, err)
			}
		}
	})
}

func TestConsistencyLevels(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 3, 3)
		tc.ready()
		tc.mustWrite(tc.nodes[0], "m", 1, 1)
		tc.stop(tc.nodes[2])
		for _, c := range []struct {
			level quorum.Level
			warns bool
		}{{quorum.One, false}, {quorum.Quorum, false}, {quorum.All, true}} {
			got, warnings, err := tc.nodes[0].read("m", c.level)
			if err != nil || got[1] != 1 || len(warnings) > 0 != c.warns {
				t.Errorf("level %d: %v, %q, %v", c.level, got, warnings, err)
			}
		}
	})
}

func TestAlone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 1, 3, func(o *Options) { o.Seeds = nil })
		copies, err := tc.nodes[0].write("m", 1, 1)
		if err != nil || copies != 1 {
			t.Fatal(copies, err)
		}
		tc.expect(tc.nodes[0], "m", 1, 1)
	})
}

// TestNotFoundedByNow: whoever found no ring is told so, also when there is one by
// the time it asks why.
func TestNotFoundedByNow(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 1, 3)
		tc.ready()
		if err := unavailable(tc.nodes[0].notFounded()); !errors.Is(err, ErrNotFounded) || err.Error() == "" {
			t.Errorf("%v", err)
		}
	})
}
