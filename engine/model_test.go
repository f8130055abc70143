package engine_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"pgregory.net/rapid"

	"github.com/count-db/count/engine"
	"github.com/count-db/count/engine/plan"
	"github.com/count-db/count/engine/version"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/vfs"
)

// The tests of this file hold a DB against a map: random appends, deletes,
// flushes, seals, snapshots, restarts and power cuts, then every series is read
// and compared. A power cut is a clone of the file system at some operation,
// with any part of what was not synced.

const (
	hourMillis   = int64(time.Hour / time.Millisecond)
	windowMillis = 2 * hourMillis
)

// stored is a sample of the map.
type stored struct {
	t     int64
	bits  uint64 // of a float
	hist  []byte // canonical bytes of a histogram
	point model.HistogramPoint
	start int64
	ver   model.Version
}

func (s *stored) candidate() version.Candidate {
	if s.hist != nil {
		return version.OfHistogram(&s.point)
	}
	return version.OfFloat(s.ver, math.Float64frombits(s.bits), s.start)
}

func (s *stored) String() string {
	if s.hist != nil {
		return fmt.Sprintf("%d histogram %x start %d version %d", s.t, s.hist, s.start, s.ver)
	}
	return fmt.Sprintf("%d %v start %d version %d", s.t, math.Float64frombits(s.bits), s.start, s.ver)
}

func sameSample(a, b stored) bool {
	return a.t == b.t && a.bits == b.bits && bytes.Equal(a.hist, b.hist) && a.start == b.start && a.ver == b.ver
}

// content is what a DB must hold: series key to timestamp to sample.
type content struct {
	versions bool
	series   map[string]map[int64]stored
	tombs    []model.Tombstone // with versions; else applied at once
}

func (c *content) clone() *content {
	out := &content{versions: c.versions, series: map[string]map[int64]stored{}, tombs: slices.Clone(c.tombs)}
	for key, samples := range c.series {
		out.series[key] = map[int64]stored{}
		for t, s := range samples {
			out.series[key][t] = s
		}
	}
	return out
}

func (c *content) put(ls labels.Labels, s stored) {
	key := model.SeriesKey(ls)
	if c.series[key] == nil {
		c.series[key] = map[int64]stored{}
	}
	if old, ok := c.series[key][s.t]; ok && c.versions && !s.candidate().Wins(old.candidate()) {
		return
	}
	if !c.versions {
		s.ver, s.point.Ver = 0, 0
	}
	c.series[key][s.t] = s
}

func (c *content) delete(t model.Tombstone) {
	if c.versions {
		c.tombs = append(c.tombs, t)
		return
	}
	for key, samples := range c.series {
		if !t.Matches(mustParse(key)) {
			continue
		}
		for ts := range samples {
			if ts >= t.MinT && ts <= t.MaxT {
				delete(samples, ts)
			}
		}
	}
}

// read returns the samples of a series in a range.
func (c *content) read(key string, mint, maxt int64) []stored {
	ls := mustParse(key)
	var out []stored
	for _, s := range c.series[key] {
		deleted := slices.ContainsFunc(c.tombs, func(t model.Tombstone) bool {
			return s.t >= t.MinT && s.t <= t.MaxT && s.ver < t.Version && t.Matches(ls)
		})
		if s.t >= mint && s.t <= maxt && !deleted {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b stored) int { return cmp.Compare(a.t, b.t) })
	return out
}

func mustParse(key string) labels.Labels {
	ls, err := model.ParseSeriesKey(key)
	if err != nil {
		panic(err)
	}
	return ls
}

// world is a DB, its disk and clock, and what must be in it.
type world struct {
	*rapid.T
	fs    *vfs.MemFS
	db    *engine.DB
	now   time.Time
	rng   *rand.Rand
	want  *content
	ver   model.Version
	watch func() // called before each operation on the disk
	small bool   // small limits: much merging and sealing
	opens int
}

func newWorld(t *rapid.T) *world {
	w := &world{
		T: t, fs: vfs.NewMem(), now: time.Date(2026, 3, 1, 0, 30, 0, 0, time.UTC),
		rng:  rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1)),
		want: &content{versions: rapid.Bool().Draw(t, "versions"), series: map[string]map[int64]stored{}},
		ver:  1 << 20, watch: func() {}, small: rapid.IntRange(0, 3).Draw(t, "limits") > 0,
	}
	w.db = w.open(w.fs)
	t.Cleanup(func() {
		// Open still when the test was given up.
		if err := w.db.Close(); err != nil && !errors.Is(err, engine.ErrClosed) {
			t.Errorf("close: %v", err)
		}
	})
	return w
}

