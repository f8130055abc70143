package version

import (
	"bytes"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/value"
	"pgregory.net/rapid"

	"github.com/count-db/count/internal/golden"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/wire"
)

func TestClockNeverGoesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.UnixMicro(1_700_000_000_000_000)
		c := NewClock(func() time.Time { return now }, 0)
		var last model.Version
		for range rapid.IntRange(1, 50).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(-2000, 2000).Draw(t, "step")) * time.Microsecond)
			if rapid.Bool().Draw(t, "observe") {
				seen := model.VersionAt(now.UnixMicro() + rapid.Int64Range(-5000, 5000).Draw(t, "ahead"))
				c.Observe(seen)
				last = max(last, seen)
			}
			v := c.Now()
			if v <= last {
				t.Fatalf("%d is not above %d", v, last)
			}
			if v.Micros() < now.UnixMicro() {
				t.Fatalf("version of %d µs at %d µs", v.Micros(), now.UnixMicro())
			}
			last = v
			if c.Last() != last {
				t.Fatalf("Last %d, want %d", c.Last(), last)
			}
		}
	})
}

func TestClockAfterARestartAndAhead(t *testing.T) {
	now := time.UnixMicro(1000)
	c := NewClock(func() time.Time { return now }, model.VersionAt(5000))
	if v := c.Now(); v != model.VersionAt(5000)+1 {
		t.Fatalf("first version %d after a restart is not just above the last", v)
	}
	if got := c.Ahead(model.VersionAt(5000)); got != 4*time.Millisecond {
		t.Fatalf("Ahead: %v", got)
	}
	if v := NewClock(func() time.Time { return time.UnixMicro(-5) }, 0).Now(); v != 1 {
		t.Fatalf("before 1970: %d", v)
	}
}

func TestClockGivesEachVersionOnce(t *testing.T) {
	c := NewClock(func() time.Time { return time.UnixMicro(1) }, 0)
	const workers, each = 4, 1000
	got := make([][]model.Version, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for range each {
				got[w] = append(got[w], c.Now())
			}
		})
	}
	wg.Wait()
	seen := map[model.Version]bool{}
	for _, vs := range got {
		for _, v := range vs {
			if seen[v] {
				t.Fatalf("version %d was given out twice", v)
			}
			seen[v] = true
		}
	}
}

var floats = rapid.OneOf(
	rapid.SampledFrom([]float64{0, math.Copysign(0, -1), 1, math.Inf(1), math.Inf(-1), math.NaN(), math.Float64frombits(value.StaleNaN)}),
	rapid.Float64(),
)

// candidates draws few different values, so that ties are frequent.
func candidates() *rapid.Generator[Candidate] {
	return rapid.Custom(func(t *rapid.T) Candidate {
		ver := model.Version(rapid.IntRange(1, 2).Draw(t, "version"))
		st := int64(rapid.IntRange(0, 1).Draw(t, "st"))
		few := rapid.SampledFrom([]float64{0, 1, -1, math.NaN()}).Draw(t, "value")
		switch rapid.IntRange(0, 2).Draw(t, "kind") {
		case 0:
			return OfFloat(ver, few, st)
		case 1:
			return OfHistogram(&model.HistogramPoint{Ver: ver, ST: st, H: &histogram.Histogram{Sum: few}})
		default:
			return OfHistogram(&model.HistogramPoint{Ver: ver, ST: st, FH: &histogram.FloatHistogram{Sum: few}})
		}
	})
}

// merge is the rule applied to two states, each of one sample.
func merge(a, b Candidate) Candidate {
	if b.Wins(a) {
		return b
	}
	return a
}

func same(a, b Candidate) bool {
	if a.kind != b.kind || a.version != b.version || a.st != b.st {
		return false
	}
	if a.kind == Float {
		return a.bits == b.bits
	}
	return bytes.Equal(a.valueBytes(), b.valueBytes())
}

func TestMergeIsCommutativeAssociativeIdempotent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := candidates().Draw(t, "a"), candidates().Draw(t, "b"), candidates().Draw(t, "c")
		if !same(merge(a, b), merge(b, a)) {
			t.Fatal("not commutative")
		}
		if !same(merge(merge(a, b), c), merge(a, merge(b, c))) {
			t.Fatal("not associative")
		}
		if !same(merge(a, a), a) || !same(merge(merge(a, b), b), merge(a, b)) {
			t.Fatal("not idempotent")
		}
		if (Compare(a, b) == 0) != same(a, b) || Compare(a, b) != -Compare(b, a) {
			t.Fatal("not a total order")
		}
		if !a.Wins(Candidate{}) {
			t.Fatal("a sample does not win against nothing")
		}
	})
}

func TestRuleInWords(t *testing.T) {
	h := func(ver model.Version, sum float64) Candidate {
		return OfHistogram(&model.HistogramPoint{Ver: ver, H: &histogram.Histogram{Sum: sum}})
	}
	for _, c := range []struct {
		name          string
		winner, loser Candidate
	}{
		{"the higher version", OfFloat(2, 1, 0), OfFloat(1, 9, 0)},
		{"the higher version, whatever the kind", OfFloat(2, 1, 0), h(1, 1)},
		{"equal versions: the histogram", h(1, 0), OfFloat(1, math.NaN(), 0)},
		{"equal versions: the larger bits", OfFloat(1, 2, 0), OfFloat(1, 1, 0)},
		{"bits, not numbers: minus zero over zero", OfFloat(1, math.Copysign(0, -1), 0), OfFloat(1, 0, 0)},
		{"equal values: the later start timestamp", OfFloat(1, 1, 7), OfFloat(1, 1, 5)},
	} {
		if !c.winner.Wins(c.loser) || c.loser.Wins(c.winner) {
			t.Errorf("%s: does not win", c.name)
		}
	}
}

