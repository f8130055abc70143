package cluster

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/cluster/membership"
	"github.com/count-db/count/cluster/rebalance"
	"github.com/count-db/count/internal/model"
)

// What operators and the house do to a cluster as a whole.

// powerCut ends all processes at once, so that nobody notices the end of another,
// and starts most of them again.
func (s *simCluster) powerCut() bool {
	procs := s.running()
	s.note("the power is cut")
	for _, p := range procs {
		s.die(p, s.rng)
	}
	s.reap()
	for _, p := range procs {
		if s.rng.IntN(4) > 0 && !p.node.gone.Load() {
			s.start(p.node)
		}
	}
	return len(procs) > 0
}

func (s *simCluster) factor() bool {
	return s.change(rebalance.Request{Kind: rebalance.Copies, RF: s.leastFactor + s.rng.IntN(4-s.leastFactor)})
}

// twoChanges wishes two changes at once, mostly through different nodes.
func (s *simCluster) twoChanges() bool {
	wishes := []func(*simCluster) bool{(*simCluster).factor, (*simCluster).join, (*simCluster).leave, (*simCluster).remove}
	one, other := s.rng.IntN(len(wishes)), s.rng.IntN(len(wishes))
	s.note("two changes at once")
	began := wishes[one](s)
	return wishes[other](s) || began
}

// pauseChange has the copying of the change under way rest or go on.
func (s *simCluster) pauseChange(n *simNode) {
	p, paused := n.proc.Load(), s.rng.IntN(2) == 0
	s.wg.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), asked)
		defer cancel()
		if err := p.PauseChange(ctx, paused); err == nil {
			s.note("node %d has the change rest: %v", p.id, paused)
		}
	})
}

// olderInAChange has members agree on a ring while one is cut off from them. Then one of
// those comes back on a copy of its disk from before, without the one that proposed, and
// the one that was cut off wishes another change.
func (s *simCluster) olderInAChange() bool {
	procs := s.running()
	if len(procs) < 3 {
		return false
	}
	s.rng.Shuffle(len(procs), func(i, j int) { procs[i], procs[j] = procs[j], procs[i] })
	back, proposer, third := procs[0].node, procs[1].node, procs[2].node
	s.note("node %d votes on a change through node %d, without node %d, and goes back to a copy of its disk", back.id, proposer.id, third.id)
	back.older = back.diskNow(s.rng)
	s.stop(back)
	s.start(back)
	s.wait(4 * time.Second)
	s.net.Cut(third.host, back.host)
	s.net.Cut(third.host, proposer.host)
	s.factorThrough(proposer, 1)
	s.wait(2 * time.Second)
	for _, n := range []*simNode{back, proposer} {
		if n.proc.Load() != nil {
			s.kill(n)
		}
	}
	s.heal()
	s.wait(proposing + time.Second)
	if back.proc.Load() == nil && !back.gone.Load() && !back.strange && s.mayLose(back) {
		s.restore(back)
	}
	if back.proc.Load() == nil && !back.gone.Load() {
		s.start(back)
	}
	s.wait(time.Duration(s.rng.Int64N(int64(2 * hearingPatience))))
	s.factorThrough(third, 2)
	s.wait(3 * time.Second)
	return true
}

// factorThrough wishes a replication factor that is larger by so many.
func (s *simCluster) factorThrough(n *simNode, more int) {
	p := n.proc.Load()
	if p == nil {
		return
	}
	if r := p.RingRecord(); r != nil {
		s.changeThrough(p, rebalance.Request{Kind: rebalance.Copies, RF: 3 + (r.RF+more)%3})
	}
}

// stranger starts a node whose disk holds samples that no client of this cluster
// has written. It must never be a member on that disk.
func (s *simCluster) stranger() bool {
	if len(s.nodes) >= simMaxNodes {
		return false
	}
	n := s.add()
	n.strange = true
	var names []labels.Labels
	for i := range simSeries {
		names = append(names, metric(simName(i)))
	}
	if err := n.store.plant(model.VersionAt(s.began.UnixMicro()), names, s.times, -1); err != nil {
		s.fail("node %d gets samples of its own: %v", n.id, err)
	}
	s.note("node %d comes with samples of its own", n.id)
	s.start(n)
	return true
}

// empty gives a stranger an empty disk, as its log tells the operator to.
func (s *simCluster) empty(n *simNode) {
	if n.proc.Load() != nil {
		s.stop(n)
	}
	n.strange = false
	s.newDisk(n)
	n.older = nil
	n.disk = membership.Disk{ID: n.disk.ID + "'"}
	s.note("node %d has an empty disk", n.id)
}

// sameRings checks that nobody has another ring of the same number (C2), and that
// no stranger is a member.
func (s *simCluster) sameRings() {
	for _, p := range s.running() {
		r := p.RingRecord()
		if r == nil || p.checked == r {
			continue
		}
		p.checked = r
		text := ringText(r)
		if old := s.rings[r.Number]; old != "" && old != text {
			s.fail("C2: two rings of number %d: %s, and %s at node %d", r.Number, old, text, p.id)
			return
		}
		s.rings[r.Number] = text
		for _, n := range s.nodes {
			if m := r.Member(n.id); n.strange && m != nil && membership.SameDirectory(m.Disk, n.disk.ID) {
				s.fail("node %d is a member on a disk with samples of its own", n.id)
			}
		}
	}
}

func ringText(r *membership.RingRecord) string {
	text := fmt.Sprintf("factor %d, members %v", r.RF, r.Members)
	if r.Next != nil {
		text += fmt.Sprintf(", then factor %d, members %v", r.Next.RF, r.Next.Members)
	}
	return text
}
