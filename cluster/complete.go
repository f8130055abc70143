package cluster

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/cluster/frontier"
	"github.com/count-db/count/cluster/quorum"
	"github.com/count-db/count/cluster/ring"
	"github.com/count-db/count/cluster/transport"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/wire"
)

const (
	// frontierTimeout is how long a query waits to hear whether this node's copy is
	// complete before it reads several copies.
	frontierTimeout = 150 * time.Millisecond
	// inFlight is how long it waits for batches that others have already.
	inFlight = 25 * time.Millisecond
	// copyHedge is how long it waits for the members that are enough before it asks
	// the others too.
	copyHedge = 2 * time.Millisecond
	// keptSnapshots is how many snapshots of the sets are kept, one a look of the
	// comparing loop.
	keptSnapshots = 64
)

// newInstance returns a number for this start of the node that no other has.
func newInstance() (uint64, error) {
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil {
		return 0, fmt.Errorf("number this start: %w", err)
	}
	return binary.LittleEndian.Uint64(b[:]), nil
}

// origin begins the origin of a write to a list (C7).
func (c *Cluster) origin(t *topology, list int) frontier.Origin {
	return frontier.Origin{Stream: frontier.Stream{Node: c.opts.Node, Start: c.instance, Ring: t.ring.Number(), List: uint32(list)}}
}

// snapshots are the sets as they were: a comparison with a cut may only vouch
// for what was stored before it.
type snapshots struct {
	mu    sync.Mutex
	epoch uint64 // guarded by mu; see Cluster.epoch
	kept  []snapshot
}

// snapshot is the sets at a moment.
type snapshot struct {
	at      time.Time
	highest model.Version // no version stored until then is above it
	sets    frontier.Sets
}

// epoch numbers what bases are about: one start of a node, one ring, because
// another ring gives another node other lists, and the time up to a refill, which
// brings samples without their numbers.
func (c *Cluster) epoch(t *topology) uint64 {
	return c.instance + t.ring.Number() + c.refill.times()<<32
}

// isEpochOf says whether an epoch is one of the start with that random number.
func isEpochOf(random, number, epoch uint64) bool { return uint32(epoch-number) == uint32(random) }

// beganEmpty says whether this node held nothing when its epoch began: it
// founded the cluster in this start and has merged nothing from others since.
func (c *Cluster) beganEmpty(t *topology) bool {
	return c.fresh.Load() && t.ring.Number() == 1 && !c.refill.running() && c.refill.times() == 0
}

// snap keeps the sets of now; with a new epoch the old ones are of no use.
func (c *Cluster) snap(t *topology) {
	s := snapshot{at: time.Now(), sets: c.ledger.Snapshot()}
	s.highest = c.clock.Now() // behind the sets: what is in them was met before
	c.snapshots.mu.Lock()
	defer c.snapshots.mu.Unlock()
	if e := c.epoch(t); c.snapshots.epoch != e {
		c.snapshots.epoch, c.snapshots.kept = e, nil
	}
	c.snapshots.kept = append(c.snapshots.kept, s)
	if n := len(c.snapshots.kept); n > keptSnapshots {
		// The first one stands for the beginning of the epoch.
		c.snapshots.kept = append(c.snapshots.kept[:1:1], c.snapshots.kept[n-keptSnapshots+1:]...)
	}
}

// before returns the newest snapshot of the epoch that lies before a cut.
func (s *snapshots) before(epoch uint64, upTo cut) (snapshot, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.epoch != epoch {
		return snapshot{}, false
	}
	for i := len(s.kept) - 1; i >= 0; i-- {
		if k := &s.kept[i]; k.highest < upTo.version {
			return *k, true
		}
	}
	return snapshot{}, false
}

// vouch tells a member that it holds all that this node held at a snapshot
// before the cut: every comparison with it up to there succeeded.
func (c *Cluster) vouch(t *topology, id ring.NodeID, upTo cut) {
	s, ok := c.snapshots.before(c.epoch(t), upTo)
	if !ok {
		return
	}
	err := c.tellBase(t, id, s.sets)
	switch {
	case err == nil:
		c.vouched.told(id, c.epoch(t), s.at)
	case c.ctx.Err() == nil:
		// It is told again after the next comparison; until then it reads more copies.
		c.warn("another node could not be told that it is complete", err, "node", id)
	}
}

// vouched is which members were told that they are complete, in the present
// start of both sides: until then they are compared with more often, because
// their reads cost several copies.
type vouched struct {
	mu sync.Mutex
	of map[ring.NodeID]meeting // guarded by mu
}

// meeting is one epoch of this node with one start of another.
type meeting struct {
	epoch, starts uint64
	since         time.Time
	told          bool // all that this node held at some time since then
}

// waits says whether a member, in a start of it, is to be told of what this node
// holds, and since when.
func (v *vouched) waits(id ring.NodeID, epoch, starts uint64, now time.Time) (since time.Time, yes bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	m := v.of[id]
	if m.since.IsZero() || m.epoch != epoch || m.starts != starts {
		m = meeting{epoch: epoch, starts: starts, since: now}
		v.of[id] = m
	}
	return m.since, !m.told
}

