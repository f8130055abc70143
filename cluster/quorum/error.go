package quorum

import (
	"fmt"
	"strings"

	"github.com/count-db/count/cluster/ring"
)

// NodeError is what one node's copy failed with.
type NodeError struct {
	Node ring.NodeID
	Err  error
}

// Error says that fewer candidates answered than are needed. The write may be
// retried as it is: any part of it may be stored.
type Error struct {
	Need   int         // W
	Acked  int         // how many did
	Failed []NodeError // who did not and why, as far as known
}

// Error names the numbers and the culprits.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "too few copies: need %d, acked %d", e.Need, e.Acked)
	for i, f := range e.Failed {
		if i == 0 {
			b.WriteString(" (")
		} else {
			b.WriteString("; ")
		}
		fmt.Fprintf(&b, "node %d: %v", f.Node, f.Err)
	}
	if len(e.Failed) > 0 {
		b.WriteByte(')')
	}
	return b.String()
}

// Unwrap returns the causes, so that errors.Is finds them.
func (e *Error) Unwrap() []error {
	out := make([]error, 0, len(e.Failed))
	for _, f := range e.Failed {
		out = append(out, f.Err)
	}
	return out
}
