// Package wal is the write-ahead log of one node (invariant E1): a batch is
// acknowledged when its record is in a synced log. FORMAT.md has the bytes.
//
// # Group commit
//
// Append copies a record into the pending group and returns; one committer
// goroutine takes the whole group, writes it as one frame and syncs once; all
// that wait for the group go on together. While a sync runs the next group
// fills, so that the number of syncs follows the disk and not the number of
// writers, and a lone writer waits for nothing but its own sync.
//
//	Append ──copy──▶ pending group ──taken whole──▶ frame ──▶ fdatasync ──▶ Tickets
//
// The obvious alternative, a leader among the waiting writers, saves one
// goroutine switch for a lone writer (microseconds beside a sync of some
// hundreds) and makes every failure path and the sync policies other than Always
// harder to see through.
//
// # A failed sync is final
//
// After a failed write or sync nobody knows what is on the disk, and a second
// sync that succeeds proves nothing (the kernel has dropped the dirty pages). So
// the first failure ends the log: every waiting and later Ticket and Append
// returns ErrFailed until the process is started again and the log is replayed.
//
// # Torn tail or gap
//
// A frame says how far the segment was known to be synced when the frame was
// written, its checksum is seeded with the segment's number and its offset, and
// a segment that was left in order ends with an end frame. So replay can tell
// three things apart that look alike: the end of the log (zeros, or stale frames
// of a recycled segment), a torn tail (what a crash left of frames that were
// never acknowledged: cut, with a report), and a gap (something that was synced
// is not there any more: reported, and what lies behind it is still replayed).
package wal
