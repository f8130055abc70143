package node

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/engine"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/vfs"
	"github.com/count-db/count/promql"
	"github.com/count-db/count/promql/prom"
)

// The sizes of what the benchmarks ask for: 84 series a host, a sample each 15 s.
const (
	refreshHosts, refreshHours = 20, 13
	wideHosts, wideHours       = 3, 8 * 24
)

// refreshQueries are panels: their ranges end now.
var refreshQueries = []struct {
	name, text   string
	length, step time.Duration
}{
	{"sum-rate-12h-60s", `sum by (mode) (rate(cpu_total[5m]))`, 12 * time.Hour, time.Minute},
	{"rate-host-12h-60s", `rate(cpu_total{instance="host-3"}[5m])`, 12 * time.Hour, time.Minute},
	{"max-over-1h-12h-60s", `max by (instance) (max_over_time(temp[1h]))`, 12 * time.Hour, time.Minute},
	{"sum-rate-1h-15s", `sum by (mode) (rate(cpu_total[5m]))`, time.Hour, 15 * time.Second},
	{"gauge-6h-30s", `avg by (instance) (temp)`, 6 * time.Hour, 30 * time.Second},
}

// BenchmarkRefresh asks for panels again and again, each time after one more scrape
// of all series, with and without the cache.
func BenchmarkRefresh(b *testing.B) {
	for _, q := range refreshQueries {
		for _, cached := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/cached=%v", q.name, cached), func(b *testing.B) {
				r := newRefresh(b, refreshHosts, refreshHours)
				ctx := context.Background()
				if !cached {
					ctx = promql.WithoutCache(ctx)
				}
				r.ask(ctx, q.text, q.length, q.step) // the first one computes all
				runtime.GC()
				var used time.Duration
				for b.Loop() {
					b.StopTimer()
					r.scrape()
					b.StartTimer()
					before := cpuTime(b)
					r.ask(ctx, q.text, q.length, q.step)
					used += cpuTime(b) - before
				}
				reportCPU(b, used)
				b.ReportMetric(r.cacheBytes()/1024, "cache-KiB")
			})
		}
	}
}

// BenchmarkWide asks for wide windows of sealed data, with and without answers
// from the entries of blocks.
func BenchmarkWide(b *testing.B) {
	r := newRefresh(b, wideHosts, wideHours)
	if err := r.db.Flush(context.Background()); err != nil {
		b.Fatal(err)
	}
	for _, text := range []string{
		`max by (instance) (max_over_time(temp[12h]))`, `max by (instance) (max_over_time(temp[7d]))`,
		`sum by (instance) (rate(cpu_total[6h]))`, `sum(increase(cpu_total[7d]))`, `sum(count_over_time(temp[7d]))`,
	} {
		for name, store := range map[string]promql.Store{"blocks": &localStore{db: r.db}, "samples": readingStore{&localStore{db: r.db}}} {
			b.Run(text+"/"+name, func(b *testing.B) {
				before := cpuTime(b)
				defer func() { reportCPU(b, cpuTime(b)-before) }()
				for b.Loop() {
					q, err := r.engine.NewInstantQuery(context.Background(), prom.New(store), nil, text, r.now)
					if err != nil {
						b.Fatal(err)
					}
					if res := q.Exec(context.Background()); res.Err != nil {
						b.Fatal(res.Err)
					}
					q.Close()
				}
			})
		}
	}
}

// readingStore hides that blocks can be described.
type readingStore struct{ *localStore }

func (s readingStore) Select(ctx context.Context, mint, maxt int64, ms ...*labels.Matcher) (promql.SeriesSet, error) {
	set, err := s.localStore.Select(ctx, mint, maxt, ms...)
	if err != nil {
		return nil, err
	}
	return struct {
		promql.SeriesSet
		promql.Selection
	}{set, set.(promql.Selection)}, nil
}

// cpuTime is what the process has used, system time included: it repeats on a
// machine that others use too.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func reportCPU(b *testing.B, used time.Duration) {
	b.Helper()
	b.ReportMetric(used.Seconds()*1000/float64(b.N), "cpu-ms/op")
}

// refresh is a storage that is being written to, and an engine over it.
type refresh struct {
	b       *testing.B
	rng     *rand.Rand
	now     time.Time
	db      *engine.DB
	engine  *promql.Engine
	metrics *prometheus.Registry
	batch   model.Batch
	counter []bool // of each sample of the batch
}

func newRefresh(b *testing.B, hosts, hours int) *refresh {
	r := &refresh{b: b, rng: rand.New(rand.NewPCG(1, 2)), now: time.Date(2026, 5, 4, 3, 0, 0, 0, time.UTC)}
	var err error
	r.db, err = engine.Open(vfs.NewMem(), "data", engine.Options{Now: func() time.Time { return r.now }, NoBackground: true})
	if err != nil {
		b.Fatal(err)
	}
	r.metrics = prometheus.NewRegistry()
	cache, err := promql.NewCache(mostCache, r.metrics)
	if err != nil {
		b.Fatal(err)
	}
	if r.engine, err = promql.New(promql.Options{Cache: cache}); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		for _, close := range []func() error{r.engine.Close, r.db.Close} {
			if err := close(); err != nil {
				b.Error(err)
			}
		}
	})
	for host := range hosts {
		instance := fmt.Sprintf("host-%d", host)
		for cpu := range 8 {
			for _, mode := range []string{"user", "system", "idle", "nice", "irq", "softirq", "steal", "iowait"} {
				r.add(true, "__name__", "cpu_total", "instance", instance, "cpu", strconv.Itoa(cpu), "mode", mode)
			}
		}
		for sensor := range 20 {
			r.add(false, "__name__", "temp", "instance", instance, "sensor", strconv.Itoa(sensor))
		}
	}
	for range hours * 240 {
		r.scrape()
		if r.now.Minute() == 0 && r.now.Second() == 0 {
			if err := r.db.Flush(context.Background()); err != nil {
				b.Fatal(err)
			}
		}
	}
	return r
}

func (r *refresh) cacheBytes() float64 {
	families, err := r.metrics.Gather()
	if err != nil {
		r.b.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "count_query_cache_bytes" {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	return 0
}

func (r *refresh) add(counter bool, ls ...string) {
	ref, err := r.db.Intern(labels.FromStrings(ls...))
	if err != nil {
		r.b.Fatal(err)
	}
	r.batch.Floats = append(r.batch.Floats, model.FloatSample{Ref: ref, V: float64(r.rng.IntN(1000))})
	r.counter = append(r.counter, counter)
}

// scrape moves the clock by 15 s and writes a sample of each series.
func (r *refresh) scrape() {
	r.now = r.now.Add(15 * time.Second)
	for i := range r.batch.Floats {
		s := &r.batch.Floats[i]
		s.T = r.now.UnixMilli()
		if r.counter[i] {
			s.V += float64(r.rng.IntN(1500)) / 100
		} else {
			s.V = float64(r.rng.IntN(800)) / 10
		}
	}
	r.batch.Version = 0
	if _, err := r.db.Append(context.Background(), &r.batch, engine.AppendOptions{}); err != nil {
		r.b.Fatal(err)
	}
}

func (r *refresh) ask(ctx context.Context, text string, length, step time.Duration) {
	end := r.now.Truncate(step)
	q, err := r.engine.NewRangeQuery(ctx, prom.New(&localStore{db: r.db}), nil, text, end.Add(-length), end, step)
	if err != nil {
		r.b.Fatal(err)
	}
	defer q.Close()
	if res := q.Exec(ctx); res.Err != nil {
		r.b.Fatal(res.Err)
	}
}
