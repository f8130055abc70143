package file

import (
	"testing"

	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/wire"
)

// These targets go behind the checksums, which fuzzing does not pass.

// FuzzRecord decodes the bytes as a record of a file with a few columns.
func FuzzRecord(f *testing.F) {
	w := NewWriter(discard{}, Wide)
	w.Begin(1)
	w.Floats(3, []int64{21_600_000, 21_615_000}, []float64{1, 2}, []int64{4, 4}, []model.Version{7, 8})
	w.Histograms(3, []model.HistogramPoint{testHistogram(21_630_000)}, false)
	at := len(w.buf)
	w.finishSeries()
	f.Add(w.buf[at : len(w.buf)-checksumSize])
	f.Add([]byte{1, 0x11, 0, 2, 0, 0})

	r := &Reader{f: named{}, columns: []columnInfo{
		{count: 2, min: 21_600_000, max: 21_615_000, size: 10}, {count: 2, size: 3, min: 4, max: 4}, {count: 2, min: 7, max: 8, size: 3},
	}}
	f.Fuzz(func(t *testing.T, b []byte) {
		c := Cursor{r: r}
		if err := c.parse(wire.AppendUint32(b[:len(b):len(b)], wire.Checksum(b))); err != nil {
			return
		}
		for i := range c.chunks {
			chunk := &c.chunks[i]
			if chunk.Content == Histograms {
				chunk.versions = noColumn
				_, _ = c.Histograms(nil, chunk)
				continue
			}
			if vs, err := c.Floats(nil, chunk); err == nil && len(vs) != chunk.Count {
				t.Fatalf("%d values in a chunk of %d", len(vs), chunk.Count)
			}
		}
	})
}

// FuzzTail decodes the bytes as table, directory and description.
func FuzzTail(f *testing.F) {
	w := NewWriter(discard{}, Sealed)
	for ref := range model.Ref(5) {
		w.Begin(9 - ref)
		w.Floats(3, []int64{21_600_000, 21_615_000 + int64(ref)}, []float64{1, 2}, nil, nil)
	}
	w.finishSeries()
	w.writeColumns()
	f.Add(w.table)
	f.Add(w.columns.appendDirectory(nil))
	f.Add(w.info.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := &Reader{info: Info{Series: 5}, dataEnd: 1 << 20}
		if err := r.readTable(b); err == nil {
			for i := range r.Len() {
				offset, size := r.record(i)
				if offset < headerSize || size < 0 || offset+int64(size) > r.dataEnd {
					t.Fatalf("record %d at %d of %d bytes", i, offset, size)
				}
				r.Find(r.Ref(i))
			}
		}
		d := wire.NewDecoder(b)
		for _, c := range readDirectory(&d, 1<<20) {
			if c.offset+int64(c.size) > 1<<20 || c.offset < 0 || c.size < 0 || c.count <= 0 {
				t.Fatalf("column %+v", c)
			}
		}
		d = wire.NewDecoder(b)
		readInfo(&d, Wide)
	})
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
