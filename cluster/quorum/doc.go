// Package quorum counts the answers of candidates: when a write is durable, when
// it can no longer become so, and which owners are owed a copy (invariants C1
// and C6). It is pure: no clock, no I/O, no goroutine.
package quorum
