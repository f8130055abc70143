package file

import (
	"fmt"
	"io"

	"github.com/count-db/count/engine/column"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/wire"
)

const (
	magic         = "CNTF"
	formatVersion = 1
	headerSize    = 8
	footerSize    = 16
	checksumSize  = 4
)

const (
	writeBytes  = 256 << 10 // handed to the io.Writer at once
	columnBytes = 1 << 20   // of encoded columns kept before they are written
)

// Writer writes a file. The methods remember the first error and do nothing
// after it; Close returns it. One goroutine uses it.
type Writer struct {
	out    io.Writer
	buf    []byte
	offset int64 // of the end of buf
	err    error

	info    Info
	columns columnSet
	table   []byte
	lastRef model.Ref
	gap     uint64 // bytes of columns since the record before

	ref     model.Ref
	chunks  []Chunk
	bodies  []byte
	indexAt int64
	indexN  int64

	encoder  column.ChunkEncoder
	versions []int64
}

// NewWriter begins a file of the kind. The writer only ever appends to out.
func NewWriter(out io.Writer, kind Kind) *Writer {
	w := &Writer{out: out, info: Info{Kind: kind}, columns: newColumnSet(), buf: make([]byte, 0, writeBytes+writeBytes/4)}
	w.write(append([]byte(magic), formatVersion, byte(kind), 0, 0))
	return w
}

// Info returns what was added so far; all but Bytes.
func (w *Writer) Info() Info { return w.info }

// Begin starts the next series; a series without chunks is left out. In a wide
// or sealed file each series has a reference of its own.
func (w *Writer) Begin(ref model.Ref) {
	w.finishSeries()
	w.ref = ref
}

// Pending returns the number of chunks that the current series has so far.
func (w *Writer) Pending() int { return len(w.chunks) }

// Floats adds samples of the current series, all of one window, ascending by
// timestamp: as a XOR stream in a wide file, else as value chunks. sts (start
// timestamps) and versions are nil or as long as ts. Nothing given is kept.
func (w *Writer) Floats(window int64, ts []int64, vs []float64, sts []int64, versions []model.Version) {
	if w.info.Kind != Wide {
		w.Values(window, ts, vs, sts, versions)
		return
	}
	if len(ts) == 0 || w.err != nil {
		return
	}
	start := len(w.bodies)
	w.bodies = column.EncodeXOR(w.bodies, vs)
	w.add(Chunk{Content: FloatStream, Window: window}, start, ts, sts, versions)
}

// Values adds samples as value chunks of at most column.MaxChunkSamples; all
// else as for Floats.
func (w *Writer) Values(window int64, ts []int64, vs []float64, sts []int64, versions []model.Version) {
	for len(ts) > 0 && w.err == nil {
		n := min(len(ts), column.MaxChunkSamples)
		start := len(w.bodies)
		w.bodies = w.encoder.Append(w.bodies, vs[:n])
		w.add(Chunk{Content: FloatChunk, Window: window}, start, ts[:n], head(sts, n), head(versions, n))
		ts, vs, sts, versions = ts[n:], vs[n:], tail(sts, n), tail(versions, n)
	}
}

// Stream adds samples of the current series whose values are a finished XOR
// stream already; all else as for Floats.
func (w *Writer) Stream(window int64, ts []int64, stream []byte, sts []int64, versions []model.Version) {
	if len(ts) == 0 || w.err != nil {
		return
	}
	start := len(w.bodies)
	w.bodies = append(w.bodies, stream...)
	w.add(Chunk{Content: FloatStream, Window: window}, start, ts, sts, versions)
}

func head[T any](s []T, n int) []T {
	if s == nil {
		return nil
	}
	return s[:n]
}

func tail[T any](s []T, n int) []T {
	if s == nil {
		return nil
	}
	return s[n:]
}

// add completes a chunk of floats whose body is what w.bodies holds from start.
func (w *Writer) add(c Chunk, start int, ts, sts []int64, versions []model.Version) {
	c.Count, c.MinT, c.MaxT = len(ts), ts[0], ts[len(ts)-1]
	c.times, c.sts = w.columns.add(ts, false), noColumn
	for _, st := range sts {
		if st != 0 {
			c.sts = w.columns.add(sts, false)
			break
		}
	}
	c.body = w.bodies[start:]
	w.addChunk(c, versions)
}

// addChunk counts the chunk and puts it behind those of its series.
func (w *Writer) addChunk(c Chunk, versions []model.Version) {
	c.versions = noColumn
	if len(versions) > 0 {
		w.versions = w.versions[:0]
		for _, v := range versions {
			w.versions = append(w.versions, int64(v))
		}
		c.versions = w.columns.add(w.versions, true)
		col := &w.columns.list[c.versions]
		c.MinVersion, c.MaxVersion = model.Version(col.min), model.Version(col.max)
	}
	w.push(c)
}

