package ingest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"pgregory.net/rapid"

	"github.com/count-db/count/internal/admission"
	"github.com/count-db/count/internal/model"
)

// fakeAppender keeps copies of what it is given.
type fakeAppender struct {
	batches []model.Batch
	err     error
}

func (f *fakeAppender) Append(_ context.Context, b *model.Batch) error {
	f.batches = append(f.batches, model.Batch{
		Floats: slices.Clone(b.Floats), STs: slices.Clone(b.STs), Hists: slices.Clone(b.Hists),
		Exemplars: slices.Clone(b.Exemplars), Metadata: slices.Clone(b.Metadata),
	})
	return f.err
}

var testNow = time.UnixMilli(1_700_000_000_000)

func newPipeline(t testing.TB, next Appender, opts Options) *Pipeline {
	t.Helper()
	opts.Now = func() time.Time { return testNow }
	p, err := New(next, opts)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestTimestampBounds(t *testing.T) {
	now := testNow.UnixMilli()
	opts := Options{MaxFuture: time.Minute, Retention: time.Hour}
	for _, c := range []struct {
		name string
		t    int64
		opts Options
		want string // reason; empty: stored
	}{
		{"now", now, opts, ""},
		{"just ahead", now + 60_000, opts, ""},
		{"too far ahead", now + 60_001, opts, "too_far_ahead"},
		{"the end of time", 1<<63 - 1, opts, "too_far_ahead"},
		{"at the retention", now - 3_600_000, opts, ""},
		{"older", now - 3_600_001, opts, "too_old"},
		{"negative", -1, opts, "negative_timestamp"},
		{"the beginning of time", -1 << 63, Options{}, "negative_timestamp"},
		{"1970, no retention", 0, Options{}, ""},
		{"default ahead", now + 600_000, Options{}, ""},
		{"default too far ahead", now + 600_001, Options{}, "too_far_ahead"},
		{"retention longer than time", 0, Options{Retention: 1 << 62}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			next := &fakeAppender{}
			c.opts.Describe = func(model.Ref) labels.Labels { return labels.FromStrings("__name__", "culprit") }
			p := newPipeline(t, next, c.opts)
			batch := &model.Batch{Floats: []model.FloatSample{{T: now, Ref: 1}, {T: c.t, Ref: 2, V: 7}}}
			var report admission.Report
			if err := p.Write(context.Background(), batch, &report); err != nil {
				t.Fatal(err)
			}
			rej := p.CheckTime(c.t)
			whole := p.WriteWhole(context.Background(), &model.Batch{Floats: []model.FloatSample{{T: now, Ref: 1}, {T: c.t, Ref: 2}}})
			if c.want == "" {
				if len(batch.Floats) != 2 || report.Total() != 0 || rej != nil || whole != nil {
					t.Fatalf("refused: %v, %v, %v", &report, rej, whole)
				}
				return
			}
			if len(batch.Floats) != 1 || report.Total() != 1 || !strings.Contains(report.String(), c.want+": 1") ||
				!strings.Contains(report.String(), "culprit") {
				t.Fatalf("stored %v, report %v", batch.Floats, &report)
			}
			if rej == nil || rej.Reason.String() != c.want {
				t.Fatalf("CheckTime: %v", rej)
			}
			var wholeRej *admission.Rejection
			if !errors.As(whole, &wholeRej) || wholeRej.Reason.String() != c.want || len(next.batches) != 1 {
				t.Fatalf("WriteWhole: %v, %d batches", whole, len(next.batches))
			}
		})
	}
}

// TestWriteAgainstTheObvious: order kept, refused ones out, the last of each
// (series, timestamp) wins, start timestamps stay with their samples.
func TestWriteAgainstTheObvious(t *testing.T) {
	now := testNow.UnixMilli()
	rapid.Check(t, func(t *rapid.T) {
		var batch model.Batch
		n := rapid.IntRange(0, 60).Draw(t, "n")
		withStarts := rapid.Bool().Draw(t, "starts")
		for i := range n {
			s := model.FloatSample{
				T:   now + rapid.SampledFrom([]int64{0, 1, 2, 3, 1 << 40, -1 << 60}).Draw(t, "t"),
				Ref: model.Ref(rapid.IntRange(1, 5).Draw(t, "ref")), V: float64(i),
			}
			batch.Floats = append(batch.Floats, s)
			if withStarts {
				batch.STs = append(batch.STs, int64(i))
			}
			batch.Hists = append(batch.Hists, model.HistogramSample{T: s.T, Ref: s.Ref, ST: int64(i)})
		}
		var want []model.FloatSample
		for i, s := range batch.Floats {
			later := slices.ContainsFunc(batch.Floats[i+1:], func(o model.FloatSample) bool { return o.Ref == s.Ref && o.T == s.T })
			if s.T >= now && s.T < now+1000 && !later {
				want = append(want, s)
			}
		}
		next := &fakeAppender{}
		p := &Pipeline{next: next}
		p, err := New(next, Options{Now: func() time.Time { return testNow }})
		if err != nil {
			t.Fatal(err)
		}
		var report admission.Report
		if err := p.Write(context.Background(), &batch, &report); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(batch.Floats, want) {
			t.Fatalf("stored %v, want %v", batch.Floats, want)
		}
		if told := len(batch.Floats) + len(batch.Hists) + report.SupersededFloats + report.SupersededHists + report.Total(); told != 2*n {
			t.Fatalf("%d of %d samples are accounted for: %+v", told, 2*n, report)
		}
		if len(batch.Hists) != len(want) {
			t.Fatalf("%d histograms, want %d", len(batch.Hists), len(want))
		}
		for i, s := range want {
			if withStarts && batch.STs[i] != int64(s.V) {
				t.Fatalf("sample %v has start %d", s, batch.STs[i])
			}
			if batch.Hists[i].ST != int64(s.V) {
				t.Fatalf("histogram %d is %d", i, batch.Hists[i].ST)
			}
		}
		if withStarts != (batch.STs != nil) && n > 0 {
			t.Fatalf("starts: %v", batch.STs)
		}
	})
}

