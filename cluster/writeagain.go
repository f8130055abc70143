package cluster

import (
	"context"
	"slices"

	"github.com/count-db/count/cluster/quorum"
	"github.com/count-db/count/cluster/ring"
	"github.com/count-db/count/cluster/transport"
)

// askedCopy is what one node is asked for.
type askedCopy struct {
	id   ring.NodeID
	role quorum.Role
}

// writesAgain are the nodes that have forgotten a series since its labels were sent to
// them: nobody wrote it for long, so most of its owners forget it in the same hour. They
// are asked once more within the write, and get the labels with it.
type writesAgain struct {
	due  []askedCopy
	done []askedCopy
}

// note notes a node's answer.
func (a *writesAgain) note(id ring.NodeID, role quorum.Role, err error) {
	c := askedCopy{id, role}
	if transport.CodeOf(err) == transport.CodeUnknown && !slices.Contains(a.done, c) {
		a.due, a.done = append(a.due, c), append(a.done, c)
	}
}

// take returns those to ask now, and has the tracker forget that they failed.
func (a *writesAgain) take(t *quorum.Tracker) (out []askedCopy) {
	if len(a.due) == 0 {
		return nil
	}
	t.Again(func(id ring.NodeID, role quorum.Role, _ error) bool {
		c := askedCopy{id, role}
		if !slices.Contains(a.due, c) {
			return false
		}
		if !slices.Contains(out, c) {
			out = append(out, c)
		}
		return true
	})
	a.due = nil
	return out
}

func (w *write) sendCopies(ctx context.Context, all []askedCopy) {
	for _, c := range all {
		w.send(ctx, c.id, c.role)
	}
}
