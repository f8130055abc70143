package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/count-db/count/cluster/membership"
	"github.com/count-db/count/cluster/rebalance"
	"github.com/count-db/count/cluster/ring"
)

// Pausing the copying of a change. The change itself stays in force: writes go to
// the candidates of both rings, and only what is copied rests. Any node takes the
// wish; it goes to all members with the reports, which they ask of one another
// every second, and each keeps it durably, so that it outlives restarts. The last
// one that was said counts.

// errPaused ends a slice of copying that was under way when a pause began. The
// next attempt copies it anew.
var errPaused = errors.New("copying was paused")

// PauseChange makes the copying of the change that is under way rest, or go on.
// It returns when every member in sight knows it.
func (c *Cluster) PauseChange(ctx context.Context, paused bool) error {
	t := c.topo.Load()
	switch {
	case t == nil:
		return unavailable(c.notFounded())
	case !t.ring.Changing():
		return fmt.Errorf("%w: no change of the ring is under way", rebalance.ErrDone)
	}
	err := c.takePause(&membership.Pause{Ring: t.ring.Number(), Paused: paused, At: c.clock.Now()})
	if err != nil {
		return unavailable(err)
	}
	c.askReports(t)
	c.changing.now()
	return ctx.Err()
}

// takePause takes over what was said of a pause, unless something later is known.
func (c *Cluster) takePause(p *membership.Pause) error {
	if p == nil {
		return nil
	}
	c.clock.Observe(p.At)
	c.mu.Lock()
	defer c.mu.Unlock()
	r, old := c.state.Ring, c.state.Pause
	if r == nil || r.Number != p.Ring || old != nil && old.Ring == p.Ring && old.At >= p.At {
		return nil
	}
	was := c.pausedLocked()
	c.state.Pause = p
	if err := c.state.Save(c.opts.FS, c.opts.Dir); err != nil {
		c.state.Pause = old
		return fmt.Errorf("keep the pause of a change: %w", err)
	}
	if was != p.Paused {
		c.info("copying for a change of the ring", "paused", p.Paused, "ring", p.Ring)
	}
	return nil
}

// pause returns what was said last of pausing the change of a ring; nil: nothing.
func (c *Cluster) pause(number uint64) *membership.Pause {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.state.Pause; p != nil && p.Ring == number {
		return p
	}
	return nil
}

func (c *Cluster) pausedLocked() bool {
	p := c.state.Pause
	return p != nil && p.Paused && c.state.Ring != nil && c.state.Ring.Number == p.Ring
}

func (c *Cluster) paused() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pausedLocked()
}

// meter measures this node's part of a change: how many samples it has copied of
// how many, and how fast. Guarded by changing.mu.
type meter struct {
	ring   uint64                  // what is measured; 0 = nothing
	share  float64                 // part of all series that this node copies
	owned  map[ring.NodeID]float64 // part of all series that each old member owns
	kept   int64                   // samples of slices that are copied
	slice  int64                   // of the slice under way
	worked int64                   // samples copied while time was taken
	took   time.Duration
}

// measure begins to measure the copying for a dual ring, kept samples of which an
// earlier run has copied.
func (g *changing) measure(t *topology, node ring.NodeID, kept int64) {
	share, owned := rebalance.Share(rebalance.Plan(t.ring), node), t.ring.Before().Shares()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.meter = meter{ring: t.ring.Number(), share: share, owned: owned, kept: kept}
}

// noteStuck remembers why this node's copying does not go on; nil or errPaused: it
// does.
func (g *changing) noteStuck(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stuck = ""
	if err != nil && !errors.Is(err, errPaused) && !errors.Is(err, ErrClosed) {
		g.stuck = err.Error()
	}
}

func (g *changing) whyStuck(number uint64) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.meter.ring != number {
		return ""
	}
	return g.stuck
}

// beginSlice starts the count of one slice.
func (g *changing) beginSlice() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.meter.slice = 0
}

// copiedSome counts samples and the time since the last ones.
func (g *changing) copiedSome(samples int, took time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.meter.slice += int64(samples)
	g.meter.worked += int64(samples)
	g.meter.took += took
}

// endSlice returns how many samples are copied with the slice that has ended.
func (g *changing) endSlice() int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.meter.kept, g.meter.slice = g.meter.kept+g.meter.slice, 0
	return g.meter.kept
}

// progress returns the part that this node has copied, 0 to 1, and about how long
// the rest takes, 0 where that is not known. The old members say how many samples
// they hold; ok is false while none has.
func (g *changing) progress(number uint64) (done float64, left time.Duration, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	m := &g.meter
	held, owned := 0.0, 0.0
	for id, part := range m.owned {
		if r, said := g.reports[id]; said && r.Samples > 0 {
			held, owned = held+float64(r.Samples), owned+part
		}
	}
	if m.ring != number || held == 0 || owned == 0 || m.share == 0 {
		return 0, 0, false
	}
	expected := m.share * held / owned
	have := float64(m.kept + m.slice)
	// What is overwritten counts several times where it is, so this is about so.
	done = min(have/expected, 0.99)
	if m.worked > 0 {
		rest := max(expected-have, expected/100)
		left = time.Duration(rest / float64(m.worked) * float64(m.took))
	}
	return done, left, true
}
