package appendable

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/storage"

	"github.com/count-db/count/internal/admission"
	countmodel "github.com/count-db/count/internal/model"
)

type fakeSink struct {
	keys     []string
	batch    *countmodel.Batch
	err      error
	internal error
	full     error
	reserved int64
}

func (f *fakeSink) Intern(ls labels.Labels) (countmodel.Ref, error) {
	f.keys = append(f.keys, countmodel.SeriesKey(ls))
	return countmodel.Ref(len(f.keys)), f.internal
}

func (f *fakeSink) Reserve(n int64) error { f.reserved += n; return f.full }
func (f *fakeSink) Release(n int64)       { f.reserved -= n }

func (f *fakeSink) Write(_ context.Context, b *countmodel.Batch, report *admission.Report) error {
	kept := b.Floats[:0]
	for _, s := range b.Floats {
		if s.T < 0 {
			report.Add(admission.TooOld, 1, func() string { return "too old" })
			continue
		}
		kept = append(kept, s)
	}
	b.Floats = kept
	copied := *b
	f.batch = &copied
	return f.err
}

func newAppendable(t *testing.T, f *fakeSink) *Appendable {
	t.Helper()
	a, err := New(f, f, admission.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestCommitStoresWhatMayBeStored(t *testing.T) {
	f := &fakeSink{}
	app := newAppendable(t, f).AppenderV2(context.Background())
	opts := storage.AppendV2Options{
		MetricFamilyName: "m", Metadata: metadata.Metadata{Type: model.MetricTypeCounter, Help: "Help."},
		Exemplars: []exemplar.Exemplar{
			{Labels: labels.FromStrings("trace_id", "abc"), Value: 1, Ts: 5, HasTs: true},
			{Labels: labels.FromStrings("trace_id", strings.Repeat("x", 200)), Ts: 6},
		},
	}
	m := labels.FromStrings("__name__", "m", "empty", "")
	good := &histogram.Histogram{Schema: 1, Count: 2, Sum: 3, PositiveSpans: []histogram.Span{{Offset: 0, Length: 2}}, PositiveBuckets: []int64{2, -2}}
	bad := &histogram.Histogram{Schema: 1, Count: 9}
	for i, c := range []struct {
		ls    labels.Labels
		st, t int64
		h     *histogram.Histogram
		fh    *histogram.FloatHistogram
		ref   bool
	}{
		{ls: m, t: 1, ref: true},
		{ls: m, st: 7, t: 10, ref: true},
		{ls: m, t: -1, ref: true},
		{ls: labels.FromStrings("a", "no name"), t: 1},
		{ls: m, t: 3, h: good, ref: true},
		{ls: m, t: 4, fh: good.ToFloat(nil), ref: true},
		{ls: m, t: 5, h: bad, ref: true},
	} {
		ref, err := app.Append(0, c.ls, c.st, c.t, 1, c.h, c.fh, opts)
		if err != nil || (ref != 0) != c.ref {
			t.Fatalf("append %d: %v, %v", i, ref, err)
		}
	}
	err := app.Commit()
	if !errors.Is(err, storage.ErrOutOfBounds) || !strings.Contains(err.Error(), "missing_metric_name: 1, too_old: 1, invalid_histogram: 1") {
		t.Fatalf("commit: %v", err)
	}
	b := f.batch
	if len(b.Floats) != 2 || len(b.STs) != 3 || b.STs[0] != 0 || b.STs[1] != 7 || f.keys[0] != "m" {
		t.Fatalf("floats %v, starts %v, series %v", b.Floats, b.STs, f.keys)
	}
	if len(b.Hists) != 2 || len(b.Hists[0].H.PositiveBuckets) != 1 || len(good.PositiveBuckets) != 2 || len(b.Hists[1].FH.PositiveBuckets) != 1 {
		t.Fatalf("histograms %+v; the caller's %v", b.Hists, good)
	}
	if len(b.Exemplars) != 5 || len(b.Metadata) != 1 || b.Metadata[0].Family != "m" {
		t.Fatalf("%d exemplars, metadata %v", len(b.Exemplars), b.Metadata)
	}
	if f.reserved != 0 {
		t.Fatalf("%d bytes were never released", f.reserved)
	}
}

func TestRollbackStoresNothing(t *testing.T) {
	f := &fakeSink{}
	app := newAppendable(t, f).AppenderV2(context.Background())
	if _, err := app.Append(0, labels.FromStrings("__name__", "m"), 0, 1, 1, nil, nil, storage.AppendV2Options{}); err != nil {
		t.Fatal(err)
	}
	if err := app.Rollback(); err != nil || f.batch != nil || f.reserved != 0 {
		t.Fatalf("%v, %v, %d bytes", err, f.batch, f.reserved)
	}
}

func TestHandlerTellsWhatMayBeSentAgain(t *testing.T) {
	for _, c := range []struct {
		name  string
		f     fakeSink
		code  int
		after string
	}{
		{"stored", fakeSink{}, 200, ""},
		{"no majority", fakeSink{err: fmt.Errorf("append: %w", &admission.UnavailableError{Reason: "need 2", RetryAfter: 5 * time.Second})}, 503, "5"},
		{"overload", fakeSink{full: admission.ErrOverloaded}, 503, "1"},
		{"storage", fakeSink{err: admission.ErrStorage}, 500, ""},
		{"registry", fakeSink{internal: errors.New("boom")}, 500, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newAppendable(t, &c.f)
			h := Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				app := a.AppenderV2(r.Context())
				_, err := app.Append(0, labels.FromStrings("__name__", "m"), 0, 1, 1, nil, nil, storage.AppendV2Options{})
				if err == nil {
					err = app.Commit()
				} else if rerr := app.Rollback(); rerr != nil {
					slog.Error("rollback", "err", rerr)
				}
				if err != nil {
					http.Error(w, err.Error(), http.StatusInternalServerError)
				}
			}))
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/", nil))
			if w.Code != c.code || w.Header().Get("Retry-After") != c.after {
				t.Fatalf("code %d, Retry-After %q", w.Code, w.Header().Get("Retry-After"))
			}
		})
	}
}

func TestAppendExemplars(t *testing.T) {
	f := &fakeSink{}
	app, ok := newAppendable(t, f).AppenderV2(context.Background()).(storage.ExemplarAppenderV2)
	if !ok {
		t.Fatal("no ExemplarAppenderV2")
	}
	ls := labels.FromStrings("__name__", "m")
	if ref, err := app.AppendExemplars(0, ls, []exemplar.Exemplar{{Value: 1, Ts: 2}}); err != nil || ref == 0 {
		t.Fatalf("%v, %v", ref, err)
	}
	if err := app.Commit(); err != nil || len(f.batch.Exemplars) != 1 {
		t.Fatalf("%v, %v", err, f.batch.Exemplars)
	}
}
