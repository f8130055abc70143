// Package compat runs Prometheus's own test suites over Count's storage.
//
// Checked: every built-in PromQL script, on Prometheus's engine and on the
// reduced evaluator, over the storage with its data in the buffer and with its
// data flushed to files. Not checked here: the HTTP layer (test/e2e).
package compat
