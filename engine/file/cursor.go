package file

import (
	"fmt"

	"github.com/count-db/count/engine/column"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/wire"
)

const (
	aheadLeast = 16 << 10  // of a cursor that reads series one after the other
	aheadMost  = 256 << 10 // the same, after a while
	aheadNear  = 8 << 10   // how far the next series may lie to count as next
)

// Cursor reads the series of one file for one goroutine. It reads ahead while
// series are asked for in the order of the file.
type Cursor struct {
	r      *Reader
	buf    []byte // the bytes from bufAt on
	bufAt  int64
	ahead  int
	chunks []Chunk

	ints    []int64 // columns decoded since Load that are not shared
	scratch []byte
}

// Cursor takes a cursor; Release gives it back. A goroutine that takes it again
// mostly gets its own, with what it read ahead.
func (r *Reader) Cursor() *Cursor { return r.cursors.Get().(*Cursor) }

// Release gives the cursor back: nothing that it gave out must be used then.
func (c *Cursor) Release() {
	if cap(c.buf) > 2*aheadMost {
		c.buf = nil
	}
	c.r.cursors.Put(c)
}

// Load reads series i and returns its chunks, which are valid until the next
// Load or Release.
func (c *Cursor) Load(i int) ([]Chunk, error) {
	offset, size := c.r.record(i)
	b, err := c.bytes(offset, size)
	if err != nil {
		return nil, fmt.Errorf("read series %d of %s: %w", i, c.r.Name(), err)
	}
	c.ints = c.ints[:0]
	if err := c.parse(b); err != nil {
		return nil, fmt.Errorf("%s, series %d at offset %d: %w", c.r.Name(), i, offset, err)
	}
	return c.chunks, nil
}

// bytes returns the bytes of the file from offset on.
func (c *Cursor) bytes(offset int64, size int) ([]byte, error) {
	from, end := offset-c.bufAt, c.bufAt+int64(len(c.buf))
	if from >= 0 && offset+int64(size) <= end {
		return c.buf[from : from+int64(size)], nil
	}
	if len(c.buf) > 0 && from >= 0 && offset <= end+aheadNear {
		c.ahead = min(max(2*c.ahead, aheadLeast), aheadMost)
	} else {
		c.ahead = 0
	}
	n := int(min(int64(max(size, c.ahead)), c.r.dataEnd-offset))
	if cap(c.buf) < n {
		c.buf = make([]byte, n)
	}
	c.buf = c.buf[:n]
	if _, err := c.r.f.ReadAt(c.buf, offset); err != nil {
		c.buf = c.buf[:0]
		return nil, err
	}
	c.bufAt = offset
	return c.buf[:size], nil
}

// parse checks a record and fills c.chunks.
func (c *Cursor) parse(b []byte) error {
	c.chunks = c.chunks[:0]
	if len(b) < checksumSize {
		return wire.Corruptf("record of %d bytes", len(b))
	}
	body := b[:len(b)-checksumSize]
	sum := wire.NewDecoder(b[len(body):])
	if sum.Uint32() != wire.Checksum(body) {
		return wire.Corruptf("checksum")
	}
	d := wire.NewDecoder(body)
	n := d.Count(3)
	window, total := int64(0), 0
	for range n {
		chunk, size := c.r.readHead(&d, window)
		if d.Err() != nil {
			return d.Err()
		}
		window = chunk.Window
		// The place of the body is known when all heads are read.
		if total += size; total > len(body) {
			return wire.Corruptf("chunks of %d bytes in a record of %d", total, len(body))
		}
		chunk.body = body[:size]
		c.chunks = append(c.chunks, chunk)
	}
	for i := range c.chunks {
		c.chunks[i].body = d.Take(len(c.chunks[i].body))
	}
	if d.Err() == nil && d.Len() > 0 {
		d.Fail("%d bytes behind the chunks", d.Len())
	}
	return d.Err()
}

// Times returns the timestamps (ms) of a chunk of floats. They are shared with
// others and must not be changed; valid until the next Load or Release.
func (c *Cursor) Times(chunk *Chunk) ([]int64, error) { return c.column(chunk.times) }

// STs returns the start timestamps (ms, 0 = none) of a chunk of floats, nil
// when it has none; rules as for Times.
func (c *Cursor) STs(chunk *Chunk) ([]int64, error) { return c.column(chunk.sts) }

// AppendVersions appends the version of each sample to dst, zeros where the
// file has none.
func (c *Cursor) AppendVersions(dst []model.Version, chunk *Chunk) ([]model.Version, error) {
	if chunk.versions == noColumn {
		for range chunk.Count {
			dst = append(dst, 0)
		}
		return dst, nil
	}
	xs, err := c.column(chunk.versions)
	for _, x := range xs {
		dst = append(dst, model.Version(x))
	}
	return dst, err
}

func (c *Cursor) column(n int) ([]int64, error) {
	if n == noColumn {
		return nil, nil
	}
	if p := c.r.decoded[n].Load(); p != nil {
		return *p, nil
	}
	var err error
	if c.r.columns[n].shared && c.r.cache != nil {
		xs := make([]int64, 0, c.r.columns[n].count)
		if xs, c.scratch, err = c.r.readInts(xs, c.scratch, n); err != nil {
			return nil, err
		}
		c.r.cache.put(c.r, n, xs)
		return xs, nil
	}
	start := len(c.ints)
	c.ints, c.scratch, err = c.r.readInts(c.ints, c.scratch, n)
	if err != nil {
		return nil, err
	}
	return c.ints[start:len(c.ints):len(c.ints)], nil
}

// Floats appends the values of a chunk of floats to dst.
func (c *Cursor) Floats(dst []float64, chunk *Chunk) ([]float64, error) {
	var err error
	switch chunk.Content {
	case FloatStream:
		dst, err = column.DecodeXOR(dst, chunk.body, chunk.Count)
	case FloatChunk:
		dst, err = column.DecodeChunk(dst, chunk.body, chunk.Count)
	case Histograms:
		err = fmt.Errorf("floats asked of a chunk of histograms")
	}
	if err != nil {
		return dst, fmt.Errorf("%s: %w", c.r.Name(), err)
	}
	return dst, nil
}

// Blocks opens a chunk of floats for reading block by block; false when it has
// no blocks (FloatStream).
func (c *Cursor) Blocks(chunk *Chunk) (column.Chunk, bool, error) {
	if chunk.Content != FloatChunk {
		return column.Chunk{}, false, nil
	}
	blocks, err := column.OpenChunk(chunk.body, chunk.Count)
	if err != nil {
		return blocks, false, fmt.Errorf("%s: %w", c.r.Name(), err)
	}
	return blocks, true, nil
}

// Histograms appends the histograms of a chunk to dst, with their versions
// where the file has them. Counter reset hints are as they were written, see
// column.DeriveHints.
func (c *Cursor) Histograms(dst []model.HistogramPoint, chunk *Chunk) ([]model.HistogramPoint, error) {
	if chunk.Content != Histograms {
		return dst, fmt.Errorf("%s: histograms asked of a chunk of floats", c.r.Name())
	}
	base := len(dst)
	dst, err := column.DecodeHistograms(dst, chunk.body, chunk.Count)
	if err != nil {
		return dst, fmt.Errorf("%s: %w", c.r.Name(), err)
	}
	versions, err := c.column(chunk.versions)
	for i, v := range versions {
		dst[base+i].Ver = model.Version(v)
	}
	return dst, err
}
