package partial_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"pgregory.net/rapid"

	"github.com/count-db/count/internal/golden"
	"github.com/count-db/count/internal/wire"
	"github.com/count-db/count/promql/memstore"
	"github.com/count-db/count/promql/partial"
	"github.com/count-db/count/promql/store"
)

var testGrid = partial.Grid{Start: 600_000, End: 1_200_000, Step: 60_000}

func compile(t testing.TB, text string, g partial.Grid) *partial.Program {
	t.Helper()
	e, err := parser.NewParser(parser.Options{EnableExperimentalFunctions: true}).ParseExpr(text)
	if err != nil {
		t.Fatal(err)
	}
	e, err = promql.PreprocessExpr(e, time.UnixMilli(g.Start), time.UnixMilli(g.End), time.Duration(g.Step)*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	p, err := partial.Compile(e, g, partial.Options{LookbackMs: 300_000})
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return p
}

func run(t testing.TB, p *partial.Program, g partial.Grid, m *memstore.Store) *partial.Result {
	t.Helper()
	set, err := m.Select(context.Background(), 0, math.MaxInt64, p.Matchers()...)
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	r, err := partial.Runner{}.Run(context.Background(), p, g, set.(store.Selection))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// fill adds a series of a rising value to one of the stores.
func fill(m *memstore.Store, rng *rand.Rand, host int) {
	ls := labels.FromStrings("__name__", "x", "host", fmt.Sprintf("h%02d", host), "zone", fmt.Sprint(host%3))
	v := rng.Float64() * 100
	for t := rng.Int64N(15_000); t < 1_300_000; t += 15_000 {
		v += math.Round(rng.Float64()*100) / 10
		if rng.IntN(30) > 0 {
			m.Append(ls, 0, t, v)
		}
	}
	if host%7 == 6 {
		m.Append(ls, 0, 700_000, math.NaN())
	}
	hist := labels.FromStrings("__name__", "h", "host", fmt.Sprintf("h%02d", host), "zone", fmt.Sprint(host%3))
	n := int64(rng.IntN(100))
	for t := rng.Int64N(15_000); t < 1_300_000; t += 15_000 {
		n += int64(rng.IntN(10))
		m.AppendHistogram(hist, 0, t, &histogram.Histogram{
			Count: uint64(2*n + 1), Sum: float64(n) / 8, PositiveSpans: []histogram.Span{{Offset: int32(host % 2), Length: 2}}, PositiveBuckets: []int64{n, 1},
		}, nil)
	}
}

func text(r *partial.Result) []string {
	var out []string
	series, err := r.Final()
	if err != nil {
		return []string{err.Error()}
	}
	for _, s := range series {
		var b strings.Builder
		b.WriteString(s.Labels.String())
		for k, v := range s.V {
			if s.H != nil && s.H[k] != nil {
				fmt.Fprintf(&b, " %d:%.9g %.9g", k, s.H[k].Count, s.H[k].Sum)
			} else if s.OK == nil || s.OK[k] {
				// Twelve digits: the order of additions shows in the last ones.
				fmt.Fprintf(&b, " %d:%.12g", k, v)
			}
		}
		out = append(out, b.String())
	}
	slices.Sort(out)
	return out
}

var mergeQueries = []string{
	`quantile by (zone) (0.9, x)`, `count_values("v", round(x, 100))`, `avg(rate(h[5m]))`, `limit_ratio(0.5, x)`,
	`sum(x)`, `sum by (zone) (rate(x[5m]))`, `avg by (zone) (x)`, `avg(max_over_time(x[2m]))`, `min by (zone) (x)`, `max(x)`,
	`count by (zone) (x > 200)`, `group(x)`, `stddev(x)`, `stdvar by (zone) (x)`, `sum without (host) (-x)`,
	`sum by (zone) (rate(h[5m]))`, `sum(h)`, `count(h)`, `increase(h[2m])`,
	`topk(3, x)`, `bottomk by (zone) (2, rate(x[5m]))`, `rate(x[1m])`, `x * 2 > 300`,
	`limitk(2, x)`, `limitk by (zone) (3, rate(x[5m]))`,
}

// TestMerge: however the series lie on nodes and in whatever order their results
// come in, over the wire, the outcome is that of one node.
func TestMerge(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 1))
		query := rapid.SampledFrom(mergeQueries).Draw(rt, "query")
		nodes := rapid.IntRange(1, 5).Draw(rt, "nodes")
		one, many := memstore.New(), make([]*memstore.Store, nodes)
		for i := range many {
			many[i] = memstore.New()
		}
		for host := range rapid.IntRange(0, 40).Draw(rt, "series") {
			seed := rng.Uint64()
			fill(one, rand.New(rand.NewPCG(seed, 2)), host)
			fill(many[rng.IntN(nodes)], rand.New(rand.NewPCG(seed, 2)), host)
		}
		p := compile(t, query, testGrid)
		want := run(t, p, testGrid, one)
		var got *partial.Result
		for _, i := range rng.Perm(nodes) {
			data := run(t, p, testGrid, many[i]).Append(nil, query)
			r, err := partial.Decode(p, testGrid, data)
			if err != nil {
				rt.Fatal(err)
			}
			if got == nil {
				got = r
			} else {
				got.Merge(r)
			}
		}
		if !slices.Equal(got.Total, want.Total) || !slices.Equal(got.Read, want.Read) || got.Series != want.Series || got.Points != want.Points {
			rt.Fatalf("%s: counts %v %v %d %d, want %v %v %d %d", query, got.Total, got.Read, got.Series, got.Points, want.Total, want.Read, want.Series, want.Points)
		}
		if !slices.Equal(messages(got, query), messages(want, query)) {
			rt.Fatalf("%s: annotations %v, want %v", query, messages(got, query), messages(want, query))
		}
		if a, b := text(got), text(want); !slices.Equal(a, b) {
			rt.Fatalf("%s:\n got %v\nwant %v", query, strings.Join(a, "\n"), strings.Join(b, "\n"))
		}
	})
}

