// Package cluster makes many nodes one: it knows nothing of storage formats or
// PromQL and stands on a Local, this node's storage, and on its sub-packages,
// which decide and know of no goroutine or disk where that can be: ring (who
// holds what), quorum (how many copies are enough), membership (who is there),
// transport (how nodes talk), merge (which copy wins), hints (who is owed what),
// frontier (when one copy is enough), antientropy (what to compare), agree and
// rebalance (how the ring changes), settle (when versions may be forgotten) and
// spread (who computes which part of a query).
//
// Life of a write (write.go): the samples are grouped by candidates (C1),
// stamped with a version of the coordinator's clock (V1) and sent to all owners
// at once. W confirmations make it durable. A replica that has seen a higher
// version of a series answers stale, and the coordinator stamps the batch anew
// (V2). Owners that have not confirmed by the deadline are owed the batch by a
// hint at a candidate that has it (C6); at RF 2 a stand-in takes the place of a
// silent owner.
//
// Life of a read (read.go): all members are asked at once; W candidates of every
// series complete the answer, the others get a short grace. The copies are
// merged by V1, tombstones applied (V3), and what a copy missed is sent to it
// (readrepair.go).
//
// One copy is enough when it is provably complete (C7, complete.go): batches are
// numbered, nodes keep the numbers of what they stored, and an owner of
// everything whose numbers contain those of W-1 others answers alone.
//
// The minority rule (C4): without more than half of the ring's members in sight
// writes are refused at once and reads are marked.
//
// A node that lost data refills (C5, refill.go): it takes writes, but counts for
// no read until it has merged what it lost from W other candidates.
//
// Where to look, besides these: founding.go, agreeing.go, changing.go, copying.go
// and parting.go lead from one ring to the next (C2, C3), and shedding.go drops
// what a node no longer owns; handover.go pays what hints say; digest.go,
// windowdigest.go, seriesdigest.go and verify.go compare copies, settling.go and
// floors.go forget versions (V4); complete.go and vouching.go prove copies, and
// spreading.go and fragments.go compute queries at owners (C7). members.go and
// gossiping.go know who is there; http.go, changehttp.go and ringhttp.go are the
// requests of people, serve.go those of other nodes.
package cluster
