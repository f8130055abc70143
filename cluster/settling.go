package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/count-db/count/cluster/antientropy"
	"github.com/count-db/count/cluster/ring"
	"github.com/count-db/count/cluster/settle"
	"github.com/count-db/count/cluster/transport"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/wire"
)

// Rounds of settling (V4, package settle): the first member leads one when a
// window has closed since the floor; every member does its part and, when it
// hears no more of a round, asks for its outcome.

const (
	settleCall = 10 * time.Second // of the calls that only change the state
	freezeCall = time.Minute
	lookCall   = time.Hour // reads what has never been read
)

// settleStep is a part of a round.
type settleStep byte

const (
	stepState   settleStep = 1 // tell what was promised
	stepPromise settleStep = 2
	stepLook    settleStep = 3 // tell what is held
	stepFreeze  settleStep = 4 // freeze, and tell what is held
	stepDecide  settleStep = 5
	stepRelease settleStep = 6
	stepOutcome settleStep = 7 // tell what became of the round
)

// settleAsk is what a member is asked in a round.
type settleAsk struct {
	Step  settleStep    `json:"step"`
	Round settle.Round  `json:"round"`
	Base  model.Version `json:"base,omitempty"` // the highest floor of a member
}

// settleAnswer is its answer.
type settleAnswer struct {
	State    settle.State   `json:"state"`
	KeptFrom int64          `json:"kept_from,omitempty"`
	Outcome  settle.Outcome `json:"outcome,omitempty"`
	Owes     bool           `json:"owes,omitempty"`
	Deletes  []byte         `json:"deletes,omitempty"` // tombstones as in cluster/transport
	Lists    []listDigest   `json:"lists,omitempty"`
}

type listDigest struct {
	List   int                `json:"list"`
	Digest antientropy.Digest `json:"digest"`
}

// settleWhenDue does this node's part in settling.
func (c *Cluster) settleWhenDue() {
	for c.rest(c.opts.timing.settleLook) == nil {
		t := c.topo.Load()
		if t == nil || t.alone || !t.member || t.ring.Changing() || c.refill.running() {
			continue
		}
		if err := c.askOutcome(t); err != nil && c.ctx.Err() == nil {
			c.warn("the outcome of a round of settling is not known yet", err)
		}
		if !c.leadsSettling(t, time.Now()) {
			continue
		}
		err := c.settleRound(t)
		if c.floors.note(err, time.Now(), &c.opts.timing) && c.ctx.Err() == nil {
			c.info("old data is settled later", "reason", err)
		}
	}
}

// note notes how a round went, and says whether its problem is a new one.
func (f *floors) note(err error, now time.Time, t *timing) (isNew bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	problem := ""
	if err != nil {
		problem = err.Error()
		f.pause = min(max(2*f.pause, t.settleRetry), t.settleRests)
		f.retry = now.Add(f.pause)
	} else {
		f.pause, f.retry = 0, time.Time{}
	}
	isNew = problem != "" && problem != f.problem
	f.problem = problem
	return isNew
}

// leadsSettling says whether this node is to lead a round now: it is the first
// member, all are in sight, and a window has closed since the floor.
func (c *Cluster) leadsSettling(t *topology, now time.Time) bool {
	if t.ring.Members()[0].ID != c.opts.Node || !c.majority.Load() {
		return false
	}
	for _, id := range c.otherMembers(t) {
		if !c.inSight(id) {
			return false
		}
	}
	s := c.floors.now()
	closed := c.closedUntil(now)
	if s.Frozen != (settle.Round{}) || s.Floor.Micros()/1000 >= closed {
		return false
	}
	c.floors.mu.Lock()
	defer c.floors.mu.Unlock()
	return now.After(c.floors.retry)
}

// closedUntil returns the last point of the grid (ms) that lies as far behind the
// clock as a closed window's end.
func (c *Cluster) closedUntil(now time.Time) int64 {
	period := c.opts.timing.settlePeriod.Milliseconds()
	after := min(closedAfter, period)
	return (now.UnixMilli() - after) / period * period
}

