package cluster

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/count-db/count/cluster/agree"
	"github.com/count-db/count/cluster/membership"
	"github.com/count-db/count/cluster/rebalance"
)

// simEvent is something that happens to a cluster; false: it cannot happen now.
type simEvent struct {
	name   string
	weight int
	often  bool // in every life
	do     func(s *simCluster) bool
}

const simMaxNodes = 6

// simEvents are all that can happen. Every life has some of them.
func simEvents() []simEvent {
	return []simEvent{
		{"kill", 4, false, func(s *simCluster) bool { return s.onUp((*simCluster).kill) }},
		{"kill within", 4, false, func(s *simCluster) bool { return s.onUp((*simCluster).killWithin) }},
		{"stop", 2, false, func(s *simCluster) bool { return s.onUp((*simCluster).stop) }},
		{"restart", 1, false, func(s *simCluster) bool {
			return s.onUp(func(s *simCluster, n *simNode) { s.kill(n); s.start(n) })
		}},
		{"power cut", 1, false, (*simCluster).powerCut},
		{"start", 8, true, func(s *simCluster) bool { return s.onDown((*simCluster).start) }},
		{"cut", 2, false, func(s *simCluster) bool { return s.link("links are cut:", s.net.Cut) }},
		{"cut one way", 2, false, func(s *simCluster) bool { return s.link("a link is cut one way:", s.net.CutOneWay) }},
		{"isolate", 1, false, (*simCluster).isolate},
		{"freeze", 2, false, func(s *simCluster) bool {
			return s.onUp(func(s *simCluster, n *simNode) { s.note("node %d hangs", n.id); s.net.Freeze(n.host) })
		}},
		{"reset", 2, false, func(s *simCluster) bool {
			return s.onUp(func(s *simCluster, n *simNode) { s.note("connections of node %d are reset", n.id); s.net.Reset(n.host) })
		}},
		{"slow link", 2, false, (*simCluster).slowLink},
		{"heal", 6, true, func(s *simCluster) bool { s.note("all links are whole"); s.heal(); return true }},
		{"wipe", 2, false, func(s *simCluster) bool { return s.onLost((*simCluster).wipe) }},
		{"rot", 2, false, func(s *simCluster) bool { return s.onLost((*simCluster).rot) }},
		{"rot while running", 2, false, (*simCluster).rotNow},
		{"copy a disk", 3, false, func(s *simCluster) bool {
			return s.onUp(func(s *simCluster, n *simNode) {
				s.note("the disk of node %d is copied", n.id)
				n.older = n.diskNow(s.rng)
			})
		}},
		{"restore a disk", 3, false, func(s *simCluster) bool { return s.onLost((*simCluster).restore) }},
		{"older disk in a change", 1, false, (*simCluster).olderInAChange},
		{"join", 2, false, (*simCluster).join},
		{"leave", 2, false, (*simCluster).leave},
		{"remove", 2, false, (*simCluster).remove},
		{"return", 1, false, (*simCluster).comeBack},
		{"recover", 2, false, (*simCluster).recoverByForce},
		{"factor", 2, false, (*simCluster).factor},
		{"zone", 1, false, func(s *simCluster) bool { return s.onUp((*simCluster).moveZone) }},
		{"two changes", 2, false, (*simCluster).twoChanges},
		{"pause", 2, false, func(s *simCluster) bool { return s.onUp((*simCluster).pauseChange) }},
		{"stranger", 1, false, (*simCluster).stranger},
		{"abort", 2, false, (*simCluster).abort},
		{"repair", 1, false, (*simCluster).repairNow},
		{"wait", 4, true, func(s *simCluster) bool { s.wait(time.Duration(s.rng.Int64N(int64(s.longest)))); return true }},
	}
}

