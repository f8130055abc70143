package wal

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/model/value"
	"pgregory.net/rapid"

	"github.com/count-db/count/engine/version"
	"github.com/count-db/count/internal/golden"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/wire"
)

// sameBatch compares everything, floats by their bits.
func sameBatch(a, b *model.Batch) error {
	if a.Version != b.Version || len(a.Floats) != len(b.Floats) || len(a.Hists) != len(b.Hists) ||
		len(a.Exemplars) != len(b.Exemplars) || len(a.Metadata) != len(b.Metadata) {
		return fmt.Errorf("versions or lengths differ")
	}
	st := func(b *model.Batch, i int) int64 {
		if len(b.STs) == 0 {
			return 0
		}
		return b.STs[i]
	}
	for i := range a.Floats {
		x, y := a.Floats[i], b.Floats[i]
		if x.Ref != y.Ref || x.T != y.T || math.Float64bits(x.V) != math.Float64bits(y.V) || st(a, i) != st(b, i) {
			return fmt.Errorf("float %d: %v (%x) and %v (%x)", i, x, math.Float64bits(x.V), y, math.Float64bits(y.V))
		}
	}
	for i := range a.Hists {
		x, y := a.Hists[i], b.Hists[i]
		if x.Ref != y.Ref || x.T != y.T || x.ST != y.ST || !bytes.Equal(histBytes(x), histBytes(y)) {
			return fmt.Errorf("histogram %d: %v and %v", i, x, y)
		}
	}
	for i := range a.Exemplars {
		x, y := a.Exemplars[i], b.Exemplars[i]
		if x.Ref != y.Ref || x.T != y.T || math.Float64bits(x.V) != math.Float64bits(y.V) || !labels.Equal(x.Labels, y.Labels) {
			return fmt.Errorf("exemplar %d: %v and %v", i, x, y)
		}
	}
	for i := range a.Metadata {
		if a.Metadata[i] != b.Metadata[i] {
			return fmt.Errorf("metadata %d: %v and %v", i, a.Metadata[i], b.Metadata[i])
		}
	}
	return nil
}

func histBytes(h model.HistogramSample) []byte {
	if h.FH != nil {
		return version.AppendFloatHistogram([]byte{1}, h.FH)
	}
	return version.AppendHistogram([]byte{0}, h.H)
}

// everything is a batch with all that a batch can have.
func everything() (*model.Batch, []SeriesDef, BatchMeta) {
	b := &model.Batch{
		Version: model.VersionAt(1_700_000_000_000_000) + 3,
		Floats: []model.FloatSample{
			{Ref: 7, T: 1_700_000_000_000, V: 0},
			{Ref: 8, T: 1_700_000_000_000, V: 123456},
			{Ref: 9, T: 1_700_000_000_000, V: -0.25},
			{Ref: 10, T: 1_700_000_000_001, V: math.Pi},
			{Ref: 3, T: -5, V: math.Float64frombits(value.StaleNaN)},
			{Ref: math.MaxUint32, T: math.MaxInt64, V: math.Inf(-1)},
		},
		STs: []int64{0, 1_699_999_000_000, 1_699_999_000_000, 1_699_999_000_000, 0, math.MinInt64},
		Hists: []model.HistogramSample{
			{Ref: 11, T: 1_700_000_000_000, H: &histogram.Histogram{
				Schema: 3, Count: 9, ZeroCount: 2, ZeroThreshold: 0.001, Sum: 18.4,
				PositiveSpans: []histogram.Span{{Offset: -2, Length: 2}, {Offset: 1, Length: 1}}, PositiveBuckets: []int64{1, 1, -1},
				NegativeSpans: []histogram.Span{{Offset: 0, Length: 1}}, NegativeBuckets: []int64{3},
			}},
			{Ref: 12, T: 1_700_000_000_000, ST: 5, FH: &histogram.FloatHistogram{
				CounterResetHint: histogram.GaugeType, Schema: histogram.CustomBucketsSchema, Count: 3.5, Sum: 1,
				PositiveSpans: []histogram.Span{{Length: 2}}, PositiveBuckets: []float64{1.5, 2}, CustomValues: []float64{0.5, 1},
			}},
		},
		Exemplars: []model.Exemplar{{Ref: 8, T: 1_700_000_000_000, V: 0.3, Labels: labels.FromStrings("trace_id", "abc")}},
		Metadata:  []model.Metadata{{Family: "up", Metadata: metadata.Metadata{Type: "gauge", Unit: "", Help: "Whether it is up."}}},
	}
	series := []SeriesDef{
		{Ref: 7, Labels: labels.FromStrings("__name__", "up", "job", "node")},
		{Ref: 8, Labels: labels.FromStrings("__name__", "down", "job", "node")},
	}
	return b, series, BatchMeta{Coordinator: 3, Start: 2, Ring: 17, List: 99, Number: 1234}
}

