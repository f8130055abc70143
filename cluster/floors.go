package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/cluster/settle"
	"github.com/count-db/count/cluster/transport"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/wire"
)

// This node's part in settling (V4, package settle): what it promised is in
// cluster.state, decides what is stored, and shows in the versions of what is
// read. settling.go has the rounds.

// Settler is what settling needs of this node's storage.
type Settler interface {
	// SetFloor says that what is at or below the version, and not before from
	// (ms), is settled, and nothing below it arrives any more; version 0 takes it
	// back.
	SetFloor(v model.Version, from int64)
	// Purge hides, durably and on this node alone, all below the version and not
	// before from (ms).
	Purge(ctx context.Context, v model.Version, from int64) error
	// KeptFrom returns the time (ms) from which on retention drops nothing; 0
	// without one.
	KeptFrom() int64
}

// errFloorMoved means that one of two nodes that compare has settled meanwhile.
var errFloorMoved = errors.New("what is settled has changed meanwhile")

// settledAt is a floor and the time from which on it counts.
type settledAt struct {
	version model.Version
	from    int64
}

func (f settledAt) covers(v model.Version, t int64) bool { return v <= f.version && t >= f.from }

// hashed is the version that a sample has in digests: none when it is settled.
func (f settledAt) hashed(v model.Version, t int64) model.Version {
	if f.covers(v, t) {
		return 0
	}
	return v
}

func (f settledAt) higher(o settledAt) settledAt {
	if o.version > f.version {
		return o
	}
	return f
}

func (f settledAt) append(dst []byte) []byte {
	return wire.AppendVarint(wire.AppendUvarint(dst, uint64(f.version)), f.from)
}

func decodeSettledAt(d *wire.Decoder) settledAt {
	return settledAt{version: model.Version(d.Uvarint()), from: d.Varint()}
}

// floors are what this node promised and knows.
type floors struct {
	// gate is held for reading from the look at the state until what it admits can
	// be read, so that what a changed state refuses is not stored after the change.
	gate sync.RWMutex
	// deletes is the same for deletes, which may take long; it is taken first.
	deletes sync.RWMutex
	state   atomic.Pointer[settle.State] // as it is durable; changed with c.mu and gate held

	mu      sync.Mutex
	running settle.Round  // guarded by mu; that this node leads
	frozen  time.Time     // guarded by mu; since when it is frozen, as far as it knows
	purged  model.Version // guarded by mu; the highest purge of this run
	pulling settledAt     // guarded by mu; what those that this node copies everything from have settled
	problem string        // guarded by mu; why the last round came to nothing
	retry   time.Time     // guarded by mu; not before
	pause   time.Duration // guarded by mu; between rounds that come to nothing
}

func newFloors(kept *settle.State) *floors {
	f := &floors{frozen: time.Now()}
	if kept == nil {
		kept = &settle.State{}
	}
	f.state.Store(kept)
	return f
}

func (f *floors) now() *settle.State { return f.state.Load() }

func (f *floors) at() settledAt {
	s := f.now()
	return settledAt{s.Floor, s.From}
}

// changeFloors changes what this node promised: durably, and nothing that the new
// state refuses is stored after it returned nil.
func (c *Cluster) changeFloors(change func(*settle.State) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	next := *c.floors.now()
	if err := change(&next); err != nil {
		return err
	}
	return c.installFloorsLocked(next)
}

func (c *Cluster) installFloorsLocked(next settle.State) error {
	old := *c.floors.now()
	if next == old {
		return nil
	}
	// Durable first, and only then at the gate: what comes in meanwhile is stored by
	// the old state, as what came before, and waits for no disk but its own.
	kept := c.state.Settle
	c.state.Settle = &next
	if err := c.state.Save(c.opts.FS, c.opts.Dir); err != nil {
		c.state.Settle = kept
		return err
	}
	c.floors.deletes.Lock()
	defer c.floors.deletes.Unlock()
	c.floors.gate.Lock()
	defer c.floors.gate.Unlock()
	c.floors.state.Store(&next)
	if next.Mark > old.Mark {
		c.clock.Observe(next.Mark)
		c.local.RaiseVersions(next.Mark)
	}
	if next.Floor != old.Floor {
		c.local.SetFloor(next.Floor, next.From)
		c.digestCache.forget()
	}
	if next.Frozen != old.Frozen {
		c.floors.mu.Lock()
		c.floors.frozen = time.Now()
		c.floors.mu.Unlock()
	}
	return nil
}

