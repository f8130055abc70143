package compat

import (
	"context"
	"errors"
	"testing"
	"time"

	prompromql "github.com/prometheus/prometheus/promql"

	"github.com/count-db/count/promql"
	"github.com/count-db/count/promql/prom"
)

// TestLimitsOnNodes: what a query may hold is bounded for all nodes together as on
// one: a query that is refused there is refused through every node of a cluster,
// and one that is not is answered.
func TestLimitsOnNodes(t *testing.T) {
	if testing.Short() {
		t.Skip("founds clusters")
	}
	for _, c := range []struct{ nodes, rf int }{{3, 2}, {3, 3}} {
		s := newSpreadCluster(t, c.nodes, c.rf, 1)
		s.scrape(20, 0, 1, 2)
		s.compareAll(0, 1, 2) // every copy is proved
		refused := 0
		for _, limit := range []int{1, 10, 100, 300, 600, 1000, 3000, 100_000} {
			e, err := promql.New(promql.Options{MaxSamples: limit})
			if err != nil {
				t.Fatal(err)
			}
			for _, query := range []string{
				`{__name__!=""}`, `c_total`, `sum(g)`, `rate(c_total[2m])`, `g * on (host, mode) c_total`, `g and on () c_total`, `topk(3, g)`,
				`max_over_time(g[5m])`, `label_replace(g, "x", "$1", "host", "h(.*)")`, `quantile(0.9, g)`, `sum_over_time(g[2m])`, `count by (__name__) ({__name__!=""})`,
			} {
				run := func(store promql.Store) error {
					q, err := e.NewRangeQuery(context.Background(), prom.New(store), nil, query, time.UnixMilli(s.begin), time.UnixMilli(s.now), 15*time.Second)
					if err != nil {
						return err
					}
					defer q.Close()
					return q.Exec(context.Background()).Err
				}
				var wanted, tooMany prompromql.ErrTooManySamples
				want := errors.As(run(s.truth), &wanted)
				if want {
					refused++
				}
				for i, store := range s.stores {
					if err := run(store); errors.As(err, &tooMany) != want || !want && err != nil {
						t.Errorf("%d nodes, rf %d, limit %d: %s through node %d: %v, on one node refused %v", c.nodes, c.rf, limit, query, i+1, err, want)
					}
				}
			}
			if err := e.Close(); err != nil {
				t.Error(err)
			}
		}
		if refused < 20 || refused > 80 {
			t.Errorf("%d of 96 queries were refused", refused)
		}
	}
}
