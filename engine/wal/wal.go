package wal

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/count-db/count/internal/vfs"
	"github.com/count-db/count/internal/wire"
)

// ErrFailed is returned by everything once a write or sync of the log failed.
var ErrFailed = errors.New("the log failed, nothing is acknowledged until a restart")

// ErrClosed is returned once the log is closed.
var ErrClosed = errors.New("the log is closed")

// ErrRecordTooLarge refuses one record; the log goes on.
var ErrRecordTooLarge = fmt.Errorf("log record exceeds %d bytes", MaxRecord)

// SyncPolicy says what Ticket.Wait waits for.
type SyncPolicy uint8

// The sync policies. With all of them Wait returns after the record was handed
// to the operating system, so that a killed process loses nothing.
const (
	SyncAlways   SyncPolicy = iota // and was synced
	SyncInterval                   // it is synced every Options.Interval
	SyncNever                      // it is synced when its segment ends
)

// Options of a log. Zero values mean the defaults.
type Options struct {
	Sync SyncPolicy
	// Interval is the time between two syncs with SyncInterval. Default: 200 ms.
	Interval time.Duration
	// SegmentBytes is the length at which a new segment is begun. A segment is
	// longer by at most one group. Default: 32 MiB.
	SegmentBytes int64
	// Spares is how many dropped segments are kept to be used again: writing into
	// blocks that the file system has allocated and written before needs no
	// journal. Default: 2; negative: none.
	Spares int
	// From is the position that the manifest names: segments before it are
	// spares.
	From Position
	// SyncTime is called with the duration of each sync of a group. Default: none.
	SyncTime func(time.Duration)
}

func (o Options) withDefaults() Options {
	if o.Interval <= 0 {
		o.Interval = 200 * time.Millisecond
	}
	if o.SegmentBytes <= 0 {
		o.SegmentBytes = 32 << 20
	}
	if o.Spares == 0 {
		o.Spares = 2
	}
	if o.SyncTime == nil {
		o.SyncTime = func(time.Duration) {}
	}
	return o
}

// Stats are gauges and counters (since Open) of a log.
type Stats struct {
	Segments int   // live ones
	Bytes    int64 // written to the live segments
	Appended uint64
	Records  uint64
	Groups   uint64
	Syncs    uint64
	Recycled uint64 // segments that were begun in a spare
}

// group is what one frame carries.
type group struct {
	frame   []byte // head left open, then the payload
	records int
	cut     bool          // begin a new segment behind it
	done    chan struct{} // closed when the outcome stands
	err     error         // written before done is closed
	next    Position      // with cut: the new segment; written before done is closed
}

// Ticket is the promise that a record becomes durable.
type Ticket struct{ g *group }

// Wait returns when the record is durable by the sync policy, or with ErrFailed
// when it may not be. The zero Ticket is done.
func (t Ticket) Wait() error {
	if t.g == nil {
		return nil
	}
	<-t.g.done
	return t.g.err
}

// WAL is a log that is open for appending. All methods are safe for concurrent
// use.
type WAL struct {
	fs   vfs.FS
	dir  string
	opts Options

	mu      sync.Mutex
	pending *group   // the group that Append fills; guarded by mu
	queue   []*group // complete groups before it (Cut makes them); guarded by mu
	queued  int      // bytes in queue; guarded by mu
	room    sync.Cond
	err     error // why nothing can be appended; guarded by mu
	closed  bool  // guarded by mu

	// wake tells the committer that there is something to do. Capacity 1: waking
	// it twice changes nothing.
	wake      chan struct{}
	committer sync.WaitGroup
	log       *segments // owned by the committer

	live     atomic.Int64 // Stats.Segments
	bytes    atomic.Int64 // Stats.Bytes
	appended atomic.Uint64
	records  atomic.Uint64
	groups   atomic.Uint64
	syncs    atomic.Uint64
	recycled atomic.Uint64
}