func spans(t *rapid.T) []histogram.Span {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) histogram.Span {
		return histogram.Span{Offset: rapid.Int32().Draw(t, "offset"), Length: rapid.Uint32().Draw(t, "length")}
	}), 0, 3).Draw(t, "spans")
}

func TestHistogramBytesAreExact(t *testing.T) {
	hints := rapid.SampledFrom([]histogram.CounterResetHint{histogram.UnknownCounterReset, histogram.GaugeType})
	rapid.Check(t, func(t *rapid.T) {
		h := &histogram.Histogram{
			CounterResetHint: hints.Draw(t, "hint"), Schema: rapid.Int32().Draw(t, "schema"),
			ZeroThreshold: floats.Draw(t, "threshold"), ZeroCount: rapid.Uint64().Draw(t, "zero"),
			Count: rapid.Uint64().Draw(t, "count"), Sum: floats.Draw(t, "sum"),
			PositiveSpans: spans(t), PositiveBuckets: rapid.SliceOf(rapid.Int64()).Draw(t, "positive"),
			NegativeSpans: spans(t), NegativeBuckets: rapid.SliceOf(rapid.Int64()).Draw(t, "negative"),
			CustomValues: rapid.SliceOf(floats).Draw(t, "custom"),
		}
		enc := AppendHistogram(nil, h)
		d := wire.NewDecoder(enc)
		got := DecodeHistogram(&d)
		if d.Err() != nil || d.Len() != 0 || !bytes.Equal(AppendHistogram(nil, got), enc) || !sameInt(h, got) {
			t.Fatalf("%v: read %v, wrote %v", d.Err(), got, h)
		}
		fh := &histogram.FloatHistogram{
			CounterResetHint: h.CounterResetHint, Schema: h.Schema, ZeroThreshold: h.ZeroThreshold,
			ZeroCount: floats.Draw(t, "fzero"), Count: floats.Draw(t, "fcount"), Sum: h.Sum,
			PositiveSpans: h.PositiveSpans, PositiveBuckets: rapid.SliceOf(floats).Draw(t, "fpositive"),
			NegativeSpans: h.NegativeSpans, NegativeBuckets: rapid.SliceOf(floats).Draw(t, "fnegative"),
			CustomValues: h.CustomValues,
		}
		enc = AppendFloatHistogram(nil, fh)
		d = wire.NewDecoder(enc)
		fgot := DecodeFloatHistogram(&d)
		if d.Err() != nil || d.Len() != 0 || !bytes.Equal(AppendFloatHistogram(nil, fgot), enc) ||
			len(fgot.PositiveBuckets) != len(fh.PositiveBuckets) || math.Float64bits(fgot.Sum) != math.Float64bits(fh.Sum) {
			t.Fatalf("%v: read %v, wrote %v", d.Err(), fgot, fh)
		}
	})
}

// sameInt compares without the spans' special cases of Histogram.Equals.
func sameInt(a, b *histogram.Histogram) bool {
	return a.Schema == b.Schema && a.Count == b.Count && a.ZeroCount == b.ZeroCount && a.CounterResetHint == b.CounterResetHint &&
		math.Float64bits(a.Sum) == math.Float64bits(b.Sum) && math.Float64bits(a.ZeroThreshold) == math.Float64bits(b.ZeroThreshold) &&
		equal(a.PositiveSpans, b.PositiveSpans) && equal(a.NegativeSpans, b.NegativeSpans) &&
		equal(a.PositiveBuckets, b.PositiveBuckets) && equal(a.NegativeBuckets, b.NegativeBuckets) && len(a.CustomValues) == len(b.CustomValues)
}

func equal[T comparable](a, b []T) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func TestGolden(t *testing.T) {
	got := AppendHistogram(nil, &histogram.Histogram{
		Schema: 3, Count: 300, ZeroCount: 2, ZeroThreshold: 0.001, Sum: 18.4,
		PositiveSpans: []histogram.Span{{Offset: -2, Length: 2}, {Offset: 1, Length: 1}}, PositiveBuckets: []int64{1, 1, -1},
		NegativeSpans: []histogram.Span{{Length: 1}}, NegativeBuckets: []int64{295},
	})
	got = AppendFloatHistogram(got, &histogram.FloatHistogram{
		CounterResetHint: histogram.GaugeType, Schema: histogram.CustomBucketsSchema, Count: 3.5, Sum: 1,
		PositiveSpans: []histogram.Span{{Length: 2}}, PositiveBuckets: []float64{1.5, 2}, CustomValues: []float64{0.5, 1},
	})
	golden.Check(t, "testdata/histograms.golden", got) // with the bytes the merge rule changes
}

func FuzzDecodeHistogram(f *testing.F) {
	f.Add(AppendHistogram(nil, &histogram.Histogram{Schema: 1, Count: 2, PositiveSpans: []histogram.Span{{Length: 1}}, PositiveBuckets: []int64{2}}))
	f.Add(AppendFloatHistogram(nil, &histogram.FloatHistogram{Schema: -53, CustomValues: []float64{1, 2}}))
	f.Fuzz(func(t *testing.T, data []byte) {
		d := wire.NewDecoder(data)
		if h := DecodeHistogram(&d); h != nil {
			again := wire.NewDecoder(AppendHistogram(nil, h))
			if DecodeHistogram(&again) == nil {
				t.Fatal("what was read cannot be read again")
			}
		}
		d = wire.NewDecoder(data)
		if h := DecodeFloatHistogram(&d); h != nil {
			again := wire.NewDecoder(AppendFloatHistogram(nil, h))
			if DecodeFloatHistogram(&again) == nil {
				t.Fatal("what was read cannot be read again")
			}
		}
	})
}
