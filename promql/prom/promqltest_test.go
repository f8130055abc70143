package prom_test

import (
	"testing"

	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/storage"

	"github.com/count-db/count/promql/promtest"
)

// TestPrometheusScripts runs all of Prometheus's own PromQL scripts over the
// adapter.
func TestPrometheusScripts(t *testing.T) {
	engine := promqltest.NewTestEngine(t, false, 0, promqltest.DefaultMaxSamplesPerQuery)
	promqltest.RunBuiltinTestsWithStorage(t, engine, func(testing.TB) storage.Storage {
		s, _ := promtest.NewMemory()
		return s
	})
}
