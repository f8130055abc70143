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

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql"
	"pgregory.net/rapid"

	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/promql/memstore"
	"github.com/count-db/count/promql/prom"
	"github.com/count-db/count/promql/store"
)

// drawSeries makes a series with gaps, odd values, stale markers and histograms.
func drawSeries(t *rapid.T, m *memstore.Store, name string) {
	values := rapid.OneOf(
		rapid.Float64(),
		rapid.SampledFrom([]float64{
			math.NaN(), math.Inf(1), math.Inf(-1), 0, math.Copysign(0, -1), math.MaxFloat64, -math.MaxFloat64, 1e-300, 1e100, -1e100, 1,
			math.Float64frombits(value.StaleNaN),
		}),
		rapid.Custom(func(t *rapid.T) float64 { return float64(rapid.IntRange(-1000, 1000).Draw(t, "int")) / 10 }),
	)
	ls := labels.FromStrings("__name__", name)
	at := rapid.Int64Range(-30, 30).Draw(t, "first")
	for range rapid.IntRange(0, 50).Draw(t, "samples") {
		if rapid.IntRange(0, 9).Draw(t, "kind") == 0 {
			m.AppendHistogram(ls, 0, at, &histogram.Histogram{Count: 1}, nil)
		} else {
			m.Append(ls, 0, at, values.Draw(t, "value"))
		}
		at += rapid.Int64Range(1, 4).Draw(t, "gap")
	}
}

// seriesOfStore returns the series of a name, nil where there is none.
func seriesOfStore(t *rapid.T, m *memstore.Store, name string) store.Series {
	set, err := m.Select(context.Background(), math.MinInt64, math.MaxInt64, labels.MustNewMatcher(labels.MatchEqual, "__name__", name))
	if err != nil {
		t.Fatal(err)
	}
	if !set.Next() {
		return nil
	}
	return set.At()
}

// TestAggregatesAreThoseOfPromQL compares every aggregate of every window with
// Prometheus's function over time at the window's end, bit for bit: that sees
// (end-range, end], a window is [start, start+step), and times are whole
// milliseconds.
func TestAggregatesAreThoseOfPromQL(t *testing.T) {
	engine := promql.NewEngine(promql.EngineOpts{MaxSamples: 1e6, Timeout: time.Minute})
	rapid.Check(t, func(t *rapid.T) {
		m := memstore.New()
		drawSeries(t, m, "x")
		x := seriesOfStore(t, m, "x")
		// Prometheus sees the floats alone, as REST does.
		floats := memstore.New()
		if x != nil {
			var cols model.Columns
			if err := x.Read(math.MinInt64, math.MaxInt64, &cols); err != nil {
				t.Fatal(err)
			}
			floats.SetColumns(x.Labels(), cols.T, cols.V)
		}
		q := query{aggregated: true, start: rapid.Int64Range(-50, 100).Draw(t, "start")}
		q.end = q.start + rapid.Int64Range(0, 150).Draw(t, "width")
		q.step = rapid.Int64Range(0, 170).Draw(t, "step")
		for agg := aggSum; agg <= aggCount; agg++ {
			q.agg = agg
			budget := int64(1e6)
			got, err := q.aggregate(context.Background(), []store.Series{x}, &budget)
			if err != nil {
				t.Fatal(err)
			}
			want := windowsByPrometheus(t, engine, floats, q)
			if len(got[0]) != len(want) {
				t.Fatalf("%s %+v: %v, PromQL has %v", agg.function(), q, got[0], want)
			}
			for i, w := range want {
				g := got[0][i]
				if g.start != w.start || (math.Float64bits(g.v) != math.Float64bits(w.v) && !(math.IsNaN(g.v) && math.IsNaN(w.v))) {
					t.Fatalf("%s %+v: %v, PromQL has %v", agg.function(), q, got[0], want)
				}
			}
		}
	})
}

// windowsByPrometheus asks Prometheus's engine for every window by itself.
func windowsByPrometheus(t *rapid.T, engine *promql.Engine, m *memstore.Store, q query) []windowValue {
	var list []windowValue
	for start := q.start; start <= q.end; {
		last := q.end
		if q.step > 0 {
			last = min(last, start+q.step-1)
		}
		text := fmt.Sprintf("%s(x[%dms])", q.agg.function(), last-start+1)
		query, err := engine.NewInstantQuery(context.Background(), prom.New(m), nil, text, time.UnixMilli(last))
		if err != nil {
			t.Fatal(err)
		}
		v, err := query.Exec(context.Background()).Vector()
		if err != nil {
			t.Fatal(err)
		}
		if len(v) > 0 {
			list = append(list, windowValue{start: start, v: v[0].F})
		}
		start = last + 1
	}
	return list
}

// TestWindowsAreThoseOfTheContract compares with the obvious way, on ranges of
// any place and width.
func TestWindowsAreThoseOfTheContract(t *testing.T) {
	anywhere := rapid.OneOf(rapid.Int64Range(-60, 60), rapid.Int64Range(math.MinInt64, math.MaxInt64), rapid.SampledFrom([]int64{math.MinInt64, math.MaxInt64}))
	rapid.Check(t, func(t *rapid.T) {
		q := query{agg: aggCount, aggregated: true, start: anywhere.Draw(t, "start"), end: anywhere.Draw(t, "end")}
		if q.start > q.end {
			q.start, q.end = q.end, q.start
		}
		if rapid.Bool().Draw(t, "stepped") {
			least := (uint64(q.end)-uint64(q.start))/maxWindows + 1
			q.step = int64(min(least, math.MaxInt64-100)) + rapid.Int64Range(0, 70).Draw(t, "step")
		}
		if q.check() != nil {
			t.Skip("too many windows")
		}
		m := memstore.New()
		want := map[int64]int{}
		ls := labels.FromStrings("__name__", "x")
		m.Append(ls, 0, 1000, 0)
		for at := int64(-60); at <= 60; at++ {
			if !rapid.Bool().Draw(t, "sample") {
				continue
			}
			m.Append(ls, 0, at, 1)
			switch {
			case at < q.start || at > q.end:
			case q.step == 0:
				want[q.start]++
			default:
				k := (uint64(at) - uint64(q.start)) / uint64(q.step)
				want[int64(uint64(q.start)+k*uint64(q.step))]++
			}
		}
		if q.start <= 1000 && q.end >= 1000 {
			k := uint64(0)
			if q.step > 0 {
				k = (1000 - uint64(q.start)) / uint64(q.step) * uint64(q.step)
			}
			want[int64(uint64(q.start)+k)]++
		}
		budget := int64(1000)
		got, err := q.aggregate(context.Background(), []store.Series{seriesOfStore(t, m, "x")}, &budget)
		if err != nil {
			t.Fatal(err)
		}
		seen := map[int64]int{}
		for i, v := range got[0] {
			if i > 0 && got[0][i-1].start >= v.start {
				t.Fatalf("window %d behind %d", v.start, got[0][i-1].start)
			}
			seen[v.start] = int(v.v)
		}
		if fmt.Sprint(seen) != fmt.Sprint(want) {
			t.Fatalf("%+v: got %v, want %v", q, seen, want)
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
