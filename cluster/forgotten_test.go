package cluster

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/count-db/count/internal/model"
)

// TestForgottenByOwners: the owners of a series have forgotten it, all at about the
// same time, because nobody wrote it for long. The next write is not refused for that.
func TestForgottenByOwners(t *testing.T) {
	for _, nodes := range []int{3, 4} { // every node owns it, or not
		bubble(t, func(t *testing.T) {
			tc := newTestCluster(t, nodes, 3)
			tc.ready()
			names := []string{"a", "b", "c", "d", "e", "f", "g", "h"}
			for _, name := range names {
				tc.mustWrite(tc.nodes[0], name, 1, 1)
			}
			for _, n := range tc.nodes[1:] {
				n.local.forget()
			}
			for _, name := range names {
				tc.mustWrite(tc.nodes[0], name, 2, 2)
				tc.expect(tc.nodes[1], name, 2, 2)
			}
		})
	}
}

// TestForgottenByCoordinator: a node that takes a write has forgotten the series since
// its reference was looked up. The write is refused with ErrUnknownSeries, which has it
// looked up anew; its samples never go to a series without labels.
func TestForgottenByCoordinator(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 4, 2)
		tc.ready()
		name, other := tc.seriesOf(2, 3), tc.seriesOf(3, 2)
		for _, placed := range []bool{false, true} { // before it was forgotten
			if placed {
				tc.mustWrite(tc.nodes[0], name, 1, 1)
			}
			ref, err := tc.nodes[0].local.Intern(metric(name))
			if err != nil {
				t.Fatal(err)
			}
			tc.nodes[0].local.forget()
			tc.net.Reset(tc.nodes[0].host) // the owners are told labels anew
			tc.until("the owners are connected again", time.Minute, func() bool {
				_, err := tc.nodes[0].write(other, 1, 1)
				return err == nil
			})
			b := &model.Batch{Floats: []model.FloatSample{{T: 2, V: 2, Ref: ref}}}
			err = tc.nodes[0].Append(context.Background(), b)
			if err == nil || !placed && !errors.Is(err, ErrUnknownSeries) {
				t.Errorf("placed %v: a write of a forgotten series is answered %v", placed, err)
			}
			for _, n := range tc.nodes {
				if _, there := n.local.series["{}"]; there {
					t.Errorf("placed %v: node %d has samples of a series without labels", placed, n.id)
				}
			}
		}
	})
}
