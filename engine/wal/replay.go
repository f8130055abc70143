package wal

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/count-db/count/internal/vfs"
	"github.com/count-db/count/internal/wire"
)

// Gap is a place where something that had been synced is not there any more
// (E1): acknowledged batches may be lost, and the node is refilling (C5).
type Gap struct {
	Segment Position
	Offset  int64 // in the segment
	Bytes   int64 // how much is missing; 0 = unknown
	Reason  string
}

// String describes the gap for the log line of an operator.
func (g Gap) String() string {
	return fmt.Sprintf("segment %d, offset %d, %d bytes: %s", g.Segment, g.Offset, g.Bytes, g.Reason)
}

// ReplayReport is what Replay found.
type ReplayReport struct {
	Segments int
	Records  uint64
	Bytes    int64 // of records
	// TornBytes is what a crash left of frames that were never acknowledged; in a
	// recycled segment stale bytes may count too. Open cuts them.
	TornBytes int64
	// Gap is set when there are Gaps.
	Gap  bool
	Gaps []Gap
}

func (r *ReplayReport) addGap(g Gap) {
	r.Gap = true
	r.Gaps = append(r.Gaps, g)
}

// Replay reads the log from the position the manifest names (0: all there is)
// and hands each record, in order, to fn, which must not keep it. A torn tail or
// a gap does not end it: both are in the report, and what lies behind a gap is
// still handed over. It changes nothing on the disk. The error is one of reading
// or of fn, or tells of a format that this build does not know.
func Replay(fsys vfs.FS, dir string, from Position, fn func(rec []byte) error) (ReplayReport, error) {
	var report ReplayReport
	l, err := list(fsys, dir)
	if errors.Is(err, fs.ErrNotExist) {
		l, err = listing{}, nil
	}
	if err != nil {
		return report, err
	}
	r := replayer{report: &report, fn: fn, next: from}
	for _, p := range l.segments {
		if p < from {
			continue
		}
		if err := r.segment(fsys, dir, p); err != nil {
			return report, fmt.Errorf("replay the log: %w", err)
		}
	}
	r.finish(from)
	return report, nil
}

// replayer goes through the segments in order.
type replayer struct {
	report *ReplayReport
	fn     func([]byte) error
	next   Position // the number that the next segment must have; 0 = any
	// The last segments were not left in order: that is the tail of the log if
	// nothing follows, and a gap if something does.
	open *Gap
	// bad are segments behind it whose header is damaged, which is as it should be
	// if they were never used.
	bad   []Gap
	ended bool // the last segment was left in order, so one must follow
}

func (r *replayer) segment(fsys vfs.FS, dir string, p Position) error {
	if r.next != 0 && p != r.next {
		r.report.addGap(Gap{Segment: r.next, Reason: fmt.Sprintf("segments before %d are missing", p)})
	}
	r.next = p + 1
	r.report.Segments++
	malformed := false
	sr, err := readSegment(fsys, dir, p, func(body []byte) error {
		ok, err := r.records(body)
		malformed = malformed || !ok
		return err
	})
	if err != nil {
		return err
	}
	r.report.TornBytes += sr.torn
	if sr.frames > 0 || sr.ended {
		r.confirm()
	}
	for _, g := range sr.gaps {
		r.report.addGap(g)
	}
	if malformed {
		r.report.addGap(Gap{Segment: p, Offset: headerSize, Reason: "a frame with a good checksum holds no records"})
	}
	if sr.headErr != nil {
		g := Gap{Segment: p, Reason: sr.headErr.Error()}
		switch {
		case sr.frames > 0:
			r.report.addGap(g)
		case !sr.ended: // ended and empty: its repair was interrupted, nothing is lost
			r.bad = append(r.bad, g)
		}
	}
	r.ended = sr.ended
	if !sr.ended && r.open == nil {
		r.open = &Gap{Segment: p, Offset: sr.end, Reason: "the segment was not left in order, and others follow"}
	}
	return nil
}

// confirm is called when a segment was used: those before it must be whole.
func (r *replayer) confirm() {
	if r.open != nil {
		r.report.addGap(*r.open)
		r.open = nil
	}
	for _, g := range r.bad {
		r.report.addGap(g)
	}
	r.bad = nil
}

// records hands over the records of a frame; ok is false when it is malformed.
func (r *replayer) records(body []byte) (ok bool, err error) {
	d := wire.NewDecoder(body)
	for d.Len() > 0 {
		rec := d.Bytes()
		if d.Err() != nil {
			return false, nil
		}
		r.report.Records++
		r.report.Bytes += int64(len(rec))
		if err := r.fn(rec); err != nil {
			return true, err
		}
	}
	return true, nil
}

func (r *replayer) finish(from Position) {
	switch {
	case r.report.Segments == 0 && from > 0:
		r.report.addGap(Gap{Segment: from, Reason: "the segment that the manifest names is missing"})
	case r.ended:
		r.report.addGap(Gap{Segment: r.next, Reason: "the segment behind the last is missing"})
	}
}
