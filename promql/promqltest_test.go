package promql_test

import (
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/storage"

	"github.com/count-db/count/promql"
	"github.com/count-db/count/promql/promtest"
)

// TestPrometheusScriptsReduced runs all of Prometheus's own PromQL scripts with
// the reduced evaluator on, with the settings of Prometheus's own run.
func TestPrometheusScriptsReduced(t *testing.T) {
	e := newEngine(t, promql.Options{
		Timeout: 100 * time.Second, MaxSamples: promqltest.DefaultMaxSamplesPerQuery,
		DelayedNameRemoval: true, UseStartTimestamps: true,
	})
	promqltest.RunBuiltinTestsWithStorage(t, e, func(testing.TB) storage.Storage {
		s, _ := promtest.NewMemory()
		return s
	})
}
