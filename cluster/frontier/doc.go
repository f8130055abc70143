// Package frontier says when one copy is provably complete (invariant C7), so
// that a query can be answered from it alone. It is pure.
//
// Every coordinator numbers what it writes: 1, 2, 3, ... a Stream for each of
// its starts, ring and candidate list. The number travels with the batch, by
// hints too, and a node keeps the numbers of what it stored: a Set a stream.
// Whoever wants to answer alone asks as many other candidates for their sets as
// make W with itself. An acknowledged write is at one of those W, so it is in
// one of the sets; when the node's own sets contain them all, it holds every
// acknowledged write.
//
// Sets begin empty with each start of a node. What a node held before, and the
// numbers that others have and it lacks, it learns from them: whoever has made
// sure that the node holds all that it holds itself (a full comparison of
// digests) says so, and gives its sets along (Ledger.Unite).
package frontier
