// Package partial is the reduced evaluator: it computes aggregation(per-series
// expression) in one streaming pass over the columns of each series, and yields
// states that merge in any order, so that data nodes can compute their share.
//
// A Program is compiled from a node of a query's tree (Compile); what it does not
// understand is left to Prometheus's engine. A Runner runs it over a selection of
// series on several cores: the timestamps of series that share them are looked at
// once (bounds), each value is read once. The results of single series are bit
// for bit those of Prometheus's engine; sums over series are compensated, as
// there, and differ at most in the order of additions.
//
// Windows of native histograms go through Prometheus's own functions. Where they
// are not computed here, as in subqueries, a Runner that meets one returns
// ErrFallback, and the query runs whole on Prometheus's engine.
//
// A Tree joins the results of several programs: operators between vectors and what
// lies above them.
package partial
