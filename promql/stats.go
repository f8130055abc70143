package promql

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// How a query was evaluated, as the metric names it.
const (
	evaluatedReduced  = "reduced"  // parts by the reduced evaluator
	evaluatedWhole    = "whole"    // by Prometheus's engine: nothing to split off
	evaluatedFallback = "fallback" // by Prometheus's engine, after the reduced evaluator gave up
)

// engineStats are the engine's own metrics.
type engineStats struct {
	queries *prometheus.CounterVec
	seconds *prometheus.HistogramVec
}

func newEngineStats(reg prometheus.Registerer) (*engineStats, error) {
	s := &engineStats{queries: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "count_promql_queries_total",
		Help: "PromQL queries by how they were evaluated: reduced, whole on Prometheus's engine, or whole after a fallback.",
	}, []string{"evaluation"}), seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "count_promql_query_duration_seconds", Help: "Time to evaluate a PromQL query, by how it was evaluated.",
		Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120},
	}, []string{"evaluation"})}
	for _, how := range []string{evaluatedReduced, evaluatedWhole, evaluatedFallback} {
		s.queries.WithLabelValues(how)
		s.seconds.WithLabelValues(how)
	}
	if reg == nil {
		return s, nil
	}
	for _, c := range []prometheus.Collector{s.queries, s.seconds} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return s, nil
}
