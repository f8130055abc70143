package buffer

import (
	"cmp"
	"math"
	"slices"
	"sync"
	"testing"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/value"
	"pgregory.net/rapid"

	"github.com/count-db/count/engine/column"
	"github.com/count-db/count/engine/version"
	"github.com/count-db/count/internal/model"
)

// sample is a sample of the map model.
type sample struct {
	t     int64
	bits  uint64
	start int64
	ver   model.Version
	h     *histogram.Histogram
	fh    *histogram.FloatHistogram
}

func (s *sample) candidate() version.Candidate {
	if s.h != nil || s.fh != nil {
		return version.OfHistogram(&model.HistogramPoint{T: s.t, ST: s.start, H: s.h, FH: s.fh, Ver: s.ver})
	}
	return version.OfFloat(s.ver, math.Float64frombits(s.bits), s.start)
}

// reference is the obvious buffer: a map.
type reference struct {
	versions bool
	series   map[model.Ref]map[int64]sample
}

func (r *reference) put(ref model.Ref, s sample) {
	if r.series[ref] == nil {
		r.series[ref] = map[int64]sample{}
	}
	if old, ok := r.series[ref][s.t]; ok && r.versions && !s.candidate().Wins(old.candidate()) {
		return
	}
	r.series[ref][s.t] = s
}

func (r *reference) append(b *model.Batch) {
	for i, f := range b.Floats {
		s := sample{t: f.T, bits: math.Float64bits(f.V), ver: b.Version}
		if len(b.STs) > 0 {
			s.start = b.STs[i]
		}
		r.put(f.Ref, s)
	}
	for _, h := range b.Hists {
		r.put(h.Ref, sample{t: h.T, start: h.ST, h: h.H, fh: h.FH, ver: b.Version})
	}
}

func (r *reference) read(ref model.Ref, mint, maxt int64) []sample {
	var out []sample
	for _, s := range r.series[ref] {
		if s.t >= mint && s.t <= maxt {
			if !r.versions {
				s.ver = 0
			}
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b sample) int { return cmp.Compare(a.t, b.t) })
	return out
}

// flatten turns columns into samples, and checks their shape.
func flatten(t interface{ Fatalf(string, ...any) }, c *model.Columns, versions bool) []sample {
	if len(c.V) != len(c.T) || len(c.ST) != 0 && len(c.ST) != len(c.T) || versions && len(c.Ver) != len(c.T) {
		t.Fatalf("columns of %d timestamps, %d values, %d starts, %d versions", len(c.T), len(c.V), len(c.ST), len(c.Ver))
	}
	var out []sample
	for i, ts := range c.T {
		s := sample{t: ts, bits: math.Float64bits(c.V[i])}
		if len(c.ST) > 0 {
			s.start = c.ST[i]
		}
		if versions {
			s.ver = c.Ver[i]
		}
		out = append(out, s)
	}
	for _, h := range c.Hist {
		s := sample{t: h.T, start: h.ST, h: h.H, fh: h.FH}
		if versions {
			s.ver = h.Ver
		}
		out = append(out, s)
	}
	if !slices.IsSortedFunc(c.T, cmp.Compare[int64]) {
		t.Fatalf("floats are not in order: %v", c.T)
	}
	slices.SortStableFunc(out, func(a, b sample) int { return cmp.Compare(a.t, b.t) })
	return out
}

var (
	sharedHistogram      = &histogram.Histogram{Count: 3, Sum: 1.5, PositiveSpans: []histogram.Span{{Length: 1}}, PositiveBuckets: []int64{3}}
	sharedFloatHistogram = &histogram.FloatHistogram{Count: 2, Sum: 0.5, PositiveSpans: []histogram.Span{{Length: 1}}, PositiveBuckets: []float64{2}}
)

// gen draws batches like those of scrapes, with everything that can go wrong.
type gen struct {
	now   int64
	ver   model.Version
	specs bool // start timestamps and histograms too
}

