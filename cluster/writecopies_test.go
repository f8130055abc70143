package cluster

import (
	"context"
	"testing"
	"time"

	"github.com/count-db/count/cluster/ring"
	"github.com/count-db/count/internal/model"
)

// TestEverySampleHasItsCopies: one request with series of all candidate lists,
// at RF 2. What a node holds of one list as an owner is no copy of another list
// that it only stands in for.
func TestEverySampleHasItsCopies(t *testing.T) {
	for _, frozen := range []int{0, 2, 3} {
		bubble(t, func(t *testing.T) {
			tc := newTestCluster(t, 3, 2)
			tc.ready()
			names := []string{tc.seriesOf(1, 2, 3), tc.seriesOf(2, 3, 1), tc.seriesOf(3, 1, 2)}
			a := tc.nodes[0]
			switch frozen {
			case 0: // one that is only slow
				tc.net.Delay(a.host, hostOf(3), 400*time.Millisecond)
			default:
				tc.net.Freeze(hostOf(frozen))
			}
			b := &model.Batch{}
			for i, name := range names {
				ref, err := a.local.Intern(metric(name))
				if err != nil {
					t.Fatal(err)
				}
				b.Floats = append(b.Floats, model.FloatSample{T: 1, V: float64(i), Ref: ref})
			}
			began := time.Now()
			if err := a.Append(context.Background(), b); err != nil || time.Since(began) > time.Second {
				t.Fatalf("%v after %s", err, time.Since(began))
			}
			for _, name := range names {
				copies := 0
				for _, n := range tc.nodes {
					if _, ok := n.holds(name, 1); ok {
						copies++
					}
				}
				if copies < 2 {
					t.Errorf("node %d away: %s is acknowledged with %d copies", frozen, name, copies)
				}
			}
		})
	}
}

// TestConnectedMeanwhile: a candidate without a connection when a write begins,
// as right after a start, is asked once there is one, so that another that is
// silent does not hold the write up.
func TestConnectedMeanwhile(t *testing.T) {
	for _, rf := range []int{2, 3} {
		bubble(t, func(t *testing.T) {
			tc := newTestCluster(t, 3, rf)
			tc.ready()
			a, b, c := tc.nodes[0], tc.nodes[1], tc.nodes[2]
			name := tc.seriesOf(3, 2, 1)
			tc.net.Cut(a.host, c.host)
			tc.until("the connection is given up", 20*time.Second, func() bool { return !c.peer(ring.NodeID(1)).Connected() })
			tc.net.Freeze(b.host)
			time.AfterFunc(50*time.Millisecond, func() {
				tc.net.Heal()
				tc.net.Freeze(b.host)
			})
			began := time.Now()
			if _, err := c.write(name, 1, 1); err != nil || time.Since(began) > 1500*time.Millisecond {
				t.Fatalf("RF %d: %v after %s", rf, err, time.Since(began))
			}
		})
	}
}
