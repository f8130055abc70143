package promql_test

import (
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/count-db/count/promql"
	"github.com/count-db/count/promql/rest"
)

// TestAggregatesOfThreeNodes: what three nodes evaluate of POST /query/aggregated
// is, byte for byte, what one node answers.
func TestAggregatesOfThreeNodes(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	m := generateStore(rng, 5)
	m.NoRandomAccess = false
	e := newEngine(t, promql.Options{})
	var runs atomic.Int64
	nodes := spread{m, e, &runs}
	if e.OverTime(m) != nil {
		t.Error("a store that runs no parts is asked to")
	}
	apart := rest.New(nodes, e.Parser(), rest.Options{OverTime: e.OverTime(nodes)})
	alone := rest.New(m, e.Parser(), rest.Options{})
	ask := func(h *rest.Handler, body string) string {
		w := httptest.NewRecorder()
		h.PostAggregated(w, httptest.NewRequest("POST", "/query/aggregated", strings.NewReader(body)))
		return fmt.Sprint(w.Code, " ", w.Body)
	}
	for range 60 {
		start := rng.Int64N(4_000_000)
		body := fmt.Sprintf(`{"series":["{instance=~\"h0[0-2]\",mode=\"idle\"}","c_total","{__name__=\"%s\"}"],"start":%d,"end":%d,"aggregation":"%s"`,
			[]string{"g", "h", "odd", "mixed", `it's \\\\ odd`}[rng.IntN(5)], start, start+rng.Int64N(1_000_000), []string{"sum", "avg", "min", "max", "count"}[rng.IntN(5)])
		if rng.IntN(3) > 0 {
			body += fmt.Sprintf(`,"step":%d`, 100+rng.IntN(400_000))
		}
		body += "}"
		got, want := ask(apart, body), ask(alone, body)
		if got != want || !strings.HasPrefix(want, "200 ") {
			t.Fatalf("%s\n got %.1000s\nwant %.1000s", body, got, want)
		}
	}
	if runs.Load() < 60 {
		t.Errorf("only %d parts were evaluated apart", runs.Load())
	}
}