func (g *gen) batch(t *rapid.T) *model.Batch {
	g.now += rapid.SampledFrom([]int64{0, 1, 15000, 15000, 15000, 15003, windowMillis, -30000}).Draw(t, "step")
	g.now = max(g.now, 0)
	g.ver += model.Version(rapid.IntRange(-2, 5).Draw(t, "version"))
	g.ver = max(g.ver, 1)
	b := &model.Batch{Version: g.ver}
	series := rapid.IntRange(1, 12).Draw(t, "series")
	starts := g.specs && rapid.Bool().Draw(t, "starts")
	for i := range series {
		ref := model.Ref(1 + i*rapid.SampledFrom([]int{1, 1, 100}).Draw(t, "stride"))
		ts := g.now
		switch rapid.IntRange(0, 19).Draw(t, "fate") {
		case 0:
			continue // away
		case 1:
			ts -= rapid.Int64Range(0, 40000).Draw(t, "late by")
		case 2:
			ts += rapid.Int64Range(1, 3).Draw(t, "jitter")
		case 3:
			ts -= windowMillis * rapid.Int64Range(1, 3).Draw(t, "windows late")
		}
		ts = max(ts, 0)
		if g.specs && rapid.IntRange(0, 9).Draw(t, "histogram") == 0 {
			h := model.HistogramSample{T: ts, Ref: ref, ST: rapid.Int64Range(0, 2).Draw(t, "hist start")}
			if rapid.Bool().Draw(t, "float histogram") {
				h.FH = sharedFloatHistogram
			} else {
				h.H = sharedHistogram
			}
			b.Hists = append(b.Hists, h)
			continue
		}
		v := rapid.SampledFrom([]float64{0, 1, 1.5, float64(ts), math.Inf(1), math.Float64frombits(value.StaleNaN), math.NaN(), -0.25}).Draw(t, "v")
		b.Floats = append(b.Floats, model.FloatSample{T: ts, V: v, Ref: ref})
		if starts {
			b.STs = append(b.STs, rapid.SampledFrom([]int64{0, 7, 7, 7, 9}).Draw(t, "start"))
		}
	}
	return b
}

// TestBufferIsAMap holds the buffer against a map: reads of any range after
// each batch, and the chunks of the flush.
func TestBufferIsAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		versions := rapid.Bool().Draw(t, "versions")
		ref := &reference{versions: versions, series: map[model.Ref]map[int64]sample{}}
		opened := map[model.Ref]map[int64]bool{}
		b := New(Options{Versions: versions, Epoch: 1, Opened: func(ref model.Ref, w int64) {
			if opened[ref] == nil {
				opened[ref] = map[int64]bool{}
			}
			opened[ref][w] = true
		}})
		g := &gen{now: 1_700_000_000_000, specs: rapid.Bool().Draw(t, "special")}
		for range rapid.IntRange(1, 40).Draw(t, "batches") {
			batch := g.batch(t)
			ref.append(batch)
			r := b.Append(batch)
			if n := r.Floats + r.Late + r.Repeats; n != len(batch.Floats) || r.Histograms != len(batch.Hists) {
				t.Fatalf("%+v of %d floats and %d histograms", r, len(batch.Floats), len(batch.Hists))
			}
		}
		checkReads(t, b, ref, g.now)
		checkChunks(t, b.Freeze(), ref)
		for series, samples := range ref.series {
			for ts := range samples {
				if !opened[series][WindowOf(ts)] {
					t.Fatalf("series %d: window %d was never reported", series, WindowOf(ts))
				}
			}
		}
	})
}

func checkReads(t *rapid.T, b *Buffer, ref *reference, now int64) {
	var cols model.Columns
	keys := map[uint64][]int64{}
	for series := model.Ref(0); series < 1300; series++ {
		mint := now - rapid.Int64Range(-20000, 2*windowMillis).Draw(t, "back")
		maxt := mint + rapid.Int64Range(0, 3*windowMillis).Draw(t, "length")
		if rapid.Bool().Draw(t, "all") {
			mint, maxt = math.MinInt64, math.MaxInt64
		}
		if ref.series[series] == nil && series%50 != 0 {
			continue
		}
		if err := b.Read(series, mint, maxt, &cols); err != nil {
			t.Fatalf("Read: %v", err)
		}
		want := ref.read(series, mint, maxt)
		if got := flatten(t, &cols, ref.versions); !slices.Equal(got, want) {
			t.Fatalf("series %d in [%d, %d]:\n got %v\nwant %v", series, mint, maxt, got, want)
		}
		if b.Has(series) != (len(ref.series[series]) > 0) {
			t.Fatalf("Has(%d) = %v", series, b.Has(series))
		}
		if cols.TKey != 0 {
			if old, ok := keys[cols.TKey]; ok && !slices.Equal(old, cols.T) {
				t.Fatalf("one TKey for %v and %v", old, cols.T)
			}
			keys[cols.TKey] = slices.Clone(cols.T)
		}
	}
}

