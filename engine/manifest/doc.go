// Package manifest keeps the one file that says which data files are live
// (invariant E2), from where on the log counts, and what else must change in the
// same instant. A data file is first made durable, then named here, then seen;
// it is first taken out here, then removed: a crash in between leaves an orphan,
// which the next Open removes.
//
// The manifest is written whole each time (a live set is a few kilobytes) and
// replaced by a rename: after a crash the old state is there or the new one. When
// the write fails nobody knows which, so a failed Update is final, as a failed
// sync of the log is.
//
// FORMAT.md has the bytes.
package manifest
