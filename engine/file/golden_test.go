package file

import (
	"bytes"
	"encoding/hex"
	"testing"

	"github.com/prometheus/prometheus/tsdb/tsdbutil"

	"github.com/count-db/count/internal/golden"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/vfs"
)

// named is a file that only has a name.
type named struct{ vfs.File }

func (named) Name() string { return "named" }

func testHistogram(t int64) model.HistogramPoint {
	return model.HistogramPoint{T: t, ST: 5, H: tsdbutil.GenerateTestHistogram(1)}
}

// TestGolden holds the bytes of the files: a difference is a new version of
// the format.
func TestGolden(t *testing.T) {
	ts := []int64{7_200_000, 7_215_003, 7_230_000}
	for _, c := range []struct {
		name  string
		kind  Kind
		write func(*Writer)
	}{
		{"wide", Wide, func(w *Writer) {
			w.Begin(7)
			w.Floats(1, ts, []float64{1, 2, 2.5}, []int64{0, 1, 1}, []model.Version{10, 11, 12})
			w.Floats(2, []int64{14_400_000}, []float64{3}, nil, []model.Version{13})
			w.Begin(3)
			w.Histograms(1, []model.HistogramPoint{testHistogram(7_200_000)}, true)
		}},
		{"sealed", Sealed, func(w *Writer) {
			w.Begin(7)
			w.Floats(1, ts, []float64{1, 2, 2.5}, nil, nil)
			w.Begin(8)
			w.Floats(1, ts, []float64{4, 4, 4}, nil, nil)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			w := NewWriter(&out, c.kind)
			c.write(w)
			if _, err := w.Close(); err != nil {
				t.Fatal(err)
			}
			if err := openAndCheck(t, out.Bytes()); err != nil {
				t.Fatal(err)
			}
			golden.Check(t, "testdata/"+c.name+".golden", []byte(hex.Dump(out.Bytes())))
		})
	}
}