func checkChunks(t *rapid.T, f *Frozen, ref *reference) {
	var refs []model.Ref
	for series := range ref.series {
		refs = append(refs, series)
	}
	slices.Sort(refs)
	if got := f.Refs(); !slices.Equal(got, refs) {
		t.Fatalf("Refs() = %v, want %v", got, refs)
	}
	var walk Walk
	keys := map[uint64][]int64{}
	for _, series := range refs {
		var got []sample
		err := f.Chunks(series, &walk, func(c *Chunk) error {
			got = append(got, chunkSamples(t, c, ref.versions)...)
			if c.TKey != 0 {
				if old, ok := keys[c.TKey]; ok && !slices.Equal(old, c.T) {
					t.Fatalf("one TKey for %v and %v", old, c.T)
				}
				keys[c.TKey] = slices.Clone(c.T)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		slices.SortFunc(got, func(a, b sample) int { return cmp.Compare(a.t, b.t) })
		if want := ref.read(series, math.MinInt64, math.MaxInt64); !slices.Equal(got, want) {
			t.Fatalf("chunks of series %d:\n got %v\nwant %v", series, got, want)
		}
	}
}

func chunkSamples(t *rapid.T, c *Chunk, versions bool) []sample {
	var cols model.Columns
	lowest, highest := model.Version(math.MaxUint64), model.Version(0)
	switch c.Kind {
	case Floats:
		cols.T, cols.ST, cols.Ver = c.T, c.ST, c.Ver
		var err error
		if cols.V, err = column.DecodeXOR(nil, c.Values, c.Count); err != nil {
			t.Fatal(err)
		}
		for _, v := range c.Ver {
			lowest, highest = min(lowest, v), max(highest, v)
		}
	case Histograms:
		cols.Hist = c.Hist
		for i, h := range c.Hist {
			if h.T != c.T[i] {
				t.Fatalf("timestamps %v of histograms %v", c.T, c.Hist)
			}
			lowest, highest = min(lowest, h.Ver), max(highest, h.Ver)
		}
	}
	if c.MinT != c.T[0] || c.MaxT != c.T[len(c.T)-1] || len(c.T) != c.Count || c.Count > maxChunk {
		t.Fatalf("chunk of %d in [%d, %d] with timestamps %v", c.Count, c.MinT, c.MaxT, c.T)
	}
	if WindowOf(c.MinT) != c.Window || WindowOf(c.MaxT) != c.Window {
		t.Fatalf("chunk of window %d in [%d, %d]", c.Window, c.MinT, c.MaxT)
	}
	if versions && (c.MinVer != lowest || c.MaxVer != highest) {
		t.Fatalf("versions [%d, %d], want [%d, %d]", c.MinVer, c.MaxVer, lowest, highest)
	}
	return flatten(t, &cols, versions)
}

// scrape appends one scrape of series [from, to).
func scrape(b *Buffer, from, to int, ts int64) {
	batch := &model.Batch{Version: 1}
	for ref := from; ref < to; ref++ {
		batch.Floats = append(batch.Floats, model.FloatSample{T: ts, V: float64(ts) / float64(ref), Ref: model.Ref(ref)})
	}
	b.Append(batch)
}

// TestScrapeSharesTimestamps cuts scrapes into requests anywhere: two targets
// have two groups, and a change of pace makes one more of each, also with
// absent series.
func TestScrapeSharesTimestamps(t *testing.T) {
	b := New(Options{})
	base := WindowOf(1_700_000_000_000) * windowMillis
	ts := base
	for i := range 20 {
		cut := 10 + 37*i
		scrape(b, 1, cut, ts)
		scrape(b, cut, 1001, ts)
		scrape(b, 1001, 2001, ts+7)
		ts += 15000
		if i%3 == 0 {
			ts += int64(i)
		}
	}
	if n := b.groups.list.count; n != 2 {
		t.Errorf("%d groups, want 2", n)
	}
	scrape(b, 1, 500, ts) // 500 to 1000 are away once
	scrape(b, 1, 1001, ts+15000)
	scrape(b, 1001, 2001, ts+15000+8)
	if n := b.groups.list.count; n != 2 {
		t.Errorf("%d groups after an absence, want 2", n)
	}
	scrape(b, 1, 2001, base+windowMillis) // the next window: each group forks
	if n := b.groups.list.count; n != 4 {
		t.Errorf("%d groups after the window, want 4", n)
	}
	var keys []uint64
	var cols model.Columns
	for ref := model.Ref(1); ref < 1000; ref += 100 {
		if err := b.Read(ref, base, base+19*15000, &cols); err != nil || len(cols.T) < 19 {
			t.Fatalf("%d samples, %v", len(cols.T), err)
		}
		keys = append(keys, cols.TKey)
	}
	if keys = slices.Compact(keys); len(keys) != 1 || keys[0] == 0 {
		t.Errorf("keys %v of series that share their timestamps", keys)
	}
}

func TestRepeatedRequestChangesNothing(t *testing.T) {
	b := New(Options{})
	scrape(b, 1, 101, 1000)
	before := b.Samples()
	r := b.Append(&model.Batch{Floats: []model.FloatSample{{T: 1000, V: 1000.0 / 50, Ref: 50}}})
	if r.Repeats != 1 || b.Samples() != before {
		t.Errorf("%+v, %d samples, want %d", r, b.Samples(), before)
	}
	// Another value wins, and then the first again.
	for _, v := range []float64{7, 1000.0 / 50} {
		b.Append(&model.Batch{Floats: []model.FloatSample{{T: 1000, V: v, Ref: 50}}})
		var cols model.Columns
		if err := b.Read(50, 0, 2000, &cols); err != nil || len(cols.V) != 1 || cols.V[0] != v {
			t.Fatalf("read %v, %v; want %v", cols.V, err, v)
		}
	}
}

func TestLongChunksAreCut(t *testing.T) {
	b := New(Options{})
	const n = 3*maxChunk + 5
	for i := range int64(n) {
		b.Append(&model.Batch{Floats: []model.FloatSample{{T: i, V: float64(i % 7), Ref: 1}, {T: i * 2, V: 1, Ref: 2}}})
	}
	var walk Walk
	var counts []int
	err := b.Freeze().Chunks(1, &walk, func(c *Chunk) error {
		counts = append(counts, c.Count)
		return nil
	})
	if err != nil || !slices.Equal(counts, []int{maxChunk, maxChunk, maxChunk, 5}) {
		t.Fatalf("chunks of %v samples, %v", counts, err)
	}
	var cols model.Columns
	if err := b.Read(2, 5000, 6000, &cols); err != nil || len(cols.T) != 501 {
		t.Fatalf("%d samples, %v", len(cols.T), err)
	}
}

// TestConcurrentAppendAndRead appends from several goroutines while others
// read: each sees a prefix of what a series was given.
func TestConcurrentAppendAndRead(t *testing.T) {
	b := New(Options{Versions: true})
	const writers, series, rounds = 3, 300, 60
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range rounds {
				batch := &model.Batch{Version: model.Version(i + 1)}
				for s := range series {
					batch.Floats = append(batch.Floats, model.FloatSample{T: int64(i * 15000), V: float64(i), Ref: model.Ref(1 + s*writers + w)})
				}
				if i%10 == 0 {
					batch.Hists = append(batch.Hists, model.HistogramSample{T: int64(i*15000 + 1), H: sharedHistogram, Ref: model.Ref(5000 + w)})
				}
				b.Append(batch)
			}
		})
	}
	for range 2 {
		wg.Go(func() {
			var cols model.Columns
			for i := range 4000 {
				ref := model.Ref(1 + i%(series*writers))
				if err := b.Read(ref, 0, math.MaxInt64, &cols); err != nil {
					t.Error(err)
					return
				}
				for j := range cols.T {
					if cols.T[j] != int64(j*15000) || cols.V[j] != float64(j) || cols.Ver[j] != model.Version(j+1) {
						t.Errorf("sample %d of series %d: %d %v version %d", j, ref, cols.T[j], cols.V[j], cols.Ver[j])
						return
					}
				}
			}
		})
	}
	wg.Wait()
	if n := b.Samples(); n != writers*(series*rounds+rounds/10) {
		t.Errorf("%d samples", n)
	}
}

func TestWindowOf(t *testing.T) {
	for _, c := range []struct{ t, want int64 }{
		{0, 0}, {windowMillis - 1, 0}, {windowMillis, 1}, {-1, -1}, {-windowMillis, -1}, {-windowMillis - 1, -2},
	} {
		if got := WindowOf(c.t); got != c.want {
			t.Errorf("WindowOf(%d) = %d, want %d", c.t, got, c.want)
		}
	}
}
