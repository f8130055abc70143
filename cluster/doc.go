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
// # Which file does what
//
// The cluster itself: cluster.go (the parts of a node and their start and end),
// options.go, timing.go (periods), errors.go, local.go (what it wants of the node's
// storage and clock), stats.go (metrics), status.go (/cluster/status and /health).
//
// Who is there: members.go (meeting, first ring, majority), gossiping.go (failure
// detection), peers.go (connections).
//
// Writes: write.go, writeagain.go (owners that have forgotten a series),
// placement.go (the ring in force and the candidates of each series), otherring.go
// (a request that the ring moves under), copies.go (what a client is told of durable
// copies), delete.go.
//
// Hints (C6): handover.go writes and pays them.
//
// Reads: read.go, asking.go (who has answered and who is still needed), select.go
// (the answer of one node), standing.go (whether it counts, and lacks what is lost for
// good), labels.go (names, values and exemplars), readrepair.go.
//
// Queries computed at owners: spreading.go (which node computes for which series),
// fragments.go (a part of a query on the wire), share.go (a part of all series),
// explain.go.
//
// Complete copies (C7): complete.go, vouching.go.
//
// Agreeing on a ring (C2): founding.go, agreeing.go, voting.go (when a node votes, and
// that one on an older copy of its disk has no vote), recover.go (by an operator's word
// when a majority is lost), strangers.go (seeds of another cluster).
//
// Changing it (C3): changing.go (joining, and leading a change to its end),
// leaving.go, copying.go (ranges to their new owners), pausing.go (pause, progress
// and time left), parting.go (what is forgotten of who left), shedding.go (dropping
// what moved away), ringplan.go (what a change would move).
//
// Refilling (C5): refill.go, marking.go (telling an older disk from the last one),
// refillmeter.go (progress and time
// left), intake.go (storing what is copied within its share, also for joins).
//
// Anti-entropy: newest.go (the newest minutes, every few seconds), changes.go (what
// was written to and is due), cut.go (how far a comparison goes), digest.go (comparing
// and sending what differs),
// windowdigest.go (digests of windows), seriesdigest.go (the second level), verify.go
// (the cycle over everything, and repair by command), versions.go (what is sent, as
// batches), pace.go (the share of a core).
//
// Forgetting versions (V4): settling.go, floors.go, baseline.go (versions for what a
// node alone stored without).
//
// HTTP: http.go, changehttp.go and ringhttp.go are the requests of people, serve.go
// those of other nodes.
package cluster
