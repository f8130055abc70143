// Package rebalance knows how one ring leads to the next (invariant C3): which
// change is possible, who copies what from whom, and when the change may end. It
// is pure but for the Throttle's clock, which callers bring.
//
// A change is two rings, each agreed on (C2, package agree):
//
//	              Change                    everybody copied
//	settled n ──────────────▶ dual n+1 ──────────────────────▶ settled n+2
//	    ▲                        │
//	    └──── settled n+2 ◀──────┘ Abort: the members of n again
//
// In the dual ring a write needs W of the old and W of the new candidates, and
// so does a read. The dual ring itself goes through these stages, which follow
// from what its members report and are kept nowhere:
//
//	        W old candidates of each       each new candidate has merged
//	        range refuse ring n            its ranges from W such ones
//	Spreading ─────────────────▶ Copying ─────────────────────────▶ Ready
//
// What a node has copied is durable there, so a change goes on where it was when
// any node dies and comes back. Any voter may propose the end: the agreement lets
// one through, and all of them would propose the same.
//
// A ring founded by force is such a dual ring, too, and cannot be taken back: of its
// ring before only what survived counts (ring.Survived), and it does not end before
// survivors on new disks are filled.
package rebalance
