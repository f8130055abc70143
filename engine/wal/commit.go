package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// unsyncedSize is the width of the field behind a frame's kind: how many bytes
// right before the frame were not known to be synced when it was written.
const unsyncedSize = 4

// keepBuffer is the largest group buffer that is used again.
const keepBuffer = 2 << 20

// commitLoop writes groups until the log is closed or fails.
func (w *WAL) commitLoop() {
	var tick <-chan time.Time
	if w.opts.Sync == SyncInterval {
		t := time.NewTicker(w.opts.Interval)
		defer t.Stop()
		tick = t.C
	}
	var spare []byte // memory of the group before
	for {
		var err error
		select {
		case <-tick:
			err = w.syncSegment()
		case <-w.wake:
		}
		for err == nil {
			g, last := w.take(spare)
			spare = nil
			if g == nil {
				if last {
					return
				}
				break
			}
			if err = w.commit(g); err != nil {
				g.err = w.fail(err)
			}
			if cap(g.frame) <= keepBuffer {
				spare = g.frame
			}
			g.frame = nil
			close(g.done)
		}
		if err != nil {
			w.refuseAll(w.fail(err))
			return
		}
	}
}

// take returns the next group to write, nil when there is none; last says that
// none will come.
func (w *WAL) take(buf []byte) (g *group, last bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer w.room.Broadcast()
	if len(w.queue) > 0 {
		g = w.queue[0]
		w.queue = w.queue[1:]
		w.queued -= len(g.frame)
		return g, false
	}
	if w.err != nil {
		return nil, true
	}
	if w.pending.empty() {
		return nil, false
	}
	g = w.pending
	w.pending = newGroup(buf)
	return g, false
}

// commit makes a group durable by the policy.
func (w *WAL) commit(g *group) error {
	if g.records > 0 {
		if err := w.log.write(g); err != nil {
			return err
		}
		w.groups.Add(1)
		w.records.Add(uint64(g.records))
		if w.opts.Sync == SyncAlways {
			if err := w.syncSegment(); err != nil {
				return err
			}
		}
	}
	if g.cut {
		if err := w.log.roll(); err != nil {
			return err
		}
		g.next = w.log.number
	}
	return nil
}

// syncSegment syncs the current segment if it has to be.
func (w *WAL) syncSegment() error {
	start := time.Now()
	did, err := w.log.sync()
	if did {
		w.syncs.Add(1)
		w.opts.SyncTime(time.Since(start))
	}
	return err
}

// fail ends the log and returns what everybody gets from now on.
func (w *WAL) fail(cause error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil || errors.Is(w.err, ErrClosed) {
		w.err = fmt.Errorf("%w: %w", ErrFailed, cause)
	}
	w.room.Broadcast()
	return w.err
}

// refuseAll answers everybody who waits for a group that will not be written.
func (w *WAL) refuseAll(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, g := range append(w.queue, w.pending) {
		g.err = err
		close(g.done)
	}
	w.queue = nil
}

// setUnsynced fills in how many bytes before the frame are not synced.
func (g *group) setUnsynced(n int64) {
	binary.LittleEndian.PutUint32(g.frame[frameHeadSize+1:], uint32(min(n, 1<<32-1)))
}
