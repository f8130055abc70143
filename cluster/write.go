package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/count-db/count/cluster/frontier"
	"github.com/count-db/count/cluster/quorum"
	"github.com/count-db/count/cluster/ring"
	"github.com/count-db/count/cluster/transport"
	"github.com/count-db/count/internal/caller"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/wire"
)

// group is the part of a write that one list of candidates holds.
type group struct {
	list  *ring.List
	batch *model.Batch // of the caller, or own; not used once the caller is answered
	own   bool
	body  []byte // batch as it travels
	// origin is the number of this attempt, with those of the attempts before (C7).
	origin frontier.Origin
}

// write is one batch on its way to its candidates. The goroutine of the request
// drives it; answers of other nodes come in from their connections' readers.
// After the client is answered it lives on until every owner has answered or the
// deadline has passed, and then notes who is owed a copy (C6).
type write struct {
	c        *Cluster
	t        *topology
	groups   []group
	lists    []*ring.List
	deadline time.Time
	signal   chan struct{} // capacity 1: something changed

	mu       sync.Mutex
	tracker  quorum.Tracker // guarded by mu
	attempt  int            // guarded by mu; answers to earlier ones are ignored
	moved    bool           // guarded by mu; a replica has another ring in force
	again    writesAgain    // guarded by mu
	stale    model.Version  // guarded by mu; the highest version of a stale answer, 0 = none
	waiting  int            // guarded by mu; remote nodes of this attempt that have not answered
	answered bool           // guarded by mu; the client is
	settled  bool           // guarded by mu
}

// Append writes a batch: it returns nil when W candidates of every sample hold
// it durably. An UnavailableError may be retried as it is; any part of the batch
// may be stored then. The batch belongs to the caller again.
func (c *Cluster) Append(ctx context.Context, b *model.Batch) error {
	t := c.topo.Load()
	switch {
	case t == nil:
		return unavailable(c.notFounded())
	case t.alone:
		return c.appendAlone(ctx, b)
	case !c.majority.Load():
		c.stats.minority.Inc()
		return unavailable(ErrMinority)
	case b.Samples()+len(b.Exemplars)+len(b.Metadata) == 0:
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.opts.WriteDeadline)
	defer cancel()
	for {
		w, err := c.newWrite(t, b)
		if err != nil {
			c.stats.refused.Inc()
			return err
		}
		w.deadline, _ = ctx.Deadline()
		copies, err := w.run(ctx, b)
		if err == nil {
			noteCopies(ctx, copies)
			return nil
		}
		again := false
		switch {
		case w.hasMoved():
			again = c.awaitRing(ctx, t)
		case !errors.Is(err, ErrUnknownSeries):
			again = c.hasMoved(ctx, t)
		}
		if !again {
			c.stats.refused.Inc()
			return err
		}
		t = c.topo.Load()
	}
}

func (w *write) hasMoved() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.moved
}

func (c *Cluster) appendAlone(ctx context.Context, b *model.Batch) error {
	b.Version = c.clock.Now()
	if caller.GaveUp(ctx) {
		return unavailable(ErrGivenUp)
	}
	_, wait, err := c.local.Begin(ctx, b, false)
	if err == nil {
		err = wait()
	}
	if err == nil {
		noteCopies(ctx, 1)
	}
	return err
}

func (c *Cluster) newWrite(t *topology, b *model.Batch) (*write, error) {
	w := &write{c: c, t: t, signal: make(chan struct{}, 1)}
	if len(t.lists) == 1 {
		w.groups = []group{{list: &t.lists[0], batch: b, origin: c.origin(t, 0)}}
	} else if err := w.split(b); err != nil {
		w.release()
		return nil, err
	}
	for i := range w.groups {
		w.lists = append(w.lists, w.groups[i].list)
	}
	return w, nil
}

// split groups the samples by their candidates. ErrUnknownSeries: a series was
// forgotten since it was interned, and nobody can tell where its samples belong.
func (w *write) split(b *model.Batch) error {
	forgotten := false
	byList := map[int]*model.Batch{}
	order := []int{}
	part := func(list int) *model.Batch {
		p := byList[list]
		if p == nil {
			p = w.c.getBatch()
			byList[list] = p
			order = append(order, list)
		}
		return p
	}
	last, lastPart := -1, (*model.Batch)(nil)
	of := func(ref model.Ref) *model.Batch {
		list, known := w.t.place.listOf(ref)
		forgotten = forgotten || !known
		if list != last {
			last, lastPart = list, part(list)
		}
		return lastPart
	}
	for i, s := range b.Floats {
		p := of(s.Ref)
		p.Floats = append(p.Floats, s)
		if len(b.STs) > 0 {
			p.STs = append(p.STs, b.STs[i])
		}
	}
	for _, h := range b.Hists {
		p := of(h.Ref)
		p.Hists = append(p.Hists, h)
	}
	for _, e := range b.Exemplars {
		p := of(e.Ref)
		p.Exemplars = append(p.Exemplars, e)
	}
	for _, m := range b.Metadata {
		p := part(w.t.place.listOfFamily(m.Family))
		p.Metadata = append(p.Metadata, m)
	}
	for _, list := range order {
		w.groups = append(w.groups, group{list: &w.t.lists[list], batch: byList[list], own: true, origin: w.c.origin(w.t, list)})
	}
	if forgotten {
		return ErrUnknownSeries
	}
	return nil
}

