package promql_test

import (
	"context"
	"strings"
	"testing"
	"time"

	prompromql "github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/storage"

	"github.com/count-db/count/promql"
	"github.com/count-db/count/promql/promtest"
)

// TestPrometheusScriptsReduced runs all of Prometheus's own PromQL scripts with
// the reduced evaluator on, with the settings of Prometheus's own run.
func TestPrometheusScriptsReduced(t *testing.T) {
	e := newEngine(t, promql.Options{
		Timeout: 100 * time.Second, MaxSamples: promqltest.DefaultMaxSamplesPerQuery,
		DelayedNameRemoval: true, UseStartTimestamps: true,
	})
	promqltest.RunBuiltinTestsWithStorage(t, e, func(testing.TB) storage.Storage {
		s, _ := promtest.NewMemory()
		return s
	})
}

// both answers queries by one engine and beside compares two others: the reduced
// evaluator and Prometheus's engine with the settings of production.
type both struct {
	*promql.Engine
	t              *testing.T
	reduced, plain *promql.Engine
	compared       int
}

func (b *both) NewInstantQuery(ctx context.Context, q storage.Queryable, opts prompromql.QueryOpts, qs string, ts time.Time) (prompromql.Query, error) {
	b.compare(qs, func(e *promql.Engine) (prompromql.Query, error) { return e.NewInstantQuery(ctx, q, opts, qs, ts) })
	return b.Engine.NewInstantQuery(ctx, q, opts, qs, ts)
}

func (b *both) NewRangeQuery(ctx context.Context, q storage.Queryable, opts prompromql.QueryOpts, qs string, start, end time.Time, step time.Duration) (prompromql.Query, error) {
	b.compare(qs, func(e *promql.Engine) (prompromql.Query, error) {
		return e.NewRangeQuery(ctx, q, opts, qs, start, end, step)
	})
	return b.Engine.NewRangeQuery(ctx, q, opts, qs, start, end, step)
}

func (b *both) compare(qs string, make func(e *promql.Engine) (prompromql.Query, error)) {
	exec := func(e *promql.Engine) *prompromql.Result {
		q, err := make(e)
		if err != nil {
			return &prompromql.Result{Err: err}
		}
		return q.Exec(context.Background())
	}
	want, got := exec(b.plain), exec(b.reduced)
	b.compared++
	if choosing.MatchString(qs) || strings.Contains(qs, "limit_ratio") {
		return // what is chosen among equals is free
	}
	if errorKind(got.Err) != errorKind(want.Err) {
		b.t.Errorf("%s: error %v, want %v", qs, got.Err, want.Err)
		return
	}
	if want.Err != nil {
		return
	}
	if diff := compare(got.Value, want.Value, false, false, qs); diff != "" {
		b.t.Errorf("%s: %s", qs, diff)
	}
	ww, wi := want.Warnings.CountWarningsAndInfo()
	gw, gi := got.Warnings.CountWarningsAndInfo()
	if ww != gw || wi != gi {
		b.t.Errorf("%s: warnings %v, want %v", qs, got.Warnings, want.Warnings)
	}
}

// TestPrometheusScriptsAsInProduction runs the queries of the scripts on both
// engines with the settings of production, where their expected results do not
// all hold.
func TestPrometheusScriptsAsInProduction(t *testing.T) {
	limit := promqltest.DefaultMaxSamplesPerQuery
	b := &both{
		t:       t,
		Engine:  newEngine(t, promql.Options{MaxSamples: limit, DelayedNameRemoval: true, UseStartTimestamps: true, NoReduction: true}),
		reduced: newEngine(t, promql.Options{MaxSamples: limit}), plain: newEngine(t, promql.Options{MaxSamples: limit, NoReduction: true}),
	}
	promqltest.RunBuiltinTestsWithStorage(t, b, func(testing.TB) storage.Storage {
		s, _ := promtest.NewMemory()
		return s
	})
	if b.compared < 2000 {
		t.Errorf("only %d queries were compared", b.compared)
	}
}
