// Package rest answers the REST queries of the contract: GET
// /query/range/{series}, GET /query/aggregated/{series}, and their POST forms for
// several series and for the documented internal form.
//
// Samples are written as they are read: a long range costs one slab of samples and
// not the whole answer. Aggregates are PromQL's functions over time, evaluated by
// the runner of package partial on windows that end where PromQL's ranges do, so
// that the two agree to the bit; where other nodes have the series of a selector,
// they evaluate it (OverTime).
package rest
