package cluster

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/count-db/count/cluster/membership"
	"github.com/count-db/count/cluster/rebalance"
	"github.com/count-db/count/cluster/ring"
	"github.com/count-db/count/cluster/transport"
)

// Changing the ring (C3): this node asks to join, reports its part of a change,
// copies what it becomes a candidate of, and ends a change that is complete.
// What is possible and when is decided by package rebalance.

const (
	changeInterval = time.Second     // between two looks at a change that is under way
	lookInterval   = 5 * time.Second // the same while there is none
	wishTimeout    = 15 * time.Second
	reportTimeout  = 2 * time.Second
)

// changing is what this node remembers of the ring's changing; all of it is
// found again by looking.
type changing struct {
	poke chan struct{} // capacity 1: look now

	mu      sync.Mutex
	reports map[ring.NodeID]rebalance.Report // guarded by mu; of the change under way
	copying uint64                           // guarded by mu; the dual ring that is copied for
	left    bool                             // guarded by mu; this node leaves or has left: it does not join by itself
	joining uint64                           // guarded by mu; the dual ring, in force at others, in which this node joins
	refused bool                             // guarded by mu; its join was taken back: it does not ask again in this run
	problem string                           // guarded by mu; why the last step failed
	meter   meter                            // guarded by mu
	stuck   string                           // guarded by mu; why this node's copying does not go on
}

func newChanging() *changing {
	return &changing{poke: make(chan struct{}, 1), reports: map[ring.NodeID]rebalance.Report{}}
}

func (g *changing) now() {
	select {
	case g.poke <- struct{}{}:
	default:
	}
}

func (g *changing) note(problem string) (isNew bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	isNew = problem != "" && problem != g.problem
	g.problem = problem
	return isNew
}

// why returns why the last step failed; empty: it did not.
func (g *changing) why() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.problem
}

// watchRing looks at the ring again and again and does what is this node's part.
func (c *Cluster) watchRing() {
	for c.ctx.Err() == nil {
		wait := lookInterval
		if t := c.topo.Load(); t != nil && (t.ring.Changing() || !t.member) {
			wait = changeInterval
		}
		t := time.NewTimer(wait)
		select {
		case <-c.ctx.Done():
		case <-t.C:
		case <-c.changing.poke:
		}
		t.Stop()
		if err := c.lookAtRing(); err != nil && c.ctx.Err() == nil {
			if c.changing.note(err.Error()) {
				c.warn("the ring's change goes on later", err)
			}
			continue
		}
		c.changing.note("")
	}
}

func (c *Cluster) lookAtRing() error {
	t := c.topo.Load()
	if t == nil || t.alone {
		return nil
	}
	reports := c.askReports(t)
	if now := c.topo.Load(); now != t {
		c.changing.now()
		return nil // a newer ring came with the answers
	}
	c.changing.noteJoining(t, c.opts.Node, reports)
	if t.ring.Changing() {
		c.copyWhenNeeded(t)
		return c.finishWhenReady(t, reports)
	}
	if !t.member {
		return c.joinWhenWanted(t)
	}
	return c.correctRecord(t)
}

// askReports asks all members for their part. A member with an older ring is
// given the one in force, one with a newer ring is asked for it.
func (c *Cluster) askReports(t *topology) map[ring.NodeID]rebalance.Report {
	ctx, cancel := context.WithTimeout(c.ctx, reportTimeout)
	defer cancel()
	var mu sync.Mutex
	reports := map[ring.NodeID]rebalance.Report{}
	var wg sync.WaitGroup
	for _, m := range t.ring.Members() {
		if m.ID == c.opts.Node {
			mu.Lock()
			reports[m.ID] = c.report()
			mu.Unlock()
			continue
		}
		wg.Go(func() {
			if r, err := c.reportOf(ctx, m.ID); err == nil {
				mu.Lock()
				defer mu.Unlock()
				reports[m.ID] = r
			}
		})
	}
	wg.Wait()
	newest := t.ring.Number()
	var from ring.NodeID
	for id, r := range reports {
		switch {
		case r.Ring > newest:
			newest, from = r.Ring, id
		case r.Ring < t.ring.Number():
			c.giveRing(ctx, id)
		}
	}
	if from != 0 {
		c.fetchRing(ctx, from)
	}
	c.noteRefills(reports)
	c.changing.mu.Lock()
	defer c.changing.mu.Unlock()
	c.changing.reports = reports
	return reports
}

