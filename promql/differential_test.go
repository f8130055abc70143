package promql_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	prompromql "github.com/prometheus/prometheus/promql"

	"github.com/count-db/count/promql"
	"github.com/count-db/count/promql/memstore"
	"github.com/count-db/count/promql/prom"
)

// differentialQueries is how many generated queries a plain test run compares;
// COUNT_DIFFERENTIAL_QUERIES sets another number, COUNT_DIFFERENTIAL_SEED the
// seed.
const differentialQueries = 1500

func envInt(name string, fallback int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return fallback
}

// TestReducedEqualsPrometheus runs generated queries over generated data on both
// engines. What is not listed in compare must agree to the bit: values,
// timestamps, label sets, errors, warnings, infos and the counts of samples.
func TestReducedEqualsPrometheus(t *testing.T) {
	seed := uint64(envInt("COUNT_DIFFERENTIAL_SEED", 1))
	n := envInt("COUNT_DIFFERENTIAL_QUERIES", differentialQueries)
	const perStore = 100
	for round := range max(1, n/perStore) {
		rng := rand.New(rand.NewPCG(seed, uint64(round)))
		// Above 32 series, at two hosts, two workers share the work, where there are two cores:
		// then only the order of additions may differ.
		hosts := 1 + rng.IntN(4)
		if round%4 == 3 {
			hosts = 20
		}
		m := generateStore(rng, hosts)
		opts := promql.Options{
			DelayedNameRemoval: rng.IntN(4) == 0, UseStartTimestamps: rng.IntN(2) == 0,
			LookbackDelta: []time.Duration{0, time.Minute}[rng.IntN(2)],
		}
		plain := opts
		plain.NoReduction = true
		c := &comparison{
			t: t, store: m, exact: hosts == 1, label: fmt.Sprintf("seed %d round %d", seed, round),
			reduced: newEngine(t, opts), plain: newEngine(t, plain),
		}
		c.data = m
		if round%4 == 1 {
			// The parts on three nodes, which merge in another order.
			c.data, c.exact, c.label = spread{m, c.reduced, &atomic.Int64{}}, false, c.label+" on three nodes"
		}
		for range perStore {
			c.run(rng, (&generator{rng: rng}).vector(3))
			if t.Failed() {
				return
			}
		}
	}
}

// comparison holds the two engines.
type comparison struct {
	t              *testing.T
	store          *memstore.Store
	data           promql.Store // the same, as the reduced engine sees it
	exact          bool
	label          string
	reduced, plain *promql.Engine
}

func (c *comparison) run(rng *rand.Rand, text string) {
	c.t.Helper()
	start := time.UnixMilli(rng.Int64N(4_000_000))
	end := start.Add(time.Duration(rng.Int64N(2_000_000)) * time.Millisecond)
	step := time.Duration(5_000+rng.Int64N(120_000)) * time.Millisecond
	c.compare(text, asked{start: start, end: end, step: step, instant: rng.IntN(3) == 0})
}

// asked is when a query is evaluated.
type asked struct {
	start, end time.Time
	step       time.Duration
	instant    bool // at start
}

