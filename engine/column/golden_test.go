package column

import (
	"bytes"
	"fmt"
	"math"
	"testing"

	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"

	"github.com/count-db/count/internal/golden"
	"github.com/count-db/count/internal/model"
)

// TestGolden holds the bytes of every codec: a difference is a change of
// format, which needs a new codec number.
func TestGolden(t *testing.T) {
	stale := math.Float64frombits(value.StaleNaN)
	var out bytes.Buffer
	var e ChunkEncoder
	line := func(name string, b []byte) { fmt.Fprintf(&out, "%s %x\n", name, b) }

	line("xor", EncodeXOR(nil, oddValues))
	line("ints-timestamps", EncodeInts(nil, []int64{1000, 16003, 31000, 46001, 61000}))
	line("ints-constant", EncodeInts(nil, make([]int64, 300)))
	patched := make([]int64, 130)
	for i := range patched {
		patched[i] = int64(i * i)
	}
	patched[77] = -5
	line("ints-patched", EncodeInts(nil, patched))
	line("chunk-const", e.Append(nil, []float64{12.5, 12.5}))
	line("chunk-const-raw", e.Append(nil, []float64{math.Pi, math.Pi}))
	line("chunk-scaled", e.Append(nil, []float64{0.5, 0.75, 1, 0.25, stale, 7}))
	line("chunk-counter", e.Append(nil, []float64{100, 101, 101, 105, 5, 6}))
	line("chunk-xor", e.Append(nil, []float64{math.Pi, math.E, math.Sqrt2, stale}))
	line("histograms", EncodeHistograms(nil, []model.HistogramPoint{
		{T: 1000, H: tsdbutil.GenerateTestHistogram(1)},
		{T: 2000, ST: 5, H: tsdbutil.GenerateTestHistogram(2)},
		{T: 3000, FH: tsdbutil.GenerateTestCustomBucketsFloatHistogram(3)},
	}))
	golden.Check(t, "testdata/columns.golden", out.Bytes())
}