func (w *world) open(disk *vfs.MemFS) *engine.DB {
	w.opens++
	var fsys vfs.FS = disk
	if disk == w.fs {
		fsys = vfs.NewFault(disk, func(vfs.Op) vfs.Fault {
			w.watch()
			return vfs.Fault{}
		})
	}
	db, err := engine.Open(fsys, "data", w.options())
	if err != nil {
		w.Fatalf("open: %v\n%s", err, disk.Tree())
	}
	return db
}

func (w *world) options() engine.Options {
	opts := engine.Options{
		Now: func() time.Time { return w.now }, Versions: w.want.versions, NoBackground: true,
		LogBytes: 1 << 20,
	}
	if !w.small {
		return opts
	}
	return opts.WithLimits(func(l *plan.Limits) {
		l.SealSamples, l.MaxWide, l.MaxPerWindow, l.MergeFiles, l.DeadBytes = 8, 6, 2, 6, 100
		l.LateShare, l.Quiet = 1000, time.Minute.Milliseconds()
	})
}

// series draws labels of one of a few series.
func (w *world) series() labels.Labels {
	return labels.FromStrings("__name__", rapid.SampledFrom([]string{"m", "n"}).Draw(w.T, "name"),
		"i", fmt.Sprint(rapid.IntRange(0, 9).Draw(w.T, "i")))
}

var (
	modelHistogram = &histogram.Histogram{
		Schema: 1, Count: 5, Sum: 1.5, ZeroCount: 2, ZeroThreshold: 0.001,
		PositiveSpans: []histogram.Span{{Offset: 1, Length: 2}}, PositiveBuckets: []int64{2, -1},
	}
	modelFloatHistogram = &histogram.FloatHistogram{
		Schema: histogram.CustomBucketsSchema, Count: 2.5, Sum: 0.5, CustomValues: []float64{1, 2},
		PositiveSpans: []histogram.Span{{Length: 1}}, PositiveBuckets: []float64{2.5},
	}
	modelValues = []float64{0, 1, 1, 2, 1.25, 1e300, math.Inf(-1), math.NaN(), math.Float64frombits(value.StaleNaN), math.Copysign(0, -1)}
)

// timestamp draws one: mostly of the last hours, some old, some very old.
func (w *world) timestamp() int64 {
	now := w.now.UnixMilli()
	switch rapid.IntRange(0, 9).Draw(w.T, "age") {
	case 0:
		return now - rapid.Int64Range(0, 40*24*hourMillis).Draw(w.T, "old")
	case 1, 2:
		return now - rapid.Int64Range(0, 6*hourMillis).Draw(w.T, "late")
	}
	return now - rapid.Int64Range(0, 20).Draw(w.T, "step")*15000
}

// append writes a batch, of scrapes or of anything.
func (w *world) append() {
	b := &model.Batch{}
	if w.want.versions {
		w.ver += model.Version(rapid.IntRange(-3, 8).Draw(w.T, "version"))
		b.Version = w.ver
	}
	starts := rapid.IntRange(0, 3).Draw(w.T, "starts") == 0
	var puts, histPuts []func()
	for range rapid.IntRange(1, 30).Draw(w.T, "samples") {
		ls, t := w.series(), w.timestamp()
		ref, err := w.db.Intern(ls)
		if err != nil {
			w.Fatalf("intern: %v", err)
		}
		s := stored{t: t, ver: b.Version}
		if starts && rapid.Bool().Draw(w.T, "has start") {
			s.start = t - rapid.Int64Range(1, 3).Draw(w.T, "start")*60000
		}
		if rapid.IntRange(0, 7).Draw(w.T, "kind") > 0 {
			v := rapid.SampledFrom(modelValues).Draw(w.T, "v")
			s.bits = math.Float64bits(v)
			b.Floats = append(b.Floats, model.FloatSample{T: t, V: v, Ref: ref})
			if starts {
				b.STs = append(b.STs, s.start)
			}
			puts = append(puts, func() { w.want.put(ls, s) })
			continue
		}
		w.addHistogram(b, ref, &s)
		histPuts = append(histPuts, func() { w.want.put(ls, s) })
	}
	if _, err := w.db.Append(context.Background(), b, engine.AppendOptions{}); err != nil {
		w.Fatalf("append: %v", err)
	}
	// Within a batch the histograms come behind the floats.
	for _, put := range append(puts, histPuts...) {
		put()
	}
}