// run makes the batch durable, stamping it as often as it takes.
func (w *write) run(ctx context.Context, b *model.Batch) (copies int, err error) {
	defer w.release()
	version := w.c.clock.Now()
	for {
		if caller.GaveUp(ctx) || !time.Now().Before(w.deadline) {
			return 0, unavailable(ErrGivenUp) // after the stamp, or a pause in between made it the later one
		}
		w.begin(version)
		w.sendToOwners(ctx)
		w.appendHere(ctx, b)
		copies, err := w.wait(ctx)
		if !errors.Is(err, ErrStale) || ctx.Err() != nil {
			w.answer()
			if err == nil {
				w.c.stats.written.Add(float64(b.Samples()))
				return copies, nil
			}
			if errors.Is(err, ErrUnknownSeries) {
				return copies, err
			}
			return copies, unavailable(err)
		}
		w.c.stats.restamped.Inc()
		version = w.c.clock.Now()
	}
}

// begin starts an attempt: all nodes are asked anew, with a new version.
func (w *write) begin(version model.Version) {
	for i := range w.groups {
		g := &w.groups[i]
		g.batch.Version = version
		g.origin = w.t.numbered(g.origin)
		// Earlier attempts may still be read by connections: never reuse their bytes.
		g.body = nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.attempt++
	w.stale, w.waiting, w.again = 0, 0, writesAgain{}
	w.tracker.Reset(w.lists)
}

// sendToOwners sends each owner that can be reached its groups, in parallel.
func (w *write) sendToOwners(ctx context.Context) {
	for _, id := range w.nodes(func(l *ring.List, id ring.NodeID) bool { return l.Owns(id) }) {
		if id != w.c.opts.Node {
			w.send(ctx, id, quorum.Owner)
		}
	}
}

// nodes returns the distinct candidates of all groups for which is holds.
func (w *write) nodes(is func(l *ring.List, id ring.NodeID) bool) []ring.NodeID {
	if len(w.groups) == 1 {
		l := w.groups[0].list
		return l.Nodes[:l.Owners]
	}
	var out []ring.NodeID
	seen := map[ring.NodeID]bool{}
	for i := range w.groups {
		for _, id := range w.groups[i].list.Nodes {
			if !seen[id] && is(w.groups[i].list, id) {
				seen[id] = true
				out = append(out, id)
			}
		}
	}
	return out
}

// send asks one remote node for its copy of the groups that it has the role in.
func (w *write) send(ctx context.Context, id ring.NodeID, role quorum.Role) {
	p := w.c.peer(id)
	if p == nil {
		w.fail(id, role, transport.ErrUnreachable)
		return
	}
	// One that is only silent is asked all the same: it may be the coordinator
	// that was, and what the silent one takes later it need not be owed.
	if role == quorum.Owner && !p.Connected() {
		w.fail(id, role, whyUnreachable(p))
		return
	}
	a := &transport.Append{Fresh: true, Ring: w.t.ring.Number(), RequestID: w.c.requestID(ctx)}
	if deadline, ok := ctx.Deadline(); ok {
		a.Timeout = max(time.Until(deadline), time.Millisecond)
	}
	for i := range w.groups {
		g := &w.groups[i]
		if !hasRole(g.list, id, role) {
			continue
		}
		if g.body == nil {
			g.body = transport.AppendBatch(make([]byte, 0, 64+11*g.batch.Samples()), g.batch)
		}
		a.Sections = append(a.Sections, transport.Section{Batch: g.batch, Body: g.body, Origins: []frontier.Origin{g.origin}})
	}
	w.mu.Lock()
	attempt := w.attempt
	w.waiting++
	w.tracker.Asked(id, role)
	w.mu.Unlock()
	err := p.Append(a, func(reply transport.AppendReply, err error) { w.answerOf(id, role, attempt, reply, err) })
	if err != nil {
		w.answerOf(id, role, attempt, transport.AppendReply{}, err)
	}
}

func hasRole(l *ring.List, id ring.NodeID, role quorum.Role) bool {
	return l.Has(id) && quorum.RoleIn(l, id) == role
}

func (w *write) fail(id ring.NodeID, role quorum.Role, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tracker.Fail(id, role, err)
}

// answerOf takes a remote node's answer; it is called by connections' readers.
func (w *write) answerOf(id ring.NodeID, role quorum.Role, attempt int, reply transport.AppendReply, err error) {
	w.c.clock.Observe(reply.Highest)
	w.mu.Lock()
	if attempt != w.attempt {
		w.mu.Unlock()
		return
	}
	w.waiting--
	w.noteLocked(id, role, reply, err)
	last := w.answered && w.waiting == 0
	w.mu.Unlock()
	select {
	case w.signal <- struct{}{}:
	default:
	}
	if last {
		w.settle()
	}
}

func (w *write) noteLocked(id ring.NodeID, role quorum.Role, reply transport.AppendReply, err error) {
	switch {
	case err != nil:
		w.tracker.Fail(id, role, err)
		w.again.note(id, role, err)
		w.c.noteRing(err)
		w.moved = w.moved || isOtherRing(err)
	case reply.Stale:
		w.stale = max(w.stale, reply.Highest)
		w.tracker.Fail(id, role, ErrStale)
	default:
		w.tracker.Ack(id, role)
	}
}

// appendHere stores this node's own copy, by a direct call.
func (w *write) appendHere(ctx context.Context, b *model.Batch) {
	self := w.c.opts.Node
	mine, whole := (*model.Batch)(nil), true
	for i := range w.groups {
		whole = whole && w.groups[i].list.Owns(self)
	}
	if whole {
		b.Version = w.groups[0].batch.Version
		mine = b
	} else if mine = w.gather(self); mine == nil {
		return
	} else {
		defer w.c.putBatch(mine)
	}
	w.storeHere(ctx, mine, quorum.Owner)
}

// gather puts together the groups that the node is an owner of.
func (w *write) gather(id ring.NodeID) *model.Batch {
	var mine *model.Batch
	for i := range w.groups {
		if !w.groups[i].list.Owns(id) {
			continue
		}
		if mine == nil {
			mine = w.c.getBatch()
		}
		appendBatch(mine, w.groups[i].batch)
	}
	return mine
}

func appendBatch(dst, src *model.Batch) {
	if len(src.STs) > 0 || len(dst.STs) > 0 {
		for len(dst.STs) < len(dst.Floats) {
			dst.STs = append(dst.STs, 0)
		}
		dst.STs = append(dst.STs, src.STs...)
	}
	dst.Version = src.Version
	dst.Floats = append(dst.Floats, src.Floats...)
	if len(dst.STs) > 0 {
		for len(dst.STs) < len(dst.Floats) {
			dst.STs = append(dst.STs, 0)
		}
	}
	dst.Hists = append(dst.Hists, src.Hists...)
	dst.Exemplars = append(dst.Exemplars, src.Exemplars...)
	dst.Metadata = append(dst.Metadata, src.Metadata...)
}

// storeHere stores the groups that this node has the role in, which are b.
func (w *write) storeHere(ctx context.Context, b *model.Batch, role quorum.Role) {
	var reply transport.AppendReply
	err := w.c.enter(w.t.ring.Number())
	if err == nil {
		s := w.c.beginStoring(ctx, b, fresh)
		var origins []frontier.Origin
		for i := range w.groups {
			if s.durable != nil && hasRole(w.groups[i].list, w.c.opts.Node, role) {
				origins = append(origins, w.groups[i].origin)
			}
		}
		w.c.ledger.Shown(origins)
		if reply, err = s.reply, s.wait(); err == nil {
			w.c.ledger.Stored(origins)
		}
		w.c.gate.RUnlock()
	}
	w.c.clock.Observe(reply.Highest)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.noteLocked(w.c.opts.Node, role, reply, err)
}

// wait returns when the write is durable, cannot become so, is stale or late.
func (w *write) wait(ctx context.Context) (copies int, err error) {
	timer := time.NewTimer(w.c.opts.StandInAfter)
	defer timer.Stop()
	connecting := time.NewTimer(time.Hour)
	defer connecting.Stop()
	late := false
	for {
		w.mu.Lock()
		again := w.again.take(&w.tracker)
		outcome, copies, stale, moved := w.tracker.Outcome(), w.tracker.Copies(), w.stale, w.moved
		standIns := w.tracker.StandIns(nil, func(id ring.NodeID) bool { return late || w.c.doubtfulNode(id) })
		if outcome != quorum.Durable {
			err = w.tracker.Err()
		}
		w.mu.Unlock()
		switch {
		case outcome == quorum.Durable:
			return copies, nil
		case stale != 0:
			return copies, fmt.Errorf("%w (version %d)", ErrStale, stale)
		case moved && w.c.topo.Load() != w.t:
			return copies, err // the newer ring is here: nobody waits for the older one's answers
		case outcome == quorum.Failed && len(standIns) == 0 && w.mayConnect():
			connecting.Reset(connectPoll)
		case outcome == quorum.Failed && len(standIns) == 0:
			return copies, err
		}
		w.sendCopies(ctx, again)
		w.ask(ctx, standIns)
		if len(standIns) > 0 {
			continue
		}
		select {
		case <-w.signal:
		case <-connecting.C:
			w.askAgain(ctx)
		case <-timer.C:
			late = true
			w.askAgain(ctx)
			timer.Reset(w.c.opts.StandInAfter)
		case <-ctx.Done():
			return copies, err
		case <-w.c.ctx.Done():
			return copies, errors.Join(ErrClosed, err)
		}
	}
}

// connectPoll is how often a write looks whether a node that became a member a
// moment ago is connected.
const connectPoll = 10 * time.Millisecond

// mayConnect says whether a candidate of the write is only just being connected
// to, as right after a ring came into force that it is new in, or was when it was
// asked: then it may be there by now, and is asked again.
func (w *write) mayConnect() bool {
	asked := false
	w.mu.Lock()
	w.tracker.Again(func(id ring.NodeID, _ quorum.Role, err error) bool {
		asked = asked || errors.Is(err, transport.ErrNotTried) && !w.c.doubtfulNode(id)
		return false // only looked at
	})
	w.mu.Unlock()
	if asked {
		return true
	}
	return slices.ContainsFunc(w.t.ring.Members(), func(m ring.Member) bool {
		p := w.c.peer(m.ID)
		return p != nil && p.Untried()
	})
}

// askAgain asks the candidates that could not be reached and now can: right after
// a start the connections come one after the other.
func (w *write) askAgain(ctx context.Context) {
	var back []askedCopy
	w.mu.Lock()
	w.tracker.Again(func(id ring.NodeID, role quorum.Role, err error) bool {
		lost := errors.Is(err, transport.ErrUnreachable) || errors.Is(err, transport.ErrLost)
		if !lost || id == w.c.opts.Node || w.c.doubtfulNode(id) {
			return false
		}
		back = append(back, askedCopy{id, role})
		return true
	})
	w.mu.Unlock()
	w.sendCopies(ctx, back)
}

// ask has stand-ins store the groups that they stand in for.
func (w *write) ask(ctx context.Context, standIns []ring.NodeID) {
	for _, id := range standIns {
		w.c.stats.standIns.Inc()
		if id != w.c.opts.Node {
			w.send(ctx, id, quorum.StandIn)
			continue
		}
		mine := w.c.getBatch()
		for i := range w.groups {
			if hasRole(w.groups[i].list, id, quorum.StandIn) {
				appendBatch(mine, w.groups[i].batch)
			}
		}
		w.storeHere(ctx, mine, quorum.StandIn)
		w.c.putBatch(mine)
	}
}

// answer notes that the client is answered; what is outstanding goes on.
func (w *write) answer() {
	w.mu.Lock()
	w.answered = true
	for i := range w.groups {
		if g := &w.groups[i]; g.body == nil && len(w.tracker.Owed(nil, i)) > 0 {
			g.body = transport.AppendBatch(nil, g.batch)
		}
	}
	last := w.waiting == 0
	w.mu.Unlock()
	if last {
		w.settle()
		return
	}
	w.c.linger(w)
}

// release gives back the batches: they are not used once the caller is answered.
func (w *write) release() {
	for i := range w.groups {
		if g := &w.groups[i]; g.own {
			w.c.putBatch(g.batch)
		}
		w.groups[i].batch = nil
	}
}

// settle notes who is owed what, once: when all have answered, or at the
// deadline.
func (w *write) settle() {
	type debt struct {
		body   []byte
		origin frontier.Origin
		owed   []ring.NodeID
		keeper ring.NodeID
	}
	var debts []debt
	w.mu.Lock()
	if w.settled {
		w.mu.Unlock()
		return
	}
	w.settled = true
	for i := range w.groups {
		owed := w.tracker.Owed(nil, i)
		if len(owed) == 0 {
			continue
		}
		// Where no candidate has the samples nothing is owed: no copy counts.
		if keeper, ok := w.tracker.Keeper(i, w.c.opts.Node); ok {
			debts = append(debts, debt{w.groups[i].body, w.groups[i].origin, owed, keeper})
		}
	}
	w.mu.Unlock()
	for _, d := range debts {
		w.c.keepHint(d.keeper, d.owed, d.body, []frontier.Origin{d.origin})
	}
}

// decodeOwn reads a body that this node encoded: references are its own.
func decodeOwn(b *model.Batch, body []byte) error {
	d := wire.NewDecoder(body)
	transport.DecodeBatch(&d, b, func(ref uint32) (model.Ref, bool) { return model.Ref(ref), true })
	return d.Err()
}
