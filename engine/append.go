package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/count-db/count/engine/wal"
	"github.com/count-db/count/internal/model"
)

// appendScratch is what one Append needs besides its batch; it is pooled.
type appendScratch struct {
	record   []byte   // memory of records[0]
	records  [][]byte // the batch as it goes into the log
	unlogged []model.Ref
	defs     []wal.SeriesDef
}

// maxPooledRecord is the largest record buffer that is kept for the next
// Append.
const maxPooledRecord = 4 << 20

func newScratchPool() *sync.Pool { return &sync.Pool{New: func() any { return new(appendScratch) }} }

// Append stores a batch; when it returns nil the batch is durable by the
// policy of Options.Sync (E1). The batch belongs to the caller again. Errors to
// decide on: registry.ErrUnknownRef (a series was forgotten meanwhile: intern
// its labels again, nothing was stored), ErrTooLarge, ErrOverloaded and ErrDiskFull
// (retry), ErrFailed and ErrClosed; after any other error, any part may be stored.
func (db *DB) Append(ctx context.Context, b *model.Batch, opts AppendOptions) (AppendResult, error) {
	begun, err := db.Begin(ctx, b, opts)
	if err != nil {
		return begun.Result, err
	}
	return begun.Result, begun.Wait()
}

// Begun is a batch that has its place in the log and in memory.
type Begun struct {
	Result AppendResult
	db     *DB
	ticket wal.Ticket
}

// Wait returns when the batch is durable by the policy of Options.Sync (E1).
func (b Begun) Wait() error {
	if err := b.ticket.Wait(); err != nil {
		return b.db.fail(fmt.Errorf("write the log: %w", err))
	}
	return nil
}

// Begin is the part of Append that does not wait for the disk: what begins
// first comes first in the log, in memory and in versions. The batch belongs to
// the caller again.
func (db *DB) Begin(ctx context.Context, b *model.Batch, opts AppendOptions) (Begun, error) {
	if err := db.usable(); err != nil {
		return Begun{}, err
	}
	if db.space.full.Load() {
		db.counters.refusedFull.Add(1)
		return Begun{}, ErrDiskFull
	}
	if err := db.admit(ctx); err != nil {
		return Begun{}, err
	}
	s := db.scratch.Get().(*appendScratch)
	defer func() {
		if cap(s.record) <= maxPooledRecord {
			db.scratch.Put(s)
		}
	}()
	result, ticket, err := db.appendEpoch(b, opts, s)
	return Begun{result, db, ticket}, err
}

// appendEpoch logs the batch and applies it to the buffer, both of one epoch:
// a freeze lies before or behind it, never between.
func (db *DB) appendEpoch(b *model.Batch, opts AppendOptions, s *appendScratch) (AppendResult, wal.Ticket, error) {
	db.epoch.RLock()
	defer db.epoch.RUnlock()
	var result AppendResult
	var err error
	if s.unlogged, err = db.registry.Prepare(b, s.unlogged[:0]); err != nil {
		return result, wal.Ticket{}, err
	}
	if db.opts.Versions {
		if b.Version == 0 {
			b.Version = db.clock.Now()
		}
		db.clock.Observe(b.Version)
		highest, stale := db.registry.Stale(b)
		result.Highest = max(highest, b.Version)
		if stale && opts.Fresh {
			result.Stale = true
			return result, wal.Ticket{}, nil
		}
		db.registry.RaiseVersions(b)
	} else {
		b.Version = db.clock.Now()
	}
	given := b.Metadata
	b.Metadata = db.metadata.fresh(given)
	defer func() { b.Metadata = given }()
	if b.Samples() == 0 && len(b.Exemplars) == 0 && len(b.Metadata) == 0 {
		return result, wal.Ticket{}, nil // metadata that is known: senders repeat it
	}

	s.defs = s.defs[:0]
	for _, ref := range s.unlogged {
		s.defs = append(s.defs, wal.SeriesDef{Ref: ref, Labels: db.registry.Labels(ref)})
	}
	err = s.encode(b, db.maxRecord)
	clear(s.defs)
	if err != nil {
		return result, wal.Ticket{}, err
	}
	ticket, err := db.commit(b, s)
	return result, ticket, err
}

// commit puts an encoded batch into the log and into memory.
func (db *DB) commit(b *model.Batch, s *appendScratch) (ticket wal.Ticket, err error) {
	if !db.opts.Versions {
		db.arrival.Lock()
		defer db.arrival.Unlock()
	}
	for _, record := range s.records {
		db.willLog(len(record))
		// The last ticket stands for all: the log is written in order, and nothing
		// behind a write that failed.
		ticket, err = db.log.Append(record)
		if errors.Is(err, wal.ErrClosed) {
			return wal.Ticket{}, ErrClosed
		}
		if err != nil {
			return wal.Ticket{}, db.fail(fmt.Errorf("write the log: %w", err))
		}
	}
	db.registry.MarkLogged(s.unlogged)
	db.apply(b)
	return ticket, nil
}

// apply puts a batch that is in the log into memory.
func (db *DB) apply(b *model.Batch) {
	result := db.active.Append(b)
	db.mutations.batch(b)
	if db.epochStart.Load() == 0 {
		db.epochStart.Store(db.opts.Now().UnixMilli())
	}
	db.counters.batches.Add(1)
	db.counters.samples.Add(uint64(b.Samples()))
	db.counters.late.Add(uint64(result.Late))
	db.exemplars.add(b.Exemplars)
	db.metadata.add(b.Metadata)
}

// admit holds appends back while the buffer is full: a bounded time, then
// ErrOverloaded. It also wakes the flusher.
func (db *DB) admit(ctx context.Context) error {
	if db.wantsFlush() {
		db.wakeFlusher()
	}
	if !db.full() {
		return nil
	}
	timer := time.NewTimer(db.opts.AppendWait)
	defer timer.Stop()
	for {
		room := db.roomSignal()
		if !db.full() {
			return nil
		}
		select {
		case <-room:
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
			db.counters.overloaded.Add(1)
			return ErrOverloaded
		}
	}
}
