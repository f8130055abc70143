// Package invariants checks in test builds (-tags invariants, and every build
// with the race detector) what must hold by design. The messages begin with the
// invariant's number (E3, C7) of docs/architecture.md, so that one grep finds
// the rule, the check and the proof. In other builds the checks cost nothing:
// what may be wrong because of input, a disk or a peer is not checked here but
// returned as an error.
package invariants
