package transport

import (
	"encoding/hex"
	"math"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"pgregory.net/rapid"

	count "github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/wire"
)

func identity(sender uint32) (count.Ref, bool) { return count.Ref(sender), true }

// sampleBatch has one of everything.
func sampleBatch() *count.Batch {
	return &count.Batch{
		Version: 1 << 60,
		Floats: []count.FloatSample{
			{T: 1700000000000, V: 1.5, Ref: 7},
			{T: 1700000000000, V: math.Inf(-1), Ref: 8},
			{T: 1700000015000, V: math.Float64frombits(0x7ff0000000000002), Ref: 3},
		},
		STs: []int64{0, 1700000000000, 1700000020000},
		Hists: []count.HistogramSample{
			{T: 5, ST: 4, Ref: 9, H: &histogram.Histogram{
				CounterResetHint: histogram.CounterReset, Schema: 3, ZeroThreshold: 1e-9, ZeroCount: 2, Count: 9, Sum: 12.5,
				PositiveSpans: []histogram.Span{{Offset: -2, Length: 2}, {Offset: 1, Length: 1}}, PositiveBuckets: []int64{3, -1, 0},
			}},
			{T: 6, Ref: 9, FH: &histogram.FloatHistogram{
				CounterResetHint: histogram.GaugeType, Schema: -53, Count: 3, Sum: 6,
				PositiveSpans: []histogram.Span{{Offset: 0, Length: 2}}, PositiveBuckets: []float64{1, 2}, CustomValues: []float64{0.5, 1},
			}},
		},
		Exemplars: []count.Exemplar{{Ref: 7, T: 1, V: 2, Labels: labels.FromStrings("trace_id", "abc")}},
		Metadata:  []count.Metadata{{Family: "f", Metadata: metadata.Metadata{Type: "counter", Unit: "s", Help: "text"}}},
	}
}

func TestBatchRoundTrip(t *testing.T) {
	want := sampleBatch()
	body := AppendBatch(nil, want)
	var got count.Batch
	d := wire.NewDecoder(body)
	DecodeBatch(&d, &got, identity)
	if d.Err() != nil || d.Len() != 0 {
		t.Fatalf("%v, %d bytes left", d.Err(), d.Len())
	}
	if math.Float64bits(got.Floats[2].V) != math.Float64bits(want.Floats[2].V) {
		t.Fatal("the bit pattern of a stale marker changed")
	}
	got.Floats[2].V, want.Floats[2].V = 0, 0
	if !reflect.DeepEqual(&got, want) {
		t.Fatalf("got %+v\nwant %+v", &got, want)
	}
	for n := range body {
		d := wire.NewDecoder(body[:n])
		DecodeBatch(&d, new(count.Batch), identity)
		if d.Err() == nil {
			t.Fatalf("cut at %d of %d bytes, no error", n, len(body))
		}
	}
}

// TestBatchGolden: the form on the wire and in hint files does not change
// unnoticed.
func TestBatchGolden(t *testing.T) {
	text, err := os.ReadFile("testdata/batch.hex")
	if err != nil {
		t.Fatal(err)
	}
	if got := hex.EncodeToString(AppendBatch(nil, sampleBatch())); got != strings.TrimSpace(string(text)) {
		t.Fatalf("form changed: raise Version and write the new bytes:\n%s", got)
	}
}

func TestBatchProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := &count.Batch{Version: count.Version(rapid.Uint64().Draw(t, "version"))}
		n := rapid.IntRange(0, 30).Draw(t, "n")
		starts := rapid.Bool().Draw(t, "starts")
		for range n {
			b.Floats = append(b.Floats, count.FloatSample{
				T: rapid.Int64Range(0, 1<<50).Draw(t, "t"), Ref: count.Ref(rapid.Uint32().Draw(t, "ref")),
				V: rapid.Float64().Draw(t, "v"),
			})
			if starts {
				b.STs = append(b.STs, rapid.Int64Range(0, 1<<50).Draw(t, "st"))
			}
		}
		var got count.Batch
		d := wire.NewDecoder(AppendBatch(nil, b))
		DecodeBatch(&d, &got, identity)
		if d.Err() != nil || len(got.Floats) != n {
			t.Fatal(d.Err(), len(got.Floats))
		}
		for i := range b.Floats {
			if got.Floats[i] != b.Floats[i] {
				t.Fatalf("sample %d: %+v, want %+v", i, got.Floats[i], b.Floats[i])
			}
			if starts && got.STs[i] != b.STs[i] {
				t.Fatalf("start %d: %d, want %d", i, got.STs[i], b.STs[i])
			}
		}
	})
}

func FuzzDecodeBatch(f *testing.F) {
	f.Add(AppendBatch(nil, sampleBatch()))
	f.Add([]byte{0, 1, 2, 3})
	f.Fuzz(func(t *testing.T, data []byte) {
		d := wire.NewDecoder(data)
		var b count.Batch
		DecodeBatch(&d, &b, identity)
		if d.Err() != nil {
			return
		}
		again := wire.NewDecoder(AppendBatch(nil, &b))
		var b2 count.Batch
		if DecodeBatch(&again, &b2, identity); again.Err() != nil {
			t.Fatal(again.Err())
		}
	})
}

func BenchmarkBatch(b *testing.B) {
	in := &count.Batch{Version: 1 << 60}
	for i := range 2000 {
		in.Floats = append(in.Floats, count.FloatSample{T: 1700000000000, V: float64(i), Ref: count.Ref(i)})
	}
	body := AppendBatch(nil, in)
	b.Run("encode", func(b *testing.B) {
		for b.Loop() {
			body = AppendBatch(body[:0], in)
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*2000), "ns/sample")
		b.ReportMetric(float64(len(body))/2000, "B/sample")
	})
	b.Run("decode", func(b *testing.B) {
		var out count.Batch
		for b.Loop() {
			out.Reset()
			d := wire.NewDecoder(body)
			DecodeBatch(&d, &out, identity)
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*2000), "ns/sample")
	})
}
