package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/count-db/count/cluster/quorum"
	"github.com/count-db/count/cluster/ring"
	"github.com/count-db/count/internal/model"
)

// calm heals the network and, where W candidates of everything run and are whole,
// expects writes to be acknowledged and reads to be complete.
func (s *simCluster) calm() {
	s.note("the network is whole: calm")
	s.heal()
	s.disarm()
	s.wait(25 * time.Second)
	before := s.ringsInForce()
	if why := s.shortOf(); why != "" {
		s.note("not calm: %s", why)
		return
	}
	for _, p := range s.running() {
		if !p.Health().Founded {
			continue
		}
		began := time.Now()
		writeErr := s.write(p, []simKey{{simName(0), s.times[0]}, {simName(1), s.times[1]}})
		took := time.Since(began)
		readErr := s.readAll(p, quorum.Quorum)
		if s.shortOf() != "" || !slices.Equal(before, s.ringsInForce()) {
			return // it was not calm
		}
		if (writeErr != nil || readErr != nil) && !errors.Is(writeErr, errSimKilled) {
			s.noteStatus()
			s.fail("calm, with enough nodes running: through node %d a write is answered %v after %s, a read %v", p.id, writeErr, took, readErr)
			return
		}
	}
}

// ringsInForce returns the numbers of the rings of the nodes that run.
func (s *simCluster) ringsInForce() (out []uint64) {
	for _, p := range s.running() {
		if r := p.RingRecord(); r != nil {
			out = append(out, r.Number)
		}
	}
	return out
}

// shortOf says why writes may be refused or reads incomplete; empty: they may not.
func (s *simCluster) shortOf() string {
	up := map[ring.NodeID]bool{}
	var newest *topology
	for _, p := range s.running() {
		t := p.topo.Load()
		if t == nil {
			return fmt.Sprintf("node %d has no ring yet", p.id)
		}
		if newest != nil && t.ring.Number() != newest.ring.Number() {
			return "the rings differ"
		}
		newest = t
		up[p.id] = p.Health().Refill == "" && !p.data.rotten()
	}
	if newest == nil {
		return "no node runs"
	}
	if n := len(newest.ring.Members()); newest.ring.Changing() || 2*countUp(ids(newest.ring.Members()), up) <= n {
		return "no majority runs, or the ring is changing"
	}
	for i := range newest.lists {
		for g := range newest.lists[i].Groups() {
			if group := newest.lists[i].Group(g); countUp(group.Nodes, up) < group.W {
				return fmt.Sprintf("of the candidates %v too few run and are whole", group.Nodes)
			}
		}
	}
	return ""
}

func countUp(nodes []ring.NodeID, up map[ring.NodeID]bool) (n int) {
	for _, id := range nodes {
		if up[id] {
			n++
		}
	}
	return n
}

func ids(nodes []ring.Member) (out []ring.NodeID) {
	for _, m := range nodes {
		out = append(out, m.ID)
	}
	return out
}

// wholeAgain heals everything and starts all that is down, but for who left.
func (s *simCluster) wholeAgain() {
	s.note("all is whole again")
	s.gap.Store(int64(time.Minute))
	s.heal()
	s.disarm()
	for _, n := range s.nodes {
		if n.strange && !n.gone.Load() {
			s.empty(n)
		}
		if n.proc.Load() == nil && !n.gone.Load() {
			s.start(n)
		}
	}
	for _, p := range s.running() {
		p.data.scrub()
	}
}

// untilWhole waits until nothing is left of all that happened, and reads
// everything through every node.
func (s *simCluster) untilWhole() {
	now := model.VersionAt(time.Now().Add(2 * s.skew).UnixMicro())
	if !s.until("the ring is settled", 20*time.Minute, s.ringSettled) {
		return
	}
	if !s.until("all owners hold the same and nobody else anything", 40*time.Minute, s.equal) {
		return
	}
	if !s.until("all is settled at a floor", 60*time.Minute, func() string { return s.settledSince(now) }) {
		return
	}
	if why := s.equal(); why != "" {
		s.fail("after settling: %s", why)
	}
	for _, p := range s.running() {
		s.until(fmt.Sprintf("complete reads through node %d", p.id), time.Minute, func() string {
			if err := errors.Join(s.readAll(p, quorum.Quorum), s.readAll(p, quorum.All), s.readSpread(p)); err != nil {
				return err.Error()
			}
			return ""
		})
		s.readCopy(p)
		if p.topo.Load().alone {
			continue
		}
		if n, err := p.data.deletes(); n > 0 || err != nil {
			s.fail("node %d keeps %d deletes that are settled: %v", p.id, n, err)
		}
	}
}