func TestBatchGolden(t *testing.T) {
	b, series, meta := everything()
	enc := EncodeBatch(nil, b, series, meta)
	golden.Check(t, "testdata/batch.golden", enc)
	var got DecodedBatch
	for range 2 { // the second time into used memory
		if err := DecodeBatch(enc, &got); err != nil {
			t.Fatal(err)
		}
		if err := sameBatch(b, &got.Batch); err != nil {
			t.Fatal(err)
		}
		if got.Meta != meta || len(got.Series) != 2 || !labels.Equal(got.Series[1].Labels, series[1].Labels) || got.Series[1].Ref != 8 {
			t.Fatalf("read %+v", got)
		}
	}
}

var anyValue = rapid.OneOf(
	rapid.SampledFrom([]float64{
		0, math.Copysign(0, -1), 1, -1, 0.1, 0.001, 1e-9, 1e300, 1 << 53, 1<<53 - 1, -(1 << 53), 1 << 63, math.MaxFloat64,
		math.SmallestNonzeroFloat64, math.Inf(1), math.Inf(-1), math.NaN(), math.Float64frombits(value.StaleNaN), 4503599627370495.5,
	}),
	rapid.Float64(),
	rapid.Map(rapid.Int64(), func(i int64) float64 { return float64(i) }),
	rapid.Map(rapid.IntRange(-1_000_000, 1_000_000), func(i int) float64 { return float64(i) / 100 }),
	rapid.Map(rapid.IntRange(-1_000_000_000, 1_000_000_000), func(i int) float64 { return float64(i) / 1e7 }),
	rapid.Map(rapid.Float32(), func(f float32) float64 { return float64(f) }),
	rapid.Map(rapid.Uint64(), math.Float64frombits),
)

func floatSamples() *rapid.Generator[[]model.FloatSample] {
	sample := rapid.Custom(func(t *rapid.T) model.FloatSample {
		return model.FloatSample{
			Ref: model.Ref(rapid.OneOf(rapid.Uint32Range(0, 20), rapid.Uint32()).Draw(t, "ref")),
			T:   rapid.OneOf(rapid.Int64Range(0, 3), rapid.Int64()).Draw(t, "t"),
			V:   anyValue.Draw(t, "v"),
		}
	})
	inOrder := rapid.Custom(func(t *rapid.T) []model.FloatSample {
		fs := rapid.SliceOfN(sample, 1, 50).Draw(t, "samples")
		for i := range fs {
			fs[i].Ref, fs[i].T = model.Ref(100+i), 1_700_000_000_000
		}
		return fs
	})
	return rapid.OneOf(rapid.SliceOfN(sample, 0, 50), inOrder)
}

func TestFloatsComeBackExactly(t *testing.T) {
	var got DecodedBatch
	rapid.Check(t, func(t *rapid.T) {
		b := &model.Batch{Version: model.Version(rapid.Uint64().Draw(t, "version")), Floats: floatSamples().Draw(t, "floats")}
		if rapid.Bool().Draw(t, "starts") {
			for range b.Floats {
				b.STs = append(b.STs, rapid.OneOf(rapid.Int64Range(0, 2), rapid.Int64()).Draw(t, "st"))
			}
		}
		prefix := []byte("kept")
		enc := EncodeBatch(prefix, b, nil, BatchMeta{})
		if !bytes.HasPrefix(enc, prefix) {
			t.Fatal("the bytes before were changed")
		}
		if err := DecodeBatch(enc[len(prefix):], &got); err != nil {
			t.Fatal(err)
		}
		if err := sameBatch(b, &got.Batch); err != nil {
			t.Fatal(err)
		}
	})
}

func TestEveryCutOfARecordIsAnError(t *testing.T) {
	b, series, meta := everything()
	enc := EncodeBatch(nil, b, series, meta)
	var got DecodedBatch
	for n := range enc {
		if err := DecodeBatch(enc[:n], &got); !errors.Is(err, wire.ErrCorrupt) {
			t.Fatalf("a record cut to %d of %d bytes: %v", n, len(enc), err)
		}
	}
	if err := DecodeBatch(append(enc, 0), &got); err == nil {
		t.Fatal("a byte behind the record was accepted")
	}
	newer := bytes.Clone(enc)
	newer[1]++
	if err := DecodeBatch(newer, &got); err == nil || errors.Is(err, wire.ErrCorrupt) {
		t.Fatalf("a newer format is not damage: %v", err)
	}
}

func FuzzDecodeBatch(f *testing.F) {
	b, series, meta := everything()
	f.Add(EncodeBatch(nil, b, series, meta))
	f.Add(EncodeBatch(nil, &model.Batch{Floats: []model.FloatSample{{Ref: 1, T: 2, V: 3}}}, nil, BatchMeta{}))
	f.Fuzz(func(t *testing.T, rec []byte) {
		var got, again DecodedBatch
		if DecodeBatch(rec, &got) != nil {
			return
		}
		if len(got.Batch.Floats) > len(rec) {
			t.Fatalf("%d floats in %d bytes", len(got.Batch.Floats), len(rec))
		}
		if err := DecodeBatch(EncodeBatch(nil, &got.Batch, got.Series, got.Meta), &again); err != nil {
			t.Fatal(err)
		}
		if err := sameBatch(&got.Batch, &again.Batch); err != nil {
			t.Fatal(err)
		}
	})
}
