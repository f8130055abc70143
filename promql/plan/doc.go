// Package plan splits a query into the sub-expressions that the reduced evaluator
// computes (parts) and the remainder, which Prometheus's engine runs with a
// placeholder selector for each part. It is pure: a tree in, a tree and parts
// out.
//
// One rewrite per file: rule_aggregate.go takes aggregations over per-series
// expressions, rule_series.go functions over ranges that stand alone, rule_tree.go
// operators between vectors, rule_invariant.go enters what is evaluated once for all steps, and guard.go
// says where a placeholder must not stand.
package plan
