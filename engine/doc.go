// Package engine is the storage of one node: it makes batches of samples
// durable, keeps them small, and reads them back merged. It knows nothing of
// other nodes, of HTTP or of PromQL.
//
// A write (append.go) is one record of the log, shared with other writers in
// one fdatasync, and one pass over the buffer. A flush (flush.go) turns the
// buffer into one wide file and cuts the log. A window of two hours whose end
// is far enough behind the clock is sealed (rewrite.go): re-encoded once into its
// smallest form. Twelve sealed windows become a day with its own index.
// Retention (retention.go) drops whole days. A read (select.go, merge.go) works
// on one atomic snapshot of files, frozen buffer, active buffer and tombstones.
// Opening (recover.go) is manifest, files, registry, log.
//
// Decisions about which files to merge, seal and drop are pure and live in
// engine/plan. The parts, low to high: column (codecs), version (the merge
// rule), registry (series), wal (log), buffer, file and day (files on disk),
// manifest (the live set).
//
// Invariants held here (docs/architecture.md): V1 to V3, E1 to E4.
package engine
