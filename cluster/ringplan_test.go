package cluster

import (
	"encoding/json"
	"math"
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestWhatAChangeWouldMove: with three copies over three nodes a fourth takes
// three quarters of everything, and nothing is changed by asking.
func TestWhatAChangeWouldMove(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 3, 3, func(o *Options) { o.DataSize = func() int64 { return 1000 } })
		tc.ready()
		ask := func(query string) (int, ringView) {
			w := httptest.NewRecorder()
			tc.nodes[0].RingHandler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/cluster/ring"+query, nil))
			var v ringView
			if w.Code == http.StatusOK {
				if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
					t.Fatalf("%s: %v", w.Body, err)
				}
			}
			return w.Code, v
		}
		code, v := ask("?join=4")
		if code != http.StatusOK || v.Plan == nil || len(v.Plan.Nodes) != 4 || v.Plan.Change != "join of node 4" {
			t.Fatalf("%d %+v", code, v.Plan)
		}
		sum := 0.0
		for _, n := range v.Plan.Nodes {
			sum += n.After
			if math.Abs(n.After-0.75) > 0.1 || n.ID == 4 && (math.Abs(n.Copies-n.After) > 1e-9 || n.Before != 0) || n.ID < 4 && (n.Copies != 0 || math.Abs(n.Before-1) > 1e-9) {
				t.Errorf("%+v", n)
			}
		}
		if math.Abs(sum-3) > 1e-9 || math.Abs(float64(v.Plan.Bytes)-1000*v.Plan.Share) > 1 {
			t.Errorf("shares add up to %v; plan %+v", sum, v.Plan)
		}
		if code, v = ask("?leave=3"); code != http.StatusOK || v.Plan == nil || v.Plan.Share != 0 {
			t.Errorf("leave: %d %+v", code, v.Plan) // the other two have everything
		}
		for query, want := range map[string]int{"?join=3": http.StatusConflict, "?leave=9": http.StatusConflict, "?join=x": http.StatusBadRequest, "?leave=0": http.StatusBadRequest, "": http.StatusOK} {
			if code, v := ask(query); code != want || v.Plan != nil {
				t.Errorf("%q: %d %+v, want %d", query, code, v.Plan, want)
			}
		}
	})
}
