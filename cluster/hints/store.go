package hints

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/cluster/frontier"
	"github.com/count-db/count/cluster/ring"
	"github.com/count-db/count/cluster/transport"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/vfs"
	"github.com/count-db/count/internal/wire"
)

const (
	magic = "COUNTHN\x01"
	seed  = 0x41175eed

	recordBatch  = 1
	recordDelete = 2

	suffix = ".hint"
)

// Options of a Store.
type Options struct {
	// SegmentBytes ends a segment. Default: 8 MiB.
	SegmentBytes int64
	// MaxBytes bounds all segments together. Default: 4 GiB.
	MaxBytes int64
	// Labels returns the labels of a reference.
	Labels func(model.Ref) labels.Labels
}

// Store is what other nodes are owed. Safe for concurrent use.
type Store struct {
	fs   vfs.FS
	dir  string
	opts Options

	mu      sync.Mutex
	queues  map[ring.NodeID]*queue // guarded by mu
	bytes   int64                  // guarded by mu; of all segments
	dropped uint64                 // guarded by mu; records that did not fit
	closed  bool                   // guarded by mu
}

// queue is what one node is owed.
type queue struct {
	dir      string
	segments []segment // ascending; the last one may be open
	next     uint64
	open     vfs.File // nil when no segment is open
	dirty    bool     // written since the last sync
	defined  map[model.Ref]bool
	buf      []byte
	handing  bool // a handover runs
}

type segment struct {
	number uint64
	bytes  int64
}

// Open finds the segments of an earlier run.
func Open(filesystem vfs.FS, dir string, o Options) (*Store, error) {
	if o.SegmentBytes == 0 {
		o.SegmentBytes = 8 << 20
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = 4 << 30
	}
	s := &Store{fs: filesystem, dir: dir, opts: o, queues: map[ring.NodeID]*queue{}}
	if err := filesystem.MkdirAll(dir); err != nil {
		return nil, fmt.Errorf("open hints: %w", err)
	}
	return s, s.findAll()
}

func (s *Store) findAll() error {
	names, err := s.fs.List(s.dir)
	if err != nil {
		return fmt.Errorf("open hints: %w", err)
	}
	for _, name := range names {
		id, err := strconv.ParseUint(name, 10, 64)
		if err != nil {
			continue // not ours
		}
		if err := s.find(ring.NodeID(id)); err != nil {
			return fmt.Errorf("open hints for node %d: %w", id, err)
		}
	}
	return nil
}

func (s *Store) find(id ring.NodeID) error {
	q := &queue{dir: filepath.Join(s.dir, id.String()), next: 1}
	names, err := s.fs.List(q.dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		number, err := strconv.ParseUint(strings.TrimSuffix(name, suffix), 10, 64)
		if err != nil || !strings.HasSuffix(name, suffix) {
			continue // not ours
		}
		size, err := s.fs.Stat(filepath.Join(q.dir, name))
		if err != nil {
			return err
		}
		q.segments = append(q.segments, segment{number, size})
		q.next = max(q.next, number+1)
		s.bytes += size
	}
	slices.SortFunc(q.segments, func(a, b segment) int { return int(int64(a.number) - int64(b.number)) })
	s.queues[id] = q
	return nil
}

func (q *queue) path(number uint64) string {
	return filepath.Join(q.dir, fmt.Sprintf("%020d%s", number, suffix))
}

// Add notes that the node is owed the batch, which is known by the origins. It
// is durable after the next Sync. ErrForgotten: the labels of a series are not known
// any more.
func (s *Store) Add(id ring.NodeID, b *model.Batch, origins []frontier.Origin) error {
	if s.nameless(b) {
		return ErrForgotten
	}
	return s.write(id, func(q *queue, dst []byte) []byte {
		dst = frontier.AppendOrigins(append(dst, recordBatch), origins)
		var fresh []model.Ref
		note := func(ref model.Ref) {
			if !q.defined[ref] {
				q.defined[ref] = true
				fresh = append(fresh, ref)
			}
		}
		for i := range b.Floats {
			note(b.Floats[i].Ref)
		}
		for i := range b.Hists {
			note(b.Hists[i].Ref)
		}
		for i := range b.Exemplars {
			note(b.Exemplars[i].Ref)
		}
		dst = wire.AppendUvarint(dst, uint64(len(fresh)))
		for _, ref := range fresh {
			dst = wire.AppendUvarint(dst, uint64(ref))
			dst = transport.AppendLabels(dst, s.opts.Labels(ref))
		}
		return transport.AppendBatch(dst, b)
	})
}

// ErrForgotten says that a series of a batch was forgotten since its reference was
// looked up.
var ErrForgotten = errors.New("a series was forgotten")