// report is this node's own part.
func (c *Cluster) report() rebalance.Report {
	samples := c.opts.Samples()
	c.mu.Lock()
	defer c.mu.Unlock()
	r := rebalance.Report{Owes: c.owesLocked(), Samples: samples}
	if c.state.Ring == nil {
		return r
	}
	r.Ring, r.Disk, r.Refill = c.state.Ring.Number, c.diskID(), c.refill.running()
	if m := c.state.Ring.Member(c.opts.Node); m != nil {
		r.NoVote = m.Disk != c.diskID()
	}
	if p := c.state.Copied; p != nil && p.Ring == r.Ring {
		r.Copied = p.Done
		r.Done = progressOf(p, time.Now())
	}
	if p := c.state.Pause; p != nil && p.Ring == r.Ring {
		r.Pause = p
	}
	if r.Copied {
		return r
	}
	if done, left, ok := c.changing.progress(r.Ring); ok {
		r.Done, r.Left = done, int64(left.Seconds()+1)
	}
	r.Problem = c.changing.whyStuck(r.Ring)
	return r
}

func (c *Cluster) reportOf(ctx context.Context, id ring.NodeID) (rebalance.Report, error) {
	var r rebalance.Report
	p := c.peer(id)
	if p == nil {
		return r, transport.ErrUnreachable
	}
	var known []byte
	if t := c.topo.Load(); t != nil {
		if pause := c.pause(t.ring.Number()); pause != nil {
			var err error
			if known, err = json.Marshal(pause); err != nil {
				return r, err
			}
		}
	}
	answer, err := p.Call(ctx, opReport, known)
	if err == nil {
		err = json.Unmarshal(answer, &r)
	}
	if err == nil {
		err = c.takePause(r.Pause)
	}
	return r, err
}

// serveReport answers with this node's part, and takes over what the asker knows
// of a pause.
func (c *Cluster) serveReport(payload []byte, w *transport.Answer) error {
	if len(payload) > 0 {
		p := new(membership.Pause)
		if err := json.Unmarshal(payload, p); err != nil {
			return fmt.Errorf("read a pause: %w", err)
		}
		if err := c.takePause(p); err != nil {
			return err
		}
	}
	answer, err := json.Marshal(c.report())
	w.End(answer)
	return err
}

// giveRing sends the ring in force to a member that has an older one.
func (c *Cluster) giveRing(ctx context.Context, id ring.NodeID) {
	p := c.peer(id)
	body, err := c.ringBytes()
	if p == nil || err != nil {
		return
	}
	if _, err := p.Call(ctx, opTakeRing, body); err != nil {
		c.warn("a member could not be given the ring in force", err, "node", id)
	}
}

func (c *Cluster) serveTakeRing(payload []byte) error {
	a, err := decodeRing(payload)
	if err != nil {
		return err
	}
	c.adoptFrom(seedAnswer{ringAnswer: a})
	return nil
}

func (c *Cluster) fetchRing(ctx context.Context, id ring.NodeID) {
	p := c.peer(id)
	if p == nil {
		return
	}
	answer, err := p.Call(ctx, opRing, nil)
	if err == nil {
		err = c.serveTakeRing(answer)
	}
	if err != nil {
		c.warn("a newer ring could not be fetched", err, "node", id)
	}
}

// errStrange is why a node with data of its own does not join: its samples would
// count as the newest of all, because their age is not known, and hide what the
// cluster has acknowledged.
var errStrange = errors.New("DATA_DIR holds samples of before this node knew the cluster, and joining would mix them into the cluster's: " +
	"start it with an empty DATA_DIR, and bring them in with count export and count import, or with count backup and count restore")

