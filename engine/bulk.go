package engine

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/go-kit/log/level"

	"github.com/count-db/count/engine/file"
	"github.com/count-db/count/engine/manifest"
	"github.com/count-db/count/internal/model"
)

// Bulk takes in samples that others hold too, and that nobody waits for one by one:
// what a node copies when it joins or has lost its disk. They are gathered in a
// buffer of their own and go from there into data files.
//
// The log would be the wrong way: a client's write waits for the sync of all that is
// in the log before it, bulk would be written to the disk twice, the larger time in
// the log's form, and most of it is older than what the active buffer holds of
// the same series, which is what that is worst at.
//
// Nothing of it can be read or outlives a crash before Commit has returned nil.
// A Bulk belongs to one goroutine; Close gives it up.
type Bulk struct {
	db     *DB
	buffer *epochBuffer // nil: nothing since the last Commit
	// unlogged is the memory of Append.
	unlogged []model.Ref
}

// errBulkVersions: what comes in bulk is not in the order of its arrival.
var errBulkVersions = errors.New("samples in bulk need Options.Versions")

// NewBulk returns a Bulk that holds nothing.
func (db *DB) NewBulk() *Bulk { return &Bulk{db: db} }

// Append adds the samples of a batch, which has a version; exemplars and metadata
// are not taken. The batch belongs to the caller again. Errors to decide on:
// registry.ErrUnknownRef (nothing was added), ErrDiskFull (retry), ErrFailed and
// ErrClosed.
func (b *Bulk) Append(ctx context.Context, batch *model.Batch) error {
	db := b.db
	if err := errors.Join(db.usable(), ctx.Err()); err != nil {
		return err
	}
	if !db.opts.Versions || batch.Version == 0 {
		return errBulkVersions
	}
	if db.space.full.Load() {
		db.counters.refusedFull.Add(1)
		return ErrDiskFull
	}
	if err := b.open(); err != nil {
		return err
	}
	// Of one epoch, as Append of DB: whoever forgets series waits for it by a freeze.
	db.epoch.RLock()
	defer db.epoch.RUnlock()
	var err error
	if b.unlogged, err = db.registry.Prepare(batch, b.unlogged[:0]); err != nil {
		return err //nolint:wrapcheck // the caller decides on it
	}
	db.clock.Observe(batch.Version)
	db.registry.RaiseVersions(batch)
	result := b.buffer.Append(batch)
	db.counters.batches.Add(1)
	db.counters.samples.Add(uint64(batch.Samples()))
	db.counters.late.Add(uint64(result.Late))
	return nil
}

// open puts a new buffer into the view, so that nothing that it has samples of is
// forgotten or counts as settled.
func (b *Bulk) open() error {
	if b.buffer != nil {
		return nil
	}
	// Numbers from the other end: those of epochs say how many freezes there were.
	buf := b.db.newBufferOf(math.MaxInt32 - b.db.bulks.Add(1))
	if err := b.db.changeBulks(func(all []*epochBuffer) []*epochBuffer { return append(all, buf) }); err != nil {
		return err
	}
	b.buffer = buf
	return nil
}

// changeBulks replaces the view by one with other bulk buffers.
func (db *DB) changeBulks(change func([]*epochBuffer) []*epochBuffer) error {
	db.install.Lock()
	defer db.install.Unlock()
	if db.views.current == nil {
		return ErrClosed
	}
	next := db.views.current.clone()
	next.bulks = change(slices.Clone(next.bulks))
	return db.views.replace(next, nil)
}

// Bytes returns the memory of what is not committed.
func (b *Bulk) Bytes() int64 {
	if b.buffer == nil {
		return 0
	}
	return b.buffer.Bytes()
}

// Commit writes all that was added to a data file. When it returns nil that is
// durable and can be read; after an error it is as before, and may be tried again.
// between is called now and then, so that the caller can rest: flushes and
// deletes wait meanwhile.
func (b *Bulk) Commit(ctx context.Context, between func() error) error {
	db := b.db
	if err := errors.Join(db.usable(), ctx.Err()); err != nil {
		return err
	}
	if b.buffer == nil || b.buffer.Samples() == 0 {
		return nil
	}
	start := time.Now()
	// As with a flush, no boundary and no delete comes between the file's number
	// and its place among the others.
	db.flushing.Lock()
	defer db.flushing.Unlock()
	frozen := b.buffer.Freeze()
	if err := db.registry.Persist(); err != nil {
		return fmt.Errorf("write series before what came in bulk: %w", err)
	}
	db.registry.MarkLogged(frozen.Refs()) // the registry's file has them: that is as good
	f := describe(manifest.Wide, db.manifest.NewID(), nil)
	f.Arrival, f.Born = f.ID, db.opts.Now().UnixMilli()
	added, err := db.createFile(f, func(w *file.Writer) error { return db.writeBuffer(w, frozen, between) })
	if err != nil {
		return fmt.Errorf("write what came in bulk: %w", err)
	}
	if err := db.applyEdit(edit{add: added, bulk: b.buffer}); err != nil {
		return fmt.Errorf("write what came in bulk: %w", err)
	}
	b.buffer = nil
	if added == nil {
		return nil
	}
	info := added.reader.Info()
	db.mutations.between(info.MinT, info.MaxT)
	db.counters.flushedBytes.Add(uint64(info.Bytes))
	level.Debug(db.opts.Logger).Log("msg", "written in bulk", "file", added.ID, "samples", info.Samples, "series", info.Series, "bytes", info.Bytes, "took", time.Since(start))
	wake(db.background.mainten)
	return nil
}

// Close gives up what is not committed. It may be called more than once.
func (b *Bulk) Close() error {
	buf := b.buffer
	if b.buffer = nil; buf == nil {
		return nil
	}
	err := b.db.changeBulks(func(all []*epochBuffer) []*epochBuffer {
		return slices.DeleteFunc(all, func(o *epochBuffer) bool { return o == buf })
	})
	if errors.Is(err, ErrClosed) {
		return nil // and the view with it
	}
	return err
}
