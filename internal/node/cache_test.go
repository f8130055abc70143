package node

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	prompromql "github.com/prometheus/prometheus/promql"

	"github.com/count-db/count/engine"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/vfs"
	"github.com/count-db/count/promql"
	"github.com/count-db/count/promql/prom"
)

// cacheSteps is how many steps a plain run of TestCachedAnswersAreComputedOnes
// takes; COUNT_CACHE_STEPS sets another number, COUNT_CACHE_SEED the seed.
const cacheSteps = 300

func envInt(name string, fallback int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return fallback
}

// cacheQueries are asked again and again. Up to 32 series are evaluated by one
// worker, so that sums agree to the bit.
var cacheQueries = []struct {
	text         string
	length, step time.Duration
}{
	{`sum by (job) (rate(requests_total[5m]))`, time.Hour, 15 * time.Second},
	{`rate(requests_total[5m])`, 2 * time.Hour, time.Minute},
	{`max by (job) (max_over_time(temp[1h]))`, 12 * time.Hour, 5 * time.Minute},
	{`avg(temp)`, 6 * time.Hour, time.Minute},
	{`temp > 20`, time.Hour, 30 * time.Second},
	{`topk(2, rate(requests_total[10m]))`, 3 * time.Hour, time.Minute},
	{`stddev by (job) (temp offset 10m)`, 2 * time.Hour, time.Minute},
	{`count(requests_total) / count(temp)`, 24 * time.Hour, 10 * time.Minute},
	{`quantile_over_time(0.9, temp[30m])`, 2 * time.Hour, 2 * time.Minute},
	{`sum(increase(requests_total[2h]))`, 40 * time.Hour, 20 * time.Minute},
	{`last_over_time(temp{instance="1"}[5m])`, time.Hour, 15 * time.Second},
	{`sum(rate(latency[5m]))`, time.Hour, time.Minute},
	{`count_over_time(temp[1d])`, 36 * time.Hour, time.Hour},
}

// cacheTest is a storage whose clock the test moves, and two query engines over
// it: one with a cache.
type cacheTest struct {
	*testing.T
	rng      *rand.Rand
	fs       *vfs.MemFS
	versions bool

	mu            sync.Mutex // guards now: the storage asks for the time by itself
	now           time.Time
	db            *engine.DB
	cached, plain *promql.Engine
	registry      *prometheus.Registry
	values        map[string]float64
}

func newCacheTest(t *testing.T, seed uint64, versions bool) *cacheTest {
	c := &cacheTest{
		T: t, rng: rand.New(rand.NewPCG(seed, 7)), fs: vfs.NewMem(), versions: versions,
		now: time.Date(2026, 5, 4, 20, 0, 0, 0, time.UTC), values: map[string]float64{},
	}
	c.open()
	t.Cleanup(c.close)
	return c
}

func (c *cacheTest) time() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *cacheTest) open() {
	c.Helper()
	var err error
	c.db, err = engine.Open(c.fs, "data", engine.Options{
		Now: c.time, Versions: c.versions, NoBackground: true, Retention: 20 * time.Hour,
	})
	if err != nil {
		c.Fatal(err)
	}
	c.registry = prometheus.NewRegistry()
	cache, err := promql.NewCache(4<<20, c.registry)
	if err != nil {
		c.Fatal(err)
	}
	if c.cached, err = promql.New(promql.Options{Cache: cache}); err != nil {
		c.Fatal(err)
	}
	if c.plain, err = promql.New(promql.Options{}); err != nil {
		c.Fatal(err)
	}
}

func (c *cacheTest) close() {
	c.Helper()
	for _, close := range []func() error{c.cached.Close, c.plain.Close, c.db.Close} {
		if err := close(); err != nil {
			c.Error(err)
		}
	}
}

func (c *cacheTest) must(what string, err error) {
	c.Helper()
	if err != nil {
		c.Fatalf("%s: %v", what, err)
	}
}

// sample returns a sample of a series.
func (c *cacheTest) sample(t int64, v float64, ls ...string) model.FloatSample {
	c.Helper()
	ref, err := c.db.Intern(labels.FromStrings(ls...))
	c.must("intern", err)
	return model.FloatSample{T: t, V: v, Ref: ref}
}

func (c *cacheTest) append(b *model.Batch) {
	c.Helper()
	if b.Samples() == 0 {
		return
	}
	_, err := c.db.Append(context.Background(), b, engine.AppendOptions{})
	c.must("append", err)
}

