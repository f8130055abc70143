// Package hints keeps what other nodes are owed (invariant C6): batches and
// deletes that an owner has not confirmed. The samples themselves are in this
// node's ordinary storage as well; a hint is the durable record that they are
// still to be handed over.
//
// Each node that is owed something has a directory of segments, written one
// after the other and handed over in that order; a segment is removed when all
// of it was taken. Handing over twice changes nothing (V1), so nothing else is
// kept about progress. FORMAT.md beside this file is the form of a segment.
//
// The store is bounded: a segment over the limit is not begun, and what does not
// fit is counted and left to the comparison of digests, never refused.
package hints
