package file

import (
	"fmt"

	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/wire"
)

// Kind is the form of a file; the numbers are on disk.
type Kind uint8

// The kinds of files.
const (
	Wide   Kind = 1 // chunks as they were flushed, any windows
	Sealed Kind = 2 // one window, in its smallest form
	Day    Kind = 3 // sealed windows with an index of labels
)

func (k Kind) String() string {
	switch k {
	case Wide:
		return "wide"
	case Sealed:
		return "sealed"
	case Day:
		return "day"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Content says what a chunk holds; the numbers are on disk.
type Content uint8

// The contents of chunks.
const (
	// FloatStream: floats, as a XOR stream of package column.
	FloatStream Content = 0
	// FloatChunk: floats, as a value chunk of package column, with block entries.
	FloatChunk Content = 1
	// Histograms: native histograms with their timestamps.
	Histograms Content = 2
)

// The bits of a chunk's head byte.
const (
	headContent    = 3      // mask
	headSTs        = 1 << 2 // a column of start timestamps
	headVersions   = 1 << 3 // a column of versions
	headSameWindow = 1 << 4 // as the chunk before
	headMask       = 1<<5 - 1
)

// Chunk is one chunk of a series, as Cursor.Load gives it. It is valid until
// the cursor's next Load or Release.
type Chunk struct {
	Content Content
	Window  int64 // floor(t / 2 h)
	Count   int   // samples
	MinT    int64 // ms
	MaxT    int64 // ms
	// MinVersion and MaxVersion are the range of the samples' versions, 0 in a
	// file without them.
	MinVersion, MaxVersion model.Version

	times, sts, versions int // columns; noColumn = none
	body                 []byte
}

const noColumn = -1

// Floats says whether the chunk holds floats.
func (c *Chunk) Floats() bool { return c.Content != Histograms }

// HasSTs says whether some sample of the chunk has a start timestamp.
func (c *Chunk) HasSTs() bool { return c.sts != noColumn }

// TimesID names the chunk's column of timestamps inside its file: two chunks of
// floats with one id have the same timestamps.
func (c *Chunk) TimesID() int { return c.times }

// appendHead writes the chunk's head; lastWindow is that of the chunk before.
func (c *Chunk) appendHead(dst []byte, lastWindow int64) []byte {
	head := byte(c.Content)
	if c.sts != noColumn {
		head |= headSTs
	}
	if c.versions != noColumn {
		head |= headVersions
	}
	if c.Window == lastWindow {
		head |= headSameWindow
	}
	dst = append(dst, head)
	if c.Window != lastWindow {
		dst = wire.AppendVarint(dst, c.Window-lastWindow)
	}
	if c.Floats() {
		dst = wire.AppendUvarint(dst, uint64(c.times))
	} else {
		dst = wire.AppendUvarint(dst, uint64(c.Count))
		dst = wire.AppendVarint(dst, c.MinT)
		dst = wire.AppendUvarint(dst, uint64(c.MaxT-c.MinT))
	}
	if c.sts != noColumn {
		dst = wire.AppendUvarint(dst, uint64(c.sts))
	}
	if c.versions != noColumn {
		dst = wire.AppendUvarint(dst, uint64(c.versions))
	}
	return wire.AppendUvarint(dst, uint64(len(c.body)))
}

// readHead is the way back; the length of the body is returned, as the bodies
// follow all heads.
func (r *Reader) readHead(d *wire.Decoder, lastWindow int64) (c Chunk, size int) {
	head := d.Byte()
	c = Chunk{Content: Content(head & headContent), Window: lastWindow, times: noColumn, sts: noColumn, versions: noColumn}
	if head&^headMask != 0 || c.Content > Histograms {
		d.Fail("head %#x of a chunk", head)
		return c, 0
	}
	if head&headSameWindow == 0 {
		c.Window += d.Varint()
	}
	if c.Floats() {
		c.times = r.readColumn(d, noColumn)
		if d.Err() == nil {
			col := &r.columns[c.times]
			c.Count, c.MinT, c.MaxT = col.count, col.min, col.max
		}
	} else {
		c.Count = int(d.Uint32Varint())
		c.MinT = d.Varint()
		c.MaxT = c.MinT + int64(d.Uvarint())
	}
	if head&headSTs != 0 {
		c.sts = r.readColumn(d, c.Count)
	}
	if head&headVersions != 0 {
		c.versions = r.readColumn(d, c.Count)
		if d.Err() == nil {
			col := &r.columns[c.versions]
			c.MinVersion, c.MaxVersion = model.Version(col.min), model.Version(col.max)
		}
	}
	return c, int(d.Uint32Varint())
}

// readColumn reads the number of a column, which must have count integers
// unless that is noColumn.
func (r *Reader) readColumn(d *wire.Decoder, count int) int {
	n := d.Uvarint()
	if n >= uint64(len(r.columns)) {
		d.Fail("column %d of %d", n, len(r.columns))
		return 0
	}
	if count != noColumn && r.columns[n].count != count {
		d.Fail("column of %d integers for %d samples", r.columns[n].count, count)
	}
	return int(n)
}
