package cluster

import (
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/cluster/frontier"
	"github.com/count-db/count/internal/model"
)

// numbered stores a sample at a node as a batch of a coordinator that died before
// it reached the others: with a number, and owed to nobody.
func (n *testNode) numbered(t *testing.T, name string, at int64, v float64, number uint64) {
	t.Helper()
	n.put(t, name, at, v, n.clock.Now())
	topo := n.topo.Load()
	stream := frontier.Stream{Node: 99, Start: 1, Ring: topo.ring.Number(), List: uint32(topo.ring.ListOf(tokenOf(name)))}
	n.ledger.Stored([]frontier.Origin{{Stream: stream, Number: number}})
}

// TestNewestIsComparedInSeconds: what a node missed of the newest minutes is
// brought to it seconds after two write deadlines, and looks that find nothing
// read nothing from the storage.
func TestNewestIsComparedInSeconds(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 3, 3)
		tc.ready()
		a, b, c := tc.nodes[0], tc.nodes[1], tc.nodes[2]
		tc.mustWrite(a, "0001", time.Now().UnixMilli(), 7)
		pause(5 * time.Minute)
		for i := range 20 {
			at := time.Now().UnixMilli()
			began := time.Now()
			a.numbered(t, "0001", at, float64(i), uint64(i+1))
			tc.until("what only node 1 has is at the others", 20*time.Second, func() bool {
				_, hasB := b.holds("0001", at)
				_, hasC := c.holds("0001", at)
				return hasB && hasC
			})
			if took := time.Since(began); took < 2*a.opts.WriteDeadline {
				t.Fatalf("after %s: it may have been on its way", took)
			}
			pause(time.Duration(17*i) * time.Second) // at any moment of the interval
		}
		pause(2 * time.Minute)
		reads, compared := a.selected()+b.selected()+c.selected(), testutil.ToFloat64(a.stats.compared)
		looks := testutil.ToFloat64(a.stats.newestHeld)
		pause(50 * time.Second)
		if got := testutil.ToFloat64(a.stats.newestHeld) - looks; got < 12 {
			t.Errorf("%g looks at the others in 50 s", got)
		}
		if again := a.selected() + b.selected() + c.selected() - reads; again > 12 || testutil.ToFloat64(a.stats.compared) > compared+2 {
			t.Errorf("the storage was read %d times in 50 s without a difference", again)
		}
		if age := time.Since(a.newest.oldest(time.Now())); age > 30*time.Second {
			t.Errorf("the newest that is known to be everywhere is %s old", age)
		}
	})
}

// TestClockAhead: versions that lie ahead of the clocks of most nodes do not hide
// what a node misses: a clock that is ahead takes all versions along.
func TestClockAhead(t *testing.T) {
	for _, ahead := range []time.Duration{3 * time.Minute, 30 * time.Hour} {
		bubble(t, func(t *testing.T) {
			tc := newTestCluster(t, 3, 3)
			tc.ready()
			a, b := tc.nodes[0], tc.nodes[1]
			b.clock.skew = ahead
			pause(5 * time.Minute)
			long := time.Now().Add(-40 * 24 * time.Hour).UnixMilli()
			tc.mustWrite(b, "0001", long, 7)
			pause(5 * time.Minute)
			for i, within := range []time.Duration{20 * time.Second, 3 * time.Minute} {
				at := long + int64(i)
				if i == 0 {
					a.numbered(t, "0001", at, 8, 1)
				} else {
					a.put(t, "0001", at, 8, a.clock.Now())
				}
				tc.until("what only node 1 has is at node 2", within, func() bool {
					_, has := b.holds("0001", at)
					return has
				})
			}
			if age := time.Since(a.newest.oldest(time.Now())); age > 3*time.Minute {
				t.Errorf("the newest that is known to be everywhere is %s old", age)
			}
		})
	}
}

// TestNewestDeletesAreCompared: a delete that a node misses is brought to it in
// seconds, too.
func TestNewestDeletesAreCompared(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 3, 3)
		tc.ready()
		a, b := tc.nodes[0], tc.nodes[1]
		at := time.Now().UnixMilli()
		tc.mustWrite(a, "0001", at, 7)
		pause(30 * time.Minute)
		ts := model.Tombstone{Matchers: []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, labels.MetricName, "0001")}, MinT: at, MaxT: at, Version: a.clock.Now()}
		if err := a.deletesHere(t.Context(), []model.Tombstone{ts}); err != nil {
			t.Fatal(err)
		}
		tc.until("the delete is at node 2", 25*time.Second, func() bool {
			return slices.ContainsFunc(b.local.Tombstones(at, at), func(o model.Tombstone) bool { return o.Version == ts.Version })
		})
	})
}

// TestWhatIsNeverMendedIsNotComparedAllTheTime: a member that keeps lacking
// numbers is compared with at once only once, then at the regular times.
func TestWhatIsNeverMendedIsNotComparedAllTheTime(t *testing.T) {
	n := newNewest()
	if !n.lacking(2) || n.lacking(2) || n.lacking(2) {
		t.Fatal("a lack is new once")
	}
	now := time.Now()
	n.held(2, now)
	if !n.lacking(2) {
		t.Fatal("after it held everything a lack is new again")
	}
	then := now.Add(time.Minute)
	if got := n.since(2, then, time.Second); !got.Equal(now.Add(-time.Second)) {
		t.Errorf("since %s", got)
	}
	if got := n.since(3, then, time.Second); !got.Equal(then) {
		t.Errorf("of an unknown member since %s", got)
	}
	n.keep(nil, then)
	if got := n.oldest(then); !got.Equal(then) {
		t.Errorf("without members the oldest is %s", got)
	}
}
