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
}

func newEngineStats(reg prometheus.Registerer) (*engineStats, error) {
	s := &engineStats{queries: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "count_promql_queries_total",
		Help: "PromQL queries by how they were evaluated: reduced, whole on Prometheus's engine, or whole after a fallback.",
	}, []string{"evaluation"})}
	for _, how := range []string{evaluatedReduced, evaluatedWhole, evaluatedFallback} {
		s.queries.WithLabelValues(how)
	}
	if reg == nil {
		return s, nil
	}
	if err := reg.Register(s.queries); err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	return s, nil
}