// someEvents returns those of one life: those it always has, and some others.
func someEvents(rng *rand.Rand) (out []simEvent) {
	share := 2 + rng.IntN(9)
	for _, e := range simEvents() {
		if rare := rng.IntN(10) >= share; e.often || !rare {
			out = append(out, e)
		}
	}
	return out
}

// step has one thing happen.
func (s *simCluster) step() {
	total := 0
	for _, e := range s.events {
		total += e.weight
	}
	at := s.rng.IntN(total)
	for _, e := range s.events {
		if at -= e.weight; at < 0 {
			e.do(s)
			return
		}
	}
}

// wait lets time pass. Clients do no more in a long time than in a short one.
func (s *simCluster) wait(d time.Duration) {
	s.gap.Store(max(int64(s.pace), int64(d/8)))
	for end := time.Now().Add(d); time.Now().Before(end) && !s.over(); s.reap() {
		pause(min(2*time.Second, time.Until(end)))
	}
	s.gap.Store(int64(s.pace))
}

func (s *simCluster) onUp(f func(*simCluster, *simNode)) bool {
	procs := s.running()
	if len(procs) == 0 {
		return false
	}
	f(s, procs[s.rng.IntN(len(procs))].node)
	return true
}

// onDown does something to a node that is down and did not leave.
func (s *simCluster) onDown(f func(*simCluster, *simNode)) bool {
	var down []*simNode
	for _, n := range s.nodes {
		if n.proc.Load() == nil && !n.gone.Load() {
			down = append(down, n)
		}
	}
	if len(down) == 0 {
		return false
	}
	f(s, down[s.rng.IntN(len(down))])
	return true
}

// onLost does to a node that is down what loses a part of its disk, when that can
// be survived: no other disk has lost something, no copy counts alone, and votes
// remain. A sample is acknowledged by W candidates; when W is 2 or more one of them
// remains.
func (s *simCluster) onLost(f func(*simCluster, *simNode)) bool {
	return s.onDown(func(s *simCluster, n *simNode) {
		if !n.strange && s.mayLose(n) {
			f(s, n)
		}
	})
}

func (s *simCluster) mayLose(n *simNode) bool {
	if s.leastFactor < 2 || time.Since(n.downSince) < proposing {
		return false
	}
	for _, o := range s.nodes {
		p := o.proc.Load()
		if o != n && (o.lossy.Load() || p != nil && p.Health().Refill != "") || !o.gone.Load() && s.recordOn(o) == nil {
			return false
		}
		if r := s.recordOn(o); r != nil && len(r.Lost) > 0 {
			return false // the only copy may be there
		}
	}
	return s.votesWithout(n)
}

// proposing is the longest that the end of a change is on its way before its proposer
// has accepted it: members are asked for their disks, and for a promise.
const proposing = reportTimeout + roundTimeout

// votesWithout says whether every ring that is in force, or may be agreed on
// already, has a majority without a node, each of them on its recorded disk: where
// two members are left and one of them has lost its disk, they cannot agree on
// anything any more (C2).
func (s *simCluster) votesWithout(n *simNode) bool {
	newest := uint64(0) // that the others know
	for _, o := range s.nodes {
		if r := s.recordOn(o); o != n && r != nil {
			newest = max(newest, r.Number)
		}
	}
	for _, o := range s.nodes {
		for _, r := range s.ringsOn(o) {
			votes := 0
			for _, m := range r.Members {
				if by := s.nodes[m.ID-1]; by != n && s.diskOf(by) == m.Disk {
					votes++
				}
			}
			if r.Number >= newest && votes < r.Electorate().Majority() {
				return false
			}
		}
	}
	return true
}

// diskOf returns the id under which the ring knows a node's disk.
func (s *simCluster) diskOf(n *simNode) string {
	if p := n.proc.Load(); p != nil {
		return p.diskID()
	}
	if state, err := membership.LoadState(n.fs, "data"); err == nil && state != nil && membership.SameDirectory(state.Renewed, n.disk.ID) {
		return state.Renewed
	}
	return n.disk.ID
}