// nameless says whether a series of a batch has no labels.
func (s *Store) nameless(b *model.Batch) bool {
	forgotten := func(ref model.Ref) bool { return s.opts.Labels(ref).IsEmpty() }
	return slices.ContainsFunc(b.Floats, func(f model.FloatSample) bool { return forgotten(f.Ref) }) ||
		slices.ContainsFunc(b.Hists, func(h model.HistogramSample) bool { return forgotten(h.Ref) }) ||
		slices.ContainsFunc(b.Exemplars, func(e model.Exemplar) bool { return forgotten(e.Ref) })
}

// AddDelete notes that the node is owed a delete.
func (s *Store) AddDelete(id ring.NodeID, t model.Tombstone) error {
	return s.write(id, func(_ *queue, dst []byte) []byte {
		return transport.AppendTombstones(append(dst, recordDelete), []model.Tombstone{t})
	})
}

func (s *Store) write(id ring.NodeID, payload func(q *queue, dst []byte) []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errors.New("hint store is closed")
	}
	q := s.queues[id]
	if q == nil {
		q = &queue{dir: filepath.Join(s.dir, id.String()), next: 1}
		s.queues[id] = q
	}
	if q.open == nil {
		if s.bytes >= s.opts.MaxBytes {
			s.dropped++
			return nil
		}
		if err := s.beginLocked(q); err != nil {
			return fmt.Errorf("begin hints for node %d: %w", id, err)
		}
	}
	q.buf = wire.EndFrame(payload(q, wire.BeginFrame(q.buf[:0])), 0, seed)
	if _, err := q.open.Write(q.buf); err != nil {
		return errors.Join(fmt.Errorf("write hints for node %d: %w", id, err), s.endLocked(q))
	}
	q.dirty = true
	last := &q.segments[len(q.segments)-1]
	last.bytes += int64(len(q.buf))
	s.bytes += int64(len(q.buf))
	if cap(q.buf) > 4<<20 {
		q.buf = nil
	}
	if last.bytes >= s.opts.SegmentBytes {
		return s.endLocked(q)
	}
	return nil
}

func (s *Store) beginLocked(q *queue) error {
	if err := s.fs.MkdirAll(q.dir); err != nil {
		return err
	}
	f, err := s.fs.Create(q.path(q.next))
	if err != nil {
		return err
	}
	if _, err := f.Write([]byte(magic)); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := s.fs.SyncDir(q.dir); err != nil {
		return errors.Join(err, f.Close())
	}
	q.open, q.defined = f, map[model.Ref]bool{}
	q.segments = append(q.segments, segment{q.next, int64(len(magic))})
	s.bytes += int64(len(magic))
	q.next++
	return nil
}

// endLocked ends the open segment, which makes it durable.
func (s *Store) endLocked(q *queue) error {
	if q.open == nil {
		return nil
	}
	err := errors.Join(q.open.SyncData(), q.open.Close())
	q.open, q.defined, q.dirty = nil, nil, false
	return err
}

// Sync makes all that was added durable.
func (s *Store) Sync() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for id, q := range s.queues {
		if q.open == nil || !q.dirty {
			continue
		}
		if err := q.open.SyncData(); err != nil {
			errs = append(errs, fmt.Errorf("sync hints for node %d: %w", id, err), s.endLocked(q))
			continue
		}
		q.dirty = false
	}
	return errors.Join(errs...)
}

// Owed returns who is owed something, ascending.
func (s *Store) Owed() []ring.NodeID {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []ring.NodeID
	for id, q := range s.queues {
		if len(q.segments) > 0 {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}

// Stats are the sizes of the store.
type Stats struct {
	Bytes   int64
	Dropped uint64                // records that did not fit
	PerNode map[ring.NodeID]int64 // bytes owed to each node
}

// Stats returns the sizes of the store.
func (s *Store) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := Stats{Bytes: s.bytes, Dropped: s.dropped, PerNode: map[ring.NodeID]int64{}}
	for id, q := range s.queues {
		for _, g := range q.segments {
			out.PerNode[id] += g.bytes
		}
	}
	return out
}

// Drop forgets what a node is owed: it is no member any longer.
func (s *Store) Drop(id ring.NodeID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.queues[id]
	if q == nil {
		return nil
	}
	if err := errors.Join(s.endLocked(q), s.removeLocked(q, q.segments)); err != nil {
		return err
	}
	q.segments = nil
	return nil
}

// removeLocked removes segments, durably: as soon as nothing is owed others settle
// (V4), and what came back after a power cut would be older than that.
func (s *Store) removeLocked(q *queue, gone []segment) error {
	if len(gone) == 0 {
		return nil
	}
	for _, g := range gone {
		if err := s.fs.Remove(q.path(g.number)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := s.fs.SyncDir(q.dir); err != nil {
		return err
	}
	for _, g := range gone {
		s.bytes -= g.bytes
	}
	return nil
}

// Close makes everything durable.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	var errs []error
	for _, q := range s.queues {
		errs = append(errs, s.endLocked(q))
	}
	return errors.Join(errs...)
}