// Open opens the log in dir, made when missing, for appending; what is in it is
// kept until Drop. Replay it before. A torn tail is cut here, durably.
func Open(fs vfs.FS, dir string, opts Options) (*WAL, error) {
	w := &WAL{fs: fs, dir: dir, opts: opts.withDefaults(), wake: make(chan struct{}, 1)}
	w.room.L = &w.mu
	w.pending = newGroup(nil)
	log, err := openSegments(w)
	if err != nil {
		return nil, fmt.Errorf("open the log: %w", err)
	}
	w.log = log
	w.committer.Go(w.commitLoop)
	return w, nil
}

// newGroup returns an empty group that uses the memory of buf.
func newGroup(buf []byte) *group {
	g := &group{frame: beginFrame(buf[:0]), done: make(chan struct{})}
	g.frame = append(g.frame, frameRecords)
	// The committer knows how far the log is synced; it fills this in.
	g.frame = append(g.frame, make([]byte, unsyncedSize)...)
	return g
}

func (g *group) empty() bool { return g.records == 0 && !g.cut }

// Append puts a record, which is copied, into the pending group. It does no
// I/O; it waits only while a whole group is waiting for the disk already.
func (w *WAL) Append(rec []byte) (Ticket, error) {
	if len(rec) > MaxRecord {
		return Ticket{}, ErrRecordTooLarge
	}
	w.mu.Lock()
	for w.err == nil && w.queued+len(w.pending.frame) > maxPending {
		w.room.Wait()
	}
	if w.err != nil {
		defer w.mu.Unlock()
		return Ticket{}, w.err
	}
	t := w.appendLocked(rec)
	w.mu.Unlock()
	w.wakeCommitter()
	return t, nil
}

func (w *WAL) appendLocked(rec []byte) Ticket {
	g := w.pending
	g.frame = wire.AppendBytes(g.frame, rec)
	g.records++
	return Ticket{g}
}

func (w *WAL) wakeCommitter() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Cut begins a new segment and returns its position: everything appended before
// the call is in segments before it, and durable, everything after is not.
func (w *WAL) Cut() (Position, error) {
	w.mu.Lock()
	if w.err != nil {
		defer w.mu.Unlock()
		return 0, w.err
	}
	g := w.pending
	g.cut = true
	w.queue = append(w.queue, g)
	w.queued += len(g.frame)
	w.pending = newGroup(nil)
	w.mu.Unlock()
	w.wakeCommitter()
	<-g.done
	return g.next, g.err
}

// Drop gives up all segments before the position: some are kept as spares, the
// others removed. Call it when the manifest that names the position is durable.
func (w *WAL) Drop(before Position) error {
	if err := w.log.drop(before); err != nil {
		return fmt.Errorf("drop the log before segment %d: %w", before, err)
	}
	return nil
}

// Failed returns the error that ended the log, or nil.
func (w *WAL) Failed() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if errors.Is(w.err, ErrFailed) {
		return w.err
	}
	return nil
}

// Stats returns the log's gauges and counters.
func (w *WAL) Stats() Stats {
	return Stats{
		Segments: int(w.live.Load()), Bytes: w.bytes.Load(), Appended: w.appended.Load(), Records: w.records.Load(),
		Groups: w.groups.Load(), Syncs: w.syncs.Load(), Recycled: w.recycled.Load(),
	}
}

// Close writes and syncs what is pending and closes the log. The segments stay
// for the next Open.
func (w *WAL) Close() error {
	w.mu.Lock()
	if w.closed {
		defer w.mu.Unlock()
		return ErrClosed
	}
	w.closed = true
	if w.err == nil {
		w.err = ErrClosed
		w.queue = append(w.queue, w.pending)
		w.queued += len(w.pending.frame)
		w.pending = newGroup(nil)
	}
	w.room.Broadcast()
	w.mu.Unlock()
	w.wakeCommitter()
	w.committer.Wait()
	return w.log.close()
}