// ringsOn returns the rings that a node has in force and has accepted.
func (s *simCluster) ringsOn(n *simNode) (out []*membership.RingRecord) {
	if r := s.recordOn(n); r != nil {
		out = append(out, r)
	}
	if vote, err := agree.DecodeState(s.voteOf(n)); err == nil && vote.Value != nil {
		if r, err := decodeRecord(vote.Value); err == nil {
			out = append(out, r)
		}
	}
	return out
}

// voteOf returns the vote that a node has saved.
func (s *simCluster) voteOf(n *simNode) []byte {
	if p := n.proc.Load(); p != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.state.Vote
	}
	if state, err := membership.LoadState(n.fs, "data"); err == nil && state != nil {
		return state.Vote
	}
	return nil
}

// parting returns how many members may go by what is under way.
func (s *simCluster) parting(r *membership.RingRecord) int {
	n := int(s.leaving.Load())
	if r.Next != nil {
		n += max(0, len(r.Members)-len(r.Next.Members))
	}
	return n
}

// mayPart says whether a member may go: as many as there are copies remain.
func (s *simCluster) mayPart(r *membership.RingRecord) bool {
	return r != nil && len(r.Members)-s.parting(r) >= max(2, s.leastFactor)
}

// recordOn returns the ring that a node knows, running or not.
func (s *simCluster) recordOn(n *simNode) *membership.RingRecord {
	if p := n.proc.Load(); p != nil {
		return p.RingRecord()
	}
	state, err := membership.LoadState(n.fs, "data")
	if err != nil || state == nil {
		return nil
	}
	return state.Ring
}

func (s *simCluster) wipe(n *simNode) {
	s.newDisk(n)
	n.disk = membership.Disk{ID: n.disk.ID + "'"}
	s.lost(n, "node %d has a new, empty disk", n.id)
}

func (s *simCluster) rot(n *simNode) {
	what := n.store.rot(s.rng)
	if what == "" {
		return
	}
	s.lost(n, "node %d %s", n.id, what)
}

func (s *simCluster) restore(n *simNode) {
	if n.older == nil || n.older.disk.ID != n.disk.ID || !s.wouldNotice(n) {
		return
	}
	if s.broken.unnoticed {
		s.forgetVotes(n)
		return
	}
	behind := n.disk.Starts - n.older.disk.Starts
	n.fs, n.store, n.disk = n.older.fs, n.older.store, n.older.disk
	n.older = nil
	s.lost(n, "node %d has an older copy of its disk, of %d starts before", n.id, behind)
}

// wouldNotice says whether all other nodes remember something of a disk that its
// older copy does not: that is how the copy is found out. One that is some seconds
// old is not.
func (s *simCluster) wouldNotice(n *simNode) bool {
	disk := n.older.disk
	disk.Starts++
	state, err := membership.LoadState(n.older.fs, "data")
	if err != nil || state == nil {
		return false
	}
	disk.ID, disk.Former = cmp.Or(state.Renewed, disk.ID), state.Former
	disk.Past = append(state.Past, membership.Start{Starts: disk.Starts, Random: 1}) // it will be another start than any that was seen
	for _, o := range s.nodes {
		if o == n || o.gone.Load() {
			continue
		}
		var seen membership.Sighting
		if p := o.proc.Load(); p != nil {
			seen = p.Hello().Seen[n.id]
		} else if state, err := membership.LoadState(o.fs, "data"); err == nil && state != nil {
			seen = state.Seen[n.id]
		}
		if membership.RefillReason(disk, disk.ID, "", []membership.Sighting{seen}) != membership.OlderReason {
			return false
		}
	}
	return true
}

func (s *simCluster) lost(n *simNode, format string, args ...any) {
	n.lossy.Store(true)
	s.note(format, args...)
	if s.rng.IntN(2) == 0 {
		s.start(n)
	}
}

