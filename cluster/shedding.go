package cluster

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/cluster/antientropy"
	"github.com/count-db/count/cluster/membership"
	"github.com/count-db/count/cluster/ring"
	"github.com/count-db/count/internal/model"
)

// After a change of the ring a node holds what it no longer owns; a stand-in holds
// what it took for an owner that was silent. Both are shed, in this order, because
// a copy that counted must not go before all owners have it (C6):
//
//	boundary ──▶ all owners are sent what they miss ──▶ all are still of ──▶ shed
//	             of what came before it                 the same ring
//
// The boundary is one of arrival: what comes meanwhile stays. An owner that is
// asked for its ring after it was sent everything and has no newer one has let
// nobody copy from it for a newer one without that (C3).

// everyVersion is above all versions.
const everyVersion = model.Version(math.MaxUint64)

// Shedder is what dropping what a node no longer owns needs of its storage.
type Shedder interface {
	// Boundary returns a mark between what is stored now and what comes later.
	Boundary(ctx context.Context) (uint64, error)
	// Shed drops, durably and for all readers, what came before the mark of all
	// series whose positions are in tokens.
	Shed(ctx context.Context, tokens model.TokenSet, mark uint64) error
}

// shedState is where the shedding stands, for people.
type shedState struct {
	mu      sync.Mutex
	problem string // guarded by mu; why the last round did not come to its end
	samples uint64 // guarded by mu; found by the last round
	wanted  bool   // guarded by mu; before the day is over
}

// want makes a round due.
func (s *shedState) want() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wanted = true
}

func (s *shedState) takeWanted() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	wanted := s.wanted
	s.wanted = false
	return wanted
}

// ShedStatus says in the status whether the node holds what it does not own.
type ShedStatus struct {
	// Done is set when everything that this node does not own under the ring in
	// force was found at its owners and dropped here.
	Done    bool   `json:"done"`
	Samples uint64 `json:"samples"` // that the last round found
	Problem string `json:"problem,omitempty"`
}

func (s *shedState) note(samples uint64, err error) (isNew bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	problem := ""
	if err != nil {
		problem = err.Error()
	} else {
		s.samples = samples
	}
	isNew = problem != "" && problem != s.problem
	s.problem = problem
	return isNew
}

func (s *shedState) status(done bool) *ShedStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &ShedStatus{Done: done, Samples: s.samples, Problem: s.problem}
}

// shedWhenDue sheds once under each ring, a while after it came into force, and
// again every day (shedAgain).
func (c *Cluster) shedWhenDue() {
	var since time.Time // when the ring was seen first, or the last failure
	var seen *topology
	for c.rest(c.opts.timing.shedLook) == nil {
		t := c.topo.Load()
		if t != seen {
			seen, since = t, time.Now()
		}
		if !c.maySeeWhatIsForeign(t) || time.Since(since) < 2*c.opts.WriteDeadline || !c.shedDue(t) {
			continue
		}
		samples, err := c.shedForeign(c.ctx, t)
		if c.shedding.note(samples, err) && c.ctx.Err() == nil {
			c.warn("what this node does not own is dropped later", err)
		}
		if err != nil {
			since = time.Now().Add(c.opts.timing.shedRetry - 2*c.opts.WriteDeadline)
		}
	}
}

// maySeeWhatIsForeign says whether the ring is settled and this node a whole
// member of it.
func (c *Cluster) maySeeWhatIsForeign(t *topology) bool {
	return t != nil && t.member && !t.alone && !t.ring.Changing() && !c.refill.running() && c.majority.Load()
}

func (c *Cluster) shedDue(t *topology) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.state.Shed
	return p == nil || p.Ring != t.ring.Number() || c.shedding.takeWanted() || time.Since(time.UnixMilli(p.At)) >= c.opts.timing.shedAgain
}

// hasShedLocked says whether what this node does not own was dropped under the ring in
// force. The caller holds c.mu.
func (c *Cluster) hasShedLocked() bool {
	p := c.state.Shed
	return p != nil && c.state.Ring != nil && p.Ring == c.state.Ring.Number
}

