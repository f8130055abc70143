package column

import (
	"math"
	"reflect"
	"testing"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"
	"pgregory.net/rapid"

	"github.com/count-db/count/internal/model"
)

// histogramGen draws columns of histograms of all kinds.
func histogramGen() *rapid.Generator[[]model.HistogramPoint] {
	return rapid.Custom(func(t *rapid.T) []model.HistogramPoint {
		n := rapid.IntRange(0, 40).Draw(t, "n")
		hs := make([]model.HistogramPoint, n)
		kind := rapid.IntRange(0, 5)
		for i := range hs {
			p := model.HistogramPoint{T: int64(i) * 15000}
			x := rapid.Int64Range(0, 1000).Draw(t, "x")
			switch kind.Draw(t, "kind") {
			case 0:
				p.H = tsdbutil.GenerateTestHistogram(x)
			case 1:
				p.FH = tsdbutil.GenerateTestFloatHistogram(x)
			case 2:
				p.H = tsdbutil.GenerateTestGaugeHistogram(x)
			case 3:
				p.FH = tsdbutil.GenerateTestCustomBucketsFloatHistogram(x)
			case 4:
				p.H = &histogram.Histogram{Sum: math.Float64frombits(value.StaleNaN)}
			default:
				p.H = tsdbutil.GenerateTestHistogram(x)
				p.H.PositiveSpans = []histogram.Span{{Offset: int32(x), Length: 4}}
				p.H.CounterResetHint = histogram.CounterReset
				p.ST = x
			}
			hs[i] = p
		}
		return hs
	})
}

// samePoints compares with NaN sums by their bits.
func samePoints(a, b []model.HistogramPoint) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		x, y := a[i], b[i]
		if isStale(&x) && isStale(&y) && x.T == y.T && x.ST == y.ST {
			continue
		}
		if !reflect.DeepEqual(x, y) {
			return false
		}
	}
	return true
}

func TestHistogramsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		hs := histogramGen().Draw(t, "hs")
		got, err := DecodeHistograms(nil, EncodeHistograms(nil, hs), len(hs))
		if err != nil {
			t.Fatal(err)
		}
		if !samePoints(got, hs) {
			t.Fatalf("got %v, want %v", got, hs)
		}
	})
}

// TestDeriveHintsLikePrometheus compares with what Prometheus' chunks say.
func TestDeriveHintsLikePrometheus(t *testing.T) {
	var hs []model.HistogramPoint
	add := func(h *histogram.Histogram) {
		hs = append(hs, model.HistogramPoint{T: int64(len(hs)), H: h})
	}
	for _, x := range []int64{5, 6, 6, 3, 4} {
		add(tsdbutil.GenerateTestHistogram(x))
	}
	add(&histogram.Histogram{Sum: math.Float64frombits(value.StaleNaN)})
	add(tsdbutil.GenerateTestHistogram(9))
	add(tsdbutil.GenerateTestHistogram(10))
	widened := tsdbutil.GenerateTestHistogram(11)
	widened.ZeroThreshold *= 2
	add(widened)
	explicit := tsdbutil.GenerateTestHistogram(12)
	explicit.CounterResetHint = histogram.CounterReset
	add(explicit)

	want := prometheusHints(t, hs)
	DeriveHints(hs)
	for i := range hs {
		if got := hintOf(&hs[i]); got != want[i] {
			t.Errorf("histogram %d: hint %v, want %v", i, got, want[i])
		}
	}
}

// prometheusHints appends copies to Prometheus' chunks and reads them back.
func prometheusHints(t *testing.T, hs []model.HistogramPoint) []histogram.CounterResetHint {
	t.Helper()
	chunks := []chunkenc.Chunk{chunkenc.NewHistogramChunk()}
	app, err := chunks[0].Appender()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range hs {
		c, recoded, next, err := app.AppendHistogram(nil, 0, p.T, p.H.Copy(), false)
		if err != nil {
			t.Fatal(err)
		}
		app = next
		if c != nil && recoded {
			chunks[len(chunks)-1] = c
		} else if c != nil {
			chunks = append(chunks, c)
		}
	}
	var hints []histogram.CounterResetHint
	for _, c := range chunks {
		it := c.Iterator(nil)
		for it.Next() != chunkenc.ValNone {
			_, h := it.AtHistogram(nil)
			hints = append(hints, h.CounterResetHint)
		}
	}
	return hints
}

func FuzzDecodeHistograms(f *testing.F) {
	hs := []model.HistogramPoint{
		{T: 1, H: tsdbutil.GenerateTestHistogram(1)},
		{T: 2, H: tsdbutil.GenerateTestHistogram(2)},
		{T: 3, FH: tsdbutil.GenerateTestCustomBucketsFloatHistogram(3)},
	}
	f.Add(EncodeHistograms(nil, hs), len(hs))
	f.Fuzz(func(t *testing.T, b []byte, n int) {
		hs, err := DecodeHistograms(nil, b, n)
		if err != nil {
			return
		}
		again, err := DecodeHistograms(nil, EncodeHistograms(nil, hs), n)
		if err != nil || len(again) != len(hs) {
			t.Fatalf("%v after a round trip", err)
		}
	})
}
