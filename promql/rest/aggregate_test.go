package rest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"pgregory.net/rapid"

	"github.com/count-db/count/promql/memstore"
	"github.com/count-db/count/promql/prom"
)

// TestAggregationsAreThoseOfPromQL compares every aggregation with Prometheus's
// function over time, bit for bit.
func TestAggregationsAreThoseOfPromQL(t *testing.T) {
	engine := promql.NewEngine(promql.EngineOpts{MaxSamples: 1e6, Timeout: time.Minute})
	values := rapid.OneOf(
		rapid.Float64(),
		rapid.SampledFrom([]float64{math.NaN(), math.Inf(1), math.Inf(-1), 0, math.MaxFloat64, -math.MaxFloat64, 1e-300, 1e100, -1e100, 1}),
		rapid.Custom(func(t *rapid.T) float64 { return float64(rapid.IntRange(-1000, 1000).Draw(t, "int")) / 10 }),
	)
	rapid.Check(t, func(t *rapid.T) {
		vs := rapid.SliceOfN(values, 1, 50).Draw(t, "values")
		m := memstore.New()
		ts := make([]int64, len(vs))
		for i := range ts {
			ts[i] = int64(i + 1)
		}
		m.SetColumns(labels.FromStrings("__name__", "x"), ts, vs)
		for name, agg := range map[string]aggregation{"sum": aggSum, "avg": aggMean, "min": aggMin, "max": aggMax, "count": aggCount} {
			q, err := engine.NewInstantQuery(context.Background(), prom.New(m), nil, name+"_over_time(x[1s])", time.UnixMilli(1000))
			if err != nil {
				t.Fatal(err)
			}
			v, err := q.Exec(context.Background()).Vector()
			if err != nil {
				t.Fatal(err)
			}
			want := v[0].F
			// In two pieces, as from two slabs.
			var acc accumulator
			acc.add(agg, vs[:len(vs)/2])
			acc.add(agg, vs[len(vs)/2:])
			got := acc.result(agg)
			if math.Float64bits(got) != math.Float64bits(want) && !(math.IsNaN(got) && math.IsNaN(want)) {
				t.Fatalf("%s of %v = %v, PromQL has %v", name, vs, got, want)
			}
		}
	})
}

// TestWindowsAreThoseOfTheContract compares with the obvious way.
func TestWindowsAreThoseOfTheContract(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		start := rapid.Int64Range(-50, 50).Draw(t, "start")
		q := query{start: start, end: start + rapid.Int64Range(0, 60).Draw(t, "width"), step: rapid.Int64Range(1, 70).Draw(t, "step"), agg: aggCount, aggregated: true}
		var ts []int64
		for at := q.start; at <= q.end; at++ {
			if rapid.Bool().Draw(t, "sample") {
				ts = append(ts, at)
			}
		}
		want := map[int64]int{}
		for _, at := range ts {
			want[q.start+(at-q.start)/q.step*q.step]++
		}
		got := map[int64]int{}
		last := int64(math.MinInt64)
		w := newWindows(&q, func(at int64, v float64) error {
			if at <= last {
				t.Fatalf("window %d behind %d", at, last)
			}
			last = at
			got[at] = int(v)
			return nil
		})
		cut := 0
		if len(ts) > 0 {
			cut = rapid.IntRange(0, len(ts)).Draw(t, "cut")
		}
		for _, part := range [][]int64{ts[:cut], ts[cut:]} {
			if err := w.add(part, make([]float64, len(part))); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.flush(); err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("got %v, want %v", got, want)
		}
	})
}

func FuzzJSON(f *testing.F) {
	f.Add("a\"b\\\n\x00é\xff", 1.5)
	f.Add("", math.Inf(1))
	f.Add("x", 1e300)
	f.Fuzz(func(t *testing.T, s string, v float64) {
		var text string
		if err := json.Unmarshal(appendString(nil, s), &text); err != nil {
			t.Fatal(err)
		}
		if text != string([]rune(s)) {
			t.Fatalf("%q came back as %q", s, text)
		}
		number := appendNumber(nil, v)
		if number[0] == '"' {
			if !math.IsNaN(v) && !math.IsInf(v, 0) {
				t.Fatalf("%v became %s", v, number)
			}
			return
		}
		if !json.Valid(number) {
			t.Fatalf("%s is not JSON", number)
		}
		back, err := strconv.ParseFloat(string(number), 64)
		if err != nil || math.Float64bits(back) != math.Float64bits(v) {
			t.Fatalf("%v became %s", v, number)
		}
	})
}

// FuzzBody: whatever a POST request holds, it is refused for the client's fault or
// gives a query that passes its own check.
func FuzzBody(f *testing.F) {
	f.Add(`{"series":["a"],"start":1,"end":2,"aggregation":"sum","step":1}`, true)
	f.Add(`{"series":"a","start_time":1,"end_time":2,"aggregation":null}`, false)
	f.Add(`{"series":[`, false)
	f.Fuzz(func(t *testing.T, text string, aggregated bool) {
		r := httptest.NewRequest(http.MethodPost, "/query/range", strings.NewReader(text))
		b, err := readBody(httptest.NewRecorder(), r, 1<<16)
		var q query
		if err == nil {
			if b.internal() {
				q, err = b.internalQuery()
			} else {
				q, err = b.query(aggregated)
			}
		}
		var bad *requestError
		if err != nil {
			if !errors.As(err, &bad) {
				t.Fatalf("error %v", err)
			}
			return
		}
		if err := q.check(); err != nil || len(q.series) == 0 {
			t.Fatalf("query %+v: %v", q, err)
		}
	})
}
