// Package ring says which nodes hold which series. It is pure: no clock, no
// I/O, no goroutine; a Ring never changes once it is made.
//
// The ring is the circle of 64-bit positions. Each node has VirtualNodes tokens
// on it: the first 8 bytes, big-endian, of SHA-256("<node id>-<virtual node>").
// The position of a series is the first 8 bytes of its SeriesID. Going clockwise
// (upwards, then around) from that position, a token at the position itself
// included:
//
//   - the owners are the first RF distinct nodes, in distinct zones as long as
//     there are zones left that hold none;
//   - the candidates (invariant C1) are the owners, then the next distinct
//     nodes, 2W-1 in all, as many as exist. W = RF/2+1 of the RF capped by the
//     ring's members. Any W candidates acknowledge a write and any W complete a
//     read, so every two quorums share a node.
//
// A bucket is the range of positions between two neighbouring tokens: all series
// of a bucket have the same candidates. Buckets with the same owners and the
// same stand-ins share one List, so that a write groups its samples by a small
// number.
package ring
