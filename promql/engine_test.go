package promql_test

import (
	"context"
	"errors"
	"maps"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	prompromql "github.com/prometheus/prometheus/promql"

	"github.com/count-db/count/promql"
	"github.com/count-db/count/promql/memstore"
	"github.com/count-db/count/promql/prom"
)

func newEngine(t *testing.T, opts promql.Options) *promql.Engine {
	t.Helper()
	e, err := promql.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

func TestEngineDefaultsServeAllOfPromQL(t *testing.T) {
	m := memstore.New()
	ls := labels.FromStrings("__name__", "x", "job", "a")
	for i := range 100 {
		m.Append(ls, 0, int64(i)*15_000, float64(i))
	}
	e := newEngine(t, promql.Options{})
	for _, qs := range []string{
		`x`, `rate(x[5m])`, `x offset -1m`, `x @ start()`, `max_over_time(x[5m:])`,
		`limitk(1, x)`, `mad_over_time(x[5m])`, `sort_by_label(x, "job")`, `{"x"}`,
	} {
		q, err := e.NewInstantQuery(context.Background(), prom.New(m), nil, qs, time.UnixMilli(600_000))
		if err != nil {
			t.Errorf("%s: %v", qs, err)
			continue
		}
		res := q.Exec(context.Background())
		if res.Err != nil {
			t.Errorf("%s: %v", qs, res.Err)
		} else if v, err := res.Vector(); err != nil || len(v) != 1 {
			t.Errorf("%s: %v, %v", qs, v, err)
		}
		q.Close()
	}
}

// gate is a store whose Select waits.
type gate struct {
	promql.Store
	entered chan struct{}
}

func (g gate) Select(ctx context.Context, _, _ int64, _ ...*labels.Matcher) (promql.SeriesSet, error) {
	close(g.entered)
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestActiveQueriesAreListedAndCanBeCancelled(t *testing.T) {
	e := newEngine(t, promql.Options{Concurrency: 1, SlowQueries: 10})
	g := gate{entered: make(chan struct{})}
	q, err := e.NewRangeQuery(context.Background(), prom.New(g), nil, "x", time.UnixMilli(0), time.UnixMilli(1000), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan *prompromql.Result, 1)
	go func() { done <- q.Exec(context.Background()) }()
	<-g.entered
	active := e.Active()
	if len(active) != 1 || active[0].Query != "x" || active[0].Step != time.Second {
		t.Fatalf("active: %+v", active)
	}
	// The one slot is taken.
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	if _, err := e.AcquireQuerySlot(ctx, "y"); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("second slot: %v", err)
	}
	if !e.Cancel(active[0].ID) || e.Cancel(12345) {
		t.Fatal("cancel")
	}
	if res := <-done; res.Err == nil {
		t.Fatal("a cancelled query gave a result")
	}
	if slow := e.Slow(); len(slow) != 1 || slow[0].Query != "x" || slow[0].Err == "" || slow[0].Took <= 0 {
		t.Fatalf("slow: %+v", slow)
	}
	if left := e.Active(); len(left) != 0 {
		t.Fatalf("still active: %+v", left)
	}
}

func TestARangeWithoutStepsIsEmpty(t *testing.T) {
	e := newEngine(t, promql.Options{})
	m := memstore.New()
	m.Append(labels.FromStrings("__name__", "x"), 0, 1000, 1)
	q, err := e.NewRangeQuery(context.Background(), prom.New(m), nil, "sum(x)", time.UnixMilli(2000), time.UnixMilli(1500), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if res := q.Exec(context.Background()); res.Err != nil || res.String() != "" {
		t.Fatalf("%v, %v", res, res.Err)
	}
}

// TestAPlaceholderCannotBeWritten: a user's selector that looks like one selects
// series like any other.
func TestAPlaceholderCannotBeWritten(t *testing.T) {
	e := newEngine(t, promql.Options{})
	m := memstore.New()
	m.Append(labels.FromStrings("__name__", "x"), 0, 1000, 1)
	q, err := e.NewInstantQuery(context.Background(), prom.New(m), nil, `sum(x) and on () {__count_part__="0"}`, time.UnixMilli(1000))
	if err != nil {
		t.Fatal(err)
	}
	if v, err := q.Exec(context.Background()).Vector(); err != nil || len(v) != 0 {
		t.Fatalf("%v, %v", v, err)
	}
}

func TestATimeoutIsNamed(t *testing.T) {
	e := newEngine(t, promql.Options{Timeout: time.Millisecond})
	q, err := e.NewInstantQuery(context.Background(), prom.New(gate{entered: make(chan struct{})}), nil, "sum(x)", time.UnixMilli(2000))
	if err != nil {
		t.Fatal(err)
	}
	var timeout prompromql.ErrQueryTimeout
	if res := q.Exec(context.Background()); !errors.As(res.Err, &timeout) {
		t.Fatalf("error %v", res.Err)
	}
}

func TestExplain(t *testing.T) {
	e := newEngine(t, promql.Options{})
	got, err := e.Explain("2 * sum(rate(x[5m]))", time.UnixMilli(0), time.UnixMilli(60_000), time.Second)
	if err != nil || got != "remainder  {__count_part__=\"0\"}\npart 0     node 0: 2 * sum(rate(x[5m]))\n  leaf     node 2: sum(rate(x[5m]))\n" {
		t.Fatalf("%q, %v", got, err)
	}
	if _, err := e.Explain("sum(", time.UnixMilli(0), time.UnixMilli(0), 0); err == nil {
		t.Fatal("nonsense was explained")
	}
}

// TestEvaluationsAreCounted: what should be reduced is, and what falls back is
// seen.
func TestEvaluationsAreCounted(t *testing.T) {
	reg := prometheus.NewRegistry()
	e := newEngine(t, promql.Options{Registerer: reg})
	m := memstore.New()
	for i := range 40 {
		m.Append(labels.FromStrings("__name__", "x_total"), 0, int64(i)*15_000, float64(i))
		m.AppendHistogram(labels.FromStrings("__name__", "h"), 0, int64(i)*15_000, &histogram.Histogram{Count: uint64(i), ZeroCount: uint64(i)}, nil)
	}
	for _, qs := range []string{
		"sum(rate(x_total[5m]))", "sum(rate(h[5m]))", "histogram_quantile(0.9, sum(h))", "max_over_time(rate(x_total[1m])[5m:1m])", "count(h)", // reduced
		"x_total", "x_total + x_total", // reduced, with all that is above the selectors
		"sort(x_total)",          // whole
		"max(h)", "-rate(h[1m])", // histograms are left out, or negated
		"limitk(1, h)", "max_over_time(h[5m:1m])", // fallback
	} {
		q, err := e.NewInstantQuery(context.Background(), prom.New(m), nil, qs, time.UnixMilli(590_000))
		if err != nil {
			t.Fatal(err)
		}
		if res := q.Exec(context.Background()); res.Err != nil {
			t.Errorf("%s: %v", qs, res.Err)
		}
		q.Close()
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		if f.GetName() == "count_promql_queries_total" {
			for _, m := range f.GetMetric() {
				got[m.GetLabel()[0].GetValue()] = m.GetCounter().GetValue()
			}
		}
	}
	if want := map[string]float64{"reduced": 9, "whole": 1, "fallback": 2}; !maps.Equal(got, want) {
		t.Errorf("evaluations %v, want %v", got, want)
	}
}

func TestOptionsAreValidated(t *testing.T) {
	if _, err := promql.New(promql.Options{Timeout: -1, MaxSamples: -1, Concurrency: -1, LookbackDelta: -1}); err == nil {
		t.Fatal("negative options were taken")
	}
}
