package wal

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/vfs"
)

// nodeExporterBatch is one scrape of targets of 500 series each, as a
// node_exporter-like target gives them: a third counters, a quarter histogram
// buckets, the rest gauges of few decimals and constants; the series of a target
// share their timestamp.
func nodeExporterBatch(targets int) *model.Batch {
	rng := rand.New(rand.NewPCG(1, 1))
	b := &model.Batch{Version: model.VersionAt(1_700_000_000_000_000)}
	for target := range targets {
		t := 1_700_000_000_000 + rng.Int64N(15_000)
		for i := range 500 {
			var v float64
			switch i % 12 {
			case 0, 1, 2: // counters of bytes, packets, errors
				v = math.Floor(math.Pow(10, rng.Float64()*11))
			case 3: // seconds of CPU time
				v = math.Round(rng.Float64()*1e8) / 100
			case 4, 5, 6: // buckets
				v = float64(rng.IntN(100_000))
			case 7: // bytes of memory
				v = float64(rng.IntN(1<<22)) * 4096
			case 8, 9: // gauges of few decimals
				v = math.Round(rng.Float64()*1e4) / 100
			case 10: // flags and small constants
				v = float64(rng.IntN(2))
			case 11: // a ratio with all its digits
				v = rng.Float64()
			}
			b.Floats = append(b.Floats, model.FloatSample{Ref: model.Ref(target*500 + i), T: t, V: v})
		}
	}
	return b
}

func TestRecordSize(t *testing.T) {
	b := nodeExporterBatch(4)
	size := float64(len(EncodeBatch(nil, b, nil, BatchMeta{}))) / float64(len(b.Floats))
	if size > 6 {
		t.Fatalf("%.2f bytes a sample, the target is 6", size)
	}
}

func BenchmarkEncodeBatch(b *testing.B) {
	batch := nodeExporterBatch(4)
	var rec []byte
	for b.Loop() {
		rec = EncodeBatch(rec[:0], batch, nil, BatchMeta{})
	}
	n := float64(len(batch.Floats))
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/sample")
	b.ReportMetric(float64(len(rec))/n, "B/sample")
	b.ReportAllocs()
}

func BenchmarkDecodeBatch(b *testing.B) {
	batch := nodeExporterBatch(4)
	rec := EncodeBatch(nil, batch, nil, BatchMeta{})
	var dst DecodedBatch
	for b.Loop() {
		if err := DecodeBatch(rec, &dst); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(batch.Floats)), "ns/sample")
	b.ReportAllocs()
}

// BenchmarkSmallWriters is what 16 clients that insert one sample each see of
// the log, on a real disk.
func BenchmarkSmallWriters(b *testing.B) {
	w, err := Open(vfs.OS(), b.TempDir(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	rec := EncodeBatch(nil, &model.Batch{Version: 1, Floats: []model.FloatSample{{Ref: 1, T: 1_700_000_000_000, V: 1}}}, nil, BatchMeta{})
	b.SetParallelism(8) // times GOMAXPROCS
	var mu sync.Mutex
	var waits []time.Duration
	b.RunParallel(func(pb *testing.PB) {
		var own []time.Duration
		defer func() {
			mu.Lock()
			defer mu.Unlock()
			waits = append(waits, own...)
		}()
		for pb.Next() {
			start := time.Now()
			ticket, err := w.Append(rec)
			if err == nil {
				err = ticket.Wait()
			}
			if err != nil {
				b.Error(err)
				return
			}
			own = append(own, time.Since(start))
		}
	})
	slices.Sort(waits)
	b.ReportMetric(float64(waits[len(waits)*99/100].Microseconds()), "p99-µs")
	b.ReportMetric(float64(w.Stats().Syncs)/float64(b.N), "syncs/op")
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkReplayTail reads a segment that is nearly empty: what a start after a
// crash has to search for frames behind the tail.
func BenchmarkReplayTail(b *testing.B) {
	fs, dir := vfs.OS(), b.TempDir()
	w, err := Open(fs, dir, Options{})
	if err != nil {
		b.Fatal(err)
	}
	ticket, err := w.Append([]byte("one"))
	if err == nil {
		err = ticket.Wait()
	}
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := Replay(fs, dir, 0, func([]byte) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
}