// joinWhenWanted asks the members to let this node join.
func (c *Cluster) joinWhenWanted(t *topology) error {
	if c.changing.hasLeft() || c.changing.takenBack() {
		return nil
	}
	if c.isStrange() {
		return errStrange
	}
	wish := rebalance.Request{Kind: rebalance.Join, Node: c.opts.Node, Disk: c.diskID(), Zone: c.opts.Zone}
	return c.wishThrough(t, wish)
}

func (c *Cluster) isStrange() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state.Strange
}

// correctRecord has the ring record this node's disk when it has merged its data
// back, and its zone.
func (c *Cluster) correctRecord(t *topology) error {
	m := t.record.Member(c.opts.Node)
	switch {
	case m == nil || c.refill.running():
		return nil
	case m.Disk != c.diskID():
		return c.wishThrough(t, rebalance.Request{Kind: rebalance.Replace, Node: c.opts.Node, Disk: c.diskID()})
	case m.Zone != c.opts.Zone:
		return c.wishThrough(t, rebalance.Request{Kind: rebalance.Zone, Node: c.opts.Node, Zone: c.opts.Zone})
	}
	return nil
}

// wishThrough puts a wish to a member that has a vote: this node, or one in
// sight.
func (c *Cluster) wishThrough(t *topology, wish rebalance.Request) error {
	ctx, cancel := context.WithTimeout(c.ctx, wishTimeout)
	defer cancel()
	if m := t.record.Member(c.opts.Node); m != nil && m.Disk == c.diskID() {
		return c.Change(ctx, wish)
	}
	body, err := json.Marshal(wish)
	if err != nil {
		return err
	}
	err = fmt.Errorf("%s: %w", wish, transport.ErrUnreachable)
	for _, m := range t.ring.Voters() {
		p := c.peer(m.ID)
		if p == nil || m.ID == c.opts.Node || c.doubtful(p) {
			continue
		}
		if _, err = p.Call(ctx, opWish, body); err == nil {
			c.changing.now()
			return nil
		}
		err = fmt.Errorf("%s, asked of node %d: %w", wish, m.ID, err)
	}
	return err
}

func (c *Cluster) serveWish(ctx context.Context, payload []byte) error {
	var wish rebalance.Request
	if err := json.Unmarshal(payload, &wish); err != nil {
		return err
	}
	return c.Change(ctx, wish)
}

// Change begins a change of the ring: it returns nil when the change is agreed
// on, and rebalance.ErrDone when nothing is to be done. Moving data goes on after
// that. rebalance.ErrChanging means that another change must end first.
func (c *Cluster) Change(ctx context.Context, wish rebalance.Request) error {
	t := c.topo.Load()
	if t == nil {
		return unavailable(c.notFounded())
	}
	if !t.alone && !c.majority.Load() {
		return unavailable(ErrMinority)
	}
	if wish.Kind == rebalance.Remove && t.record.Member(wish.Node) != nil && (wish.Node == c.opts.Node || c.inSight(wish.Node)) {
		return fmt.Errorf("%w: node %d is in sight: it can leave by itself; a dead one is in sight for FAILURE_TIMEOUT at most", rebalance.ErrRefused, wish.Node)
	}
	next, err := rebalance.Begin(t.record, wish)
	if err != nil {
		return err
	}
	if err := c.opts.BeforeChange(); err != nil {
		return unavailable(err)
	}
	ctx, cancel := context.WithTimeout(ctx, wishTimeout)
	defer cancel()
	chosen, err := c.agreeOn(ctx, next)
	if err != nil {
		return err
	}
	if !sameRecord(chosen, next) {
		return fmt.Errorf("%w: ring %d", rebalance.ErrChanging, chosen.Number)
	}
	c.info("a change of the ring begins", "change", wish, "ring", next.Number)
	c.changing.now()
	return nil
}

func sameRecord(a, b any) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && slices.Equal(x, y)
}

