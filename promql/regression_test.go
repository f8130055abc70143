package promql_test

import (
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/count-db/count/promql"
)

// TestFoundByGeneratedQueries runs what generated queries have found wrong before,
// on one node and on three.
func TestFoundByGeneratedQueries(t *testing.T) {
	for name, query := range map[string]string{
		"annotations of one text are one":              `rate(g[2m]) + on (instance, mode) rate(g[5m])`,
		"of such annotations the outer one is shown":   `sum by (instance) (rate(increase(g[2m])[5m:1m]))`,
		"histograms alone make no group":               `max by (mode) (h)`,
		"averages of histograms over the wire":         `avg by (mode) (rate(h[2m]))`,
		"a comparison is unique before it filters":     `c_total > on (mode) group_left g{instance="h00"} * 0`,
		"values of one result at different steps":      `g{instance="h00"} > 50 or g{instance="h01"} <= 50`,
		"a subquery of a join has the join's samples":  `avg_over_time((c_total / on (instance, mode) g)[5m:30s])`,
		"a tree does not panic with Prometheus's code": `double_exponential_smoothing((sum(g))[5m:1m], 5, 0.3)`,
		"deviations of huge values on several nodes":   `stddev by (mode) ({__name__!=""})`,
		"limit_ratio keeps the same series everywhere": `limit_ratio(0.4, c_total)`,
		"annotations that depend on a random order":    `changes((limit_ratio by (__name__) (1.5, {instance="h00"}) / on (instance) sum by (instance) (h))[10m:])`,
		"names of a random choice that become equal":   `topk by (nothing) (5, {instance="h00"} @ 2292 == bool time())`,
		"the sign of NaN in histograms":                `-(Inf * h offset -120s unless on (instance) c_total{mode=~"user|io",instance!="h03"})`,
		"annotations of sums in a random order":        `sum by (instance) ({__name__!=""} * 2.5)`,
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(4) {
				rng := rand.New(rand.NewPCG(seed, 77))
				m := generateStore(rng, 3)
				delayed := seed%2 == 1
				reduced, plain := newEngine(t, promql.Options{DelayedNameRemoval: delayed}), newEngine(t, promql.Options{DelayedNameRemoval: delayed, NoReduction: true})
				for _, data := range []promql.Store{m, spread{m, reduced, &atomic.Int64{}}} {
					c := &comparison{t: t, store: m, data: data, label: name, reduced: reduced, plain: plain}
					for range 5 {
						c.run(rng, query)
					}
				}
			}
		})
	}
}