// compare runs a query on both engines.
func (c *comparison) compare(text string, at asked) {
	c.t.Helper()
	exec := func(e *promql.Engine, data promql.Store) (*prompromql.Result, prompromql.Query) {
		var q prompromql.Query
		var err error
		if at.instant {
			q, err = e.NewInstantQuery(context.Background(), prom.New(data), prompromql.NewPrometheusQueryOpts(true, 0, nil), text, at.start)
		} else {
			q, err = e.NewRangeQuery(context.Background(), prom.New(data), prompromql.NewPrometheusQueryOpts(true, 0, nil), text, at.start, at.end, at.step)
		}
		if err != nil {
			return &prompromql.Result{Err: err}, nil
		}
		return q.Exec(context.Background()), q
	}
	want, wantQuery := exec(c.plain, c.store)
	got, gotQuery := exec(c.reduced, c.data)
	where := fmt.Sprintf("%s: %s\n  instant %v, %d to %d step %v", c.label, text, at.instant, at.start.UnixMilli(), at.end.UnixMilli(), at.step)
	if choosing.MatchString(text) && (joining.MatchString(text) || !choosing.MatchString(text[:min(7, len(text))])) {
		return // what is chosen among equals is used further
	}
	if reordering.MatchString(text) {
		// Which series of a group is the first that does not fit, which pair of an
		// operator the last, and which of equals are chosen, depends on their order,
		// which is random in Prometheus's engine.
		for try := 0; try < asksAgain && !agree(got, want, text); try++ {
			want, wantQuery = exec(c.plain, c.store)
		}
	}
	if errorKind(got.Err) != errorKind(want.Err) {
		c.t.Errorf("%s\n  error %v, want %v", where, got.Err, want.Err)
		return
	}
	if want.Err != nil {
		return
	}
	if !agree(got, want, text) {
		c.t.Errorf("%s\n  annotations %q, want %q", where, annotationsOf(got, text), annotationsOf(want, text))
	}
	ss, gs := wantQuery.Stats().Samples, gotQuery.Stats().Samples
	if ss.TotalSamples != gs.TotalSamples || ss.SamplesRead != gs.SamplesRead || ss.TotalSeries != gs.TotalSeries ||
		!slices.Equal(ss.TotalSamplesPerStep, gs.TotalSamplesPerStep) || !slices.Equal(ss.SamplesReadPerStep, gs.SamplesReadPerStep) {
		c.t.Errorf("%s\n  samples %d read %d series %d, want %d %d %d", where, gs.TotalSamples, gs.SamplesRead, gs.TotalSeries, ss.TotalSamples, ss.SamplesRead, ss.TotalSeries)
	}
	// Prometheus's engine itself adds in a random order behind functions and
	// operators over instant vectors.
	exact := !overSeries.MatchString(text) || (c.exact && !reordering.MatchString(text))
	if !exact && selectsOdd.MatchString(text) {
		return // sums of huge values of both signs, and infinite ones, depend on the order
	}
	if diff := compare(got.Value, want.Value, exact, c.exact, text); diff != "" {
		c.t.Errorf("%s\n  %s", where, diff)
	}
}

// asksAgain is how often Prometheus's engine is asked for another answer.
const asksAgain = 200

// agree says whether two results have one error, or the same annotations.
func agree(got, want *prompromql.Result, text string) bool {
	return errorKind(got.Err) == errorKind(want.Err) &&
		(want.Err != nil || slices.Equal(annotationsOf(got, text), annotationsOf(want, text)))
}

// annotationsOf lists the warnings and infos of a result.
func annotationsOf(r *prompromql.Result, text string) []string {
	warnings, infos := r.Warnings.AsStrings(text, 0, 0)
	all := slices.Concat(warnings, infos)
	if reordering.MatchString(text) {
		// These depend on the order at each step: asking again seldom gives the same.
		all = slices.DeleteFunc(all, misfit.MatchString)
	}
	slices.Sort(all)
	return all
}

// errorKind is the text of an error without the labels that it names: which of
// several offenders is named depends on the order of a map.
func errorKind(err error) string {
	kind, _, _ := strings.Cut(fmt.Sprint(err), "{")
	return kind
}

var (
	choosing   = regexp.MustCompile(`(topk|bottomk|limitk)`)
	joining    = regexp.MustCompile(`__name__| (on|and|or|unless|\+|> bool) `)
	misfit     = regexp.MustCompile(`exponential and custom buckets|mismatched custom buckets|incompatible sample types encountered for binary operator`)
	overSeries = regexp.MustCompile(`\b(sum|avg|stddev|stdvar)( by| without)? ?\(`)
	signedZero = regexp.MustCompile(`(/|%|\^|atan2).*\bquantile\b`)
	selectsOdd = regexp.MustCompile(`\bodd\b|\{__name__!=""\}|\{instance="h00"\}`)
	reordering = regexp.MustCompile(`\b(quantile|abs|ceil|floor|sqrt|exp|ln|sgn|round|clamp|clamp_min|timestamp|sort|absent)\(| (bool|[-+*/%^<>=!]+|or|and|unless) |:`)
)

// point is one value of a result, of a vector or a matrix.
type point struct {
	metric string
	t      int64
	f      float64
	h      *histogram.FloatHistogram
}

// points lists a result in its own order.
func points(v any) []point {
	var out []point
	switch v := v.(type) {
	case prompromql.Vector:
		for _, s := range v {
			out = append(out, point{s.Metric.String(), s.T, s.F, s.H})
		}
	case prompromql.Matrix:
		for _, s := range v {
			for _, p := range s.Floats {
				out = append(out, point{s.Metric.String(), p.T, p.F, nil})
			}
			for _, p := range s.Histograms {
				out = append(out, point{s.Metric.String(), p.T, 0, p.H})
			}
		}
	case prompromql.Scalar:
		out = append(out, point{"", v.T, v.V, nil})
	}
	return out
}

