// Package promql answers queries. It knows nothing of nodes: the data is a
// Store, which the local engine and the cluster implement.
//
// The life of a query: package rest (or the HTTP API v1 of package remote) hands
// it to Engine. Prometheus's own engine parses and prepares it over the adapter of
// package prom, which shows a Store as storage.Queryable. Package plan then splits
// off the sub-expressions that package partial computes where the data lies (the
// parts) and leaves a placeholder selector for each; Prometheus's engine runs the
// remainder and, when it comes to a placeholder, is given the part's result as
// series sampled at the steps of the query (partQuerier). A Store whose series lie
// on other nodes implements PartialRunner: it sends a Fragment, the text of the
// query and a node of its tree, to the nodes that have the series, each of which
// answers by RunFragment with partial states, and merges those.
//
// What is split off: all aggregations over an expression that treats each series
// alone (a selector, a function over a range or a subquery, functions of one value,
// arithmetic and comparisons with scalars), functions over ranges that stand alone,
// and trees: operators between vectors of such parts, with further aggregations,
// functions and subqueries over them, which are computed where the results of the
// parts come together. A query that is one part or tree alone gets its result
// straight from there; the engine still counts, times and ends it. What the planner
// does not understand stays with Prometheus's engine. What the data turns
// out to hold and the reduced evaluator does not compute (partial.ErrFallback)
// makes the whole query run there again, so that no answer differs: the results of
// single series agree to the bit, and so do errors, warnings and counts of
// samples; sums over series may differ in the order of additions.
//
// Where the data lies, what a part came to is kept by blocks of steps (Cache)
// and used again while the storage says that nothing has changed in the range of
// time that a step looks at (store.Tracked): exact, whoever writes.
//
// Sub-packages, low to high: store (the interfaces to the data), prom (adapters),
// partial (mergeable states and the runner), plan (pure planner), rest (GET and
// POST /query/range and /query/aggregated), memstore and promtest (for tests).
package promql
