package file

import (
	"cmp"
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/prometheus/prometheus/tsdb/tsdbutil"
	"pgregory.net/rapid"

	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/vfs"
	"github.com/count-db/count/internal/wire"
)

// piece is what a test puts into a file and expects back: one chunk.
type piece struct {
	window   int64
	ts       []int64
	vs       []float64
	sts      []int64
	versions []model.Version
	hists    []model.HistogramPoint
}

// content is a file as the tests know it: series in their order.
type content []struct {
	ref    model.Ref
	pieces []piece
}

func (c content) write(w *Writer) error {
	for _, s := range c {
		w.Begin(s.ref)
		for _, p := range s.pieces {
			if p.hists != nil {
				w.Histograms(p.window, p.hists, len(p.versions) > 0)
			} else {
				w.Floats(p.window, p.ts, p.vs, p.sts, p.versions)
			}
		}
	}
	return nil
}

// contentGen draws files with shared and own timestamps, gaps in references,
// several windows, histograms, start timestamps and versions.
func contentGen(versions bool) *rapid.Generator[content] {
	return rapid.Custom(func(t *rapid.T) content {
		refs := rapid.SliceOfNDistinct(rapid.Uint32Range(1, 1000), 0, 20, rapid.ID).Draw(t, "refs")
		slices.Sort(refs)
		c := make(content, len(refs))
		for i, ref := range refs {
			c[i].ref = model.Ref(ref)
			for range rapid.IntRange(1, 4).Draw(t, "pieces") {
				c[i].pieces = append(c[i].pieces, drawPiece(t, versions))
			}
		}
		return c
	})
}

func drawPiece(t *rapid.T, versions bool) piece {
	p := piece{window: rapid.Int64Range(-2, 300_000).Draw(t, "window")}
	n := rapid.IntRange(1, 300).Draw(t, "n")
	offset := rapid.Int64Range(0, 3).Draw(t, "offset")
	for i := range n {
		p.ts = append(p.ts, p.window*7_200_000+int64(i)*15_000+offset)
		p.vs = append(p.vs, math.Sqrt(float64(i)*float64(offset)))
	}
	if rapid.IntRange(0, 3).Draw(t, "sts") == 0 {
		p.sts = make([]int64, n)
		p.sts[n-1] = 5
	}
	if versions {
		for i := range n {
			p.versions = append(p.versions, model.VersionAt(p.ts[i]*1000+rapid.Int64Range(1, 1000).Draw(t, "v")))
		}
	}
	if rapid.IntRange(0, 4).Draw(t, "hist") > 0 {
		return p
	}
	for i, ts := range p.ts {
		h := model.HistogramPoint{T: ts, H: tsdbutil.GenerateTestHistogram(int64(i))}
		if versions {
			h.Ver = p.versions[i]
		}
		p.hists = append(p.hists, h)
	}
	return p
}

// create writes a file into a file system of its own and opens it.
func create(t rapid.TB, kind Kind, write func(*Writer) error) *Reader {
	t.Helper()
	fs := vfs.NewMem()
	if err := fs.MkdirAll("/d"); err != nil {
		t.Fatal(err)
	}
	info, err := Create(fs, "/d/f", kind, write)
	if err != nil {
		t.Fatal(err)
	}
	f, err := fs.OpenRead("/d/f")
	if err != nil {
		t.Fatal(err)
	}
	r, err := Open(f, NewCache(1<<20))
	if err != nil {
		t.Fatal(err)
	}
	if r.Info().Bytes != info.Bytes || r.Info().Samples != info.Samples || len(r.Info().Windows) != len(info.Windows) {
		t.Fatalf("opened %+v, written %+v", r.Info(), info)
	}
	if err := r.Check(); err != nil {
		t.Fatal(err)
	}
	return r
}

// expect compares a file with its content.
func (c content) expect(t rapid.TB, r *Reader) {
	t.Helper()
	if r.Len() != len(c) {
		t.Fatalf("%d series, want %d", r.Len(), len(c))
	}
	cursor := r.Cursor()
	defer cursor.Release()
	for _, s := range c {
		i, ok := r.Find(s.ref)
		if !ok || r.Ref(i) != s.ref {
			t.Fatalf("series %d not found", s.ref)
		}
		chunks, err := cursor.Load(i)
		if err != nil {
			t.Fatal(err)
		}
		if len(chunks) != len(s.pieces) {
			t.Fatalf("%d chunks, want %d", len(chunks), len(s.pieces))
		}
		for j := range chunks {
			s.pieces[j].expect(t, cursor, &chunks[j])
		}
	}
	if _, ok := r.Find(5000); ok {
		t.Fatal("a series is found that is not there")
	}
}