// sheddingValue is the value of a gauge.
func (c *Cluster) sheddingValue() float64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.hasShedLocked() {
		return 0
	}
	return 1
}

// shedForeign is one round: it returns how many samples were found that this node
// does not own.
func (c *Cluster) shedForeign(ctx context.Context, t *topology) (uint64, error) {
	mine, err := c.foreignHere(ctx, t)
	if err != nil {
		return 0, err
	}
	if mine.samples == 0 {
		return 0, c.noteShed(t)
	}
	mark, err := c.local.Boundary(ctx)
	if err != nil {
		return 0, err
	}
	if mine, err = c.foreignHere(ctx, t); err != nil { // now nothing before the mark is left out
		return 0, err
	}
	for _, id := range mine.owners {
		if err := c.sendForeign(ctx, t, id, mine); err != nil {
			return 0, fmt.Errorf("compare with node %d, which owns a part of it: %w", id, err)
		}
	}
	for _, id := range mine.owners {
		if r, err := c.reportOf(ctx, id); err != nil || r.Ring != t.ring.Number() {
			return 0, fmt.Errorf("node %d has ring %d, this node ring %d: %w", id, r.Ring, t.ring.Number(), errRingMoved)
		}
	}
	if err := c.dropForeign(ctx, t, mark); err != nil {
		return 0, err
	}
	c.stats.shed.Add(float64(mine.samples))
	c.info("what this node does not own was found at its owners and dropped here", "ring", t.ring.Number(), "samples", mine.samples, "owners", fmt.Sprint(mine.owners))
	return mine.samples, c.noteShed(t)
}

// dropForeign sheds while the ring stays as it is.
func (c *Cluster) dropForeign(ctx context.Context, t *topology, mark uint64) error {
	var ranges []model.TokenRange
	for bucket := range t.ring.Buckets() {
		if !t.lists[t.ring.ListOfBucket(bucket)].Owns(c.opts.Node) {
			from, to := t.ring.Range(bucket)
			ranges = append(ranges, model.TokenRange{From: from, To: to})
		}
	}
	c.gate.RLock()
	defer c.gate.RUnlock()
	if c.topo.Load() != t {
		return errRingMoved
	}
	err := c.local.Shed(ctx, model.NewTokenSet(ranges), mark)
	c.digestCache.forget()
	c.windows.clear()
	return err
}

func (c *Cluster) noteShed(t *topology) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state.Shed = &membership.ShedProgress{Ring: t.ring.Number(), At: time.Now().UnixMilli()}
	return c.state.Save(c.opts.FS, c.opts.Dir)
}

// foreignDigests are the digests of what this node holds and does not own.
type foreignDigests struct {
	windows map[antientropy.Key]antientropy.Digest // by closed window and list
	slices  map[antientropy.Key]antientropy.Digest // by slice and list, of the rest
	floor   settledAt                              // by which they are computed
	samples uint64
	owners  []ring.NodeID // of any of it, ascending
}

func (c *Cluster) foreign(t *topology) func(list int) bool {
	return func(list int) bool { return !t.lists[list].Owns(c.opts.Node) }
}

// foreignHere computes the digests of everything that this node does not own.
func (c *Cluster) foreignHere(ctx context.Context, t *topology) (*foreignDigests, error) {
	floor, err := c.highestFloor(ctx, t)
	if err != nil {
		return nil, err
	}
	out := &foreignDigests{floor: floor, windows: map[antientropy.Key]antientropy.Digest{}, slices: map[antientropy.Key]antientropy.Digest{}}
	windows, any, rest := splitClosed(digestAsk{ring: t.ring.Number(), maxt: math.MaxInt64, before: everyVersion, floor: out.floor}, time.Now())
	if any {
		var err error
		if out.windows, err = c.windowsOf(ctx, t, windows, c.foreign(t)); err != nil {
			return nil, err
		}
	}
	for _, r := range rest {
		if err := c.foreignSlices(ctx, t, r, out.slices); err != nil {
			return nil, err
		}
	}
	owners := map[ring.NodeID]bool{}
	for _, digests := range []map[antientropy.Key]antientropy.Digest{out.windows, out.slices} {
		for k, d := range digests {
			out.samples += d.Count
			l := &t.lists[k.List]
			for _, id := range l.Nodes[:l.Owners] {
				owners[id] = true
			}
		}
	}
	for id := range owners {
		out.owners = append(out.owners, id)
	}
	slices.Sort(out.owners)
	return out, nil
}

