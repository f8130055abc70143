// Package headroom ends queries before their memory ends the process. QUERY_MAX_SAMPLES
// bounds one query; this bounds what all of them and everything else hold
// together, by what the Go runtime says of its heap, whatever holds it: samples,
// labels, answers that are being encoded, other nodes' parts of queries.
package headroom