func TestExemplarsOutsideAreCountedOnly(t *testing.T) {
	next := &fakeAppender{}
	p := newPipeline(t, next, Options{})
	batch := &model.Batch{Exemplars: []model.Exemplar{{Ref: 1, T: testNow.UnixMilli()}, {Ref: 1, T: 1 << 60}, {Ref: 1}}}
	var report admission.Report
	if err := p.Write(context.Background(), batch, &report); err != nil {
		t.Fatal(err)
	}
	if len(batch.Exemplars) != 2 || report.Refused() || report.Count(admission.InvalidExemplar) != 1 {
		t.Fatalf("%v, %v", batch.Exemplars, &report)
	}
}

func TestNothingToStoreReachesNoStorage(t *testing.T) {
	next := &fakeAppender{err: errors.New("boom")}
	p := newPipeline(t, next, Options{})
	if err := p.Write(context.Background(), &model.Batch{Floats: []model.FloatSample{{T: -1, Ref: 1}}}, &admission.Report{}); err != nil {
		t.Fatal(err)
	}
	if err := p.Write(context.Background(), &model.Batch{Metadata: []model.Metadata{{Family: "m"}}}, &admission.Report{}); err == nil {
		t.Fatal("metadata alone is a write too")
	}
}

func TestGate(t *testing.T) {
	p := newPipeline(t, &fakeAppender{}, Options{MaxInFlightBytes: 100})
	if err := p.Reserve(101); !errors.Is(err, admission.ErrTooLarge) {
		t.Fatalf("more than there ever is: %v", err)
	}
	if err := p.Reserve(60); err != nil {
		t.Fatal(err)
	}
	if err := p.Reserve(41); !errors.Is(err, admission.ErrOverloaded) {
		t.Fatalf("full: %v", err)
	}
	if err := p.Reserve(40); err != nil {
		t.Fatal(err)
	}
	p.Release(60)
	if err := p.Reserve(60); err != nil {
		t.Fatal(err)
	}
	p.Stop()
	var unavailable *admission.UnavailableError
	if err := p.Reserve(0); !errors.As(err, &unavailable) || unavailable.RetryAfter == 0 {
		t.Fatalf("stopped: %v", err)
	}
	p.Release(100)
	if used := p.gate.used.Load(); used != 0 {
		t.Fatalf("%d bytes left", used)
	}
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	next := &fakeAppender{}
	p := newPipeline(t, next, Options{Registerer: reg})
	now := testNow.UnixMilli()
	batch := &model.Batch{
		Floats: []model.FloatSample{{T: now, Ref: 1}, {T: -1, Ref: 1}},
		Hists:  []model.HistogramSample{{T: now, Ref: 2, H: &histogram.Histogram{}}},
	}
	if err := p.Write(context.Background(), batch, &admission.Report{}); err != nil {
		t.Fatal(err)
	}
	next.err = &admission.UnavailableError{Reason: "no majority"}
	batch = &model.Batch{Floats: []model.FloatSample{{T: now, Ref: 1}}}
	if err := p.Write(context.Background(), batch, &admission.Report{}); err == nil {
		t.Fatal("an error was lost")
	}
	const want = `
# HELP count_ingest_samples_total Float samples stored.
# TYPE count_ingest_samples_total counter
count_ingest_samples_total 1
# HELP count_ingest_histograms_total Native histograms stored.
# TYPE count_ingest_histograms_total counter
count_ingest_histograms_total 1
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "count_ingest_samples_total", "count_ingest_histograms_total"); err != nil {
		t.Error(err)
	}
	if n := testutil.ToFloat64(p.stats.byReason[admission.NegativeTimestamp]); n != 1 {
		t.Errorf("rejected: %v", n)
	}
	if n := testutil.ToFloat64(p.stats.failures.WithLabelValues(causeUnavailable)); n != 1 {
		t.Errorf("failures: %v", n)
	}
}

func TestOptions(t *testing.T) {
	for _, opts := range []Options{{MaxFuture: -1}, {Retention: -1}, {MaxInFlightBytes: -1}} {
		if _, err := New(&fakeAppender{}, opts); err == nil {
			t.Errorf("%+v is accepted", opts)
		}
	}
	if _, err := New(nil, Options{}); err == nil {
		t.Error("no appender is accepted")
	}
}

type discardAppender struct{}

func (discardAppender) Append(context.Context, *model.Batch) error { return nil }

func BenchmarkWrite(b *testing.B) {
	p := newPipeline(b, discardAppender{}, Options{})
	var batch model.Batch
	for i := range 2000 {
		batch.Floats = append(batch.Floats, model.FloatSample{T: testNow.UnixMilli(), Ref: model.Ref(i + 1)})
	}
	var report admission.Report
	b.ReportAllocs()
	for b.Loop() {
		if err := p.Write(context.Background(), &batch, &report); err != nil {
			b.Fatal(err)
		}
	}
	if len(batch.Floats) != 2000 {
		b.Fatal("samples were dropped")
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/2000, "ns/sample")
}