// resumeFloors puts what an earlier run promised in force.
func (c *Cluster) resumeFloors() {
	s := c.floors.now()
	if s.Mark > 0 {
		c.clock.Observe(s.Mark)
		c.local.RaiseVersions(s.Mark)
	}
	if s.Floor > 0 {
		c.local.SetFloor(s.Floor, s.From)
	}
}

// errSettling refuses what comes while a round of settling is under way.
var errSettling = &transport.RemoteError{Code: transport.CodeUnavailable, Text: "old data is being settled"}

// admit returns what of a copy is stored: the batch itself, or a part of it,
// which the caller gives back; nil when nothing is. The caller holds the gate.
func (c *Cluster) admit(b *model.Batch) (*model.Batch, error) {
	s := c.floors.now()
	if b.Version > s.Quiet() || b.Samples() == 0 {
		return b, nil
	}
	if s.Copy(b.Version, s.From) == settle.Later {
		return nil, errSettling
	}
	if b.Version >= s.Floor {
		return b, nil
	}
	return c.unsettledOf(s, b), nil
}

// unsettledOf returns the part of a copy, which the caller gives back, that is not
// from below the floor.
func (c *Cluster) unsettledOf(s *settle.State, b *model.Batch) *model.Batch {
	part := c.getBatch()
	part.Version = b.Version
	part.Exemplars, part.Metadata = append(part.Exemplars, b.Exemplars...), append(part.Metadata, b.Metadata...)
	for i, f := range b.Floats {
		if s.Below(b.Version, f.T) {
			continue
		}
		part.Floats = append(part.Floats, f)
		if len(b.STs) > 0 {
			part.STs = append(part.STs, b.STs[i])
		}
	}
	for _, h := range b.Hists {
		if !s.Below(b.Version, h.T) {
			part.Hists = append(part.Hists, h)
		}
	}
	c.stats.droppedBelow.Add(float64(b.Samples() - part.Samples()))
	return part
}

// beginAdmitted begins to store a batch, as far as it is admitted: a fresh one
// the storage refuses by its mark.
func (c *Cluster) beginAdmitted(ctx context.Context, b *model.Batch, how storingHow) (reply transport.AppendReply, wait func() error, err error) {
	c.floors.gate.RLock()
	defer c.floors.gate.RUnlock()
	if how == pushed {
		part, err := c.admit(b)
		if err != nil {
			return reply, nil, err
		}
		if part != b {
			defer c.putBatch(part)
			b = part
		}
		if b.Samples()+len(b.Exemplars)+len(b.Metadata) == 0 {
			return transport.AppendReply{Highest: c.floors.now().Floor}, nil, nil
		}
	}
	return c.local.Begin(ctx, b, how == fresh)
}

// storingHow says where a batch comes from.
type storingHow byte

const (
	fresh  storingHow = iota // a client's
	pushed                   // a copy that another node sent, or that repairs this one
)

// deletesHere stores deletes. Where what one of them reaches is settled it is not
// stored, and the answer is CodeSettled.
func (c *Cluster) deletesHere(ctx context.Context, ts []model.Tombstone) error {
	c.floors.deletes.RLock()
	defer c.floors.deletes.RUnlock()
	s := c.floors.now()
	taken := make([]model.Tombstone, 0, len(ts))
	var settled error
	for _, t := range ts {
		verdict, end := s.Delete(t.Version, t.MinT, t.MaxT)
		if verdict == settle.Later {
			return errSettling
		}
		if verdict == settle.Drop || end < t.MaxT {
			settled = transport.Errorf(transport.CodeSettled, "what the delete reaches is settled at %d, above %d", s.Floor, t.Version)
		}
		if t.MaxT = end; verdict == settle.Take {
			taken = append(taken, t)
		}
	}
	if len(taken) > 0 {
		if err := c.local.Delete(ctx, taken...); err != nil {
			return err
		}
	}
	return settled
}

