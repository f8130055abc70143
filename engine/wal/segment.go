package wal

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/count-db/count/internal/vfs"
	"github.com/count-db/count/internal/wire"
)

// Position names a place in the log: the segment of that number and all behind
// it. Numbers grow by one and are never used again; 0 is before everything.
type Position uint64

const (
	segmentMagic  = "CTwl"
	segmentFormat = 1

	// headerSize is the length of a segment's header: magic, format, 3 zero bytes,
	// number, checksum of these, 4 zero bytes.
	headerSize = 24

	// frameAlign is what frames begin at a multiple of: a frame's head is never
	// torn by itself, and the search behind damage is eight times shorter.
	frameAlign = 8

	// frameHeadSize is the length of a frame's head: payload length, checksum of
	// the payload, checksum of these two seeded with segment and offset.
	frameHeadSize = 12

	// MaxRecord is the longest record in bytes.
	MaxRecord = 64 << 20

	// maxPending is how many bytes wait for the committer before Append waits.
	maxPending = 8 << 20

	// maxFrame is the longest payload of a frame: a full group and one record.
	maxFrame = maxPending + MaxRecord + 64
)

// The kinds of frames: the first byte of the payload.
const (
	frameRecords = 1
	frameEnd     = 2 // the segment was left in order; nothing follows
)

const (
	segmentSuffix = ".wal"
	spareSuffix   = ".spare"
)

func segmentName(dir string, p Position) string {
	return filepath.Join(dir, fmt.Sprintf("%010d%s", uint64(p), segmentSuffix))
}

// parseName returns the number in the name of a segment or spare file.
func parseName(name, suffix string) (Position, bool) {
	digits, ok := strings.CutSuffix(name, suffix)
	if !ok || len(digits) < 10 {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	return Position(n), err == nil && n > 0
}

// listing is what the directory of a log holds.
type listing struct {
	segments []Position // ascending
	spares   []string   // base names of dropped segments that may be used again
}

func list(fs vfs.FS, dir string) (listing, error) {
	names, err := fs.List(dir)
	if err != nil {
		return listing{}, fmt.Errorf("list the log: %w", err)
	}
	var l listing
	for _, name := range names {
		if p, ok := parseName(name, segmentSuffix); ok {
			l.segments = append(l.segments, p)
		} else if _, ok := parseName(name, spareSuffix); ok {
			l.spares = append(l.spares, name)
		}
	}
	slices.Sort(l.segments)
	return l, nil
}

// appendHeader appends the header of a segment.
func appendHeader(dst []byte, p Position) []byte {
	start := len(dst)
	dst = append(dst, segmentMagic...)
	dst = append(dst, segmentFormat, 0, 0, 0)
	dst = wire.AppendUint64(dst, uint64(p))
	dst = wire.AppendUint32(dst, wire.Checksum(dst[start:]))
	return append(dst, 0, 0, 0, 0)
}

// checkHeader says what is wrong with the header of a segment.
func checkHeader(head []byte, p Position) error {
	d := wire.NewDecoder(head)
	magic, format := d.Take(len(segmentMagic)), d.Byte()
	d.Take(3)
	number := d.Uint64()
	sum := d.Uint32()
	switch {
	case d.Err() != nil:
		return d.Err()
	case string(magic) != segmentMagic:
		return wire.Corruptf("magic %q, want %q", magic, segmentMagic)
	case sum != wire.Checksum(head[:16]):
		return wire.Corruptf("header checksum %08x, found %08x", sum, wire.Checksum(head[:16]))
	case format != segmentFormat:
		return fmt.Errorf("log format %d is not supported (this build reads %d)", format, segmentFormat)
	case Position(number) != p:
		return wire.Corruptf("segment %d found under the name of %d", number, p)
	}
	return nil
}

// frameSeed binds a frame to its place, so that what a recycled segment still
// holds of its former life is never taken for a frame.
func frameSeed(p Position, offset int64) uint32 {
	var b [16]byte
	place := wire.AppendUint64(wire.AppendUint64(b[:0], uint64(p)), uint64(offset))
	return wire.Checksum(place)
}

// beginFrame appends room for a frame's head.
func beginFrame(dst []byte) []byte { return append(dst, make([]byte, frameHeadSize)...) }

// endFrame fills in the head of the frame that dst is, and pads it.
func endFrame(dst []byte, p Position, offset int64) []byte {
	payload := dst[frameHeadSize:]
	head := wire.AppendUint32(dst[:0], uint32(len(payload)))
	head = wire.AppendUint32(head, wire.Checksum(payload))
	wire.AppendUint32(head, wire.ChecksumFrom(frameSeed(p, offset), head))
	for len(dst)%frameAlign != 0 {
		dst = append(dst, 0)
	}
	return dst
}

// frameSize returns the bytes that a frame with such a payload takes.
func frameSize(payload int) int64 {
	return int64(frameHeadSize+payload+frameAlign-1) &^ (frameAlign - 1)
}