func (p *piece) expect(t rapid.TB, c *Cursor, chunk *Chunk) {
	t.Helper()
	if chunk.Window != p.window || chunk.Count != len(p.ts) || chunk.MinT != p.ts[0] || chunk.MaxT != p.ts[len(p.ts)-1] {
		t.Fatalf("chunk %+v", chunk)
	}
	if len(p.versions) > 0 && (chunk.MinVersion != slices.Min(p.versions) || chunk.MaxVersion != slices.Max(p.versions)) {
		t.Fatalf("versions %v to %v", chunk.MinVersion, chunk.MaxVersion)
	}
	if p.hists != nil {
		hs, err := c.Histograms(nil, chunk)
		if err != nil {
			t.Fatal(err)
		}
		for i, h := range p.hists {
			if hs[i].T != h.T || hs[i].Ver != h.Ver || !hs[i].H.Equals(h.H) {
				t.Fatalf("histogram %v, want %v", hs[i], h)
			}
		}
		return
	}
	ts, err := c.Times(chunk)
	if err != nil || !slices.Equal(ts, p.ts) {
		t.Fatalf("%v: times %v, want %v", err, ts, p.ts)
	}
	sts, err := c.STs(chunk)
	if err != nil || !slices.Equal(sts, p.sts) {
		t.Fatalf("%v: start timestamps %v, want %v", err, sts, p.sts)
	}
	vs, err := c.Floats(nil, chunk)
	if err != nil || !slices.Equal(vs, p.vs) {
		t.Fatalf("%v: values %v, want %v", err, vs, p.vs)
	}
	versions, err := c.AppendVersions(nil, chunk)
	if err != nil || len(versions) != len(ts) || (len(p.versions) > 0 && !slices.Equal(versions, p.versions)) {
		t.Fatalf("%v: versions %v, want %v", err, versions, p.versions)
	}
}

func TestFileRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := contentGen(rapid.Bool().Draw(t, "versions")).Draw(t, "content")
		kind := rapid.SampledFrom([]Kind{Wide, Sealed}).Draw(t, "kind")
		c.expect(t, create(t, kind, c.write))
	})
}

// TestMerge merges files and compares with their pieces put together.
func TestMerge(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		versions := rapid.Bool().Draw(t, "versions")
		inputs := make([]*Reader, rapid.IntRange(0, 4).Draw(t, "inputs"))
		bySeries := map[model.Ref][]piece{}
		for i := range inputs {
			c := contentGen(versions).Draw(t, "content")
			inputs[i] = create(t, Wide, c.write)
			for _, s := range c {
				for _, p := range s.pieces {
					if p.window%2 == 0 {
						bySeries[s.ref] = append(bySeries[s.ref], p)
					}
				}
			}
		}
		merged := create(t, Wide, func(w *Writer) error {
			return merge(w, inputs, cmp.Compare[model.Ref], func(_ int, window int64) bool { return window%2 == 0 })
		})
		var want content
		for ref, pieces := range bySeries {
			want = append(want, struct {
				ref    model.Ref
				pieces []piece
			}{ref, pieces})
		}
		want.expect(t, merged)
	})
}

// merge copies the chunks of the inputs that keep says yes to (input, window)
// into w, series by series in the order of compare, the chunks of a series in
// the order of the inputs. Bytes of chunks are not touched.
func merge(w *Writer, inputs []*Reader, compare func(a, b model.Ref) int, keep func(input int, window int64) bool) error {
	cursors := make([]*Cursor, len(inputs))
	for i, r := range inputs {
		cursors[i] = r.Cursor()
		defer cursors[i].Release()
	}
	p := NewCopier(w)
	for walk := NewWalk(inputs, compare); walk.Next(); {
		w.Begin(walk.Ref())
		for i, c := range cursors {
			if walk.At(i) < 0 {
				continue
			}
			chunks, err := c.Load(walk.At(i))
			if err != nil {
				return err
			}
			for j := range chunks {
				if !keep(i, chunks[j].Window) {
					continue
				}
				if err := p.Copy(c, &chunks[j]); err != nil {
					return err
				}
			}
		}
	}
	return w.err
}

// TestColumnsAreShared holds that the series of a scrape store their
// timestamps once.
func TestColumnsAreShared(t *testing.T) {
	ts := make([]int64, 480)
	vs := make([]float64, len(ts))
	for i := range ts {
		ts[i] = int64(i*15000 + i*7919%41)
	}
	r := create(t, Sealed, func(w *Writer) error {
		for ref := range model.Ref(100) {
			w.Begin(ref + 1)
			w.Floats(0, ts, vs, nil, nil)
		}
		return nil
	})
	if len(r.columns) != 1 || !r.columns[0].shared {
		t.Errorf("%d columns, want one that is shared", len(r.columns))
	}
	c := r.Cursor()
	defer c.Release()
	a, err := c.Load(3)
	if err != nil {
		t.Fatal(err)
	}
	id := a[0].TimesID()
	b, err := c.Load(90)
	if err != nil || b[0].TimesID() != id {
		t.Errorf("%v: ids %d and %d differ", err, id, b[0].TimesID())
	}
}