// compare says what differs. Where topk and bottomk choose among equal values,
// and limitk among all, any choice is right: then the values of each step are
// compared without their labels, or only counted.
func compare(got, want any, exact, ordered bool, text string) string {
	g, w := points(got), points(want)
	if strings.Contains(text, "limitk") {
		for _, list := range [][]point{g, w} {
			for i := range list {
				list[i].metric, list[i].f, list[i].h = "", 0, nil
			}
		}
	}
	for _, list := range [][]point{g, w} {
		// The order of an instant vector is free.
		slices.SortStableFunc(list, func(a, b point) int { return strings.Compare(a.metric, b.metric) })
	}
	if choosing.MatchString(text) {
		for _, list := range [][]point{g, w} {
			for i := range list {
				list[i].metric = ""
			}
			slices.SortStableFunc(list, func(a, b point) int {
				if a.t != b.t {
					return int(a.t - b.t)
				}
				switch {
				case a.f < b.f || (math.IsNaN(a.f) && !math.IsNaN(b.f)):
					return -1
				case a.f > b.f || (math.IsNaN(b.f) && !math.IsNaN(a.f)):
					return 1
				}
				return 0
			})
		}
	}
	if len(g) != len(w) {
		return fmt.Sprintf("%d points, want %d\n%v\n%v", len(g), len(w), got, want)
	}
	for i := range w {
		a, b := g[i], w[i]
		if !ordered && a.metric == b.metric && a.t == b.t && a.h == nil && b.h == nil && signedZero.MatchString(text) && extreme(a.f) && extreme(b.f) {
			continue // which of two zeros a quantile takes depends on the order
		}
		if a.metric != b.metric || a.t != b.t || (a.h == nil) != (b.h == nil) || (a.h != nil && !sameHistogram(a.h, b.h, exact)) || !(same(a.f, b.f, exact) || (a.f == b.f && (!ordered || reordering.MatchString(text) || choosing.MatchString(text)))) {
			return fmt.Sprintf("point %d is %v %+v, want %v %+v", i, a, a.h, b, b.h)
		}
	}
	return ""
}

// extreme says whether a value is what dividing by zero gives.
func extreme(v float64) bool { return math.IsInf(v, 0) || math.IsNaN(v) }

// sameHistogram compares whole, or where the order of additions is free what adds
// up.
func sameHistogram(a, b *histogram.FloatHistogram, exact bool) bool {
	if a.UsesCustomBuckets() && b.UsesCustomBuckets() {
		// A negative zero of a bucket that these do not have is lost in copies.
		a, b = a.Copy(), b.Copy()
	}
	a, b = plainNaNs(a), plainNaNs(b)
	return a.Equals(b) || (!exact && same(a.Count, b.Count, false) && same(a.Sum, b.Sum, false) && a.Schema == b.Schema)
}

// plainNaNs returns a copy with one NaN for all: the sign of one rests on how the
// compiler multiplies.
func plainNaNs(h *histogram.FloatHistogram) *histogram.FloatHistogram {
	h = h.Copy()
	plain := func(v *float64) {
		if math.IsNaN(*v) {
			*v = math.NaN()
		}
	}
	plain(&h.ZeroCount)
	plain(&h.Count)
	plain(&h.Sum)
	for _, buckets := range [][]float64{h.PositiveBuckets, h.NegativeBuckets} {
		for i := range buckets {
			plain(&buckets[i])
		}
	}
	return h
}

func same(a, b float64, exact bool) bool {
	if math.Float64bits(a) == math.Float64bits(b) || (math.IsNaN(a) && math.IsNaN(b)) {
		return true
	}
	return !exact && math.Abs(a-b) <= 1e-9*max(math.Abs(a), math.Abs(b))+1e-9
}

