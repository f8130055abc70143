package file

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/count-db/count/engine/column"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/vfs"
	"github.com/count-db/count/internal/wire"
)

// maxTail bounds table, directory and tail each.
const maxTail = 1 << 30

// Reader reads a file. It is safe for concurrent use. Errors that wrap
// wire.ErrCorrupt mean that the file is damaged and has to be quarantined (E3).
type Reader struct {
	f       vfs.File
	info    Info
	cache   *Cache
	dataEnd int64
	indexAt int64
	indexN  int64

	refs    []model.Ref // in the file's order
	starts  offsets
	gaps    []gap
	columns []columnInfo
	decoded []atomic.Pointer[[]int64] // of shared columns, in cache

	sortOnce sync.Once
	byRef    []uint32 // numbers of the series by ascending reference; nil when they ascend already
	cursors  sync.Pool
}

// gap is a stretch of columns before the record of a series.
type gap struct {
	series int
	bytes  int64
}

// Open reads and checks all of the file but the records and columns, which are
// checked when they are read. cache keeps decoded columns; nil keeps none. The
// file belongs to the reader when Open succeeds.
func Open(f vfs.File, cache *Cache) (*Reader, error) {
	r := &Reader{f: f, cache: cache}
	r.cursors.New = func() any { return &Cursor{r: r} }
	if err := r.open(); err != nil {
		return nil, fmt.Errorf("open data file %s: %w", f.Name(), err)
	}
	return r, nil
}

func (r *Reader) open() error {
	size, err := r.f.Size()
	if err != nil {
		return err
	}
	if size < headerSize+footerSize {
		return wire.Corruptf("%d bytes are too few", size)
	}
	var ends [headerSize + footerSize]byte
	if _, err := r.f.ReadAt(ends[:headerSize], 0); err != nil {
		return err
	}
	if _, err := r.f.ReadAt(ends[headerSize:], size-footerSize); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	d := wire.NewDecoder(ends[:])
	begins, v := string(d.Take(4)) == magic, d.Byte()
	ends1 := string(ends[len(ends)-4:]) == magic
	// Another version ends otherwise: before this end its byte is a damaged one.
	if begins && !ends1 && v > formatVersion {
		return fmt.Errorf("format version %d, this program reads %d", v, formatVersion)
	}
	if !begins || !ends1 || v != formatVersion {
		return wire.Corruptf("not a data file of version %d, or cut short", formatVersion)
	}
	kind := Kind(d.Byte())
	d.Take(2)
	footer := ends[headerSize:]
	tailAt := int64(d.Uint64())
	if d.Uint32() != wire.Checksum(footer[:8]) || tailAt < headerSize || tailAt > size-footerSize {
		return wire.Corruptf("footer")
	}
	return r.openTail(kind, tailAt, size)
}

// openTail reads tail, table and directory of columns.
func (r *Reader) openTail(kind Kind, tailAt, size int64) error {
	b, err := r.frame(tailAt, size-footerSize)
	if err != nil {
		return fmt.Errorf("tail: %w", err)
	}
	d := wire.NewDecoder(b)
	r.info = readInfo(&d, kind)
	r.info.Bytes = size
	r.dataEnd = int64(d.Uvarint())
	columnsAt := int64(d.Uvarint())
	r.indexAt, r.indexN = int64(d.Uvarint()), int64(d.Uvarint())
	if d.Err() == nil && (kind < Wide || kind > Day || r.dataEnd < headerSize || columnsAt < r.dataEnd || columnsAt > tailAt ||
		r.indexAt < 0 || r.indexN < 0 || r.indexAt > r.dataEnd || r.indexN > r.dataEnd-r.indexAt) {
		d.Fail("tail of kind %v with places out of order", kind)
	}
	if d.Err() != nil {
		return fmt.Errorf("tail: %w", d.Err())
	}
	if b, err = r.frame(r.dataEnd, columnsAt); err != nil {
		return fmt.Errorf("table: %w", err)
	}
	if err := r.readTable(b); err != nil {
		return fmt.Errorf("table: %w", err)
	}
	if b, err = r.frame(columnsAt, tailAt); err != nil {
		return fmt.Errorf("directory of columns: %w", err)
	}
	d = wire.NewDecoder(b)
	r.columns = readDirectory(&d, r.dataEnd)
	if d.Err() != nil {
		return fmt.Errorf("directory of columns: %w", d.Err())
	}
	r.decoded = make([]atomic.Pointer[[]int64], len(r.columns))
	return nil
}

// frame reads the frame that lies from one offset to another.
func (r *Reader) frame(from, to int64) ([]byte, error) {
	if to < from || to-from > maxTail {
		return nil, wire.Corruptf("frame from %d to %d", from, to)
	}
	b := make([]byte, to-from)
	if _, err := r.f.ReadAt(b, from); err != nil {
		return nil, err
	}
	d := wire.NewDecoder(b)
	payload := d.Frame(0)
	if d.Err() == nil && d.Len() > 0 {
		d.Fail("%d bytes behind the frame", d.Len())
	}
	return payload, d.Err()
}

