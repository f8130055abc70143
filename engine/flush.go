package engine

import (
	"fmt"
	"time"

	"github.com/go-kit/log/level"

	"github.com/count-db/count/engine/buffer"
	"github.com/count-db/count/engine/file"
	"github.com/count-db/count/engine/manifest"
	"github.com/count-db/count/engine/wal"
)

// frozenEpoch is a buffer that is being flushed, and what belongs to it.
type frozenEpoch struct {
	epoch  *epochBuffer
	buffer *buffer.Frozen
	// cut is where the log of the next epoch begins.
	cut wal.Position
}

// flushBuffer makes the buffer durable outside the log, and cuts the log. When
// it fails the frozen buffer stays readable, its log stays, and the next flush
// begins with it.
func (db *DB) flushBuffer() error {
	db.flushing.Lock()
	defer db.flushing.Unlock()
	return db.flushLocked()
}

func (db *DB) flushLocked() error {
	if db.frozen != nil {
		if err := db.writeFrozen(); err != nil {
			return err
		}
	}
	if err := db.freeze(); err != nil || db.frozen == nil {
		return err
	}
	return db.writeFrozen()
}

// freeze ends the flush epoch: log and buffer are cut at the same place.
// db.frozen stays nil when there is nothing to flush.
func (db *DB) freeze() error {
	db.epoch.Lock()
	defer db.epoch.Unlock()
	if db.active.Samples() == 0 && db.log.Stats().Bytes < idleLogBytes && !db.cutLog.Load() {
		return nil
	}
	cut, err := db.log.Cut()
	if err != nil {
		return db.fail(fmt.Errorf("cut the log: %w", err))
	}
	db.cutLog.Store(false)
	frozen := &frozenEpoch{epoch: db.active, buffer: db.active.Freeze(), cut: cut}
	next := db.newBuffer()

	db.install.Lock()
	defer db.install.Unlock()
	v := db.views.current.clone()
	v.frozen, v.active = frozen.epoch, next
	db.active, db.frozen = next, frozen
	db.epochStart.Store(0)
	err = db.views.replace(v, nil)
	db.signalRoom()
	return err
}

// idleLogBytes is how much log without samples (metadata, exemplars) is left
// to be replayed.
const idleLogBytes = 1 << 20

// writeFrozen writes the frozen buffer to a wide file and drops its log.
func (db *DB) writeFrozen() error {
	start := time.Now()
	if err := db.persistBeforeCut(); err != nil {
		db.counters.flushFailures.Add(1)
		return err
	}
	f := describe(manifest.Wide, db.manifest.NewID(), nil)
	f.Arrival, f.Born = f.ID, db.opts.Now().UnixMilli()
	db.lastBorn.Store(f.Born)
	added, err := db.createFile(f, func(w *file.Writer) error { return db.writeBuffer(w, db.frozen.buffer, nil) })
	if err != nil {
		db.counters.flushFailures.Add(1)
		return fmt.Errorf("flush: %w", err)
	}
	cut := db.frozen.cut
	if err := db.applyEdit(edit{add: added, cut: cut, thaw: true}); err != nil {
		db.counters.flushFailures.Add(1)
		return fmt.Errorf("flush: %w", err)
	}
	db.frozen = nil
	db.signalRoom()
	db.counters.flushes.Add(1)
	db.counters.lastFlush.Store(int64(time.Since(start)))
	if added != nil {
		info := added.reader.Info()
		db.counters.flushedBytes.Add(uint64(info.Bytes))
		level.Debug(db.opts.Logger).Log("msg", "flushed", "file", added.ID, "samples", info.Samples, "series", info.Series, "bytes", info.Bytes, "took", time.Since(start))
	}
	if err := db.log.Drop(cut); err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	return nil
}

// persistBeforeCut makes durable what else only the log holds.
func (db *DB) persistBeforeCut() error {
	if err := db.registry.Persist(); err != nil {
		return fmt.Errorf("flush the registry: %w", err)
	}
	if err := db.metadata.persist(db.fs, db.dir); err != nil {
		return err
	}
	return db.exemplars.persist(db.fs, db.dir)
}

// writeBuffer writes all series of a frozen buffer in the order of labels, and
// calls between, where there is one, after each.
func (db *DB) writeBuffer(w *file.Writer, b *buffer.Frozen, between func() error) error {
	refs := b.Refs()
	db.registry.SortByLabels(refs)
	var walk buffer.Walk
	for _, ref := range refs {
		w.Begin(ref)
		err := b.Chunks(ref, &walk, func(c *buffer.Chunk) error {
			if c.Kind == buffer.Histograms {
				w.Histograms(c.Window, c.Hist, db.opts.Versions)
				return nil
			}
			w.Stream(c.Window, c.T, c.Values, orNil(c.ST), orNil(c.Ver))
			return nil
		})
		if err == nil && between != nil {
			err = between()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func orNil[T any](s []T) []T {
	if len(s) == 0 {
		return nil
	}
	return s
}

// wantsFlush says whether one of the bounds of the buffer is reached.
func (db *DB) wantsFlush() bool {
	if db.cutLog.Load() || db.bufferBytes() >= db.opts.BufferBytes || db.log.Stats().Bytes >= min(db.opts.LogBytes, db.space.logBound.Load()) {
		return true
	}
	if n := db.opts.BufferSamples; n > 0 && db.bufferSamples() >= n {
		return true
	}
	started := db.epochStart.Load()
	age := db.opts.Now().UnixMilli() - started
	// Below 0 the clock was put back: nobody knows how long the samples wait.
	return started > 0 && (age >= db.opts.FlushInterval.Milliseconds() || age < 0)
}

// full says whether appends have to wait: the active buffer or the log is at
// twice its bound, as a flush cannot keep up.
func (db *DB) full() bool {
	if db.bufferBytes() >= 2*db.opts.BufferBytes || db.log.Stats().Bytes >= 2*db.opts.LogBytes {
		return true
	}
	n := db.opts.BufferSamples
	return n > 0 && db.bufferSamples() >= 2*max(n, minFullSamples)
}

// minFullSamples keeps a tiny BufferSamples from refusing writes that one
// flush would take.
const minFullSamples = 1 << 20

func (db *DB) bufferBytes() int64 {
	db.epoch.RLock()
	defer db.epoch.RUnlock()
	return db.active.Bytes()
}

func (db *DB) bufferSamples() int64 {
	db.epoch.RLock()
	defer db.epoch.RUnlock()
	return db.active.Samples()
}