// TestLongChunksAreCut holds that sealed chunks have at most 2,048 samples.
func TestLongChunksAreCut(t *testing.T) {
	ts, vs := make([]int64, 5000), make([]float64, 5000)
	for i := range ts {
		ts[i], vs[i] = int64(i), float64(i)
	}
	r := create(t, Sealed, func(w *Writer) error {
		w.Begin(1)
		w.Floats(0, ts, vs, nil, nil)
		return nil
	})
	c := r.Cursor()
	defer c.Release()
	chunks, err := c.Load(0)
	if err != nil || len(chunks) != 3 || chunks[0].Count != 2048 || chunks[2].MaxT != 4999 {
		t.Fatalf("%v, %+v", err, chunks)
	}
	if blocks, ok, err := c.Blocks(&chunks[0]); err != nil || !ok || !blocks.Next() || blocks.Block().Max != 127 {
		t.Fatalf("blocks: %v, %v", ok, err)
	}
}

// TestDamageIsFound flips each byte of a file in turn: opening or checking it
// must say so.
func TestDamageIsFound(t *testing.T) {
	fs := vfs.NewMem()
	_, err := Create(fs, "f", Sealed, func(w *Writer) error {
		for ref := range model.Ref(4) {
			w.Begin(ref + 1)
			w.Floats(1, []int64{7_200_000, 7_215_000, 7_230_000 + int64(ref)}, []float64{1, 2, 3.5}, nil, nil)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	good, err := vfs.ReadFile(fs, "f")
	if err != nil {
		t.Fatal(err)
	}
	for i := range good {
		if i == 6 || i == 7 {
			continue // reserved
		}
		bad := slices.Clone(good)
		bad[i] ^= 0x10
		if err := openAndCheck(t, bad); err == nil {
			t.Errorf("byte %d of %d changed, and nothing noticed", i, len(good))
		}
	}
	for n := range good {
		if err := openAndCheck(t, good[:n]); !errors.Is(err, wire.ErrCorrupt) {
			t.Errorf("cut to %d of %d bytes: %v", n, len(good), err)
		}
	}
}

func openAndCheck(t *testing.T, b []byte) error {
	t.Helper()
	fs := vfs.NewMem()
	if err := vfs.WriteFile(fs, "f", b); err != nil {
		t.Fatal(err)
	}
	f, err := fs.OpenRead("f")
	if err != nil {
		t.Fatal(err)
	}
	r, err := Open(f, nil)
	if err != nil {
		return err
	}
	return r.Check()
}

func TestCacheIsBounded(t *testing.T) {
	cache := NewCache(10 * 8 * 100)
	fs := vfs.NewMem()
	_, err := Create(fs, "f", Wide, func(w *Writer) error {
		for ref := range model.Ref(200) {
			ts := make([]int64, 100)
			for i := range ts {
				ts[i] = int64(ref/2) + int64(i)*1000 // each column for two series
			}
			w.Begin(ref + 1)
			w.Floats(0, ts, make([]float64, 100), nil, nil)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	f, err := fs.OpenRead("f")
	if err != nil {
		t.Fatal(err)
	}
	r, err := Open(f, cache)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := r.Check(); err != nil {
			t.Fatal(err)
		}
	}
	if cache.Used() != 10*8*100 {
		t.Errorf("%d bytes kept", cache.Used())
	}
	if err := r.Close(); err != nil || cache.Used() != 0 {
		t.Errorf("%v: %d bytes kept of a closed file", err, cache.Used())
	}
}

// TestCreateCleansUp holds that a failed write leaves nothing.
func TestCreateCleansUp(t *testing.T) {
	fs := vfs.NewMem()
	if err := fs.MkdirAll("d"); err != nil {
		t.Fatal(err)
	}
	boom := errors.New("boom")
	if _, err := Create(fs, "d/f", Wide, func(*Writer) error { return boom }); !errors.Is(err, boom) {
		t.Fatalf("error %v", err)
	}
	if names, err := fs.List("d"); err != nil || len(names) > 0 {
		t.Errorf("%v: left %v", err, names)
	}
}

// TestOffsetsBeyond4GiB checks the compact offsets against plain ones.
func TestOffsetsBeyond4GiB(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		steps := rapid.SliceOf(rapid.Int64Range(0, 3<<32)).Draw(t, "steps")
		var o offsets
		var want []int64
		at := int64(0)
		for _, s := range steps {
			at += s
			o.add(at)
			want = append(want, at)
		}
		for i, w := range want {
			if got := o.at(i); got != w {
				t.Fatalf("offset %d: %d, want %d", i, got, w)
			}
		}
	})
}

func FuzzOpen(f *testing.F) {
	fs := vfs.NewMem()
	_, err := Create(fs, "f", Wide, func(w *Writer) error {
		w.Begin(1)
		w.Floats(1, []int64{7_200_000, 7_215_000}, []float64{1, 2}, []int64{1, 2}, []model.Version{5, 6})
		w.Histograms(1, []model.HistogramPoint{{T: 7_230_000, H: tsdbutil.GenerateTestHistogram(1)}}, true)
		return nil
	})
	if err != nil {
		f.Fatal(err)
	}
	good, err := vfs.ReadFile(fs, "f")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Fuzz(func(t *testing.T, b []byte) {
		_ = openAndCheck(t, b) // must not panic
	})
}