// scrape moves the clock and writes what lies in between.
func (c *cacheTest) scrape(d time.Duration) {
	from := c.time()
	for at := from.Truncate(15 * time.Second).Add(15 * time.Second); !at.After(from.Add(d)); at = at.Add(15 * time.Second) {
		var b model.Batch
		for i := range 8 {
			if c.rng.IntN(30) == 0 {
				continue
			}
			instance, job := strconv.Itoa(i), []string{"a", "b"}[i%2]
			key := "r" + instance
			c.values[key] += float64(c.rng.IntN(100)) / 4
			if c.rng.IntN(400) == 0 {
				c.values[key] = 0
			}
			t := at.UnixMilli() + int64(i)
			b.Floats = append(b.Floats, c.sample(t, c.values[key], "__name__", "requests_total", "instance", instance, "job", job))
			v := float64(c.rng.IntN(400)) / 10
			if c.rng.IntN(200) == 0 {
				v = math.Float64frombits(value.StaleNaN)
			}
			b.Floats = append(b.Floats, c.sample(t, v, "__name__", "temp", "instance", instance, "job", job))
			if i == 0 {
				n := c.values[key]
				b.Hists = append(b.Hists, model.HistogramSample{
					T: t, Ref: c.sample(0, 0, "__name__", "latency").Ref,
					H: &histogram.Histogram{Count: uint64(n), Sum: n, ZeroThreshold: 0.001, PositiveSpans: []histogram.Span{{Length: 1}}, PositiveBuckets: []int64{int64(n)}},
				})
			}
		}
		c.append(&b)
	}
	c.mu.Lock()
	c.now = from.Add(d)
	c.mu.Unlock()
}

// late writes samples somewhere in the past: over others, between them, and of new
// series.
func (c *cacheTest) late() {
	var b model.Batch
	for range 1 + c.rng.IntN(3) {
		t := c.time().Add(-time.Duration(c.rng.Int64N(int64(30*time.Hour)))).UnixMilli() / 15_000 * 15_000
		instance := strconv.Itoa(c.rng.IntN(10))
		b.Floats = append(b.Floats, c.sample(t+int64(c.rng.IntN(9)), float64(c.rng.IntN(50)), "__name__", []string{"requests_total", "temp"}[c.rng.IntN(2)], "instance", instance, "job", []string{"a", "b", "c"}[c.rng.IntN(3)]))
	}
	c.append(&b)
}

func (c *cacheTest) delete() {
	mint := c.time().Add(-time.Duration(c.rng.Int64N(int64(20 * time.Hour)))).UnixMilli()
	t := model.Tombstone{MinT: mint, MaxT: mint + c.rng.Int64N(3_600_000), Matchers: []*labels.Matcher{
		labels.MustNewMatcher(labels.MatchEqual, "instance", strconv.Itoa(c.rng.IntN(9))),
	}}
	c.must("delete", c.db.Delete(context.Background(), t))
}

// step does one thing to the storage.
func (c *cacheTest) step() {
	ctx := context.Background()
	switch n := c.rng.IntN(100); {
	case n < 50:
		c.scrape(time.Duration(c.rng.IntN(180)) * time.Second)
	case n < 60:
		c.scrape(time.Duration(c.rng.IntN(60)) * time.Minute)
	case n < 70:
		c.late()
	case n < 73:
		c.delete()
	case n < 82:
		c.must("flush", c.db.Flush(ctx))
	case n < 90:
		c.must("maintain", c.db.Maintain(ctx))
	case n < 92:
		c.must("clean tombstones", c.db.CleanTombstones(ctx))
	case n < 94:
		c.close()
		c.open()
	}
}

// ask compares a query with and without the cache.
func (c *cacheTest) ask(when string) {
	c.Helper()
	q := cacheQueries[c.rng.IntN(len(cacheQueries))]
	end := c.time().Truncate(q.step)
	if c.rng.IntN(5) == 0 {
		end = c.time().Add(-time.Duration(c.rng.Int64N(int64(20 * time.Hour)))).Truncate(q.step)
	}
	if c.rng.IntN(10) == 0 {
		end = end.Add(time.Duration(c.rng.Int64N(2)) * q.step / 2)
	}
	want := c.run(c.plain, q.text, end.Add(-q.length), end, q.step)
	got := c.run(c.cached, q.text, end.Add(-q.length), end, q.step)
	if diff := got.differs(want); diff != "" {
		c.Fatalf("%s: %s to %d step %v: %s", when, q.text, end.UnixMilli(), q.step, diff)
	}
}

// answer is all of an answer that a user sees.
type answer struct {
	matrix prompromql.Matrix
	notes  []string
	stats  string
}

func (c *cacheTest) run(e *promql.Engine, text string, start, end time.Time, step time.Duration) answer {
	c.Helper()
	ctx := context.Background()
	q, err := e.NewRangeQuery(ctx, prom.New(&localStore{db: c.db}), prompromql.NewPrometheusQueryOpts(true, 0, nil), text, start, end, step)
	c.must(text, err)
	defer q.Close()
	res := q.Exec(ctx)
	c.must(text, res.Err)
	m, err := res.Matrix()
	c.must(text, err)
	copied := make(prompromql.Matrix, len(m))
	for i, s := range m {
		copied[i] = prompromql.Series{Metric: s.Metric, Floats: slices.Clone(s.Floats), Histograms: slices.Clone(s.Histograms)}
	}
	warnings, infos := res.Warnings.AsStrings(text, 0, 0)
	slices.Sort(warnings)
	slices.Sort(infos)
	s := q.Stats().Samples
	return answer{copied, append(warnings, infos...), fmt.Sprint(s.PeakSamples, s.TotalSamples, s.SamplesRead, s.TotalSeries, s.TotalSamplesPerStep, s.SamplesReadPerStep)}
}

