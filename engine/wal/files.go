package wal

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"

	"github.com/count-db/count/internal/vfs"
)

// terminator is the length of the zeros written behind each frame, so that in a
// recycled segment the end of the log looks like the end and not like damage.
// The next frame overwrites them.
const terminator = 16

const (
	// firstAllocation is what a new segment is preallocated to, in bytes; it is
	// doubled whenever it is full. A quiet node's log stays small that way, and a
	// busy one pays for a change of the file's size a few times a segment.
	firstAllocation = 256 << 10
	// maxSpare is the largest file, in bytes, that is kept to be used again:
	// spares are for the many flushes of a quiet node, and count as its disk.
	maxSpare = 512 << 10
)

// segments are the files of an open log.
type segments struct {
	w *WAL

	// The segment that is written; the committer's alone.
	file      vfs.File
	number    Position
	offset    int64 // of the next frame
	synced    int64 // everything before this offset is synced
	allocated int64 // preallocated length

	mu     sync.Mutex
	live   []liveSegment // ascending, the written one last; guarded by mu
	spares []string      // paths; guarded by mu
}

type liveSegment struct {
	number Position
	bytes  int64 // written, headers included
}

// openSegments begins a new segment behind all there are, and then puts the
// older ones in order.
func openSegments(w *WAL) (*segments, error) {
	if err := w.fs.MkdirAll(w.dir); err != nil {
		return nil, err
	}
	l, err := list(w.fs, w.dir)
	if err != nil {
		return nil, err
	}
	s := &segments{w: w, number: max(w.opts.From, 1)}
	for _, name := range l.spares {
		if err := s.keepOrRemove(filepath.Join(w.dir, name), ""); err != nil {
			return nil, err
		}
	}
	for _, p := range l.segments {
		if p < w.opts.From {
			if err := s.retire(p); err != nil {
				return nil, err
			}
			continue
		}
		size, err := w.fs.Stat(segmentName(w.dir, p))
		if err != nil {
			return nil, err
		}
		s.live = append(s.live, liveSegment{p, size})
		s.number = p + 1
	}
	// First the new segment, then the repair of the old ones: a segment that is
	// ended has one behind it, or one is missing.
	old := slices.Clone(s.live)
	if err := s.begin(s.number); err != nil {
		return nil, err
	}
	if err := s.repair(old); err != nil {
		return nil, errors.Join(err, s.file.Close())
	}
	return s, nil
}