func (w *Writer) push(c Chunk) {
	first := true
	for i := range w.chunks {
		first = first && w.chunks[i].Window != c.Window
	}
	w.info.add(&c, first)
	w.chunks = append(w.chunks, c)
}

// Histograms adds native histograms of the current series, all of one window,
// ascending; with their versions where versions is set.
func (w *Writer) Histograms(window int64, hs []model.HistogramPoint, versions bool) {
	if len(hs) == 0 || w.err != nil {
		return
	}
	start := len(w.bodies)
	w.bodies = column.EncodeHistograms(w.bodies, hs)
	c := Chunk{Content: Histograms, Window: window, Count: len(hs), MinT: hs[0].T, MaxT: hs[len(hs)-1].T, times: noColumn, sts: noColumn}
	c.body = w.bodies[start:]
	var vers []model.Version
	if versions {
		vers = make([]model.Version, len(hs))
		for i := range hs {
			vers[i] = hs[i].Ver
		}
	}
	w.addChunk(c, vers)
}

// finishSeries writes the record of the current series and its table entry.
func (w *Writer) finishSeries() {
	if len(w.chunks) == 0 || w.err != nil {
		return
	}
	start := len(w.buf)
	w.buf = wire.AppendUvarint(w.buf, uint64(len(w.chunks)))
	window := int64(0)
	for i := range w.chunks {
		w.buf = w.chunks[i].appendHead(w.buf, window)
		window = w.chunks[i].Window
	}
	w.buf = append(w.buf, w.bodies...)
	w.buf = wire.AppendUint32(w.buf, wire.Checksum(w.buf[start:]))
	size := uint64(len(w.buf)-start) << 1
	w.offset += int64(len(w.buf) - start)

	w.table = wire.AppendVarint(w.table, int64(w.ref)-int64(w.lastRef))
	if w.gap > 0 {
		w.table = wire.AppendUvarint(w.table, size|1)
		w.table = wire.AppendUvarint(w.table, w.gap)
	} else {
		w.table = wire.AppendUvarint(w.table, size)
	}
	w.gap = 0
	w.lastRef = w.ref
	w.info.Series++
	clear(w.chunks)
	w.chunks, w.bodies = w.chunks[:0], w.bodies[:0]
	if len(w.columns.pending) >= columnBytes {
		w.gap = w.writeColumns()
	}
	w.flush(writeBytes)
}

// writeColumns writes the columns gathered and returns their bytes.
func (w *Writer) writeColumns() uint64 {
	n := len(w.columns.pending)
	at := w.offset
	w.write(w.columns.pending)
	w.columns.place(at)
	return uint64(n)
}

func (w *Writer) write(b []byte) {
	w.buf = append(w.buf, b...)
	w.offset += int64(len(b))
}

// flush hands the buffer to the io.Writer once it holds least bytes.
func (w *Writer) flush(least int) {
	if w.err != nil || len(w.buf) < least {
		return
	}
	if _, err := w.out.Write(w.buf); err != nil {
		w.err = fmt.Errorf("write %v file: %w", w.info.Kind, err)
	}
	w.buf = w.buf[:0]
}

// Index ends the series and adds the bytes of an index of labels, for package
// day: Reader.Index gives the place back.
func (w *Writer) Index(b []byte) {
	w.finishSeries()
	w.indexAt, w.indexN = w.offset, int64(len(b))
	w.write(b)
	w.gap += uint64(len(b))
	w.flush(writeBytes)
}

// Close completes the file and describes it. The io.Writer is left open.
func (w *Writer) Close() (Info, error) {
	w.finishSeries()
	w.writeColumns()
	dataEnd := w.offset
	w.write(wire.AppendFrame(nil, w.table, 0))
	columnsAt := w.offset
	w.write(wire.AppendFrame(nil, w.columns.appendDirectory(nil), 0))
	tailAt := w.offset

	var t []byte
	t = w.info.append(t)
	for _, at := range [...]int64{dataEnd, columnsAt, w.indexAt, w.indexN} {
		t = wire.AppendUvarint(t, uint64(at))
	}
	w.write(wire.AppendFrame(nil, t, 0))

	footer := wire.AppendUint64(nil, uint64(tailAt))
	footer = wire.AppendUint32(footer, wire.Checksum(footer))
	w.write(append(footer, magic...))
	w.flush(0)
	w.info.Bytes = w.offset
	return w.info, w.err
}
