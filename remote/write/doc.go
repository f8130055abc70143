// Package write receives Prometheus remote write 1.0 and 2.0
// (https://prometheus.io/docs/specs/prw/remote_write_spec/ and
// .../remote_write_spec_2_0/).
//
// The generated protobuf code allocates each label of each sample anew, which
// alone costs more than storing the sample. So the wire is walked here by own
// code: for a series seen before, the bytes of its labels are compared with
// those remembered (internal/seriescache) and never parsed; its samples go
// straight into a model.Batch. Histograms, exemplars and metadata, which are
// rare, are left to the generated types. A version 2.0 request names labels by
// references into a table of symbols; the version 1.0 bytes are assembled from
// it, so that both versions share what is remembered.
//
// A request is decoded whole before anything of it is stored. What is
// malformed as protobuf is refused whole; a series or sample that may not be
// stored is left out, named in the answer (400) and counted, and the valid
// rest is stored. Only what can succeed later gets a 5xx: senders drop for good
// what gets a 4xx, and send again what gets a 5xx, which is harmless here
// because storing a sample twice is storing it once.
package write