// repair ends the segments that were not left in order: those behind the last
// one with frames, and that one. The oldest comes first, so that a crash in
// between leaves what looks like a tail.
func (s *segments) repair(old []liveSegment) error {
	reports := map[Position]segmentReport{}
	first := len(old)
	for first > 0 {
		first--
		r, err := readSegment(s.w.fs, s.w.dir, old[first].number, nil)
		if err != nil {
			return err
		}
		reports[old[first].number] = r
		if r.frames > 0 || r.ended {
			break
		}
	}
	for _, l := range old[first:] {
		r := reports[l.number]
		if r.ended {
			continue
		}
		if err := s.end(l.number, r); err != nil {
			return fmt.Errorf("repair segment %d: %w", l.number, err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.live {
		if r, ok := reports[s.live[i].number]; ok {
			s.live[i].bytes = r.end
		}
	}
	s.countLocked()
	return nil
}

// end cuts the torn tail of a segment and ends it.
func (s *segments) end(p Position, r segmentReport) (err error) {
	f, err := s.w.fs.OpenAppend(segmentName(s.w.dir, p))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.Truncate(r.end); err != nil {
		return err
	}
	if r.headErr != nil {
		if _, err := f.WriteAt(appendHeader(nil, p), 0); err != nil {
			return err
		}
	}
	// The end frame must not vouch for what a crash tore before.
	unsynced := int64(0)
	if r.firstTorn > 0 {
		unsynced = r.end - r.firstTorn
	}
	if _, err := f.WriteAt(appendEnd(p, r.end, unsynced), r.end); err != nil {
		return err
	}
	return f.Sync()
}

// appendEnd returns the end frame of a segment.
func appendEnd(p Position, offset, unsynced int64) []byte {
	g := group{frame: append(beginFrame(nil), frameEnd)}
	g.frame = append(g.frame, make([]byte, unsyncedSize)...)
	g.setUnsynced(unsynced)
	return append(endFrame(g.frame, p, offset), make([]byte, terminator)...)
}

// begin makes p the segment that is written. It is durable before anything is
// written to it.
func (s *segments) begin(p Position) error {
	name := segmentName(s.w.dir, p)
	s.mu.Lock()
	spare := ""
	if n := len(s.spares); n > 0 {
		spare = s.spares[n-1]
		s.spares = s.spares[:n-1]
	}
	s.mu.Unlock()
	if spare != "" {
		if err := s.w.fs.Rename(spare, name); err != nil {
			return fmt.Errorf("recycle a segment: %w", err)
		}
		s.w.recycled.Add(1)
	}
	f, err := s.w.fs.OpenAppend(name)
	if err != nil {
		return fmt.Errorf("begin segment %d: %w", p, err)
	}
	if err := s.prepare(f, p); err != nil {
		return errors.Join(fmt.Errorf("begin segment %d: %w", p, err), f.Close())
	}
	s.file, s.number, s.offset, s.synced = f, p, headerSize, headerSize
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live = append(s.live, liveSegment{p, headerSize})
	s.countLocked()
	return nil
}

func (s *segments) prepare(f vfs.File, p Position) error {
	s.allocated = min(firstAllocation, s.w.opts.SegmentBytes) + terminator
	if err := f.Preallocate(s.allocated); err != nil {
		return err
	}
	if _, err := f.WriteAt(append(appendHeader(nil, p), make([]byte, terminator)...), 0); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return s.w.fs.SyncDir(s.w.dir)
}

// write writes a group as one frame, in a new segment when this one is full.
func (s *segments) write(g *group) error {
	size := frameSize(len(g.frame) - frameHeadSize)
	if s.offset > headerSize && s.offset+size > s.w.opts.SegmentBytes {
		if err := s.roll(); err != nil {
			return err
		}
	}
	if err := s.allocate(s.offset + size + terminator); err != nil {
		return err
	}
	g.setUnsynced(s.offset - s.synced)
	g.frame = endFrame(g.frame, s.number, s.offset)
	g.frame = append(g.frame, make([]byte, terminator)...)
	if _, err := s.file.WriteAt(g.frame, s.offset); err != nil {
		return fmt.Errorf("write segment %d: %w", s.number, err)
	}
	s.offset += size
	s.w.appended.Add(uint64(size))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live[len(s.live)-1].bytes = s.offset
	s.countLocked()
	return nil
}

// allocate makes the file long enough for the next frame, with room for more.
func (s *segments) allocate(need int64) error {
	if need <= s.allocated {
		return nil
	}
	for s.allocated < need {
		s.allocated *= 2
	}
	s.allocated = max(min(s.allocated, s.w.opts.SegmentBytes+terminator), need)
	err := s.file.Preallocate(s.allocated)
	if err != nil && s.allocated > need { // a disk with little room
		s.allocated = need
		err = s.file.Preallocate(need)
	}
	if err != nil {
		return fmt.Errorf("preallocate segment %d: %w", s.number, err)
	}
	return nil
}

// sync syncs what was written since the last sync; did is false when that was
// nothing.
func (s *segments) sync() (did bool, err error) {
	if s.synced == s.offset {
		return false, nil
	}
	if err := s.file.SyncData(); err != nil {
		return true, fmt.Errorf("sync segment %d: %w", s.number, err)
	}
	s.synced = s.offset
	return true, nil
}

// roll ends the segment and begins the next. The end frame is written when the
// next one is durable, and nothing is written there before the end frame is:
// replay relies on both.
func (s *segments) roll() error {
	if _, err := s.sync(); err != nil {
		return err
	}
	old, oldNumber, end := s.file, s.number, s.offset
	if err := s.begin(s.number + 1); err != nil {
		return err
	}
	_, err := old.WriteAt(appendEnd(oldNumber, end, 0), end)
	if err == nil {
		err = old.SyncData()
	}
	if err = errors.Join(err, old.Close()); err != nil {
		return fmt.Errorf("end segment %d: %w", oldNumber, err)
	}
	return nil
}

// drop retires the live segments before p, but not the one that is written.
func (s *segments) drop(p Position) error {
	s.mu.Lock()
	n := 0
	for n < len(s.live)-1 && s.live[n].number < p {
		n++
	}
	dropped := slices.Clone(s.live[:n])
	s.live = slices.Delete(s.live, 0, n)
	s.countLocked()
	s.mu.Unlock()
	var errs []error
	for _, d := range dropped {
		errs = append(errs, s.retire(d.number))
	}
	return errors.Join(errs...)
}

// retire makes a segment that is not live any more a spare, or removes it.
func (s *segments) retire(p Position) error {
	name := segmentName(s.w.dir, p)
	return s.keepOrRemove(name, name[:len(name)-len(segmentSuffix)]+spareSuffix)
}

// keepOrRemove keeps the file as a spare, under the name rename unless that is
// empty, when there is room for one; else it removes it.
func (s *segments) keepOrRemove(name, rename string) error {
	size, err := s.w.fs.Stat(name)
	if err != nil {
		return err
	}
	s.mu.Lock()
	keep := len(s.spares) < s.w.opts.Spares && size <= maxSpare
	s.mu.Unlock()
	if !keep {
		return s.w.fs.Remove(name)
	}
	if rename != "" {
		if err := s.w.fs.Rename(name, rename); err != nil {
			return err
		}
		name = rename
	}
	s.mu.Lock()
	s.spares = append(s.spares, name)
	s.mu.Unlock()
	return nil
}

// countLocked updates the gauges of WAL.Stats.
func (s *segments) countLocked() {
	var bytes int64
	for _, l := range s.live {
		bytes += l.bytes
	}
	s.w.live.Store(int64(len(s.live)))
	s.w.bytes.Store(bytes)
}

// close syncs and closes. After a failure nothing is synced any more.
func (s *segments) close() error {
	var err error
	if s.w.Failed() == nil {
		_, err = s.sync()
	}
	if err = errors.Join(err, s.file.Close()); err != nil {
		return fmt.Errorf("close the log: %w", err)
	}
	return nil
}
