package node

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-kit/log"
	commonmodel "github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"

	"github.com/count-db/count/engine"
	"github.com/count-db/count/internal/backup"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/transfer"
	"github.com/count-db/count/internal/vfs"
)

// strange are values whose bits a copy may lose.
var strange = []float64{
	math.Copysign(0, -1), 0, math.Inf(1), math.Inf(-1), math.SmallestNonzeroFloat64, math.MaxFloat64,
	math.Float64frombits(value.StaleNaN), math.NaN(), math.Float64frombits(0x7ff8000000000001), math.Float64frombits(0xfff8000000abcdef), math.Float64frombits(0x7ff0000000000001),
}

// oddSeries are series whose labels a copy may lose.
func oddSeries() []labels.Labels {
	out := []labels.Labels{
		labels.FromStrings(labels.MetricName, "plain", "a", "1"),
		labels.FromStrings(labels.MetricName, "ein.Zähler", "mit leer", "ja", "日本", "値"),
		labels.FromStrings(labels.MetricName, "quoted", "x", "a\"b\\c\nd,e{}=~"),
		labels.FromStrings("no", "name"),
		labels.FromStrings(labels.MetricName, "long", "v", strings.Repeat("ü", 2000)),
	}
	for i := range 40 {
		out = append(out, labels.FromStrings(labels.MetricName, "many", "i", fmt.Sprint(i)))
	}
	return out
}

// fill writes what a cluster may hold into nodes of which each misses some: the
// others have it, with the same version.
func fill(t *testing.T, r *rand.Rand, now int64, version model.Version, dbs []*engine.DB) {
	t.Helper()
	for round := range 12 {
		base := now - int64(r.IntN(40))*3_600_000
		if round == 0 {
			base = 0 // 1970
		}
		for _, ls := range oddSeries() {
			version++
			b := model.Batch{Version: version}
			for i := range 1 + r.IntN(20) {
				at := base + int64(i)*1000 + int64(r.IntN(3))
				v := strange[r.IntN(len(strange))]
				if r.IntN(2) == 0 {
					v = r.NormFloat64()
				}
				if ls.Get(labels.MetricName) == "many" && r.IntN(4) == 0 {
					b.Hists = append(b.Hists, oddHistogram(r, at))
					continue
				}
				b.Floats = append(b.Floats, model.FloatSample{T: at, V: v})
				b.STs = append(b.STs, at-int64(r.IntN(2))*500)
			}
			b.Exemplars = append(b.Exemplars, model.Exemplar{T: base + 1, V: r.Float64(), Labels: labels.FromStrings("trace_id", fmt.Sprint(r.Uint64()))})
			b.Metadata = []model.Metadata{{Family: "plain", Metadata: metadata.Metadata{Type: commonmodel.MetricTypeCounter, Unit: "s", Help: "of\nlines"}}}
			missing := r.IntN(len(dbs)) // has none of it; a single node has all
			for i, db := range dbs {
				if i != missing || len(dbs) == 1 {
					appendTo(t, db, ls, b)
				}
			}
		}
	}
}

func oddHistogram(r *rand.Rand, at int64) model.HistogramSample {
	i := int64(r.IntN(10))
	s := model.HistogramSample{T: at, ST: at - 100}
	switch r.IntN(5) {
	case 0:
		s.H = tsdbutil.GenerateTestHistogram(i)
	case 1:
		s.FH = tsdbutil.GenerateTestFloatHistogram(i)
	case 2:
		s.H = tsdbutil.GenerateTestGaugeHistogram(i)
	case 3:
		s.FH = tsdbutil.GenerateTestCustomBucketsFloatHistogram(i)
	default:
		s.H = &histogram.Histogram{Sum: math.Float64frombits(value.StaleNaN)}
	}
	return s
}

// appendTo writes a batch of one series.
func appendTo(t *testing.T, db *engine.DB, ls labels.Labels, b model.Batch) {
	t.Helper()
	ref, err := db.Intern(ls)
	if err != nil {
		t.Fatal(err)
	}
	b.Floats, b.Hists, b.Exemplars = slices.Clone(b.Floats), slices.Clone(b.Hists), slices.Clone(b.Exemplars)
	for i := range b.Floats {
		b.Floats[i].Ref = ref
	}
	for i := range b.Hists {
		b.Hists[i].Ref = ref
	}
	for i := range b.Exemplars {
		b.Exemplars[i].Ref = ref
	}
	if _, err := db.Append(context.Background(), &b, engine.AppendOptions{}); err != nil {
		t.Fatal(err)
	}
}

