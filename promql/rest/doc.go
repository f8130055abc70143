// Package rest answers the REST queries of the contract: GET
// /query/range/{series}, GET /query/aggregated/{series}, and their POST forms for
// several series and for the documented internal form.
//
// Results are written by hand as they are read: a long range costs one slab of
// samples and not the whole answer.
package rest