// ringSettled says why the ring is not settled; nodes that have left are stopped.
func (s *simCluster) ringSettled() string {
	if n := s.leaving.Load(); n > 0 {
		return fmt.Sprintf("%d wishes are under way", n)
	}
	numbers := map[uint64]bool{}
	for _, p := range s.running() {
		switch r := p.RingRecord(); {
		case r == nil:
			return fmt.Sprintf("node %d has no ring", p.id)
		case r.Next != nil:
			if p.paused() {
				s.note("node %d has the change go on: %v", p.id, p.PauseChange(context.Background(), false))
			}
			return fmt.Sprintf("ring %d is changing, %+v", r.Number, p.changeStatus())
		case p.Health().Left || r.Member(p.id) == nil && p.changing.takenBack():
			s.stop(p.node)
			return fmt.Sprintf("node %d has left, or its join was taken back", p.id)
		case r.Member(p.id) == nil:
			return fmt.Sprintf("node %d is no member", p.id)
		case len(r.Members) > 1 && (r.Member(p.id).Disk != p.diskID() || r.Member(p.id).Zone != p.opts.Zone):
			return fmt.Sprintf("the ring does not have the disk or the zone of node %d", p.id)
		case p.data.rotten():
			return fmt.Sprintf("node %d has not mended what was damaged", p.id)
		case p.Health().Refill != "" || !p.Health().Majority:
			return fmt.Sprintf("node %d refills or sees no majority", p.id)
		default:
			numbers[r.Number] = true
		}
	}
	if len(numbers) != 1 {
		return fmt.Sprintf("rings %v", numbers)
	}
	if r := s.running()[0].RingRecord(); len(r.Members) != len(s.running()) {
		return fmt.Sprintf("%d nodes run, the members are %v", len(s.running()), r.Members)
	}
	return ""
}

// equal says what is not equal or not where it belongs.
func (s *simCluster) equal() string {
	procs := s.running()
	t := procs[0].topo.Load()
	for _, p := range procs {
		if owed := p.hints.Stats(); len(p.hints.Owed()) > 0 {
			return fmt.Sprintf("node %d owes %v", p.id, owed.PerNode)
		}
	}
	held := map[ring.NodeID]shown{}
	for _, p := range procs {
		got := shown{Samples: map[string]map[int64]float64{}}
		if err := addHeld(p.data, &got); err != nil {
			return fmt.Sprintf("node %d cannot read what it holds: %v", p.id, err)
		}
		held[p.id] = got
	}
	for i := range simSeries {
		name := simName(i)
		l := &t.lists[t.ring.ListOf(tokenOf(name))]
		want := held[l.Nodes[0]].Samples[name]
		for _, p := range procs {
			got := held[p.id].Samples[name]
			if l.Owns(p.id) && !maps.Equal(got, want) {
				return fmt.Sprintf("nodes %d and %d own %s and hold %v and %v", l.Nodes[0], p.id, name, want, got)
			}
			if !l.Owns(p.id) && len(got) > 0 {
				return fmt.Sprintf("node %d does not own %s and holds %v", p.id, name, got)
			}
		}
	}
	return ""
}

// settledSince says whose floor does not lie above a version.
func (s *simCluster) settledSince(v model.Version) string {
	for _, p := range s.running() {
		if !p.topo.Load().alone && p.floor() < v {
			return fmt.Sprintf("the floor of node %d is %s behind: %+v", p.id, time.UnixMicro(v.Micros()).Sub(time.UnixMicro(p.floor().Micros())), p.RepairStatus().Settling)
		}
	}
	return ""
}
