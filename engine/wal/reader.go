package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/count-db/count/internal/vfs"
	"github.com/count-db/count/internal/wire"
)

// readAhead is how much of a segment is read at once.
const readAhead = 256 << 10

// segmentReport is what reading a segment found.
type segmentReport struct {
	headErr error // what is wrong with the header
	frames  int   // frames with records
	end     int64 // behind the last good frame with records; headerSize when there is none
	ended   bool  // left in order
	gaps    []Gap // synced frames that are not there any more
	// torn are the bytes of frames that a crash tore and that were never
	// acknowledged; firstTorn is the offset of the first, 0 = none.
	torn      int64
	firstTorn int64
}

// window reads a file through a sliding buffer.
type window struct {
	f     vfs.File
	size  int64
	buf   []byte
	start int64 // offset of buf[0]
}

// at returns n bytes at off, valid until the next call; nil behind the end of
// the file.
func (w *window) at(off int64, n int) ([]byte, error) {
	if off+int64(n) > w.size {
		return nil, nil
	}
	if i := off - w.start; i >= 0 && i+int64(n) <= int64(len(w.buf)) {
		return w.buf[i : i+int64(n)], nil
	}
	want := int(min(max(int64(n), readAhead), w.size-off))
	if cap(w.buf) < want {
		w.buf = make([]byte, want)
	}
	w.buf, w.start = w.buf[:want], off
	if _, err := io.ReadFull(io.NewSectionReader(w.f, off, int64(want)), w.buf); err != nil {
		return nil, fmt.Errorf("read %s at %d: %w", w.f.Name(), off, err)
	}
	return w.buf[:n], nil
}

// frame is one good frame.
type frame struct {
	kind     byte
	unsynced int64 // bytes before it that were not known to be synced
	body     []byte
	size     int64 // in the file
}

// frameAt reads the frame at off; ok is false when there is no good one. The
// error is one of reading.
func frameAt(w *window, p Position, off int64) (fr frame, ok bool, err error) {
	head, err := w.at(off, frameHeadSize)
	if head == nil || err != nil {
		return fr, false, err
	}
	length := binary.LittleEndian.Uint32(head)
	if length < 1+unsyncedSize || length > maxFrame || off+frameHeadSize+int64(length) > w.size {
		return fr, false, nil
	}
	if binary.LittleEndian.Uint32(head[8:]) != wire.ChecksumFrom(frameSeed(p, off), head[:8]) {
		return fr, false, nil
	}
	sum := binary.LittleEndian.Uint32(head[4:])
	payload, err := w.at(off+frameHeadSize, int(length))
	if payload == nil || err != nil {
		return fr, false, err
	}
	if wire.Checksum(payload) != sum {
		return fr, false, nil
	}
	d := wire.NewDecoder(payload)
	fr = frame{kind: d.Byte(), unsynced: int64(d.Uint32()), body: d.Rest(), size: frameSize(int(length))}
	return fr, fr.kind == frameRecords || fr.kind == frameEnd, nil
}

// readSegment reads all frames of a segment and hands their bodies to visit
// (nil: nobody), which must not keep them. It returns the errors of reading and
// of visit; damage is in the report.
func readSegment(fs vfs.FS, dir string, p Position, visit func(body []byte) error) (r segmentReport, err error) {
	f, err := fs.OpenRead(segmentName(dir, p))
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	size, err := f.Size()
	if err != nil {
		return r, err
	}
	w := &window{f: f, size: size}
	r.end = headerSize
	if r.headErr, err = readHeader(w, p); err != nil {
		return r, err
	}
	hole := int64(0) // where the frames stopped being good; 0: they have not
	for off := int64(headerSize); off < size; {
		fr, ok, err := frameAt(w, p, off)
		if err != nil {
			return r, err
		}
		if !ok {
			if hole == 0 {
				hole = off
			}
			off += frameAlign
			continue
		}
		if hole != 0 {
			r.judge(p, hole, off, fr.unsynced)
			hole = 0
		}
		if fr.kind == frameEnd {
			r.ended = true
			return r, nil
		}
		r.frames++
		if visit != nil {
			if err := visit(fr.body); err != nil {
				return r, fmt.Errorf("segment %d, frame at %d: %w", p, off, err)
			}
		}
		off += fr.size
		r.end = off
	}
	return r, r.countTail(w)
}

// readHeader returns what is wrong with the header, and as the error what
// forbids to go on.
func readHeader(w *window, p Position) (headErr, err error) {
	head, err := w.at(0, headerSize)
	if err != nil {
		return nil, err
	}
	headErr = checkHeader(head, p)
	if headErr != nil && !errors.Is(headErr, wire.ErrCorrupt) {
		return nil, fmt.Errorf("segment %d: %w", p, headErr)
	}
	return headErr, nil
}

// judge decides what a hole in front of a good frame is: the frame knows what
// was synced when it was written.
func (r *segmentReport) judge(p Position, hole, off, unsynced int64) {
	if off-unsynced > hole {
		r.gaps = append(r.gaps, Gap{Segment: p, Offset: hole, Bytes: off - hole, Reason: "synced frames are damaged"})
		return
	}
	r.addTorn(hole, off-hole)
}

func (r *segmentReport) addTorn(off, n int64) {
	if r.firstTorn == 0 {
		r.firstTorn = off
	}
	r.torn += n
}

// countTail counts what lies behind the last good frame: nothing when a
// terminator follows it.
func (r *segmentReport) countTail(w *window) error {
	n := min(w.size-r.end, terminator)
	if n <= 0 {
		return nil
	}
	head, err := w.at(r.end, int(n))
	if err != nil {
		return err
	}
	for _, b := range head {
		if b == 0 {
			continue
		}
		last := r.end
		for off := r.end; off < w.size; off += readAhead {
			chunk, err := w.at(off, int(min(readAhead, w.size-off)))
			if err != nil {
				return err
			}
			for i, b := range chunk {
				if b != 0 {
					last = off + int64(i) + 1
				}
			}
		}
		r.torn += last - r.end
		return nil
	}
	return nil
}