func (w *world) addHistogram(b *model.Batch, ref model.Ref, s *stored) {
	h := model.HistogramSample{T: s.t, ST: s.start, Ref: ref}
	if rapid.Bool().Draw(w.T, "float histogram") {
		h.FH = modelFloatHistogram
		s.hist = append([]byte("f"), version.AppendFloatHistogram(nil, h.FH)...)
	} else {
		h.H = modelHistogram
		s.hist = append([]byte("i"), version.AppendHistogram(nil, h.H)...)
	}
	s.point = model.HistogramPoint{T: s.t, ST: s.start, H: h.H, FH: h.FH, Ver: s.ver}
	b.Hists = append(b.Hists, h)
}

// scrape writes a few hours of regular samples of all series, while the clock
// goes on and some of it is flushed.
func (w *world) scrape() {
	every := rapid.SampledFrom([]time.Duration{time.Minute, 10 * time.Minute, 35 * time.Minute, 100 * time.Minute}).Draw(w.T, "interval")
	flushEvery := rapid.IntRange(1, 20).Draw(w.T, "flush every")
	for n := range rapid.IntRange(1, 30).Draw(w.T, "scrapes") {
		w.now = w.now.Add(every)
		b := &model.Batch{}
		if w.want.versions {
			w.ver++
			b.Version = w.ver
		}
		for i := range 20 {
			ls := labels.FromStrings("__name__", []string{"m", "n"}[i%2], "i", fmt.Sprint(i/2))
			ref, err := w.db.Intern(ls)
			w.must("intern", err)
			s := stored{t: w.now.UnixMilli(), bits: math.Float64bits(float64(n*i) / 4), ver: b.Version}
			b.Floats = append(b.Floats, model.FloatSample{T: s.t, V: math.Float64frombits(s.bits), Ref: ref})
			w.want.put(ls, s)
		}
		_, err := w.db.Append(context.Background(), b, engine.AppendOptions{})
		w.must("append", err)
		if n%flushEvery == flushEvery-1 {
			w.crashing("flush amid scrapes", func() { w.must("flush", w.db.Flush(context.Background())) }, nil)
		}
	}
}

// remove deletes a range of some series.
func (w *world) remove() {
	t := model.Tombstone{MinT: w.now.UnixMilli() - rapid.Int64Range(0, 30*hourMillis).Draw(w.T, "ago"), Matchers: []*labels.Matcher{
		labels.MustNewMatcher(labels.MatchRegexp, "i", rapid.SampledFrom([]string{"[0-4]", "7", ".*"}).Draw(w.T, "i")),
	}}
	t.MaxT = t.MinT + rapid.Int64Range(0, 12*hourMillis).Draw(w.T, "length")
	if w.want.versions {
		t.Version = w.ver + model.Version(rapid.IntRange(-4, 4).Draw(w.T, "tombstone version"))
	}
	if err := w.db.Delete(context.Background(), t); err != nil {
		w.Fatalf("delete: %v", err)
	}
	w.want.delete(t)
}

// read turns a series of a selection into samples. keys holds the timestamps of
// the selection's reads by their key.
func read(t fataler, sel *engine.Selection, i int, mint, maxt int64, versions bool, keys map[uint64][]int64) []stored {
	var c model.Columns
	if err := sel.Read(i, mint, maxt, &c); err != nil {
		t.Fatalf("read: %v", err)
	}
	if len(c.V) != len(c.T) || len(c.ST) != 0 && len(c.ST) != len(c.T) || versions && len(c.Ver) != len(c.T) {
		t.Fatalf("%d timestamps, %d values, %d starts, %d versions", len(c.T), len(c.V), len(c.ST), len(c.Ver))
	}
	if c.TKey != 0 {
		if old, ok := keys[c.TKey]; ok && !slices.Equal(old, c.T) {
			t.Fatalf("one TKey for %v and for %v", old, c.T)
		}
		keys[c.TKey] = slices.Clone(c.T)
	}
	var out []stored
	for j, ts := range c.T {
		s := stored{t: ts, bits: math.Float64bits(c.V[j])}
		if len(c.ST) > 0 {
			s.start = c.ST[j]
		}
		if versions {
			s.ver = c.Ver[j]
		}
		out = append(out, s)
	}
	for _, p := range c.Hist {
		s := stored{t: p.T, start: p.ST}
		if p.FH != nil {
			s.hist = append([]byte("f"), version.AppendFloatHistogram(nil, p.FH)...)
		} else {
			s.hist = append([]byte("i"), version.AppendHistogram(nil, p.H)...)
		}
		if versions {
			s.ver = p.Ver
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b stored) int { return cmp.Compare(a.t, b.t) })
	return out
}