// settleRound leads one round.
func (c *Cluster) settleRound(t *topology) error {
	now := time.Now()
	r := settle.Round{
		// No write has such a version: their counters are low.
		Floor:  model.VersionAt(now.Add(-c.opts.timing.settleMargin).UnixMicro()) | 0xfff,
		Leader: c.opts.Node, Start: c.instance, Ring: t.ring.Number(),
	}
	c.floors.lead(r)
	defer c.floors.lead(settle.Round{})
	answers, err := c.askAll(t, settleAsk{Step: stepPromise, Round: r}, settleCall)
	if err != nil {
		return err
	}
	ask := settleAsk{Step: stepLook, Round: r}
	for _, a := range answers {
		ask.Base = max(ask.Base, a.State.Floor)
		ask.Round.From = max(ask.Round.From, a.KeptFrom)
	}
	r = ask.Round
	c.floors.lead(r)
	if answers, err = c.askAll(t, ask, lookCall); err != nil {
		return err
	}
	if err := c.assess(t, answers); err != nil {
		return errors.Join(err, c.spreadDeletes(t, answers))
	}
	ask.Step = stepFreeze
	if answers, err = c.askAll(t, ask, freezeCall); err == nil {
		err = c.assess(t, answers)
	}
	if err == nil {
		err = c.changeFloors(func(s *settle.State) error { return s.Decide(r) })
	}
	if err != nil {
		return errors.Join(err, c.releaseRound(t, r))
	}
	c.stats.settled.Inc()
	c.info("old data is settled", "floor", time.UnixMicro(r.Floor.Micros()).UTC().Format(time.RFC3339), "seconds", time.Since(now).Seconds())
	if _, err := c.askAll(t, settleAsk{Step: stepDecide, Round: r}, settleCall); err != nil && c.ctx.Err() == nil {
		c.warn("a member settles later: it asks", err)
	}
	return nil
}

func (f *floors) lead(r settle.Round) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.running = r
}

func (f *floors) leads() settle.Round {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.running
}

// releaseRound ends a round that came to nothing: here first, so that it cannot be
// decided any more.
func (c *Cluster) releaseRound(t *topology, r settle.Round) error {
	c.floors.lead(settle.Round{})
	err := c.changeFloors(func(s *settle.State) error { s.Release(r); return nil })
	if err != nil {
		return err
	}
	// Who does not hear it asks.
	_, _ = c.askAll(t, settleAsk{Step: stepRelease, Round: r}, settleCall)
	return nil
}

// askAll asks all members, this one too, at once.
func (c *Cluster) askAll(t *topology, ask settleAsk, within time.Duration) (map[ring.NodeID]*settleAnswer, error) {
	ctx, cancel := context.WithTimeout(c.ctx, within)
	defer cancel()
	g, ctx := errgroup.WithContext(ctx)
	members := t.ring.Members()
	got := make([]*settleAnswer, len(members))
	for i, m := range members {
		g.Go(func() (err error) {
			if got[i], err = c.askSettle(ctx, m.ID, ask); err != nil {
				err = fmt.Errorf("node %d: %w", m.ID, err)
			}
			return err
		})
	}
	err := g.Wait()
	out := map[ring.NodeID]*settleAnswer{}
	for i, m := range members {
		if got[i] != nil {
			out[m.ID] = got[i]
		}
	}
	return out, err
}

func (c *Cluster) askSettle(ctx context.Context, id ring.NodeID, ask settleAsk) (*settleAnswer, error) {
	if id == c.opts.Node {
		return c.doSettle(ctx, ask)
	}
	p := c.peer(id)
	if p == nil {
		return nil, transport.ErrUnreachable
	}
	body, err := json.Marshal(ask)
	if err != nil {
		return nil, err
	}
	answer, err := p.Call(ctx, opSettle, body)
	if err != nil {
		return nil, err
	}
	var a settleAnswer
	if err := json.Unmarshal(answer, &a); err != nil {
		return nil, fmt.Errorf("answer about settling: %w", err)
	}
	return &a, nil
}

func (c *Cluster) serveSettle(ctx context.Context, payload []byte, w *transport.Answer) error {
	var ask settleAsk
	if err := json.Unmarshal(payload, &ask); err != nil {
		return err
	}
	a, err := c.doSettle(ctx, ask)
	if err != nil {
		return remoteError(err)
	}
	answer, err := json.Marshal(a)
	w.End(answer)
	return err
}

// doSettle does this member's part of a step.
func (c *Cluster) doSettle(ctx context.Context, ask settleAsk) (*settleAnswer, error) {
	t := c.topo.Load()
	a := &settleAnswer{}
	var err error
	switch ask.Step {
	case stepState:
	case stepPromise, stepLook, stepFreeze:
		if err = c.maySettle(t, ask.Round); err != nil {
			return nil, err
		}
		err = c.joinRound(ctx, t, ask, a)
	case stepDecide:
		err = c.changeFloors(func(s *settle.State) error { return s.Decide(ask.Round) })
	case stepRelease:
		err = c.changeFloors(func(s *settle.State) error { s.Release(ask.Round); return nil })
	case stepOutcome:
		err = c.changeFloors(func(s *settle.State) error {
			a.Outcome = s.OutcomeOf(ask.Round, c.floors.leads())
			return nil
		})
	default:
		err = fmt.Errorf("unknown step %d of settling", ask.Step)
	}
	a.State, a.KeptFrom = *c.floors.now(), c.local.KeptFrom()
	return a, err
}

