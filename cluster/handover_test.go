package cluster

import (
	"testing"

	"github.com/count-db/count/cluster/settle"
	"github.com/count-db/count/internal/model"
)

// TestSettledHintsAreOwedToNobody: V4. A hint from below the floor was handed over
// before all agreed on the floor; a crash may bring it back, and a node that joined
// since has no floor to know it by.
func TestSettledHintsAreOwedToNobody(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 3, 2)
		tc.ready()
		n := tc.nodes[0]
		const floor, from = 1000, 50
		if err := n.changeFloors(func(s *settle.State) error { s.Floor, s.From = floor, from; return nil }); err != nil {
			t.Fatal(err)
		}
		ref, err := n.local.Intern(metric("0001"))
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			version model.Version
			left    int
		}{{floor - 1, 1}, {floor, 2}, {floor + 1, 2}} {
			to := &taker{c: n.Cluster, id: 2, v: n.newHanding()}
			b := &model.Batch{Version: c.version, Floats: []model.FloatSample{{T: from - 1, V: 1, Ref: ref}, {T: from, V: 2, Ref: ref}}}
			if err := to.Batch(b, nil); err != nil {
				t.Fatal(err)
			}
			if to.v.samples != c.left {
				t.Errorf("of a hint at version %d %d samples are handed over, want %d", c.version, to.v.samples, c.left)
			}
		}
	})
}