func (r *Reader) readTable(b []byte) error {
	d := wire.NewDecoder(b)
	if r.info.Series > len(b)/2 {
		return wire.Corruptf("%d series in %d bytes", r.info.Series, len(b))
	}
	r.refs = make([]model.Ref, r.info.Series)
	r.starts.low = make([]uint32, 0, r.info.Series+1)
	at, ref := int64(headerSize), int64(0)
	for i := range r.refs {
		ref += d.Varint()
		size := d.Uvarint()
		if size&1 != 0 {
			n := int64(d.Uvarint())
			r.gaps = append(r.gaps, gap{i, n})
			if n < 0 || n > r.dataEnd {
				d.Fail("gap of %d bytes", n)
			}
			at += n
		}
		if ref < 0 || ref != int64(model.Ref(ref)) || size>>1 > uint64(r.dataEnd) || at+int64(size>>1) > r.dataEnd {
			d.Fail("series %d reaches beyond the data", i)
		}
		if d.Err() != nil {
			return d.Err()
		}
		r.refs[i] = model.Ref(ref)
		r.starts.add(at)
		at += int64(size >> 1)
	}
	r.starts.add(at)
	if d.Len() > 0 {
		return wire.Corruptf("%d bytes behind the last series", d.Len())
	}
	return nil
}

// Close closes the file. Nothing must be read from then on.
func (r *Reader) Close() error {
	if r.cache != nil {
		r.cache.forget(r)
	}
	return r.f.Close()
}

// Name returns the path of the file.
func (r *Reader) Name() string { return r.f.Name() }

// Info describes the file; its slices must not be changed.
func (r *Reader) Info() *Info { return &r.info }

// Len returns the number of series.
func (r *Reader) Len() int { return len(r.refs) }

// Ref returns the reference of series i, in the order of the file.
func (r *Reader) Ref(i int) model.Ref { return r.refs[i] }

// Index returns where the bytes given to Writer.Index lie; size 0 = none.
func (r *Reader) Index() (offset, size int64) { return r.indexAt, r.indexN }

// Find returns the number of the series with the reference.
func (r *Reader) Find(ref model.Ref) (int, bool) {
	r.sortOnce.Do(r.sort)
	if r.byRef == nil {
		return slices.BinarySearch(r.refs, ref)
	}
	at, ok := slices.BinarySearchFunc(r.byRef, ref, func(i uint32, ref model.Ref) int {
		switch got := r.refs[i]; {
		case got < ref:
			return -1
		case got > ref:
			return 1
		}
		return 0
	})
	if !ok {
		return 0, false
	}
	return int(r.byRef[at]), true
}

// sort orders the series by reference, on first use: many files are only ever
// walked through.
func (r *Reader) sort() {
	if slices.IsSorted(r.refs) {
		return
	}
	keys := make([]uint64, len(r.refs))
	for i, ref := range r.refs {
		keys[i] = uint64(ref)<<32 | uint64(i)
	}
	slices.Sort(keys)
	byRef := make([]uint32, len(keys))
	for i, k := range keys {
		byRef[i] = uint32(k)
	}
	r.byRef = byRef
}

// record returns where the record of series i lies.
func (r *Reader) record(i int) (offset int64, size int) {
	from, to := r.starts.at(i), r.starts.at(i+1)
	at, ok := slices.BinarySearchFunc(r.gaps, i+1, func(g gap, i int) int { return g.series - i })
	if ok {
		to -= r.gaps[at].bytes
	}
	return from, int(to - from)
}

// readInts reads and decodes a column behind dst.
func (r *Reader) readInts(dst []int64, scratch []byte, n int) ([]int64, []byte, error) {
	c := &r.columns[n]
	scratch = slices.Grow(scratch[:0], c.size+checksumSize)[:c.size+checksumSize]
	if _, err := r.f.ReadAt(scratch, c.offset); err != nil {
		return dst, scratch, fmt.Errorf("read column %d of %s: %w", n, r.Name(), err)
	}
	body := scratch[:c.size]
	d := wire.NewDecoder(scratch[c.size:])
	if d.Uint32() != wire.Checksum(body) {
		return dst, scratch, fmt.Errorf("%s, column %d at offset %d: %w", r.Name(), n, c.offset, wire.Corruptf("checksum"))
	}
	dst, rest, err := column.DecodeInts(dst, body, c.count)
	if err == nil && len(rest) > 0 {
		err = wire.Corruptf("%d bytes behind it", len(rest))
	}
	if err != nil {
		return dst, scratch, fmt.Errorf("%s, column %d at offset %d: %w", r.Name(), n, c.offset, err)
	}
	return dst, scratch, nil
}

// offsets are ascending offsets in 4 bytes each.
type offsets struct {
	low   []uint32
	wraps []int // numbers of the offsets before which the bits above grow by one
}

func (o *offsets) add(v int64) {
	for int64(len(o.wraps)) < v>>32 {
		o.wraps = append(o.wraps, len(o.low))
	}
	o.low = append(o.low, uint32(v))
}

func (o *offsets) at(i int) int64 {
	high := 0
	for high < len(o.wraps) && o.wraps[high] <= i {
		high++
	}
	return int64(high)<<32 | int64(o.low[i])
}