// isSettled says whether a node refused a delete because what it reaches is
// settled: whoever hands over a copy is done with it.
func isSettled(err error) bool { return transport.CodeOf(err) == transport.CodeSettled }

// revokeFloor takes this node's floor back before it copies what it lacks, and
// removes what those that it copies from have settled without it; purge is false
// where it has settled the same, and only lost some of that.
func (c *Cluster) revokeFloor(ctx context.Context, known []settle.State, purge bool) error {
	highest := settle.State{}
	for i := range known {
		highest.Mark = max(highest.Mark, known[i].Mark)
		if known[i].Floor > highest.Floor {
			highest.Floor, highest.From = known[i].Floor, known[i].From
		}
	}
	err := c.changeFloors(func(s *settle.State) error {
		s.Revoke()
		s.Promise(highest.Mark)
		return nil
	})
	if err != nil {
		return err
	}
	c.floors.mu.Lock()
	c.floors.pulling = settledAt{highest.Floor, highest.From}
	done := !purge || c.floors.purged >= highest.Floor || len(c.local.Windows()) == 0
	c.floors.mu.Unlock()
	if done {
		return nil
	}
	if err := c.local.Purge(ctx, highest.Floor, highest.From); err != nil {
		return fmt.Errorf("remove what others have settled without it: %w", err)
	}
	c.windows.clear()
	c.floors.mu.Lock()
	defer c.floors.mu.Unlock()
	c.floors.purged = highest.Floor
	return nil
}

// joinFloor is revokeFloor for a node that joins. Where it has settled the same as
// those that it copies from, as when it was given up by force and is back soon, what
// it has of that is what was settled, and some of it may be nowhere else: it stays.
func (c *Cluster) joinFloor(ctx context.Context, known []settle.State) error {
	mine := c.floors.at()
	if mine.version == 0 || slices.ContainsFunc(known, func(s settle.State) bool { return settledAt{s.Floor, s.From} != mine }) {
		return c.revokeFloor(ctx, known, true)
	}
	return c.changeFloors(func(s *settle.State) error {
		for i := range known {
			s.Promise(known[i].Mark)
		}
		return nil
	})
}

// pulled is the floor at which what this node copies counts as written: some of
// those that it copies from may not have it yet, and what is below is purged here.
func (f *floors) pulled() settledAt {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.pulling
}

// endPull says that this node has everything.
func (f *floors) endPull() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pulling = settledAt{}
}

// raise gives what is settled the floor's version.
func (f settledAt) raise(cols *model.Columns) {
	for k, v := range cols.Ver {
		if f.covers(v, cols.T[k]) {
			cols.Ver[k] = f.version
		}
	}
	for k := range cols.Hist {
		if p := &cols.Hist[k]; f.covers(p.Ver, p.T) {
			p.Ver = f.version
		}
	}
}

// floored is this node's storage with the floor as the version of what is
// settled.
type floored struct {
	Local
	floors *floors
}

// Select returns a selection that shows settled samples at the floor.
func (f *floored) Select(ctx context.Context, mint, maxt int64, ms ...*labels.Matcher) (Selection, error) {
	// Before the snapshot: what it holds then may be from below a later floor.
	at := f.floors.at()
	sel, err := f.Local.Select(ctx, mint, maxt, ms...)
	if err != nil || at.version == 0 {
		return sel, err
	}
	return &flooredSelection{Selection: sel, floor: at}, nil
}

type flooredSelection struct {
	Selection
	floor settledAt
}

// Read fills dst; see floored.
func (s *flooredSelection) Read(i int, mint, maxt int64, dst *model.Columns) error {
	if err := s.Selection.Read(i, mint, maxt, dst); err != nil {
		return err
	}
	s.floor.raise(dst)
	return nil
}