type fataler interface{ Fatalf(string, ...any) }

// difference reads everything in a range and says what is not as it must be.
func difference(t fataler, db *engine.DB, want *content, mint, maxt int64) string {
	sel, err := db.Select(context.Background(), mint, maxt, labels.MustNewMatcher(labels.MatchNotEqual, "__name__", ""))
	if err != nil {
		t.Fatalf("select: %v", err)
	}
	defer sel.Close()
	plain := sel
	if want.versions {
		if sel, err = db.Select(context.Background(), mint, maxt, labels.MustNewMatcher(labels.MatchNotEqual, "__name__", "")); err != nil {
			t.Fatalf("select: %v", err)
		}
		defer sel.Close()
		sel = sel.WithVersions()
	}
	found, keys := map[string]bool{}, map[uint64][]int64{}
	for i := range sel.Len() {
		if i > 0 && labels.Compare(sel.Labels(i-1), sel.Labels(i)) >= 0 {
			return fmt.Sprintf("%s before %s", sel.Labels(i-1), sel.Labels(i))
		}
		key := model.SeriesKey(sel.Labels(i))
		found[key] = true
		got, expected := read(t, sel, i, mint, maxt, want.versions, keys), want.read(key, mint, maxt)
		if !slices.EqualFunc(got, expected, sameSample) {
			return fmt.Sprintf("%s in [%d, %d]:\n%s", key, mint, maxt, diffSamples(got, expected))
		}
		if held, err := plain.Holds(i, mint, maxt); err != nil || held != (len(expected) > 0) {
			return fmt.Sprintf("%s with %d samples in [%d, %d]: Holds says %v, %v", key, len(expected), mint, maxt, held, err)
		}
		if !want.versions {
			continue
		}
		// Without versions, which are decoded only where they decide, it is the same.
		for k := range expected {
			expected[k].ver = 0
		}
		if got := read(t, plain, i, mint, maxt, false, keys); !slices.EqualFunc(got, expected, sameSample) {
			return fmt.Sprintf("%s in [%d, %d] without versions:\n%s", key, mint, maxt, diffSamples(got, expected))
		}
	}
	for key := range want.series {
		if samples := want.read(key, mint, maxt); !found[key] && len(samples) > 0 {
			return fmt.Sprintf("%s with %d samples in [%d, %d] is not selected", key, len(samples), mint, maxt)
		}
	}
	return ""
}

func diffSamples(got, want []stored) string {
	var b bytes.Buffer
	for i, j := 0, 0; i < len(got) || j < len(want); {
		switch {
		case j == len(want) || i < len(got) && got[i].t < want[j].t:
			fmt.Fprintf(&b, "too much: %s\n", &got[i])
			i++
		case i == len(got) || want[j].t < got[i].t:
			fmt.Fprintf(&b, "missing:  %s\n", &want[j])
			j++
		default:
			if !sameSample(got[i], want[j]) {
				fmt.Fprintf(&b, "got       %s\nwant      %s\n", &got[i], &want[j])
			}
			i++
			j++
		}
	}
	return b.String()
}

// checkLabels holds label names and values against the series with samples in
// a range: all of these are named, and nothing that never was.
func checkLabels(t fataler, db *engine.DB, want *content, mint, maxt int64) {
	ctx := context.Background()
	needed, known := map[string]bool{}, map[string]bool{}
	for key := range want.series {
		value := mustParse(key).Get("i")
		known[value] = true
		if len(want.read(key, mint, maxt)) > 0 {
			needed[value] = true
		}
	}
	values, err := db.LabelValues(ctx, "i", mint, maxt, 0)
	if err != nil {
		t.Fatalf("label values: %v", err)
	}
	for _, v := range values {
		if !known[v] {
			t.Fatalf("label value %q was never written", v)
		}
		delete(needed, v)
	}
	if len(needed) > 0 || !slices.IsSorted(values) {
		t.Fatalf("label values %q in [%d, %d], without %v", values, mint, maxt, needed)
	}
	names, err := db.LabelNames(ctx, mint, maxt, 0)
	if err != nil || len(values) > 0 && !slices.Equal(names, []string{"__name__", "i"}) {
		t.Fatalf("label names %q, %v", names, err)
	}
}