// told notes that a member knows that it holds all that this node held then.
func (v *vouched) told(id ring.NodeID, epoch uint64, then time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if m := v.of[id]; m.epoch == epoch && !then.Before(m.since) {
		m.told = true
		v.of[id] = m
	}
}

// unvouched returns the members in sight that this node has not vouched for
// since they, or it, started, and since when that is known.
func (c *Cluster) unvouched(t *topology) map[ring.NodeID]time.Time {
	out := map[ring.NodeID]time.Time{}
	for _, id := range c.otherMembers(t) {
		c.mu.Lock()
		n, known := c.view.Get(id, time.Now())
		c.mu.Unlock()
		if !known || !n.Up {
			continue
		}
		if since, yes := c.vouched.waits(id, c.epoch(t), n.Starts, time.Now()); yes {
			out[id] = since
		}
	}
	return out
}

// vouchFromBeginning vouches to a member that is back where nothing needs to be
// compared: this node held nothing before its start.
func (c *Cluster) vouchFromBeginning(id ring.NodeID) {
	retry := time.NewTicker(foundingInterval)
	defer retry.Stop()
	for range 20 { // the other may found the ring a moment later
		t := c.topo.Load()
		if t == nil || !c.beganEmpty(t) || c.tellBase(t, id, nil) == nil {
			return
		}
		select {
		case <-retry.C:
		case <-c.ctx.Done():
			return
		}
	}
}

// tellBase sends the word of vouch.
func (c *Cluster) tellBase(t *topology, id ring.NodeID, sets frontier.Sets) error {
	p := c.peer(id)
	if p == nil {
		return transport.ErrUnreachable
	}
	ctx, cancel := context.WithTimeout(c.ctx, c.opts.WriteDeadline)
	defer cancel()
	body := wire.AppendUvarint(nil, t.ring.Number())
	body = wire.AppendUvarint(body, c.epoch(t))
	_, err := p.Call(ctx, opUnite, sets.Append(body))
	return err
}

func (c *Cluster) serveUnite(from ring.NodeID, d *wire.Decoder) error {
	number, epoch, sets := d.Uvarint(), d.Uvarint(), frontier.DecodeSets(d)
	if d.Err() != nil {
		return d.Err()
	}
	if err := c.sameRing(number); err != nil {
		return err
	}
	c.ledger.Unite(from, epoch, c.vouchedFor(from, number, sets))
	return nil
}

// serveFrontier answers with what this node has stored: whether that counts, the
// ring, the epoch, the versions of all deletes, and the sets.
func (c *Cluster) serveFrontier(w *transport.Answer) error {
	t := c.topo.Load()
	if t == nil {
		return transport.Errorf(transport.CodeUnavailable, "node %d has no ring", c.opts.Node)
	}
	w.End(c.appendFrontier(nil, t, func(frontier.Stream) bool { return true }))
	return nil
}

// appendFrontier appends what this node has stored of the streams that are wanted.
func (c *Cluster) appendFrontier(dst []byte, t *topology, want func(frontier.Stream) bool) []byte {
	dst = wire.AppendUvarint(append(dst, c.countsByte()), t.ring.Number())
	dst = wire.AppendUvarint(dst, c.epoch(t))
	deletes := c.local.Tombstones(math.MinInt64, math.MaxInt64)
	versions := make([]model.Version, len(deletes))
	for i := range deletes {
		versions[i] = deletes[i].Version
	}
	return c.ledger.AppendSets(appendVersions(dst, versions), want)
}

func appendVersions(dst []byte, versions []model.Version) []byte {
	dst = wire.AppendUvarint(dst, uint64(len(versions)))
	for _, v := range versions {
		dst = wire.AppendUint64(dst, uint64(v))
	}
	return dst
}

func decodeVersions(d *wire.Decoder) []model.Version {
	var out []model.Version
	for range d.Count(8) {
		out = append(out, model.Version(d.Uint64()))
	}
	return out
}

// known is another node's frontier.
type known struct {
	counts  bool
	ring    uint64
	epoch   uint64
	deletes []model.Version
	sets    frontier.Sets
}

func (c *Cluster) frontierOf(ctx context.Context, id ring.NodeID) (known, error) {
	var k known
	p := c.peer(id)
	if p == nil {
		return k, transport.ErrUnreachable
	}
	answer, err := p.Call(ctx, opFrontier, nil)
	if err != nil {
		return k, err
	}
	d := wire.NewDecoder(answer)
	k = decodeFrontier(&d)
	return k, d.Err()
}

func decodeFrontier(d *wire.Decoder) known {
	k := known{counts: d.Byte() == 1, ring: d.Uvarint(), epoch: d.Uvarint()}
	k.deletes = decodeVersions(d)
	k.sets = frontier.DecodeSets(d)
	return k
}