func (c *Cluster) maySettle(t *topology, r settle.Round) error {
	switch {
	case t == nil || t.ring.Number() != r.Ring || t.ring.Changing():
		return fmt.Errorf("%w: ring %d", settle.ErrOtherRing, r.Ring)
	case c.refill.running():
		return ErrRefilling
	case r.Floor >= model.VersionAt(time.Now().UnixMicro()):
		return fmt.Errorf("the floor lies ahead of this node's clock: %w", settle.ErrNotSettled)
	}
	return nil
}

// joinRound promises, looks or freezes.
func (c *Cluster) joinRound(ctx context.Context, t *topology, ask settleAsk, a *settleAnswer) error {
	switch ask.Step {
	case stepPromise:
		return c.changeFloors(func(s *settle.State) error { s.Promise(ask.Round.Floor); return nil })
	case stepFreeze:
		if err := c.changeFloors(func(s *settle.State) error { return s.Freeze(ask.Round, t.ring.Number()) }); err != nil {
			return err
		}
	}
	a.Owes = len(c.hints.Owed()) > 0
	var deletes []model.Tombstone
	for _, ts := range c.local.Tombstones(ask.Round.From, math.MaxInt64) {
		if ts.Version > ask.Base && ts.Version <= ask.Round.Floor && !hasTombstone(deletes, &ts) {
			deletes = append(deletes, ts)
		}
	}
	a.Deletes = transport.AppendTombstones(nil, deletes)
	lists, err := c.heldBelow(ctx, t, ask.Round)
	for list, d := range lists {
		a.Lists = append(a.Lists, listDigest{list, d})
		if !t.lists[list].Owns(c.opts.Node) && d.Count > 0 {
			c.shedding.want() // or nothing will ever be settled
		}
	}
	return err
}

// heldBelow returns digests without versions of all that this node holds at or
// below a floor, by list.
func (c *Cluster) heldBelow(ctx context.Context, t *topology, r settle.Round) (map[int]antientropy.Digest, error) {
	a := digestAsk{ring: t.ring.Number(), before: r.Floor + 1, floor: settledAt{r.Floor, r.From}}
	out := map[int]antientropy.Digest{}
	add := func(_ int64, e *windowDigest) {
		for list, d := range e.plain {
			sum := out[list]
			sum.Add(d)
			out[list] = sum
		}
	}
	if err := c.eachWindow(ctx, t, a, func(w int64) bool { return w*windowLength >= r.From }, add); err != nil {
		return nil, err
	}
	return out, nil
}

// assess says whether the floor may be decided.
func (c *Cluster) assess(t *topology, answers map[ring.NodeID]*settleAnswer) error {
	holdings := map[ring.NodeID]settle.Holding{}
	for id, a := range answers {
		h := settle.Holding{Owes: a.Owes, Lists: map[int]antientropy.Digest{}}
		for _, l := range a.Lists {
			h.Lists[l.List] = l.Digest
		}
		deletes, err := a.tombstones()
		if err != nil {
			return fmt.Errorf("deletes of node %d: %w", id, err)
		}
		for i := range deletes {
			h.Deletes.Add(digestOfDelete(t, &deletes[i]))
		}
		holdings[id] = h
	}
	return settle.Assess(t.ring, holdings)
}

func (a *settleAnswer) tombstones() ([]model.Tombstone, error) {
	d := wire.NewDecoder(a.Deletes)
	out := transport.DecodeTombstones(&d)
	return out, d.Err()
}

func digestOfDelete(t *topology, ts *model.Tombstone) antientropy.Digest {
	var d antientropy.Digest
	hasher := antientropy.NewHasher(t.record.ClusterID)
	s := hasher.Series(model.SeriesID{})
	s.Histogram(&d, ts.MinT, ts.Version, transport.AppendTombstones(nil, []model.Tombstone{*ts}))
	return d
}

