package cluster

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/cluster/membership"
	"github.com/count-db/count/cluster/merge"
	"github.com/count-db/count/cluster/rebalance"
	"github.com/count-db/count/cluster/ring"
	"github.com/count-db/count/cluster/transport"
	"github.com/count-db/count/internal/model"
)

// sabotage breaks a rule, from outside, to see that the simulation finds what the
// rule is for. The zero value breaks none.
type sabotage struct {
	name   string
	events string                           // what happens in the lives, by name; empty: anything
	alter  func(*profile)                   // makes a life one in which the rule matters
	disk   func(Local) Local                // breaks the storage
	often  func(s *simCluster, p *simProc)  // is called after every event, for every process
	logged func(p *simProc, message string) // is called when a process logs something
	// unnoticed: an older copy of a disk has all that the last one has, but for votes.
	unnoticed bool
}

func (b *sabotage) apply(p *profile) {
	if b.events != "" {
		p.events = slices.DeleteFunc(simEvents(), func(e simEvent) bool {
			return !e.often && !slices.Contains(strings.Split(b.events, ", "), e.name)
		})
	}
	if b.alter != nil {
		b.alter(p)
	}
}

func (b *sabotage) storage(l Local) Local {
	if b.disk == nil {
		return l
	}
	return b.disk(l)
}

func (b *sabotage) now(s *simCluster) {
	if b.often == nil {
		return
	}
	for _, p := range s.running() {
		b.often(s, p)
	}
}

// hastyDisk says that a batch is durable when it is not.
type hastyDisk struct{ Local }

func (d hastyDisk) Begin(ctx context.Context, b *model.Batch, fresh bool) (transport.AppendReply, func() error, error) {
	r, _, err := d.Local.Begin(ctx, b, fresh)
	return r, func() error { return nil }, err
}

// blindDisk takes writes that are not above what it has seen (V2).
type blindDisk struct{ Local }

func (d blindDisk) Begin(ctx context.Context, b *model.Batch, _ bool) (transport.AppendReply, func() error, error) {
	return d.Local.Begin(ctx, b, false)
}

// forgetDeletes drops the deletes before they are settled (V4).
func forgetDeletes(_ *simCluster, p *simProc) {
	p.data.(*simLocal).change(func(l *memLocal) {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, s := range l.series {
			merge.Hide(&s.cols, s.labels, l.tombstones)
		}
		l.tombstones = nil
	})
}

// shedUnasked drops what the node does not own without asking who does (C6).
func shedUnasked(s *simCluster, p *simProc) {
	t := p.topo.Load()
	if t == nil || !p.maySeeWhatIsForeign(t) {
		return
	}
	mark, err := p.Cluster.local.Boundary(context.Background())
	if err == nil {
		err = p.dropForeign(context.Background(), t, mark)
	}
	if err != nil && !errors.Is(err, errRingMoved) {
		s.fail("shed: %v", err)
	}
}

// settleAlone settles without asking the other members (V4).
func settleAlone(s *simCluster, p *simProc) {
	if p.refill.running() || p.topo.Load() == nil {
		return
	}
	floor := model.VersionAt(time.Now().Add(-10 * time.Second).UnixMicro())
	st := *p.floors.now()
	if st.Floor >= floor {
		return
	}
	st.Mark, st.Floor = max(st.Mark, floor), floor
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.installFloorsLocked(st); err != nil && !p.dead.Load() {
		s.fail("settle: %v", err)
	}
}

// countAtOnce has a refilling node count for reads (C5).
func countAtOnce(_ *simCluster, p *simProc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refill.running() {
		p.state.Refilling, p.state.Merged = "", p.diskID()
		p.refill.done(p.refill.lossesSoFar(), true)
	}
}

// askNewOnly has the lists of a dual ring need only the candidates of the ring to
// come (C3).
func askNewOnly(p *simProc, message string) {
	if message != "a ring is in force" {
		return
	}
	go func() {
		p.mu.Lock() // until the ring is in force
		defer p.mu.Unlock()
		t := p.topo.Load()
		if t == nil || !t.ring.Changing() {
			return
		}
		for i := range t.lists {
			if l := &t.lists[i]; l.Both != nil {
				l.Both = []ring.Group{l.Both[1], l.Both[1]}
			}
		}
	}()
}

// countGained has the lists of a ring founded by force need only its own candidates,
// and nobody copy (C3).
func countGained(p *simProc, message string) {
	if message != "a ring is in force" {
		return
	}
	go func() {
		p.mu.Lock() // until the ring is in force
		defer p.mu.Unlock()
		t := p.topo.Load()
		if t == nil || !t.ring.Recovering() {
			return
		}
		for i := range t.lists {
			l := &t.lists[i]
			l.Both, l.Copying = []ring.Group{l.Both[1], l.Both[1]}, nil
		}
	}()
}

// uncheckedDisk lacks what is damaged, and does not notice.
type uncheckedDisk struct{ *simLocal }

func (d uncheckedDisk) Select(ctx context.Context, mint, maxt int64, ms ...*labels.Matcher) (Selection, error) {
	d.mu.Lock()
	d.noted = 1
	d.mu.Unlock()
	d.mend(1)
	return d.simLocal.Select(ctx, mint, maxt, ms...)
}

// changeUnasked has two members begin changes that nobody has agreed on (C2).
func changeUnasked(s *simCluster, p *simProc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.id > 2 || p.state.Ring == nil {
		return
	}
	next, err := rebalance.Begin(p.state.Ring, rebalance.Request{Kind: rebalance.Copies, RF: int(p.id)})
	if err == nil {
		err = p.adoptNewerLocked(next)
	}
	if err != nil {
		s.note("node %d changes nothing: %v", p.id, err)
	}
}