// TestLimitkIsTheSameWhoeverAnswersFirst: a panel must not change from one refresh
// to the next because another node was quicker.
func TestLimitkIsTheSameWhoeverAnswersFirst(t *testing.T) {
	const query = "limitk(3, x)"
	one, first, second := memstore.New(), memstore.New(), memstore.New()
	for host := range 6 {
		owner := first
		if host%2 == 1 {
			owner = second
		}
		for _, m := range []*memstore.Store{one, owner} {
			fill(m, rand.New(rand.NewPCG(uint64(host), 2)), host)
		}
	}
	p := compile(t, query, testGrid)
	want := text(run(t, p, testGrid, one))
	for _, order := range [][]*memstore.Store{{first, second}, {second, first}} {
		got, err := partial.Join(query, []*partial.Result{run(t, p, testGrid, order[0]), run(t, p, testGrid, order[1])})
		if err != nil {
			t.Fatal(err)
		}
		if got := text(got); !slices.Equal(got, want) {
			t.Errorf("got %v\nwant %v", got, want)
		}
	}
}

func messages(r *partial.Result, query string) []string {
	ws, is := r.Annotations().AsStrings(query, 0, 0)
	return append(ws, is...)
}

func TestHistogramsFallBack(t *testing.T) {
	m := memstore.New()
	m.AppendHistogram(labels.FromStrings("__name__", "x"), 0, 700_000, &histogram.Histogram{Count: 1}, nil)
	p := compile(t, "limitk(1, x)", testGrid)
	set, err := m.Select(context.Background(), 0, math.MaxInt64, p.Matchers()...)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (partial.Runner{}).Run(context.Background(), p, testGrid, set.(store.Selection)); !errors.Is(err, partial.ErrFallback) {
		t.Fatalf("error %v", err)
	}
}

// TestLimitOfSamples: too many points are an error as in Prometheus's engine; a
// single series that is larger than the limit is left to it.
func TestLimitOfSamples(t *testing.T) {
	m := memstore.New()
	for host := range 10 {
		fill(m, rand.New(rand.NewPCG(1, 1)), host)
	}
	p := compile(t, "rate(x[5m])", testGrid)
	var tooMany promql.ErrTooManySamples
	for limit, want := range map[int64]func(error) bool{
		1000: func(err error) bool { return err == nil },
		100:  func(err error) bool { return errors.As(err, &tooMany) },
		10:   func(err error) bool { return errors.Is(err, partial.ErrFallback) },
	} {
		set, err := m.Select(context.Background(), 0, math.MaxInt64, p.Matchers()...)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := (partial.Runner{MaxSamples: limit}).Run(context.Background(), p, testGrid, set.(store.Selection)); !want(err) {
			t.Errorf("limit %d: error %v", limit, err)
		}
	}
}

// TestGolden: the form on the wire does not change without a new version.
func TestGolden(t *testing.T) {
	m := memstore.New()
	for host := range 4 {
		fill(m, rand.New(rand.NewPCG(7, uint64(host))), host)
	}
	for i, query := range []string{`sum by (zone) (rate(x[5m]))`, `avg(x)`, `stddev(x)`, `topk(2, x)`, `max_over_time(x[1m])`, `min(x > 300)`, `count(x)`, `sum by (zone) (rate(h[5m]))`, `last_over_time(h[1m])`, `avg(rate(h[5m]))`, `quantile(0.5, x)`, `count_values("v", round(x, 100))`} {
		p := compile(t, query, testGrid)
		got := run(t, p, testGrid, m).Append(nil, query)
		name := fmt.Sprintf("testdata/v1-%d.golden", i)
		if _, err := partial.Decode(p, testGrid, golden.Check(t, name, got)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	m := memstore.New()
	for host := range 4 {
		fill(m, rand.New(rand.NewPCG(7, uint64(host))), host)
	}
	programs := make([]*partial.Program, len(mergeQueries))
	for i, query := range mergeQueries {
		programs[i] = compile(f, query, testGrid)
		data := run(f, programs[i], testGrid, m).Append(nil, query)
		f.Add(byte(i), data[wire.FrameOverhead:])
	}
	f.Fuzz(func(t *testing.T, which byte, payload []byte) {
		p := programs[int(which)%len(programs)]
		// The checksum is made right, so that what lies behind it is reached.
		r, err := partial.Decode(p, testGrid, wire.AppendFrame(nil, payload, 0))
		if err != nil {
			return
		}
		again, err := partial.Decode(p, testGrid, r.Append(nil, ""))
		if err != nil {
			t.Fatal(err)
		}
		r.Merge(again)
		if _, err := r.Final(); err != nil && !errors.Is(err, partial.ErrFallback) {
			t.Fatal(err)
		}
	})
}