// spreadDeletes gives every member the deletes that another one knows.
func (c *Cluster) spreadDeletes(t *topology, answers map[ring.NodeID]*settleAnswer) error {
	var all []model.Tombstone
	known := map[ring.NodeID][]model.Tombstone{}
	for id, a := range answers {
		deletes, err := a.tombstones()
		if err != nil {
			return err
		}
		known[id] = deletes
		for i := range deletes {
			if !hasTombstone(all, &deletes[i]) {
				all = append(all, deletes[i])
			}
		}
	}
	ctx, cancel := context.WithTimeout(c.ctx, freezeCall)
	defer cancel()
	for _, m := range t.ring.Members() {
		for i := range all {
			if hasTombstone(known[m.ID], &all[i]) {
				continue
			}
			if err := c.sendDelete(ctx, m.ID, all[i]); err != nil && !isSettled(err) {
				return fmt.Errorf("give node %d a delete: %w", m.ID, err)
			}
		}
	}
	return nil
}

// askOutcome asks the leader of the round in which this node is frozen what became
// of it, when nothing was heard for a while.
func (c *Cluster) askOutcome(t *topology) error {
	r := c.floors.now().Frozen
	c.floors.mu.Lock()
	waits := time.Since(c.floors.frozen) < c.opts.timing.frozenPatience
	c.floors.mu.Unlock()
	if r == (settle.Round{}) || waits || t.ring.Number() != r.Ring {
		return nil
	}
	ctx, cancel := context.WithTimeout(c.ctx, settleCall)
	defer cancel()
	a, err := c.askSettle(ctx, r.Leader, settleAsk{Step: stepOutcome, Round: r})
	if err != nil {
		return fmt.Errorf("ask node %d: %w", r.Leader, err)
	}
	return c.changeFloors(func(s *settle.State) error {
		switch {
		case s.Frozen != r:
			return nil
		case a.Outcome == settle.Settled:
			return s.Decide(r)
		case a.Outcome == settle.Dropped:
			s.Release(r)
		}
		return nil
	})
}

// floorsOf asks nodes for what they promised and settled.
func (c *Cluster) floorsOf(ctx context.Context, nodes []ring.NodeID) ([]settle.State, error) {
	var out []settle.State
	for _, id := range nodes {
		a, err := c.askSettle(ctx, id, settleAsk{Step: stepState})
		if err != nil {
			return nil, fmt.Errorf("what node %d has settled: %w", id, err)
		}
		out = append(out, a.State)
	}
	return out, nil
}

// highestFloor returns the highest floor of the members in sight: digests are
// compared by it.
func (c *Cluster) highestFloor(ctx context.Context, t *topology) (settledAt, error) {
	highest := c.floors.at()
	for _, id := range c.otherMembers(t) {
		if !c.inSight(id) {
			continue
		}
		known, err := c.floorsOf(ctx, []ring.NodeID{id})
		if err != nil {
			return highest, err
		}
		highest = highest.higher(settledAt{known[0].Floor, known[0].From})
	}
	return highest, nil
}

func sameFloors(a, b []settle.State) bool {
	for i := range a {
		if a[i].Floor != b[i].Floor {
			return false
		}
	}
	return len(a) == len(b)
}

// SettlingStatus says what of the data is settled.
type SettlingStatus struct {
	Floor     string  `json:"floor,omitempty"` // what was written until then is settled
	From      int64   `json:"from_ms,omitempty"`
	Windows   int     `json:"settled_windows"`
	Unsettled float64 `json:"oldest_unsettled_seconds"`
	Frozen    bool    `json:"round_under_way,omitempty"`
	Problem   string  `json:"problem,omitempty"` // why the last round led here came to nothing
}

func (c *Cluster) settlingStatus(now time.Time) SettlingStatus {
	st := c.floors.now()
	s := SettlingStatus{From: st.From, Frozen: st.Frozen != settle.Round{}}
	c.floors.mu.Lock()
	s.Problem = c.floors.problem
	c.floors.mu.Unlock()
	t := c.topo.Load()
	if t == nil || t.alone {
		return s
	}
	held := c.local.Windows()
	at := time.UnixMicro(st.Floor.Micros())
	if st.Floor > 0 {
		s.Floor = at.UTC().Format(time.RFC3339)
	} else if at = now; len(held) > 0 {
		at = time.UnixMilli(held[0] * windowLength)
	}
	s.Unsettled = max(now.Sub(at).Seconds(), 0)
	for _, w := range held {
		if st.Floor > 0 && (w+1)*windowLength <= at.UnixMilli() && w*windowLength >= st.From {
			s.Windows++
		}
	}
	return s
}