// restDone counts copying that rests as done (C3).
func restDone(s *simCluster, p *simProc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r := p.state.Ring; p.pausedLocked() && r != nil {
		p.state.Copied = &membership.CopyProgress{Ring: r.Number, Done: true}
		p.changing.now()
	}
}

// admitStrangers lets nodes with samples of their own join.
func admitStrangers(_ *simCluster, p *simProc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state.Strange = false
}

// endBlindly ends a change without looking who could vote on the next one (C2).
func endBlindly(s *simCluster, p *simProc) {
	t := p.topo.Load()
	if t == nil || !t.ring.Changing() {
		return
	}
	s.wg.Go(func() {
		if rebalance.Assess(t.ring, p.askReports(t)).Stage != rebalance.Ready {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), asked)
		defer cancel()
		next := t.record.Next
		_, err := p.agreeOn(ctx, &membership.RingRecord{Number: t.record.Number + 1, ClusterID: t.record.ClusterID, RF: next.RF, Members: next.Members})
		s.note("node %d ends the change blindly: %v", p.id, err)
	})
}

// busy makes a life one in which much happens in a short time.
func busy(p *profile) {
	p.nodes, p.rf, p.leastFactor, p.zones, p.gossip, p.deletesOn = 3, 3, 2, 0, false, true
	p.clients, p.steps, p.pace, p.tempo, p.longest = 3, 60, 100*time.Millisecond, 500*time.Millisecond, 10*time.Second
}

// forgetVotes puts a node that is down back to the ring and the votes of its older
// copy, which nobody can tell from the last one (C2).
func (s *simCluster) forgetVotes(n *simNode) {
	now, err := membership.LoadState(n.fs, "data")
	before, beforeErr := membership.LoadState(n.older.fs, "data")
	if err = errors.Join(err, beforeErr); err == nil {
		now.Ring, now.Vote = before.Ring, before.Vote
		err = now.Save(n.fs, "data")
	}
	if err != nil {
		s.fail("forget votes: %v", err)
	}
	n.older = nil
	s.note("node %d has forgotten its votes since a copy of its disk: it has ring %d", n.id, now.Ring.Number)
	s.start(n)
}

func sabotages() []sabotage {
	with := func(more func(*profile)) func(*profile) {
		return func(p *profile) { busy(p); more(p) }
	}
	return []sabotage{
		{name: "a batch is acknowledged before it is durable", events: "kill, restart", alter: busy, disk: func(l Local) Local { return hastyDisk{l} }},
		{
			name: "writes are not stamped anew", alter: with(func(p *profile) { p.skew = 3 * time.Minute }), events: "kill",
			disk: func(l Local) Local { return blindDisk{l} },
		},
		{name: "a refilling node counts", events: "kill, isolate, wipe, rot", alter: with(func(p *profile) { p.rf = 2 }), often: countAtOnce},
		{name: "deletes are forgotten too soon", events: "kill, isolate, freeze", alter: busy, often: forgetDeletes},
		{name: "what is not owned is dropped unasked", events: "kill, isolate", alter: with(func(p *profile) { p.rf = 2 }), often: shedUnasked},
		{name: "a floor is not agreed on", events: "kill, isolate", alter: busy, often: settleAlone},
		{name: "a change asks the new candidates only", events: "join, leave, kill, isolate", alter: with(func(p *profile) { p.copyRate, p.rf, p.leastFactor = 8, 1, 1 }), logged: askNewOnly},
		{name: "a batch is acknowledged before it is durable, and the power is cut", events: "power cut", alter: busy, disk: func(l Local) Local { return hastyDisk{l} }},
		{name: "damage is not noticed", events: "kill, rot while running", alter: with(func(p *profile) { p.rf = 2 }), disk: func(l Local) Local { return uncheckedDisk{l.(*simLocal)} }},
		{name: "changes are not agreed on", events: "two changes", alter: busy, often: changeUnasked},
		{name: "copying that rests counts as done", events: "join, leave, pause, kill, isolate", alter: with(func(p *profile) { p.copyRate, p.rf, p.leastFactor = 16, 1, 1 }), often: restDone},
		{name: "a stranger joins", events: "stranger", alter: busy, often: admitStrangers},
		{name: "what a recovery gives counts at once", events: "recover, kill, isolate, freeze", alter: with(func(p *profile) { p.nodes, p.rf = simMaxNodes, 2 }), logged: countGained},
		{
			name: "an older copy keeps its vote", events: "older disk in a change, kill",
			alter: with(func(p *profile) { p.pace, p.tempo = time.Second, 3*time.Second }), unnoticed: true,
		},
		{name: "a change ends without votes", events: "kill, wipe, leave", alter: with(func(p *profile) { p.rf, p.copyRate = 2, 64 }), often: endBlindly},
	}
}

// TestSimulationFindsBrokenRules: each of these rules is there for a reason, and
// lives without it fail.
func TestSimulationFindsBrokenRules(t *testing.T) { findBroken(t, sabotages(), nil) }

func findBroken(t *testing.T, all []sabotage, engine func(*rand.Rand) *SimEngine) {
	t.Helper()
	for _, b := range all {
		t.Run(b.name, func(t *testing.T) {
			const most = 60
			for seed := range uint64(most) {
				if h := simulateOn(t, seed, b, engine); h.first != "" {
					t.Logf("found in life %d: %s", seed+1, strings.SplitN(h.first, "\n", 2)[0])
					return
				}
			}
			t.Errorf("not found in %d lives", most)
		})
	}
}
