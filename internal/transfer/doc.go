// Package transfer is the client's side of import and export: it sends samples
// to a node by remote write 2.0, reads them by remote read in streamed chunks,
// and waits where the node asks for it. What it holds in memory is bounded by
// its batches and frames, not by the data.
package transfer
