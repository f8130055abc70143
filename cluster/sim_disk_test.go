package cluster

import (
	"context"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/cluster/transport"
	"github.com/count-db/count/internal/model"
)

// simLocal is the storage of a simulated node: a memLocal whose changes go through
// a log, as the engine's do. What is read at once is not durable yet: a batch is
// when the wait that Begin returned is over. A crash keeps everything that was
// durable, and of the rest a beginning: the log is written in order. A sync takes no
// virtual time, because mutexes are held meanwhile, which hold that time up
// (testing/synctest); a process dies in the middle of it by its fuse.
type simLocal struct {
	*memLocal
	fuse *simFuse // of the process that runs; set by open

	mu     sync.Mutex
	base   *memLocal         // guarded by mu; what the log begins with
	log    []func(*memLocal) // guarded by mu; since the base
	synced int               // guarded by mu; entries of log that are durable

	damaged map[simKey]int // guarded by mu; what cannot be read; how many entries of log it takes to find it stored again, or notAgain
	noted   uint64         // guarded by mu; number of the loss of what is damaged; 0: nobody has read it yet
	found   func()         // guarded by mu; is called when damaged samples are read
}

func newSimLocal() *simLocal {
	return &simLocal{memLocal: newMemLocal(), base: newMemLocal(), fuse: new(simFuse)}
}

// simFuse has a process die in the middle of something: at one of the next things
// that it does to its disk.
type simFuse struct {
	left atomic.Int64 // 0: it does not burn
	blow func()
}

func (f *simFuse) light(n int64, blow func()) {
	f.blow = blow
	f.left.Store(n)
}

func (f *simFuse) burn() {
	if f.left.Load() > 0 && f.left.Add(-1) == 0 {
		f.blow()
	}
}

// do carries a change out and logs it.
func (l *simLocal) do(change func(*memLocal)) (number int) {
	change(l.memLocal)
	l.log = append(l.log, change)
	return len(l.log)
}

// sync makes the first entries of the log durable.
func (l *simLocal) sync(number int, base *memLocal) {
	l.fuse.burn()
	for range number % 4 {
		runtime.Gosched()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.base != base {
		return // the log was folded since: that was a sync
	}
	l.synced = max(l.synced, number)
	const fold = 400
	if l.synced == len(l.log) && l.synced >= fold {
		l.foldLocked()
	}
}

// Begin implements Storage.
func (l *simLocal) Begin(_ context.Context, b *model.Batch, fresh bool) (transport.AppendReply, func() error, error) {
	l.fuse.burn()
	l.mu.Lock()
	defer l.mu.Unlock()
	r, err := l.memLocal.store(b, fresh)
	if err != nil || r.Stale {
		return r, func() error { return nil }, err
	}
	if l.overwriteLocked(b) {
		_, err = l.memLocal.store(b, false) // not beside what is damaged, but in its place
	}
	l.log = append(l.log, l.again(b))
	number, base := len(l.log), l.base
	return r, func() error { l.sync(number, base); return nil }, err
}

// NewBulk implements Storage.
func (l *simLocal) NewBulk() Bulk { return &simBulk{memBulk: &memBulk{local: l.memLocal}, to: l} }

// simBulk is a memBulk whose batches go through the log.
type simBulk struct {
	*memBulk
	to *simLocal
}

// Commit implements Bulk.
func (b *simBulk) Commit(_ context.Context, between func() error) error {
	for len(b.batches) > 0 {
		again := b.to.again(b.batches[0])
		b.to.fuse.burn()
		b.to.mu.Lock()
		b.to.overwriteLocked(b.batches[0])
		number, base := b.to.do(again), b.to.base
		b.to.mu.Unlock()
		b.to.sync(number, base)
		b.batches = b.batches[1:]
		if err := between(); err != nil {
			return err
		}
	}
	b.samples = 0
	return nil
}

// Refilled implements Loser.
func (l *simLocal) Refilled(number uint64, complete bool) error {
	l.mend(number)
	l.change(func(to *memLocal) { _ = to.Refilled(number, complete) }) // never fails
	return nil
}

// again returns what stores a copy of a batch.
func (l *simLocal) again(b *model.Batch) func(*memLocal) {
	version, floats := b.Version, slices.Clone(b.Floats)
	names := make([]labels.Labels, len(floats))
	for i, f := range floats {
		names[i] = l.memLocal.Labels(f.Ref)
	}
	return func(to *memLocal) {
		own := &model.Batch{Version: version, Floats: slices.Clone(floats)}
		for i := range own.Floats {
			own.Floats[i].Ref, _ = to.Intern(names[i]) // never fails
		}
		_, _ = to.store(own, false) // never fails
	}
}

// change carries a change out that is durable when it returns.
func (l *simLocal) change(f func(*memLocal)) {
	l.fuse.burn()
	l.mu.Lock()
	number, base := l.do(f), l.base
	l.mu.Unlock()
	l.sync(number, base)
}

// Delete implements Storage.
func (l *simLocal) Delete(ctx context.Context, ts ...model.Tombstone) error {
	ts = slices.Clone(ts)
	l.change(func(to *memLocal) { _ = to.Delete(ctx, ts...) }) // never fails
	return nil
}

// Shed implements Shedder.
func (l *simLocal) Shed(ctx context.Context, tokens model.TokenSet, mark uint64) error {
	l.change(func(to *memLocal) { _ = to.Shed(ctx, tokens, mark) }) // never fails
	return nil
}

// Purge implements Settler.
func (l *simLocal) Purge(ctx context.Context, v model.Version, from int64) error {
	l.change(func(to *memLocal) { _ = to.Purge(ctx, v, from) }) // never fails
	return nil
}

// SetFloor implements Settler: it is durable by and by, with what comes behind it,
// and set again at a start.
func (l *simLocal) SetFloor(v model.Version, from int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.do(func(to *memLocal) { to.SetFloor(v, from) })
}

// crashLocked returns what is on the disk when the process dies now. The caller
// holds mu.
func (l *simLocal) crashLocked(rng *rand.Rand) *simLocal {
	kept := l.synced
	if left := len(l.log) - l.synced; rng.IntN(3) == 0 {
		kept += rng.IntN(left + 1)
	} else if rng.IntN(2) == 0 {
		kept += left
	}
	base := l.base.clone()
	for _, change := range l.log[:kept] {
		change(base)
	}
	base.forgetMarks()
	damaged := map[simKey]int{}
	for k, entries := range l.damaged {
		damaged[k] = notAgain
		if entries != notAgain && entries <= kept {
			damaged[k] = 0
		}
	}
	return &simLocal{memLocal: base, base: base.clone(), fuse: new(simFuse), damaged: damaged, noted: min(l.noted, base.losses)}
}

// close implements simStore.
func (l *simLocal) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.memLocal.forgetMarks()
	l.foldLocked()
	return nil
}

