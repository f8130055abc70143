// Package membership knows who belongs to the cluster and who can be seen.
//
//   - View (pure): every node this one has heard of, what it is doing, and
//     whether a majority of the ring's members is in sight (invariant C4).
//   - Found (pure): when the founders may make ring 1 (C2).
//   - RefillReason (pure): when a node has lost data and counts for nothing until
//     it has merged it back (C5).
//   - State: what survives a restart, in the file cluster.state (FORMAT.md).
//   - Gossip: hashicorp/memberlist over the one HTTP port. It spreads addresses
//     and hints about liveness; it never moves ownership.
//
// The states of a node:
//
//	           in a ring         asked to go
//	Joining ──────────────▶ Active ──────▶ Leaving ──────▶ Left
//	                        │    ▲
//	 silent FAILURE_TIMEOUT ▼    │ heard again
//	                        Failed
package membership
