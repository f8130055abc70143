// Package file holds the data files of one node: immutable files of series
// records, each the encoded chunks of one series, with columns of timestamps,
// start timestamps and versions that are stored once for all series that share
// them, a table of the series, and checksums over everything (E3).
//
// Three kinds use the one format (FORMAT.md): wide files, which flushes write
// and whose merges copy chunk bytes or join chunks; sealed files of one two-hour
// window, whose chunks are in their smallest form; and day files, to which
// package day adds an index of labels.
//
// A Writer takes series in the order in which they shall lie (by labels, so
// that the series of one metric are neighbours) and is given an io.Writer;
// Create gives it a file by the rules of E2. A Reader opens a file once and is
// safe for concurrent use; each goroutine reads through a Cursor, with pread
// into the cursor's buffer.
package file