// check compares all of it, and a random range.
func (w *world) check(db *engine.DB, when string) {
	mint := w.timestamp()
	maxt := mint + rapid.Int64Range(0, 2*windowMillis).Draw(w.T, "range")
	for _, r := range [][2]int64{{0, math.MaxInt64}, {mint, maxt}} {
		if d := difference(w.T, db, w.want, r[0], r[1]); d != "" {
			w.Fatalf("%s: %s\n%s", when, d, w.fs.Tree())
		}
		checkLabels(w.T, db, w.want, r[0], r[1])
	}
}

// crashing runs a step that changes nothing that a reader sees, and opens what
// power cuts amid it would leave. A step that does change something gives what
// is right after it as well.
func (w *world) crashing(when string, step func(), also func() *content) {
	var clones []*vfs.MemFS
	ops, next := 0, w.rng.IntN(6)
	w.watch = func() {
		if ops++; ops > next && len(clones) < 4 {
			clones = append(clones, w.fs.CrashClone(w.rng, []int{0, 50, 100}[w.rng.IntN(3)]))
			next = ops + w.rng.IntN(40)
		}
	}
	before := w.want.clone()
	step()
	w.watch = func() {}
	for _, disk := range clones {
		w.fsck(disk)
		db := w.open(disk)
		d := difference(w.T, db, before, 0, math.MaxInt64)
		if d != "" && also != nil {
			d = difference(w.T, db, also(), 0, math.MaxInt64)
		}
		if d != "" {
			w.Fatalf("power cut during %s: %s\n%s", when, d, disk.Tree())
		}
		if err := db.Close(); err != nil {
			w.Fatalf("close after a power cut during %s: %v", when, err)
		}
	}
}

// fsck expects a directory that nobody has open to be whole.
func (w *world) fsck(disk *vfs.MemFS) {
	report, err := engine.Check(disk, "data")
	if err != nil || len(report.Faults) > 0 {
		w.Fatalf("check: %v, %v\n%s", err, report.Faults, disk.Tree())
	}
}

func (w *world) must(what string, err error) {
	if err != nil {
		w.Fatalf("%s: %v\n%s", what, err, w.fs.Tree())
	}
}

func (w *world) step() {
	ctx := context.Background()
	switch kind := rapid.IntRange(0, 19).Draw(w.T, "step"); kind {
	case 0, 1, 2, 3, 4, 5:
		w.append()
	case 6, 7:
		w.crashing("flush", func() { w.must("flush", w.db.Flush(ctx)) }, nil)
	case 8:
		w.now = w.now.Add(time.Duration(rapid.IntRange(1, 40).Draw(w.T, "minutes")) * 11 * time.Minute)
	case 9, 19:
		w.crashing("delete", w.remove, func() *content { return w.want })
	case 10:
		w.crashing("restart", func() {
			w.must("close", w.db.Close())
			w.db = w.open(w.fs)
		}, nil)
	case 11, 12:
		// What was acknowledged is durable, whatever else is lost.
		disk := w.fs.CrashClone(w.rng, rapid.SampledFrom([]int{0, 50, 100}).Draw(w.T, "kept"))
		w.must("close", w.db.Close())
		w.fsck(w.fs)
		w.fs = disk
		w.db = w.open(disk)
	case 13:
		w.crashing("clean", func() { w.must("clean tombstones", w.db.CleanTombstones(ctx)) }, nil)
	case 14:
		w.snapshot()
	case 15, 16, 17:
		w.scrape()
	case 18:
		w.crashing("maintain", func() { w.must("maintain", w.db.Maintain(ctx)) }, nil)
	}
}

// snapshot makes one and opens it as a data directory.
func (w *world) snapshot() {
	dir := fmt.Sprint("snapshot", w.opens)
	w.must("snapshot", w.db.Snapshot(context.Background(), dir))
	w.opens++
	db, err := engine.Open(w.fs, dir, w.options())
	w.must("open the snapshot", err)
	w.check(db, "snapshot")
	w.must("close the snapshot", db.Close())
}

func TestDBIsAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		for range rapid.IntRange(1, 25).Draw(t, "steps") {
			w.step()
			w.check(w.db, "after a step")
		}
		w.must("close", w.db.Close())
		w.fsck(w.fs)
	})
}
