package cluster

import (
	"context"
	"errors"
	"time"

	"github.com/count-db/count/cluster/quorum"
	"github.com/count-db/count/cluster/ring"
	"github.com/count-db/count/cluster/transport"
)

// ringPatience is how long a request waits for the ring that another node has
// and this one has not, or the other way round, before it tries again.
const ringPatience = 50 * time.Millisecond

// errOtherRing ends what goes by the lists of a ring when another comes into
// force.
var errOtherRing = errors.New("the ring changed meanwhile")

// isOtherRing says whether a node refused a request because it has another ring
// in force.
func isOtherRing(err error) bool {
	code := transport.CodeOf(err)
	return code == transport.CodeOldRing || code == transport.CodeNewRing
}

// awaitRing returns when a ring other than that of t is in force, or after a
// moment; false when the request is over.
func (c *Cluster) awaitRing(ctx context.Context, t *topology) bool {
	tick := time.NewTicker(ringPatience / 10)
	defer tick.Stop()
	for began := time.Now(); time.Since(began) < ringPatience && c.topo.Load() == t; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		case <-c.ctx.Done():
			return false
		}
	}
	return ctx.Err() == nil
}

// hasMoved says whether the ring of t is over, after a moment where a change is
// under way: what cannot be done by it may be by the next. A node that leaves is
// gone as soon as the ring without it is in force, with what it was asked by the
// one before.
func (c *Cluster) hasMoved(ctx context.Context, t *topology) bool {
	if t.ring.Changing() && !c.awaitRing(ctx, t) {
		return false
	}
	return c.topo.Load() != t && ctx.Err() == nil
}

// reopen asks all members anew when some go by another ring, or too few have
// answered by one that is over: nothing of the answer was handed out yet.
func (s *Set) reopen() bool {
	if !s.repairing || s.headed || s.asked.share != nil {
		return false
	}
	switch {
	case s.otherRing():
		if !s.c.awaitRing(s.parent, s.answers.t) {
			return false
		}
	case s.answers.complete() || !s.c.hasMoved(s.parent, s.answers.t):
		return false
	}
	s.cancel()
	for _, src := range s.sources {
		src.close()
	}
	t := s.c.topo.Load()
	s.asked.ring = t.ring.Number()
	var nodes []ring.NodeID
	s.answers, nodes = answersOf(t, quorum.LevelFrom(s.parent), s.only)
	s.sources = nil
	if s.err = s.ask(nodes); s.err != nil {
		return false
	}
	return true
}

// otherRing says whether a member has a newer ring, or so many have an older one
// that the answer is not complete.
func (s *Set) otherRing() bool {
	behind := false
	for _, src := range s.sources {
		if src.err == nil || !isOtherRing(src.err) {
			continue
		}
		s.c.noteRing(src.err)
		if transport.CodeOf(src.err) == transport.CodeOldRing {
			return true
		}
		behind = true
	}
	return behind && !s.answers.complete()
}

func memberIDs(t *topology) []ring.NodeID {
	var out []ring.NodeID
	for _, m := range t.ring.Members() {
		out = append(out, m.ID)
	}
	return out
}