func (c *Cluster) inSight(id ring.NodeID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.view.InSight(id)
}

// AbortChange takes the change that is under way back.
func (c *Cluster) AbortChange(ctx context.Context) error {
	t := c.topo.Load()
	if t == nil {
		return unavailable(c.notFounded())
	}
	back, err := rebalance.Abort(t.record)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, wishTimeout)
	defer cancel()
	chosen, err := c.agreeOn(ctx, back)
	if err == nil && !sameRecord(chosen, back) {
		err = fmt.Errorf("%w: the change was completed", rebalance.ErrRefused)
	}
	return err
}

// finishWhenReady proposes the end of a change. One member at a time tries: the
// first by number among those in sight that have a vote, so that they do not
// disturb each other.
func (c *Cluster) finishWhenReady(t *topology, reports map[ring.NodeID]rebalance.Report) error {
	a := rebalance.Assess(t.ring, reports)
	if a.Stage != rebalance.Ready || !c.majority.Load() {
		return nil
	}
	for _, m := range t.ring.Voters() {
		if r, answers := reports[m.ID]; answers && !r.NoVote {
			if m.ID != c.opts.Node {
				return nil
			}
			break
		}
	}
	final, err := rebalance.Finish(t.record, reports)
	if err != nil {
		return err
	}
	value, err := json.Marshal(final)
	if err != nil {
		return err
	}
	// One round only: the next look proposes what is right by then.
	chosen, err := c.round(c.ctx, final.Number, value)
	switch {
	case errors.Is(err, errRingMoved):
		return nil
	case chosen == nil:
		return unavailable(errors.Join(fmt.Errorf("no majority agreed on ring %d in time", final.Number), err))
	}
	c.info("the change of the ring is complete", "ring", final.Number)
	c.changing.now()
	return nil
}

// ChangeStatus is a change of the ring in the status.
type ChangeStatus struct {
	Stage    string        `json:"stage"`
	Factor   int           `json:"to_replication_factor,omitempty"` // where that changes
	Progress float64       `json:"progress"`                        // 0 to 1
	Left     int64         `json:"seconds_left,omitempty"`          // about so many; 0 = not known
	Paused   bool          `json:"paused,omitempty"`                // copying rests
	Joining  []ring.NodeID `json:"joining,omitempty"`
	Leaving  []ring.NodeID `json:"leaving,omitempty"`
	Lost     []ring.NodeID `json:"lost,omitempty"`    // by a ring founded by force: members, or disks of them
	Waiting  []ring.NodeID `json:"waiting,omitempty"` // have not reported the new ring
	Copying  []ring.NodeID `json:"copying,omitempty"` // have not finished copying
	Problem  string        `json:"problem,omitempty"`
}

// changeStatus returns nil when no change is under way.
func (c *Cluster) changeStatus() *ChangeStatus {
	t, paused := c.topo.Load(), c.paused()
	c.changing.mu.Lock()
	defer c.changing.mu.Unlock()
	if t == nil || !t.ring.Changing() {
		if c.changing.problem == "" {
			return nil
		}
		return &ChangeStatus{Stage: "wanted", Problem: c.changing.problem}
	}
	a := rebalance.Assess(t.ring, c.changing.reports)
	s := &ChangeStatus{
		Stage: a.Stage.String(), Progress: a.Progress, Left: a.Left, Paused: paused, Waiting: a.Waiting, Copying: a.Copying,
		Problem: cmp.Or(c.changing.problem, a.Problem),
	}
	if paused {
		s.Left = 0 // nobody knows
	}
	if next := t.record.Next.RF; next != t.record.RF {
		s.Factor = next
	}
	for _, m := range t.record.Lost {
		s.Lost = append(s.Lost, m.ID)
	}
	for _, m := range t.ring.Members() {
		switch {
		case !t.ring.Before().Has(m.ID):
			s.Joining = append(s.Joining, m.ID)
		case !t.ring.After().Has(m.ID):
			s.Leaving = append(s.Leaving, m.ID)
		}
	}
	return s
}
