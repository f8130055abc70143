// Package settle decides when old data is settled (V4): when every member may
// forget which version each of its samples had, and the deletes that came before.
// It is pure: callers bring clock, disk, digests and network.
//
// The floor is one version F for the whole cluster: everything at or below it is
// settled. From then on each sample and each absence of one counts as written at
// F, so a copy that comes from anywhere with a version below F is dropped, and
// one at F is a settled sample that this node has lost. (The design has a floor
// for each window and ring bucket; docs/decisions/0009 says why one is enough.)
//
// A round takes all members of a ring that is not changing, none of them
// refilling. Its leader is one of them:
//
//	promise  every member takes no fresh write at or below F any more: they are
//	         stamped anew (V2). Durable, never taken back, needs nothing else.
//	look     every member says what it holds at or below F (digests without
//	         versions, by list of candidates), which deletes it knows and whether
//	         it owes anything. Only when the owners agree, nobody else holds
//	         anything and all know the same deletes, the round goes on.
//	freeze   every member refuses copies at or below F, durably, until the round
//	         is over, and says again what it holds. This time nothing can change
//	         between the answers.
//	decide   the leader writes down that F is the floor, then the others do.
//
//	            promise          freeze             decide
//	  marked ───────────▶ marked ───────▶ frozen ─────────────▶ floor = F
//	                         ▲              │
//	                         └──────────────┘ release: the leader did not decide,
//	                                          or another ring came into force
//
// A frozen member that hears nothing asks the leader: one that has not decided
// releases its own freeze first, so it never will. Where the leader is gone for
// good the ring that removes it ends the freeze. Some members may then have the
// floor and some not: as their contents at or below it were equal, and nobody
// has any other, that does no harm, and the next round settles all of them.
//
// A node that lost data, or joins, revokes its floor before it copies anything,
// and removes what it holds below the floors of those it copies from: what it
// has and they have not is gone (Revoke). One that joins at the very floor that
// they have keeps it, and what it holds: it is what was settled.
//
// The search in model_test.go goes through all orders of a small instance.
package settle
