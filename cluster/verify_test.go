package cluster

import (
	"context"
	"encoding/json"
	"math"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// lose takes a sample out of a node's storage without a trace, as a disk that
// rots would.
func (n *testNode) lose(name string, t int64) {
	n.local.mu.Lock()
	defer n.local.mu.Unlock()
	s := n.local.series[metric(name).String()]
	for i, at := range s.cols.T {
		if at == t {
			s.cols.T = append(s.cols.T[:i:i], s.cols.T[i+1:]...)
			s.cols.V = append(s.cols.V[:i:i], s.cols.V[i+1:]...)
			s.cols.Ver = append(s.cols.Ver[:i:i], s.cols.Ver[i+1:]...)
			return
		}
	}
}

// TestRotIsFound: what one node lost without a trace comes back by itself, new
// data within hours.
func TestRotIsFound(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 3, 3)
		tc.ready()
		a, c := tc.nodes[0], tc.nodes[2]
		at := time.Now().UnixMilli()
		tc.mustWrite(a, "0001", at, 7)
		pause(20 * time.Minute)
		c.lose("0001", at)
		if _, has := c.holds("0001", at); has {
			t.Fatal("the sample is not lost")
		}
		tc.until("it is found", 2*time.Hour, func() bool { v, has := c.holds("0001", at); return has && v == 7 })
		tc.until("everything was verified", time.Hour, func() bool { return a.RepairStatus().OldestUnverified < 3*3600 })
		if s := a.RepairStatus(); s.Verified == 0 || s.LastError != "" {
			t.Errorf("%+v", s)
		}
	})
}

// TestRepair: a repair on demand heals the asked node and the others, and a dry
// run only tells.
func TestRepair(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 3, 3)
		tc.ready()
		a, b, c := tc.nodes[0], tc.nodes[1], tc.nodes[2]
		at := time.Now().UnixMilli()
		tc.mustWrite(a, "0001", at, 7)
		tc.mustWrite(a, "0002", at, 8)
		pause(5 * time.Minute)
		a.lose("0001", at)
		c.lose("0002", at)
		out, err := b.Repair(context.Background(), 0, math.MaxInt64, true)
		if err != nil || len(out) != 2 || out[0].Differ != 1 || out[1].Differ != 1 || out[0].Sent+out[1].Sent > 0 {
			t.Fatalf("dry run: %+v, %v", out, err)
		}
		if _, has := a.holds("0001", at); has {
			t.Fatal("a dry run healed")
		}
		w := httptest.NewRecorder()
		c.RepairHandler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/cluster/repair", nil))
		var answer struct{ With []Repaired }
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || w.Code != http.StatusOK || len(answer.With) != 2 {
			t.Fatalf("%d %s %v", w.Code, w.Body, err)
		}
		if answer.With[0].Sent != 1 || answer.With[0].Fetched+answer.With[1].Fetched < 1 {
			t.Errorf("repaired %+v", answer.With)
		}
		for _, n := range tc.nodes {
			if _, has := n.holds("0001", at); !has {
				t.Errorf("node %d misses 0001", n.id)
			}
			if _, has := n.holds("0002", at); !has {
				t.Errorf("node %d misses 0002", n.id)
			}
		}
		for _, bad := range []string{"?start=x", "?end=-1", "?dry_run=perhaps"} {
			w := httptest.NewRecorder()
			c.RepairHandler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/cluster/repair"+bad, nil))
			if w.Code != http.StatusBadRequest {
				t.Errorf("%s: %d %s", bad, w.Code, w.Body)
			}
		}
	})
}