// CopyIsComplete says whether this node's own copy holds every write that was
// acknowledged before the call, so that a read under ctx may be answered from it
// alone (C7): it is an owner of everything, and holds all that W-1 other
// candidates hold.
func (c *Cluster) CopyIsComplete(ctx context.Context) bool {
	t := c.topo.Load()
	level := quorum.LevelFrom(ctx)
	switch {
	case t == nil || !t.whole || !c.mayAnswerAlone(t, level):
		return false
	case t.alone || level == quorum.One:
		return true
	case !c.holdsEverything(ctx, t):
		c.stats.manyCopies.Inc()
		return false
	}
	c.stats.oneCopy.Inc()
	return true
}

// SeriesIsComplete is CopyIsComplete for the one series that has these labels: it
// may hold where this node owns some series and not others.
func (c *Cluster) SeriesIsComplete(ctx context.Context, ls labels.Labels) bool {
	t := c.topo.Load()
	level := quorum.LevelFrom(ctx)
	if t == nil || t.alone || t.whole {
		return c.CopyIsComplete(ctx)
	}
	list := t.ring.ListOf(model.SeriesIDOf(ls).Token())
	switch {
	case !t.member || !t.lists[list].Owns(c.opts.Node) || !c.mayAnswerAlone(t, level):
		return false
	case level == quorum.One:
		return true
	}
	if proved, _ := c.prove(ctx, t, []int{list}, nil); len(proved) == 0 {
		c.stats.manyCopies.Inc()
		return false
	}
	c.stats.oneCopy.Inc()
	return true
}

// mayAnswerAlone says whether one copy can be enough at all.
func (c *Cluster) mayAnswerAlone(t *topology, level quorum.Level) bool {
	return !t.ring.Changing() && !c.refill.running() && c.majority.Load() && level != quorum.All
}

// holdsEverything says whether this node, an owner of everything, holds for every
// list all that W-1 other candidates hold.
func (c *Cluster) holdsEverything(ctx context.Context, t *topology) bool {
	if t.common {
		return c.holdsAllOfEnough(ctx, t)
	}
	lists := make([]int, len(t.lists))
	for i := range lists {
		lists[i] = i
	}
	_, others := c.prove(ctx, t, lists, nil)
	return len(others) == 0
}

// holdsAllOfEnough says whether this node, an owner of everything, holds all that
// W-1 others hold, each of which is a candidate of everything. As many are asked as are needed, beginning with the one that
// helped last; the others when one of these does not help or is slow.
func (c *Cluster) holdsAllOfEnough(ctx context.Context, t *topology) bool {
	need := 0
	for i := range t.lists {
		need = max(need, t.lists[i].W-1)
	}
	ctx, cancel := context.WithTimeout(ctx, frontierTimeout)
	defer cancel()
	helped := ring.NodeID(c.helped.Load())
	var others []ring.NodeID // not asked yet
	for _, m := range t.ring.Members() {
		switch {
		case m.ID == c.opts.Node || c.doubtfulNode(m.ID):
		case m.ID == helped:
			others = slices.Insert(others, 0, m.ID)
		default:
			others = append(others, m.ID)
		}
	}
	answers := make(chan ring.NodeID, len(others)) // 0: one does not help
	asked := 0                                     // and not answered
	ask := func(n int) {
		for _, id := range others[:n] {
			asked++
			go func() {
				if !c.holdsAllOf(ctx, t, id) {
					id = 0
				}
				answers <- id
			}()
		}
		others = others[n:]
	}
	ask(min(need, len(others)))
	hedge := time.NewTimer(copyHedge)
	defer hedge.Stop()
	for need > 0 && asked+len(others) >= need {
		select {
		case id := <-answers: // every answer comes: it ends with ctx
			asked--
			if id == 0 {
				ask(len(others))
				continue
			}
			need--
			c.helped.Store(uint64(id))
		case <-hedge.C:
			ask(len(others))
		}
	}
	return need == 0
}

// holdsAllOf says whether this node holds all that another holds, after waiting
// a moment for what is on its way.
func (c *Cluster) holdsAllOf(ctx context.Context, t *topology, id ring.NodeID) bool {
	k, err := c.frontierOf(ctx, id)
	if err != nil || !k.counts || k.ring != t.ring.Number() || !c.hasDeletes(k.deletes) {
		return false
	}
	wait := time.NewTimer(inFlight)
	defer wait.Stop()
	for {
		ok, _, changed := c.ledger.Complete(id, k.epoch, k.sets)
		if ok || changed == nil {
			return ok
		}
		select {
		case <-changed:
		case <-wait.C:
			c.ledger.GiveUp(k.sets)
			return false
		case <-ctx.Done():
			return false
		}
	}
}

func (c *Cluster) hasDeletes(versions []model.Version) bool {
	return len(c.missingDeletes(versions)) == 0
}

// missingDeletes returns the versions of which this node has no delete, or fewer.
func (c *Cluster) missingDeletes(versions []model.Version) (missing []model.Version) {
	if len(versions) == 0 {
		return nil
	}
	mine := map[model.Version]int{}
	for _, t := range c.local.Tombstones(math.MinInt64, math.MaxInt64) {
		mine[t.Version]++
	}
	for _, v := range versions {
		if mine[v]--; mine[v] < 0 {
			missing = append(missing, v)
		}
	}
	return missing
}
