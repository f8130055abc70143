package buffer

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/count-db/count/internal/model"
)

const (
	benchSeries  = 10_000
	benchScrapes = 20 // of a flush epoch at 15 s
	benchTargets = 20
)

// benchBatches are a flush epoch of scrape-like data, in requests of 2,000
// samples: 38 % of the samples repeat the one before, most others are counters.
func benchBatches() []*model.Batch {
	rng := rand.New(rand.NewPCG(1, 2))
	values := make([]float64, benchSeries)
	var batches []*model.Batch
	b := &model.Batch{Version: 1}
	for scrape := range benchScrapes {
		for target := range benchTargets {
			ts := int64(1_700_000_000_000 + scrape*15000 + target*700 + rng.IntN(40))
			for s := range benchSeries / benchTargets {
				i := target*(benchSeries/benchTargets) + s
				switch {
				case rng.IntN(100) < 38:
				case s%3 == 0:
					values[i] += float64(rng.IntN(1000)) / 100
				default:
					values[i] += float64(rng.IntN(500))
				}
				b.Floats = append(b.Floats, model.FloatSample{T: ts, V: values[i], Ref: model.Ref(i + 1)})
				if len(b.Floats) == 2000 {
					batches = append(batches, b)
					b = &model.Batch{Version: model.Version(len(batches) + 1)}
				}
			}
		}
	}
	return batches
}

func BenchmarkAppend(b *testing.B) {
	for _, versions := range []bool{false, true} {
		b.Run(fmt.Sprintf("versions=%v", versions), func(b *testing.B) { benchAppend(b, versions) })
	}
}

func benchAppend(b *testing.B, versions bool) {
	batches := benchBatches()
	samples := 0
	for _, batch := range batches {
		samples += len(batch.Floats)
	}
	var buf *Buffer
	b.ReportAllocs()
	for b.Loop() {
		buf = New(Options{Versions: versions})
		for _, batch := range batches {
			buf.Append(batch)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*samples), "ns/sample")
	b.ReportMetric(float64(buf.Bytes())/float64(samples), "B/sample")
	b.ReportMetric(float64(buf.Bytes())/benchSeries, "B/series")
}

func BenchmarkRead(b *testing.B) {
	buf := New(Options{})
	for _, batch := range benchBatches() {
		buf.Append(batch)
	}
	var cols model.Columns
	b.ReportAllocs()
	for b.Loop() {
		for ref := model.Ref(1); ref <= benchSeries; ref++ {
			if err := buf.Read(ref, 0, maxTime, &cols); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*benchSeries*benchScrapes), "ns/sample")
}

func BenchmarkChunks(b *testing.B) {
	buf := New(Options{})
	for _, batch := range benchBatches() {
		buf.Append(batch)
	}
	f := buf.Freeze()
	var walk Walk
	bytes := 0
	b.ReportAllocs()
	for b.Loop() {
		bytes = 0
		for _, ref := range f.Refs() {
			err := f.Chunks(ref, &walk, func(c *Chunk) error {
				bytes += len(c.Values)
				return nil
			})
			if err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*benchSeries*benchScrapes), "ns/sample")
	b.ReportMetric(float64(bytes)/float64(benchSeries*benchScrapes), "encoded-B/sample")
}
