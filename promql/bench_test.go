package promql_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	prompromql "github.com/prometheus/prometheus/promql"

	"github.com/count-db/count/promql"
	"github.com/count-db/count/promql/memstore"
	"github.com/count-db/count/promql/prom"
)

// benchHours is the length of the benchmark's data, every 15 s.
const benchHours = 6

// benchStore resembles data set A: 20 targets whose series share their
// timestamps, counters, gauges and histogram buckets.
func benchStore() *memstore.Store {
	m := memstore.New()
	rng := rand.New(rand.NewPCG(1, 2))
	const n = benchHours * 240
	for host := range 20 {
		ts := make([]int64, n)
		for i := range ts {
			ts[i] = int64(i)*15_000 + rng.Int64N(40)
		}
		instance := fmt.Sprintf("host-%d", host)
		add := func(next func(v float64) float64, ls ...string) {
			vs := make([]float64, n)
			v := float64(rng.IntN(10000))
			for i := range vs {
				v = next(v)
				vs[i] = v
			}
			m.SetColumns(labels.FromStrings(append(ls, "instance", instance, "job", "node", "region", "eu-1")...), ts, vs)
		}
		for cpu := range 8 {
			for _, mode := range []string{"user", "system", "idle", "nice", "irq", "softirq", "steal", "iowait"} {
				add(func(v float64) float64 { return v + float64(rng.IntN(1500))/100 }, "__name__", "cpu_total", "cpu", fmt.Sprint(cpu), "mode", mode)
			}
		}
		for path := range 6 {
			for _, le := range []string{"0.005", "0.01", "0.05", "0.1", "0.5", "1", "2.5", "5", "10", "30", "60", "+Inf"} {
				add(func(v float64) float64 { return v + float64(rng.IntN(20)) }, "__name__", "latency_bucket", "path", fmt.Sprint(path), "le", le)
			}
		}
		for sensor := range 21 {
			add(func(float64) float64 { return float64(rng.IntN(800)) / 10 }, "__name__", "temp", "sensor", fmt.Sprint(sensor))
		}
	}
	return m
}

// benchQueries are the classes of the peers' comparison that compute.
var benchQueries = []struct {
	name, text    string
	length, step  time.Duration // 0: instant
	samplesPerRun int           // read, for the figure per sample
}{
	{"host-rate-12h", `rate(cpu_total{instance="host-3"}[5m])`, 324 * time.Minute, time.Minute, 64 * 1316},
	{"sum-mode-rate-1h", `sum by (mode) (rate(cpu_total[5m]))`, time.Hour, 15 * time.Second, 1280 * 260},
	{"sum-mode-rate-12h", `sum by (mode) (rate(cpu_total[5m]))`, 324 * time.Minute, time.Minute, 1280 * 1316},
	{"topk-rate-1h", `topk(5, rate(cpu_total{mode="user"}[5m]))`, time.Hour, time.Minute, 160 * 260},
	{"quantile-le-1h", `histogram_quantile(0.99, sum by (le) (rate(latency_bucket[5m])))`, time.Hour, 30 * time.Second, 1440 * 260},
	{"max-over-12h", `max by (instance) (max_over_time(temp[12h]))`, 0, 0, 420 * 1440},
	{"host-max-1h-12h", `max_over_time(temp{instance="host-3"}[1h])`, 324 * time.Minute, time.Hour, 21 * 1440},
	{"avg-over-1h", `avg by (instance) (avg_over_time(temp[1h]))`, time.Hour, time.Minute, 420 * 480},
	{"instant-sum", `sum(cpu_total)`, 0, 0, 1280 * 20},
	{"join-1h", `1 - temp{sensor=~"1."} / on (instance, sensor) (temp{sensor=~"1."} + 1)`, time.Hour, 30 * time.Second, 2 * 200 * 260},
	{"instant-host", `{instance="host-3"}`, 0, 0, 157 * 20},
	{"one-series-1h", `temp{instance="host-3",sensor="1"}`, time.Hour, 15 * time.Second, 260},
	{"one-rate-1h", `rate(cpu_total{instance="host-3",cpu="1",mode="user"}[5m])`, time.Hour, 15 * time.Second, 260},
	{"sum-gauge-1h", `sum by (instance) (temp)`, time.Hour, 15 * time.Second, 420 * 260},
}

// BenchmarkQuery compares the reduced evaluator with Prometheus's engine on the
// same store.
func BenchmarkQuery(b *testing.B) {
	m := benchStore()
	for _, class := range benchQueries {
		for _, reduced := range []bool{true, false} {
			name := class.name + "/prometheus"
			if reduced {
				name = class.name + "/reduced"
			}
			b.Run(name, func(b *testing.B) {
				e, err := promql.New(promql.Options{NoReduction: !reduced})
				if err != nil {
					b.Fatal(err)
				}
				end := time.UnixMilli(benchHours*3600_000 - 60_000)
				b.ReportAllocs()
				for b.Loop() {
					var q prompromql.Query
					var err error
					if class.step == 0 {
						q, err = e.NewInstantQuery(context.Background(), prom.New(m), nil, class.text, end)
					} else {
						q, err = e.NewRangeQuery(context.Background(), prom.New(m), nil, class.text, end.Add(-class.length), end, class.step)
					}
					if err != nil {
						b.Fatal(err)
					}
					if res := q.Exec(context.Background()); res.Err != nil {
						b.Fatal(res.Err)
					}
					q.Close()
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(class.samplesPerRun), "ns/sample")
			})
		}
	}
}
