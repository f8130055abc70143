// Package cluster tests whole clusters of real processes: nodes are killed,
// stopped and wiped while clients write, and every answer is checked against a
// ledger of what was acknowledged.
//
// The ledger checks, for keys that each have one client: a complete read shows
// the last write acknowledged before it began or a later one, and nothing that
// was never written. It does not check reads that the cluster marks as possibly
// incomplete, nor when a refused write shows up: both are allowed to vary.
package cluster
