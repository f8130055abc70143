package column

import (
	"testing"

	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/count-db/count/engine/column/columntest"
)

const benchSamples = 480 // of a series in a two-hour window at 15 s

// perSample reports the time per sample of work on all columns at once.
func perSample(b *testing.B, cols [][]float64, size int) {
	b.Helper()
	n := 0
	for _, vs := range cols {
		n += len(vs)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/sample")
	b.ReportMetric(float64(size)/float64(n), "B/sample")
}

func BenchmarkXORAppend(b *testing.B) {
	for _, c := range []struct {
		name    string
		samples int
	}{{"flush", 20}, {"window", benchSamples}} {
		b.Run(c.name, func(b *testing.B) {
			cols := columntest.SetA(500, c.samples)
			buf := make([]byte, 0, 8<<10)
			size := 0
			for b.Loop() {
				size = 0
				for _, vs := range cols {
					buf = EncodeXOR(buf[:0], vs)
					size += len(buf)
				}
			}
			perSample(b, cols, size)
			b.ReportMetric(columntest.Repeats(cols), "repeats")
		})
	}
}

func BenchmarkXORDecode(b *testing.B) {
	for _, c := range []struct {
		name    string
		samples int
	}{{"flush", 20}, {"window", benchSamples}} {
		b.Run(c.name, func(b *testing.B) {
			cols := columntest.SetA(500, c.samples)
			enc := make([][]byte, len(cols))
			size := 0
			for i, vs := range cols {
				enc[i] = EncodeXOR(nil, vs)
				size += len(enc[i])
			}
			out := make([]float64, 0, c.samples)
			for b.Loop() {
				for _, e := range enc {
					var err error
					if out, err = DecodeXOR(out[:0], e, c.samples); err != nil {
						b.Fatal(err)
					}
				}
			}
			perSample(b, cols, size)
		})
	}
}

// BenchmarkChunkencXOR is the yardstick: Prometheus' chunk, timestamps included.
func BenchmarkChunkencXOR(b *testing.B) {
	cols := columntest.SetA(500, 120)
	size := 0
	for b.Loop() {
		size = 0
		for _, vs := range cols {
			c := chunkenc.NewXORChunk()
			app, err := c.Appender()
			if err != nil {
				b.Fatal(err)
			}
			for i, v := range vs {
				app.Append(0, int64(i)*15000, v)
			}
			size += len(c.Bytes())
		}
	}
	perSample(b, cols, size)
}

func BenchmarkChunkEncode(b *testing.B) {
	cols := columntest.SetA(500, benchSamples)
	var e ChunkEncoder
	buf := make([]byte, 0, 8<<10)
	size := 0
	for b.Loop() {
		size = 0
		for _, vs := range cols {
			buf = e.Append(buf[:0], vs)
			size += len(buf)
		}
	}
	perSample(b, cols, size)
}

func BenchmarkChunkDecode(b *testing.B) {
	cols := columntest.SetA(500, benchSamples)
	var e ChunkEncoder
	enc := make([][]byte, len(cols))
	size := 0
	for i, vs := range cols {
		enc[i] = e.Append(nil, vs)
		size += len(enc[i])
	}
	out := make([]float64, 0, benchSamples)
	b.Run("all", func(b *testing.B) {
		for b.Loop() {
			for _, e := range enc {
				var err error
				if out, err = DecodeChunk(out[:0], e, benchSamples); err != nil {
					b.Fatal(err)
				}
			}
		}
		perSample(b, cols, size)
	})
	b.Run("entries", func(b *testing.B) {
		for b.Loop() {
			for _, e := range enc {
				c, err := OpenChunk(e, benchSamples)
				for c.Next() {
				}
				if err != nil || c.Err() != nil {
					b.Fatal(err, c.Err())
				}
			}
		}
		perSample(b, cols, size)
	})
}

func BenchmarkTimestampsDecode(b *testing.B) {
	ts := make([]int64, benchSamples)
	for i := range ts {
		ts[i] = 1_700_000_000_000 + int64(i)*15000 + int64(i*7919%41-20)
	}
	enc := EncodeInts(nil, ts)
	out := make([]int64, 0, len(ts))
	for b.Loop() {
		var err error
		if out, _, err = DecodeInts(out[:0], enc, len(ts)); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(ts)), "ns/sample")
	b.ReportMetric(float64(len(enc))/float64(len(ts)), "B/sample")
}
