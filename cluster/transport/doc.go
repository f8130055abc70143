// Package transport carries calls between nodes over the one HTTP port: a
// connection begins as an HTTP request that is upgraded (NOTE: HTTP/1.1, which
// alone can be hijacked) and then carries frames in both directions. FORMAT.md
// beside this file is the protocol.
//
//   - Many requests share a connection; an answer may be one frame or a stream
//     with credit, so that a slow reader holds back only its own stream.
//   - Samples name series by the sender's references. The first batch on a
//     connection that names a series brings its labels along.
//   - Whoever sends never blocks on the network: frames wait in a bounded buffer
//     that one goroutine writes, and what does not fit is refused at once.
//   - A node that does not answer is noticed by its missing answers (Silence),
//     long before gossip says anything.
//
// The package knows nothing of rings or quorums: a Handler gives the answers.
package transport
