// Package promql answers queries. It knows nothing of nodes: the data is a
// Store, which the local engine and the cluster implement.
//
// The life of a query: package rest (or the HTTP API v1 of package remote) hands
// it to Engine. Engine is Prometheus's own engine over the adapter of package
// prom, which shows a Store as storage.Queryable; with the reduced evaluator on,
// package plan first splits off the sub-expressions that package partial can
// compute where the data lies, and Prometheus's engine runs the remainder over
// their results. Whatever the planner does not understand falls back whole.
//
// Sub-packages, low to high: store (the interfaces to the data), prom (adapters),
// partial (mergeable states and the runner), plan (pure planner), rest (GET and
// POST /query/range and /query/aggregated), memstore (a Store for tests).
package promql
