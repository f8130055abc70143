package compat

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	prompromql "github.com/prometheus/prometheus/promql"

	"github.com/count-db/count/engine"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/vfs"
	"github.com/count-db/count/promql"
	"github.com/count-db/count/promql/prom"
)

// BenchmarkQueryOverStorage runs aggregates over the storage with its data in
// sealed files: 1,280 counters of 20 targets, 6 hours, every 15 s.
func BenchmarkQueryOverStorage(b *testing.B) {
	const start, scrapes = int64(1_700_006_400_000), 6 * 240
	end := time.UnixMilli(start + scrapes*15_000)
	db, err := engine.Open(vfs.NewMem(), "data", engine.Options{
		NoBackground: true, Sync: engine.SyncNever, Now: func() time.Time { return end.Add(time.Hour) }, BufferBytes: 1 << 30,
	})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	load(b, db, start, scrapes)
	if err := db.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
	for _, q := range []struct {
		name, text   string
		length, step time.Duration
		samples      int
	}{
		{"sum-mode-rate-1h", `sum by (mode) (rate(cpu_total[5m]))`, time.Hour, 15 * time.Second, 1280 * 260},
		{"sum-mode-rate-12h", `sum by (mode) (rate(cpu_total[5m]))`, 324 * time.Minute, time.Minute, 1280 * 1316},
		{"instant-sum", `sum(cpu_total)`, 0, 0, 1280 * 20},
	} {
		for _, reduced := range []bool{true, false} {
			b.Run(fmt.Sprintf("%s/reduced=%v", q.name, reduced), func(b *testing.B) {
				e, err := promql.New(promql.Options{NoReduction: !reduced})
				if err != nil {
					b.Fatal(err)
				}
				data := prom.New(&dbStore{db})
				for b.Loop() {
					var query prompromql.Query
					if q.step == 0 {
						query, err = e.NewInstantQuery(b.Context(), data, nil, q.text, end)
					} else {
						query, err = e.NewRangeQuery(b.Context(), data, nil, q.text, end.Add(-q.length), end, q.step)
					}
					if err != nil {
						b.Fatal(err)
					}
					if res := query.Exec(b.Context()); res.Err != nil {
						b.Fatal(res.Err)
					}
					query.Close()
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(q.samples), "ns/sample")
			})
		}
	}
}

// load writes the counters scrape by scrape.
func load(b *testing.B, db *engine.DB, start int64, scrapes int) {
	b.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	var refs [20][]model.Ref
	values := map[model.Ref]float64{}
	for host := range refs {
		for cpu := range 8 {
			for _, mode := range []string{"user", "system", "idle", "nice", "irq", "softirq", "steal", "iowait"} {
				ref, err := db.Intern(labels.FromStrings("__name__", "cpu_total", "cpu", fmt.Sprint(cpu), "mode", mode, "instance", fmt.Sprintf("host-%d", host), "job", "node"))
				if err != nil {
					b.Fatal(err)
				}
				refs[host] = append(refs[host], ref)
			}
		}
	}
	var batch model.Batch
	for i := range scrapes {
		for host := range refs {
			batch.Reset()
			t := start + int64(i)*15_000 + rng.Int64N(40)
			for _, ref := range refs[host] {
				values[ref] += float64(rng.IntN(1500)) / 100
				batch.Floats = append(batch.Floats, model.FloatSample{Ref: ref, T: t, V: float64(int64(values[ref]*100)) / 100})
			}
			if _, err := db.Append(b.Context(), &batch, engine.AppendOptions{Fresh: true}); err != nil {
				b.Fatal(err)
			}
		}
	}
}