// contents describes all that a storage shows, bit by bit, by series.
func contents(t *testing.T, db *engine.DB) map[string]string {
	t.Helper()
	any := labels.MustNewMatcher(labels.MatchRegexp, labels.MetricName, ".*")
	sel, err := db.Select(context.Background(), math.MinInt64, math.MaxInt64, any)
	if err != nil {
		t.Fatal(err)
	}
	defer sel.Close()
	out := map[string]string{}
	for i := range sel.Len() {
		var cols model.Columns
		if err := sel.Read(i, math.MinInt64, math.MaxInt64, &cols); err != nil {
			t.Fatal(err)
		}
		var text strings.Builder
		for k, at := range cols.T {
			st := int64(0)
			if len(cols.ST) > 0 {
				st = cols.ST[k]
			}
			fmt.Fprintf(&text, "%d %x %d\n", at, math.Float64bits(cols.V[k]), st)
		}
		for _, p := range cols.Hist {
			if p.H != nil {
				h := p.H.Copy()
				h.CounterResetHint &= histogram.GaugeType // others follow from what is before
				fmt.Fprintf(&text, "%d %d %x %+v\n", p.T, p.ST, math.Float64bits(h.Sum), h)
				continue
			}
			h := p.FH.Copy()
			h.CounterResetHint &= histogram.GaugeType
			fmt.Fprintf(&text, "%d %d %x %+v float\n", p.T, p.ST, math.Float64bits(h.Sum), h)
		}
		if text.Len() > 0 {
			out[sel.Labels(i).String()] = text.String()
		}
	}
	exemplars, err := db.Exemplars(context.Background(), math.MinInt64, math.MaxInt64, []*labels.Matcher{any})
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range exemplars {
		var lines []string
		for _, e := range x.Exemplars {
			lines = append(lines, fmt.Sprintf("%d %x %s", e.T, math.Float64bits(e.V), e.Labels))
		}
		slices.Sort(lines) // those of one timestamp have no order
		out["exemplars of "+x.Labels.String()] = strings.Join(lines, "\n")
	}
	for _, m := range db.Metadata("", 0) {
		out["metadata of "+m.Family] += fmt.Sprintf("%+v\n", m.Metadata)
	}
	return out
}

func openAt(t *testing.T, fsys vfs.FS, dir string, versions bool) *engine.DB {
	t.Helper()
	db, err := engine.Open(fsys, dir, engine.Options{NoBackground: true, Versions: versions, MaxExemplars: 10_000})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// TestRoundTrip: what nodes hold together is, bit by bit, what a node holds after
// a restore that was broken off again and again.
func TestRoundTrip(t *testing.T) {
	for _, nodes := range []int{1, 3} {
		t.Run(fmt.Sprint(nodes), func(t *testing.T) { roundTrip(t, nodes) })
	}
}

func roundTrip(t *testing.T, nodes int) {
	ctx, r := context.Background(), rand.New(rand.NewPCG(7, uint64(nodes)))
	mem := vfs.NewMem()
	var dbs []*engine.DB
	var remotes []*backup.Remote
	for i := range nodes {
		dir := fmt.Sprintf("/node%d", i)
		db := openAt(t, mem, dir, nodes > 1)
		b, err := newBackups(db, mem, dir, uint64(i+1), aloneSight{}, 0, log.NewNopLogger())
		if err != nil {
			t.Fatal(err)
		}
		s := httptest.NewServer(b)
		t.Cleanup(s.Close)
		dbs, remotes = append(dbs, db), append(remotes, &backup.Remote{URL: s.URL, Client: s.Client()})
	}
	now, version := time.Now().UnixMilli(), dbs[0].Clock().Now()
	fill(t, r, now, version, dbs)
	bucket, err := backup.OpenBucket(filepath.Join(t.TempDir(), "backups"), nil)
	if err != nil {
		t.Fatal(err)
	}
	whole := func(context.Context) (backup.Manifest, []*backup.Remote, error) {
		return backup.Manifest{}, remotes, nil
	}
	taken, err := backup.Take(ctx, bucket, whole, backup.TakeOptions{}, &backup.Progress{})
	if err != nil {
		t.Fatal(err)
	}
	var want map[string]string
	if nodes == 1 {
		want = contents(t, dbs[0])
	} else { // what one node that missed nothing would show
		all := openAt(t, mem, "/all", true)
		fill(t, rand.New(rand.NewPCG(7, uint64(nodes))), now, version, []*engine.DB{all, all, all})
		want = contents(t, all)
	}

	target := openAt(t, mem, "/target", false)
	h := newRestores(target, &localStore{db: target}, &localAppender{db: target}, log.NewNopLogger())
	var left atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && left.Add(-1) < 0 {
			http.Error(w, "enough for now", http.StatusTeapot)
			return
		}
		h.ServeHTTP(w, r)
	}))
	defer server.Close()
	o := backup.RestoreOptions{FS: mem, Scratch: "/scratch", Batch: 50}
	samples, runs := int64(0), 0
	for ; ; runs++ {
		left.Store(int64(5 + r.IntN(20)))
		p := &backup.Progress{}
		err := backup.Restore(ctx, bucket, taken.Manifest, &transfer.Node{URL: server.URL, Client: server.Client()}, o, p)
		if n := p.Samples.Load(); n < samples {
			t.Errorf("run %d: %d samples are written, after %d", runs, n, samples)
		} else {
			samples = n
		}
		if err == nil {
			break
		}
		var refused *transfer.RefusedError
		if !errors.As(err, &refused) || runs > 1000 {
			t.Fatal(err)
		}
	}
	t.Logf("%d samples after %d runs", samples, runs)
	if runs < 3 {
		t.Errorf("it was broken off %d times only", runs)
	}
	got := contents(t, target)
	for series, text := range want {
		if got[series] != text {
			t.Errorf("%s is\n%s\nnot\n%s", series, got[series], text)
		}
	}
	for series := range got {
		if _, ok := want[series]; !ok {
			t.Errorf("%s is not in the backup", series)
		}
	}
}
