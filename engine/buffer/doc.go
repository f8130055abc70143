// Package buffer holds the samples that are in no file yet: those of the
// current flush epoch. A flush freezes it and begins another.
//
// # Layout
//
// 256 consecutive references share a shard, with a lock and slabs of their own.
// A series has an open chunk at most: samples of one two-hour window, ascending
// in time. Its values are a XOR stream (engine/column) in a chain of small
// pieces of a slab; its timestamps are a range of a timestamp group.
//
//	groups    1: 12:00:00.013  12:00:15.020  12:00:30.011 ...
//	          2: 12:00:04.500  12:00:19.502 ...
//	series    a: group 1, from 0, 3 samples   values 01101..
//	          b: group 1, from 0, 3 samples   values 11100..
//	          c: group 1, from 2, 1 sample    (it was away for two scrapes)
//
// The series of a scrape carry the same timestamps, so the first of them
// extends the group and each other one only finds that the group goes on as it
// does: one comparison with the transition made last. A series whose timestamp
// is another one closes its chunk and goes on elsewhere: further down its group
// when the timestamp is there, else in the group that others went to from the
// same group at that timestamp, else in a new one. So a whole scrape that
// changes its ways, or passes into another window, goes on sharing.
//
// Samples at or before the last of their series are late: they are kept as they
// come, in a list per series, and merged when they are read or flushed. Native
// histograms are kept like that too. Slabs hold no pointers, so the garbage
// collector does not look into them; only histograms are pointers.
//
// # Which sample wins
//
// With Options.Versions each sample has its batch's version and rule V1 holds.
// Without, a later arrival wins. A sample of a chunk always came before a late
// sample or a histogram of the same timestamp, so only these need their order
// noted.
package buffer