// foreignSlices adds the digests of slices of a range of time.
func (c *Cluster) foreignSlices(ctx context.Context, t *topology, a digestAsk, out map[antientropy.Key]antientropy.Digest) error {
	hasher := antientropy.NewHasher(t.record.ClusterID)
	foreign, pace := c.foreign(t), c.newPace()
	return c.eachLocal(ctx, a.mint, a.maxt, func(ls labels.Labels, cols *model.Columns) error {
		id := model.SeriesIDOf(ls)
		if list := t.ring.ListOf(id.Token()); foreign(list) {
			series := hasher.Series(id)
			addDigests(out, &series, list, cols, &a)
		}
		return pace.rest(ctx, cols.Len())
	})
}

// sendForeign sends an owner what it misses.
func (c *Cluster) sendForeign(ctx context.Context, t *topology, id ring.NodeID, mine *foreignDigests) error {
	held := heldWindows(mine.windows)
	for len(held) > 0 {
		n := min(len(held), windowAsk)
		theirs, floor, err := c.digestsOf(ctx, t, id, opWindowDigests, windowsAsk(t, mine.floor, held[0], held[n-1]))
		if err != nil {
			return err
		}
		if floor != mine.floor {
			return errFloorMoved
		}
		for _, w := range held[:n] {
			if !differsFor(t, id, w, mine.windows, theirs) {
				continue
			}
			part := map[antientropy.Key]antientropy.Digest{}
			if err := c.foreignSlices(ctx, t, windowsAsk(t, mine.floor, w, w), part); err != nil {
				return err
			}
			if err := c.sendForeignSlices(ctx, t, id, windowsAsk(t, mine.floor, w, w), part); err != nil {
				return err
			}
		}
		held = held[n:]
	}
	if len(mine.slices) == 0 {
		return nil
	}
	first, last := int64(math.MaxInt64), int64(0)
	for k := range mine.slices {
		first, last = min(first, k.Slice), max(last, k.Slice)
	}
	a := digestAsk{ring: t.ring.Number(), mint: first * sliceLength, maxt: (last+1)*sliceLength - 1, before: everyVersion, floor: mine.floor}
	return c.sendForeignSlices(ctx, t, id, a, mine.slices)
}

func windowsAsk(t *topology, floor settledAt, first, last int64) digestAsk {
	return digestAsk{ring: t.ring.Number(), mint: first * windowLength, maxt: (last+1)*windowLength - 1, before: everyVersion, floor: floor}
}

func differsFor(t *topology, id ring.NodeID, w int64, mine, theirs map[antientropy.Key]antientropy.Digest) bool {
	for list := range t.lists {
		k := antientropy.Key{Slice: w, List: list}
		if d, has := mine[k]; has && t.lists[list].Owns(id) && theirs[k] != d {
			return true
		}
	}
	return false
}

// sendForeignSlices compares slices with an owner and sends what it misses.
func (c *Cluster) sendForeignSlices(ctx context.Context, t *topology, id ring.NodeID, a digestAsk, mine map[antientropy.Key]antientropy.Digest) error {
	theirs, floor, err := c.digestsOf(ctx, t, id, opDigests, a)
	if err != nil {
		return err
	}
	if floor != a.floor {
		return errFloorMoved
	}
	var differ []antientropy.Key
	for k, d := range mine {
		if t.lists[k.List].Owns(id) && theirs[k] != d {
			differ = append(differ, k)
		}
	}
	slices.SortFunc(differ, func(a, b antientropy.Key) int { return int(a.Slice - b.Slice) })
	_, err = c.sendDiffering(ctx, t, id, differ, a.before)
	return err
}
