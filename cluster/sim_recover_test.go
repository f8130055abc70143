package cluster

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/count-db/count/cluster/membership"
	"github.com/count-db/count/cluster/rebalance"
	"github.com/count-db/count/cluster/ring"
)

// What happens to a cluster that loses a majority for good, as far as anybody knows,
// and what its operator does then. Nodes that were given up may come back (comeBack).
//
// What was acknowledged of series of which so many candidates were lost that nobody
// else may hold it is not expected any more, nor that it stays away: who was given up
// may bring it back. All the rest is expected as ever.

// recoverByForce loses a majority, and has a survivor found the next ring.
func (s *simCluster) recoverByForce() bool {
	left := s.loseMajority()
	if left == nil {
		return false
	}
	s.wait(recoverPatience + time.Duration(s.rng.Int64N(int64(20*time.Second))))
	for began := time.Now(); !s.over(); s.wait(2 * time.Second) {
		s.reap()
		if time.Since(began) > 5*time.Minute {
			s.neverMind()
			break
		}
		n := left[s.rng.IntN(len(left))]
		if n.proc.Load() == nil { // it was killed, too
			s.start(n)
		} else if s.forceThrough(n.proc.Load()) {
			break
		}
	}
	s.giveUp()
	return true
}

// loseMajority ends so many members that no majority is left, and heals the network:
// an operator who gives up members knows that they are dead. It returns those left.
func (s *simCluster) loseMajority() []*simNode {
	r := s.newestRecord()
	if r == nil || !slices.ContainsFunc(s.running(), func(p *simProc) bool { return !isBehind(p.RingRecord(), r) }) {
		return nil // who runs was given up before
	}
	var left []*simNode
	for _, m := range r.Members {
		if n := s.nodes[m.ID-1]; n.proc.Load() != nil {
			left = append(left, n)
		}
	}
	s.rng.Shuffle(len(left), func(i, j int) { left[i], left[j] = left[j], left[i] })
	whole := slices.IndexFunc(left, func(n *simNode) bool { p := n.proc.Load(); return p.topo.Load() != nil && !p.refill.running() })
	if whole < 0 || len(r.Members) == 1 {
		return nil
	}
	left[0], left[whole] = left[whole], left[0]
	most := min(len(r.Members)/2, len(left))
	if s.rng.IntN(3) == 0 {
		most = 1 + s.rng.IntN(most)
	}
	if left = left[:most]; most == 1 && left[0].lossy.Load() {
		return nil // what it has lost would be lost for good, and each answer say so
	}
	s.heal()
	for _, m := range r.Members {
		n := s.nodes[m.ID-1]
		if slices.Contains(left, n) {
			continue
		}
		s.note("node %d is lost for good", n.id)
		n.gone.Store(true)
		if n.proc.Load() != nil {
			s.kill(n)
		}
	}
	return left
}

// neverMind has those who were lost come back where nobody could found a ring: what is
// left has lost parts of its disks.
func (s *simCluster) neverMind() {
	s.note("nobody can found a ring: the others are back")
	for _, m := range s.newestRecord().Members {
		if n := s.nodes[m.ID-1]; n.gone.Load() && n.proc.Load() == nil {
			s.start(n)
		}
	}
}

// forceThrough has a node found the next ring; true: there is one.
func (s *simCluster) forceThrough(p *simProc) bool {
	t := p.topo.Load()
	if t == nil || t.record.Member(p.id) == nil {
		return false
	}
	var lost []ring.NodeID // with what they have lost of their disks
	for _, m := range t.record.Members {
		n := s.nodes[m.ID-1]
		if o := n.proc.Load(); n.lossy.Load() || o != nil && o.refill.running() {
			lost = append(lost, m.ID)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), asked)
	defer cancel()
	out, err := p.Recover(ctx)
	s.note("node %d founds a ring by force: %+v, %v", p.id, out, err)
	if errors.Is(err, rebalance.ErrRefused) && !p.dead.Load() {
		return s.hasMajority(p) // of a ring that one has founded who died at it
	}
	// Also where it failed: the ring may be in force at others.
	lost = append(lost, out.Lost...)
	for _, m := range t.record.Members {
		if o := s.nodes[m.ID-1].proc.Load(); o == nil || o.dead.Load() {
			lost = append(lost, m.ID)
		}
	}
	s.unsure(func(name string) bool { return t.lists[t.ring.ListOf(tokenOf(name))].MayMiss(lost) })
	return err == nil && !p.dead.Load()
}

// hasMajority says whether no member that was given up is needed by a node's ring.
func (s *simCluster) hasMajority(p *simProc) bool {
	r := p.RingRecord()
	up := 0
	for _, m := range r.Members {
		if !s.nodes[m.ID-1].gone.Load() {
			up++
		}
	}
	return 2*up > len(r.Members)
}

// giveUp has everybody who is not in the newest ring be one that was given up.
func (s *simCluster) giveUp() {
	r := s.newestRecord()
	for _, n := range s.nodes {
		if n.proc.Load() == nil && r != nil && r.Member(n.id) == nil && s.recordOn(n) != nil {
			n.gone.Store(true)
		}
	}
}

// allMetSince says whether everybody who counts has met the newest ring: two that were
// given up must not meet each other first, of whom each would take the other for a
// member.
func (s *simCluster) allMetSince() bool {
	newest := s.newestRecord()
	return newest != nil && !slices.ContainsFunc(s.nodes, func(n *simNode) bool {
		r := s.recordOn(n)
		return !n.gone.Load() && r != nil && isBehind(r, newest)
	})
}

// isBehind says whether a ring was founded by force since one.
func isBehind(r, newest *membership.RingRecord) bool {
	return r == nil || r.Number+forcedStep/2 < newest.Number
}

// founderIsMember says whether one of the founders is a member of the newest ring.
func (s *simCluster) founderIsMember() bool {
	r := s.newestRecord()
	return r == nil || slices.ContainsFunc(r.Members, func(m membership.RingMember) bool { return int(m.ID) <= len(s.seeds) })
}

// newestRecord returns the newest ring that a node has which is not gone.
func (s *simCluster) newestRecord() (newest *membership.RingRecord) {
	for _, n := range s.nodes {
		if r := s.recordOn(n); !n.gone.Load() && r != nil && (newest == nil || r.Number > newest.Number) {
			newest = r
		}
	}
	return newest
}