// generateStore makes series of several kinds on shared and on own timestamps,
// with gaps, resets, stale markers, odd values, start timestamps and a few
// histograms.
func generateStore(rng *rand.Rand, hosts int) *memstore.Store {
	m := memstore.New()
	m.NoRandomAccess = rng.IntN(4) == 0
	for host := range hosts {
		interval := []int64{15_000, 10_000, 30_000, 60_000}[rng.IntN(4)]
		var ts []int64
		for t := rng.Int64N(interval); t < 5_000_000; t += interval {
			if rng.IntN(50) == 0 {
				t += rng.Int64N(900_000)
			}
			ts = append(ts, t+rng.Int64N(40))
		}
		for series := range 4 {
			instance, mode := fmt.Sprintf("h%02d", host), []string{"user", "idle", "system", "io"}[series]
			add := func(name string, kind int) {
				generateSeries(rng, m, labels.FromStrings("__name__", name, "instance", instance, "mode", mode), ts, kind)
			}
			add("c_total", 0)
			add("g", 1+rng.IntN(4))
			if series < 2 {
				add("odd", 5)
			}
			add("h", 6+rng.IntN(2))
			if series < 2 {
				add("custom", 9)
			}
			if series == 0 && host == 0 {
				add("mixed", 8)
			} else if series < 2 {
				add("mixed", 1)
			}
		}
		for _, le := range []string{"0.1", "1", "+Inf"} {
			generateSeries(rng, m, labels.FromStrings("__name__", "b_bucket", "instance", fmt.Sprintf("h%02d", host), "le", le), ts, 0)
		}
	}
	return m
}

// generateHistogram appends a native histogram, integer or float, of changing
// layouts.
func generateHistogram(rng *rand.Rand, m *memstore.Store, ls labels.Labels, st, t int64, v float64, kind int) {
	n := int64(v)
	h := &histogram.Histogram{
		Count: uint64(2*n + 1), Sum: v / 8, ZeroThreshold: 0.001,
		PositiveSpans: []histogram.Span{{Offset: 0, Length: 2}}, PositiveBuckets: []int64{n, 1},
	}
	if kind == 9 {
		h.Schema, h.ZeroThreshold = histogram.CustomBucketsSchema, 0
		h.CustomValues = []float64{0.5, 2}
		if rng.IntN(60) == 0 {
			h.CustomValues = []float64{0.5, 4}
		}
		m.AppendHistogram(ls, st, t, h, nil)
		return
	}
	switch rng.IntN(40) {
	case 0:
		h.PositiveSpans[0].Offset = 1
	case 1:
		h.Schema = 2
	case 2:
		h.Sum = math.Float64frombits(value.StaleNaN)
	case 3:
		h.CounterResetHint = histogram.CounterReset
	case 4:
		if kind == 7 {
			h.CounterResetHint = histogram.GaugeType
		}
	}
	if kind == 7 {
		m.AppendHistogram(ls, st, t, nil, h.ToFloat(nil))
	} else {
		m.AppendHistogram(ls, st, t, h, nil)
	}
}

func generateSeries(rng *rand.Rand, m *memstore.Store, ls labels.Labels, ts []int64, kind int) {
	v := float64(rng.IntN(1000))
	st := int64(0)
	withST := rng.IntN(4) == 0
	from, to := 0, len(ts)
	if rng.IntN(5) == 0 {
		from = rng.IntN(len(ts))
	}
	if rng.IntN(5) == 0 {
		to = from + rng.IntN(len(ts)-from)
	}
	clean := rng.IntN(2) == 0 // nothing odd: the fast paths
	for i := from; i < to; i++ {
		t := ts[i]
		if !clean {
			switch rng.IntN(60) {
			case 0:
				continue
			case 1:
				m.Append(ls, 0, t, math.Float64frombits(value.StaleNaN))
				continue
			}
		}
		switch kind {
		case 0:
			v += float64(rng.IntN(100))
			if rng.IntN(80) == 0 {
				v = float64(rng.IntN(20))
				st = t - 1 - rng.Int64N(5000)
			}
		case 1:
			v = float64(rng.IntN(2000)-1000) / 10
		case 2:
			v = float64(rng.IntN(5))
		case 3:
			if rng.IntN(20) == 0 {
				v = rng.NormFloat64() * 1e6
			}
		case 4:
			v += rng.Float64() - 0.4
		case 5:
			v = []float64{math.NaN(), math.Inf(1), math.Inf(-1), 0, math.Copysign(0, -1), 1e300, -1e300, math.MaxFloat64, 1, 2.5}[rng.IntN(10)]
		case 6, 7, 8, 9:
			if kind == 8 && rng.IntN(40) > 0 {
				break
			}
			v = float64(int64(v) + int64(rng.IntN(10)))
			if rng.IntN(100) == 0 {
				v = 1
			}
			generateHistogram(rng, m, ls, st, t, v, kind)
			continue
		}
		if withST {
			m.Append(ls, st, t, v)
		} else {
			m.Append(ls, 0, t, v)
		}
	}
}