// foldLocked makes everything durable and begins a new log behind it. The caller
// holds mu.
func (l *simLocal) foldLocked() {
	l.base, l.log, l.synced = l.memLocal.clone(), nil, 0
	for k, entries := range l.damaged {
		l.damaged[k] = min(entries, 0)
	}
}

func (l *memLocal) clone() *memLocal {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := newMemLocal()
	for _, s := range l.byRef {
		o := &memSeries{labels: s.labels, highest: s.highest, came: maps.Clone(s.came)}
		o.cols = model.Columns{T: slices.Clone(s.cols.T), V: slices.Clone(s.cols.V), Ver: slices.Clone(s.cols.Ver)}
		c.byRef = append(c.byRef, o)
		c.series[s.labels.String()] = o
	}
	c.batches, c.floor, c.settled, c.tombstones = l.batches, l.floor, l.settled, slices.Clone(l.tombstones)
	c.lost, c.losses = l.lost, l.losses
	return c
}

// forgetMarks leaves of the highest versions seen what the samples and deletes
// tell: all that a start finds again.
func (l *memLocal) forgetMarks() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.floor = 0
	for _, t := range l.tombstones {
		l.floor = max(l.floor, t.Version)
	}
	for _, s := range l.series {
		for _, v := range s.cols.Ver {
			s.highest = max(s.highest, v)
		}
	}
}

// highestVersion returns the highest version of what is stored.
func (l *memLocal) highestVersion() model.Version {
	l.mu.Lock()
	defer l.mu.Unlock()
	highest := l.floor
	for _, s := range l.series {
		highest = max(highest, s.highest)
	}
	return highest
}

// rot loses parts of what is stored, as files that are damaged and set aside do.
func (l *simLocal) rot(rng *rand.Rand) string {
	lost := 0
	inner := l.memLocal
	inner.mu.Lock()
	first, last := int64(math.MaxInt64), int64(0)
	for _, s := range inner.byRef {
		if rng.IntN(2) == 0 {
			continue
		}
		var left model.Columns
		for i, t := range s.cols.T {
			if rng.IntN(2) == 0 {
				lost++
				first, last = min(first, t), max(last, t)
				continue
			}
			left.T, left.V, left.Ver = append(left.T, t), append(left.V, s.cols.V[i]), append(left.Ver, s.cols.Ver[i])
		}
		s.cols = left
	}
	if rng.IntN(3) == 0 {
		inner.tombstones = nil
		first, last = 0, math.MaxInt64
	}
	if first > last {
		first = last // nothing was there
	}
	if inner.losses++; inner.losses > 1 {
		first, last = min(first, inner.lost.mint), max(last, inner.lost.maxt)
	}
	inner.lost = timeRange{first, last}
	inner.mu.Unlock()
	inner.forgetMarks()
	l.foldLocked()
	return fmt.Sprintf("has lost %d samples to damage", lost)
}