// differs says what, "" where all is the same.
func (a answer) differs(b answer) string {
	switch {
	case a.stats != b.stats:
		return fmt.Sprintf("counts %s, want %s", a.stats, b.stats)
	case !slices.Equal(a.notes, b.notes):
		return fmt.Sprintf("notes %q, want %q", a.notes, b.notes)
	case len(a.matrix) != len(b.matrix):
		return fmt.Sprintf("%d series, want %d", len(a.matrix), len(b.matrix))
	}
	for i, s := range a.matrix {
		w := b.matrix[i]
		same := labels.Equal(s.Metric, w.Metric) && len(s.Histograms) == len(w.Histograms) &&
			slices.EqualFunc(s.Floats, w.Floats, func(a, b prompromql.FPoint) bool {
				return a.T == b.T && math.Float64bits(a.F) == math.Float64bits(b.F)
			})
		for k := range min(len(s.Histograms), len(w.Histograms)) {
			same = same && s.Histograms[k].T == w.Histograms[k].T && s.Histograms[k].H.Equals(w.Histograms[k].H)
		}
		if !same {
			return fmt.Sprintf("%v, want %v", s, w)
		}
	}
	return ""
}

// hits returns the steps that came from the cache.
func (c *cacheTest) hits() float64 {
	families, err := c.registry.Gather()
	c.must("gather", err)
	for _, f := range families {
		if f.GetName() == "count_query_cache_hits_total" {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	return 0
}

// TestCachedAnswersAreComputedOnes writes, overwrites, deletes, flushes, seals,
// drops and restarts between queries: what comes from the cache must be what is
// computed, to the bit.
func TestCachedAnswersAreComputedOnes(t *testing.T) {
	for _, versions := range []bool{false, true} {
		t.Run(fmt.Sprintf("versions=%v", versions), func(t *testing.T) {
			c := newCacheTest(t, uint64(envInt("COUNT_CACHE_SEED", 1)), versions)
			c.scrape(3 * time.Hour)
			hits := 0.0
			for i := range envInt("COUNT_CACHE_STEPS", cacheSteps) {
				before := c.hits()
				c.step()
				for range 3 {
					c.ask(fmt.Sprintf("step %d", i))
				}
				hits += max(0, c.hits()-before)
			}
			if hits == 0 {
				t.Error("nothing came from the cache")
			}
			t.Logf("%.0f steps of queries came from the cache", hits)
		})
	}
}

// TestCacheBesideWrites asks while others write: no state may be kept as one that
// has what it has not seen.
func TestCacheBesideWrites(t *testing.T) {
	c := newCacheTest(t, 1, true)
	c.scrape(2 * time.Hour)
	base := c.time()
	for round := range 60 {
		var batches []*model.Batch
		for i := range 40 {
			b := new(model.Batch)
			for range 20 {
				at := base.Add(-time.Duration(c.rng.Int64N(int64(2 * time.Hour)))).UnixMilli()
				b.Floats = append(b.Floats, c.sample(at, float64(round*1000+i), "__name__", "temp", "instance", strconv.Itoa(c.rng.IntN(8)), "job", "a"))
			}
			slices.SortFunc(b.Floats, func(a, b model.FloatSample) int { return int(a.Ref) - int(b.Ref) })
			batches = append(batches, b)
		}
		var writers sync.WaitGroup
		for w := range 2 {
			writers.Go(func() {
				for _, b := range batches[w*20 : (w+1)*20] {
					if _, err := c.db.Append(context.Background(), b, engine.AppendOptions{}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		if round%5 == 0 {
			writers.Go(func() {
				if err := c.db.Flush(context.Background()); err != nil {
					t.Error(err)
				}
			})
		}
		for range 4 {
			c.run(c.cached, `temp`, base.Add(-time.Hour), base, time.Minute)
			c.run(c.cached, `avg by (job) (avg_over_time(temp[5m]))`, base.Add(-time.Hour), base, time.Minute)
		}
		writers.Wait()
		for _, text := range []string{`temp`, `avg by (job) (avg_over_time(temp[5m]))`} {
			want := c.run(c.plain, text, base.Add(-time.Hour), base, time.Minute)
			if diff := c.run(c.cached, text, base.Add(-time.Hour), base, time.Minute).differs(want); diff != "" {
				t.Fatalf("round %d: %s: %s", round, text, diff)
			}
		}
	}
}
