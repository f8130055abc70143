package file

import (
	"testing"

	"github.com/count-db/count/engine/column/columntest"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/vfs"
)

const (
	benchTargets = 4   // that share a column of timestamps each
	benchSeries  = 500 // of a target
	benchWindow  = 480 // samples of a window at 15 s
)

// writeSetA writes columns as one chunk a series, the series of the targets
// between one another as the order of labels puts them.
func writeSetA(cols [][]float64, times [][]int64) func(*Writer) error {
	return func(w *Writer) error {
		for i, vs := range cols {
			w.Begin(model.Ref(i%benchTargets*benchSeries + i/benchTargets + 1))
			w.Floats(0, times[i%benchTargets], vs, nil, nil)
		}
		return nil
	}
}

func benchColumns(samples int) (cols [][]float64, times [][]int64) {
	for target := range benchTargets {
		times = append(times, columntest.Timestamps(target, 0, samples))
	}
	return columntest.SetA(benchTargets*benchSeries, samples), times
}

// TestSealedSize is the bar of disk use: all bytes of a sealed file.
func TestSealedSize(t *testing.T) {
	cols, times := benchColumns(benchWindow)
	r := create(t, Sealed, writeSetA(cols, times))
	info := r.Info()
	values := float64(info.Windows[0].Bytes) / float64(info.Samples)
	all := float64(info.Bytes) / float64(info.Samples)
	t.Logf("%.3f bytes a sample, chunks with block entries %.3f, the rest %.3f", all, values, all-values)
	if all > 1 || all-values > 0.05 {
		t.Errorf("%.3f bytes a sample, of them %.3f beside the chunks; want at most 1 and 0.05", all, all-values)
	}
}

func BenchmarkWrite(b *testing.B) {
	for _, c := range []struct {
		name    string
		kind    Kind
		samples int
	}{{"wide", Wide, 20}, {"sealed", Sealed, benchWindow}} {
		b.Run(c.name, func(b *testing.B) {
			cols, times := benchColumns(c.samples)
			fs := vfs.NewMem()
			var info Info
			for b.Loop() {
				var err error
				if info, err = Create(fs, "f", c.kind, writeSetA(cols, times)); err != nil {
					b.Fatal(err)
				}
			}
			perSample(b, &info)
		})
	}
}

func perSample(b *testing.B, info *Info) {
	b.Helper()
	n := float64(info.Samples)
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/sample")
	b.ReportMetric(float64(info.Bytes)/n, "B/sample")
}

func BenchmarkRead(b *testing.B) {
	cols, times := benchColumns(benchWindow)
	r := create(b, Sealed, writeSetA(cols, times))
	var out []float64
	for b.Loop() {
		c := r.Cursor()
		for i := range r.Len() {
			chunks, err := c.Load(i)
			if err != nil {
				b.Fatal(err)
			}
			for j := range chunks {
				if _, err = c.Times(&chunks[j]); err != nil {
					b.Fatal(err)
				}
				if out, err = c.Floats(out[:0], &chunks[j]); err != nil {
					b.Fatal(err)
				}
			}
		}
		c.Release()
	}
	perSample(b, r.Info())
}

func BenchmarkMerge(b *testing.B) {
	cols, times := benchColumns(20)
	inputs := make([]*Reader, 8)
	for i := range inputs {
		inputs[i] = create(b, Wide, writeSetA(cols, times))
	}
	rank := func(a, b model.Ref) int {
		place := func(r model.Ref) int { return int(r-1)%benchSeries*benchTargets + int(r-1)/benchSeries }
		return place(a) - place(b)
	}
	fs := vfs.NewMem()
	var info Info
	for b.Loop() {
		var err error
		info, err = Create(fs, "f", Wide, func(w *Writer) error {
			return merge(w, inputs, rank, func(int, int64) bool { return true })
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	perSample(b, &info)
}
