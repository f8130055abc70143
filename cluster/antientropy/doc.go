// Package antientropy decides what to compare with whom, and what follows from
// digests that differ. It is pure: callers bring clock, digests and network.
//
// A comparison has two levels. Digests of ranges of time and lists of candidates
// come first (Differ); where they differ, digests of single series (Series); and
// only series that differ are exchanged, with versions and tombstones, and merged
// by V1, after which both sides hold the same.
//
// What is compared when (Schedule): every range of time is due again a period
// after it was last found equal, with each member by itself. The period depends
// on the age of the range:
//
//	newest hours    written to all the time    hourly   (every minute what was written to; cluster/newest.go)
//	older days      late writes, lost hints    daily
//	the rest        bits that rot              a slow cycle that reads it all back
//
// The most overdue range comes first, so a node that was away, or a budget that
// is too small, delays everything alike and loses nothing: the age of the oldest
// unverified range (Oldest) is what an operator watches.
package antientropy