func (s *simCluster) link(what string, f func(a, b string)) bool {
	a, b := s.nodes[s.rng.IntN(len(s.nodes))], s.nodes[s.rng.IntN(len(s.nodes))]
	s.note("%s %d and %d", what, a.id, b.id)
	f(a.host, b.host)
	return true
}

func (s *simCluster) isolate() bool {
	n := s.nodes[s.rng.IntN(len(s.nodes))]
	s.note("node %d is cut off", n.id)
	for _, o := range s.nodes {
		if o != n {
			s.net.Cut(n.host, o.host)
		}
	}
	return true
}

func (s *simCluster) slowLink() bool {
	d := time.Duration(s.rng.Int64N(int64(400 * time.Millisecond)))
	return s.link(fmt.Sprintf("a link takes %s:", d), func(a, b string) { s.net.Delay(a, b, d) })
}

func (s *simCluster) join() bool {
	if len(s.nodes) >= simMaxNodes {
		return false
	}
	n := s.add()
	s.note("node %d joins", n.id)
	s.start(n)
	return true
}

func (s *simCluster) leave() bool {
	return s.onUp(func(s *simCluster, n *simNode) {
		p := n.proc.Load()
		r := p.RingRecord()
		if r == nil || r.Member(n.id) == nil || !s.mayPart(r) {
			return // who joins at this moment may be told that it has left, and become a member all the same
		}
		s.leaving.Add(1)
		s.note("node %d leaves", n.id)
		s.wg.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
			defer cancel()
			err := p.Leave(ctx)
			if p.dead.Load() {
				err = errSimKilled
			}
			if err == nil {
				n.gone.Store(true)
			}
			s.leaving.Add(-1)
			s.note("node %d has left: %v", n.id, err)
		})
	})
}

// asked is how long a change of the ring may take to be agreed on.
const asked = 20 * time.Second

// change asks for a change of the ring through some node.
func (s *simCluster) change(wish rebalance.Request) bool {
	return s.onUp(func(s *simCluster, n *simNode) { s.changeThrough(n.proc.Load(), wish) })
}

func (s *simCluster) changeThrough(p *simProc, wish rebalance.Request) {
	s.leaving.Add(1)
	s.wg.Go(func() {
		defer s.leaving.Add(-1)
		ctx, cancel := context.WithTimeout(context.Background(), asked)
		defer cancel()
		err := p.Change(ctx, wish)
		s.note("change %s through node %d: %v", wish, p.id, err)
	})
}

func (s *simCluster) remove() bool {
	return s.onDown(func(s *simCluster, n *simNode) {
		if r := s.recordOn(n); s.mayPart(r) {
			s.change(rebalance.Request{Kind: rebalance.Remove, Node: n.id})
		}
	})
}

// comeBack starts a node that left or was given up, on its old disk: it joins again.
func (s *simCluster) comeBack() bool {
	for _, n := range s.nodes {
		if n.gone.Load() && s.allMetSince() {
			if n.proc.Load() != nil {
				s.stop(n)
			}
			s.note("node %d comes back", n.id)
			s.start(n)
			return true
		}
	}
	return false
}

func (s *simCluster) moveZone(n *simNode) {
	s.stop(n)
	n.zone = string(rune('a' + s.rng.IntN(max(s.zones, 1))))
	s.start(n)
}

func (s *simCluster) abort() bool {
	return s.onUp(func(s *simCluster, n *simNode) {
		p := n.proc.Load()
		s.wg.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), asked)
			defer cancel()
			if err := p.AbortChange(ctx); err == nil {
				s.note("node %d took the change back", p.id)
			}
		})
	})
}

func (s *simCluster) repairNow() bool {
	return s.onUp(func(s *simCluster, n *simNode) {
		p := n.proc.Load()
		s.wg.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			_, err := p.Repair(ctx, 0, math.MaxInt64, false)
			s.note("repair asked of node %d: %v", p.id, err)
		})
	})
}
