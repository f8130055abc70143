// Package memnet is a network in memory for tests: hosts listen and dial by
// address, and links between hosts can be cut, in one direction or both, and
// delayed. Like TCP, a cut link loses nothing that was written: bytes wait and
// arrive when the link is healed, unless an end was closed meanwhile. Dialing
// over a cut link waits until it is healed or the context ends.
//
// Everything blocks on condition variables and channels only, so that it works
// inside testing/synctest, where Delay runs on virtual time.
package memnet
