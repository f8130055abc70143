package column

import (
	"math"
	"testing"

	"github.com/prometheus/prometheus/model/value"
	"pgregory.net/rapid"

	"github.com/count-db/count/engine/column/columntest"
)

func TestChunkRoundTrip(t *testing.T) {
	var e ChunkEncoder
	rapid.Check(t, func(t *rapid.T) {
		vs := valueGen().Draw(t, "vs")
		if len(vs) > 0 && rapid.Bool().Draw(t, "stale") {
			vs[rapid.IntRange(0, len(vs)-1).Draw(t, "at")] = math.Float64frombits(value.StaleNaN)
		}
		b := append(e.Append(nil, vs), "tail"...)
		got, err := DecodeChunk([]float64{1}, b, len(vs))
		if err != nil {
			t.Fatal(err)
		}
		checkBits(t, got[1:], vs)
		checkEntries(t, b, vs)
	})
}

// checkEntries compares each block's entry with its samples.
func checkEntries(t *rapid.T, b []byte, vs []float64) {
	c, err := OpenChunk(b, len(vs))
	if err != nil {
		t.Fatal(err)
	}
	for c.Next() {
		got := c.Block()
		block := vs[got.Start : got.Start+got.Len]
		want := describe(block)
		out, err := c.Decode(nil)
		if err != nil {
			t.Fatal(err)
		}
		checkBits(t, out, block)
		if got.Floats != want.Floats || got.Flags&FlagStale != want.Flags&FlagStale {
			t.Fatalf("entry %+v, want %+v", got, want)
		}
		if want.Flags&FlagInexact != 0 && got.Flags&FlagInexact == 0 {
			t.Fatalf("entry %+v hides a NaN", got)
		}
		if got.Flags&FlagInexact != 0 || want.Floats == 0 {
			continue
		}
		if got.Min != want.Min || got.Max != want.Max {
			t.Fatalf("entry %+v, want %+v", got, want)
		}
		if got.Flags&FlagStale == 0 && (got.First != want.First || got.Last != want.Last) {
			t.Fatalf("entry %+v, want %+v", got, want)
		}
		if want.Flags&FlagReset != 0 && got.Flags&FlagReset == 0 {
			t.Fatalf("entry %+v hides a reset", got)
		}
		if got.Flags&FlagSum != 0 {
			checkSum(t, got, block)
		}
	}
	if c.Err() != nil {
		t.Fatal(c.Err())
	}
	if string(c.Rest()) != "tail" && len(vs) > 0 {
		t.Fatalf("%q follows the chunk", c.Rest())
	}
}

func checkSum(t *rapid.T, got Block, vs []float64) {
	sum, abs := 0.0, 0.0
	for _, v := range vs {
		if math.Float64bits(v) == value.StaleNaN {
			continue
		}
		if v != math.Trunc(v) {
			t.Fatalf("sum over %v", v)
		}
		sum += v
		abs += math.Abs(v)
	}
	if abs >= maxExact || sum != got.Sum {
		t.Fatalf("sum %v of absolute %v, entry says %v", sum, abs, got.Sum)
	}
}

// TestChunkCodecs holds which codec wins for typical columns.
func TestChunkCodecs(t *testing.T) {
	stale := math.Float64frombits(value.StaleNaN)
	var e ChunkEncoder
	for _, c := range []struct {
		name string
		vs   []float64
		want Codec
	}{
		{"constant", []float64{0.1, 0.1, 0.1}, CodecConst},
		{"stale only", []float64{stale, stale}, CodecConst},
		{"counter", []float64{1, 2, 3, 10, 20}, CodecScaled},
		{"two decimals and the end of the series", []float64{0.01, 0.02, 1.5, 7, stale}, CodecScaled},
		{"irrational", []float64{math.Pi, math.E, math.Sqrt2, math.Phi, math.Ln2}, CodecXOR},
	} {
		if got := Codec(e.Append(nil, c.vs)[0]); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// TestChunkSizes is the bar of disk use: set A in sealed chunks.
func TestChunkSizes(t *testing.T) {
	var e ChunkEncoder
	size, n := 0, 0
	for _, vs := range columntest.SetA(500, benchSamples) {
		size += len(e.Append(nil, vs))
		n += len(vs)
	}
	if per := float64(size) / float64(n); per > 0.95 {
		t.Errorf("%.3f bytes a sample with block entries, want at most 0.95", per)
	}
}

func TestChunkAllocatesNothing(t *testing.T) {
	var e ChunkEncoder
	vs := columntest.SetA(1, benchSamples)[0]
	b := e.Append(nil, vs)
	out := make([]float64, 0, len(vs))
	if n := testing.AllocsPerRun(10, func() {
		b = e.Append(b[:0], vs)
		if _, err := DecodeChunk(out[:0], b, len(vs)); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzDecodeChunk(f *testing.F) {
	var e ChunkEncoder
	for _, vs := range columntest.SetA(100, 200) {
		f.Add(e.Append(nil, vs), len(vs))
	}
	f.Add(e.Append(nil, oddValues), len(oddValues))
	f.Fuzz(func(t *testing.T, b []byte, n int) {
		if n > MaxChunkSamples {
			return
		}
		vs, err := DecodeChunk(nil, b, n)
		if err != nil {
			return
		}
		again, err := DecodeChunk(nil, e.Append(nil, vs), n)
		if err != nil {
			t.Fatal(err)
		}
		checkBits(t, again, vs)
	})
}
