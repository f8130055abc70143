package cluster

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/cluster/membership"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/vfs"
	"github.com/count-db/count/internal/wire"
)

// SimEngine is the storage that nodes have, for a life: this package may not know
// it, so package cluster_test puts it in.
type SimEngine struct {
	// What says how the storage of this life is set.
	What string
	// Turns is how many turns others get while something is synced.
	Turns int
	// Open opens the storage of a process whose clock is now.
	Open func(fs vfs.FS, now func() time.Time) (SimStorage, error)
	// Check looks for faults on a disk on which no process runs.
	Check func(fs vfs.FS) error
	// Rot damages files of a disk, which may be in use, and says which; empty: there
	// were none.
	Rot func(rng *rand.Rand, fs *vfs.MemFS, inUse bool) string
}

// SimStorage is the open storage of a process.
type SimStorage interface {
	Local() Local
	// Plain reads without versions, as queries over a node's own copy do.
	Plain() Reader
	Clock() Clock
	Disk() membership.Disk
	Tell(c *Cluster)
	CleanTombstones(ctx context.Context) error
	Close() error
}

// simEngine is a disk with the storage that nodes have on it. The file system is all
// that outlives a process: what a crash loses of it is all that a crash loses.
type simEngine struct {
	Local  // of the process
	engine *SimEngine
	fs     *vfs.MemFS
	opened SimStorage // by the process
	// harmed: bits of it were flipped, of which some may be of what nobody reads.
	harmed bool
}

var _ simStore = (*simEngine)(nil)

// open implements simStore.
func (e *simEngine) open(p *simProc, at *simClock) (Clock, error) {
	opened, err := e.engine.Open(vfs.NewFault(e.fs, func(op vfs.Op) vfs.Fault {
		for i := 0; i < e.engine.Turns && op.Kind == vfs.OpSync; i++ {
			runtime.Gosched() // it takes no virtual time, see simLocal
		}
		p.fuse.burn()
		return vfs.Fault{}
	}), at.time)
	if err != nil {
		return nil, err
	}
	e.opened, e.Local = opened, simEngineLocal{opened.Local()}
	p.node.disk = opened.Disk()
	return opened.Clock(), nil
}

// tell implements simStore.
func (e *simEngine) tell(_ *simCluster, p *simProc) { e.opened.Tell(p.Cluster) }

// close implements simStore.
func (e *simEngine) close() error { return e.opened.Close() }

// crash implements simStore.
func (e *simEngine) crash(rng *rand.Rand, fs *vfs.MemFS, keepPercent int) (simStore, *vfs.MemFS) {
	left := fs.CrashClone(rng, keepPercent)
	return &simEngine{engine: e.engine, fs: left, harmed: e.harmed}, left
}

// rot implements simStore.
func (e *simEngine) rot(rng *rand.Rand) string {
	e.harmed = true
	return e.engine.Rot(rng, e.fs, false)
}

// rotNow implements simStore.
func (e *simEngine) rotNow(rng *rand.Rand) string {
	e.harmed = true
	return e.engine.Rot(rng, e.fs, true)
}

// rotten implements simStore.
func (e *simEngine) rotten() bool { return errors.Is(e.readAll(), wire.ErrCorrupt) }

// whole implements simStore.
func (e *simEngine) whole() bool {
	lost, _, _ := e.Lost()
	return lost == 0 && !e.rotten()
}

// scrub implements simStore.
func (e *simEngine) scrub() { _ = e.readAll() } // what is found is noted there

func (e *simEngine) readAll() error {
	sel, err := e.Select(context.Background(), 0, math.MaxInt64, all())
	if err != nil {
		return err
	}
	defer sel.Close()
	for i := range sel.Len() {
		err = errors.Join(err, sel.Read(i, 0, math.MaxInt64, new(model.Columns)))
	}
	return err
}

// plant implements simStore.
func (e *simEngine) plant(v model.Version, names []labels.Labels, times []int64, value float64) error {
	opened, err := e.engine.Open(e.fs, time.Now)
	if err != nil {
		return err
	}
	l, b := opened.Local(), &model.Batch{Version: v}
	for i, ls := range names {
		ref, err := l.Intern(ls)
		if err != nil {
			return errors.Join(err, opened.Close())
		}
		b.Floats = append(b.Floats, model.FloatSample{T: times[i%len(times)], V: value, Ref: ref})
	}
	_, wait, err := l.Begin(context.Background(), b, false)
	if err == nil {
		err = wait()
	}
	return errors.Join(err, opened.Close())
}

// shares implements simStore.
func (e *simEngine) shares() Reader { return e.opened.Plain() }

// plain implements simStore.
func (e *simEngine) plain() Reader { return e.opened.Plain() }

// deletes implements simStore.
func (e *simEngine) deletes() (int, error) {
	err := e.opened.CleanTombstones(context.Background())
	return len(e.Tombstones(math.MinInt64, math.MaxInt64)), err
}

// tellAll implements simStore. The disk is opened once more, and checked.
func (e *simEngine) tellAll(s *simCluster, n *simNode) {
	if s.over() {
		return
	}
	if err := e.engine.Check(e.fs); err != nil && n.toEnd && !(e.harmed && errors.Is(err, wire.ErrCorrupt)) {
		s.fail("the disk of node %d: %v", n.id, err)
	}
	opened, err := e.engine.Open(e.fs, time.Now)
	if err != nil {
		s.fail("open the disk of node %d in the end: %v", n.id, err)
		return
	}
	if err := tellHeld(s, n, opened.Local()); err != nil {
		s.note("node %d: %v", n.id, err)
	}
	if err := opened.Close(); err != nil {
		s.fail("close the disk of node %d in the end: %v", n.id, err)
	}
}

func tellHeld(s *simCluster, n *simNode, l Local) error {
	sel, err := l.Select(context.Background(), 0, math.MaxInt64, all())
	if err != nil {
		return err
	}
	defer sel.Close()
	for i := range sel.Len() {
		var cols model.Columns
		if err := sel.Read(i, 0, math.MaxInt64, &cols); err != nil {
			return fmt.Errorf("read %s: %w", sel.Labels(i), err)
		}
		s.note("node %d holds %s: %v %v %v", n.id, sel.Labels(i), cols.T, cols.V, cols.Ver)
	}
	for _, t := range l.Tombstones(math.MinInt64, math.MaxInt64) {
		s.note("node %d holds the delete %d of %v from %d to %d", n.id, t.Version, t.Matchers, t.MinT, t.MaxT)
	}
	return nil
}

// simEngineLocal is the storage without rests in the middle of a commit.
type simEngineLocal struct{ Local }

// NewBulk implements Storage.
func (l simEngineLocal) NewBulk() Bulk { return simEngineBulk{l.Local.NewBulk()} }

// simEngineBulk rests when it has committed: flushes and deletes wait for a mutex
// meanwhile, and virtual time does not go on while somebody waits for one
// (testing/synctest).
type simEngineBulk struct{ Bulk }

// Commit implements Bulk.
func (b simEngineBulk) Commit(ctx context.Context, between func() error) error {
	err := b.Bulk.Commit(ctx, func() error { return nil })
	if err == nil {
		_ = between() // the node is stopping: what is committed is committed
	}
	return err
}

// SimulateOnEngine lives lives on the storage that engine makes for each of them.
func SimulateOnEngine(t *testing.T, lives uint64, engine func(*rand.Rand) *SimEngine) {
	liveAll(t, lives, engine)
}
