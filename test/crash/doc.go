// Package crash kills a real process with SIGKILL again and again while clients
// write, overwrite and delete and while it flushes, merges and seals, and holds
// what it answers after each restart against a ledger of what was acknowledged.
//
// What it checks: every acknowledged write and delete is there after the
// restart; a write that was in flight is there or not; nothing else is there; a
// state once seen does not go back; the node is healthy and reports no gap; the
// fsck finds the directory whole, before the restart and in the end. All of it
// for each policy of WAL_SYNC: a killed process loses nothing with any of them.
//
// What it cannot check: a power cut. The kernel survives a kill, so that
// unsynced bytes do, too. Power cuts are simulated on a file system in memory by
// the tests of engine, engine/wal, engine/manifest and engine/file.
package crash
