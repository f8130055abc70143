package column

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/prometheus/prometheus/model/value"
	"pgregory.net/rapid"
)

// oddValues are the floats that codecs get wrong first.
var oddValues = []float64{
	0, math.Copysign(0, -1), 1, -1, 127, 128, -128, -129, 1<<19 - 1, 1 << 19, -1 << 19, 0.1, 0.01, 1e15, 1<<53 - 1, 1 << 53, 1<<53 + 2,
	math.MaxFloat64, -math.MaxFloat64, math.SmallestNonzeroFloat64, math.Inf(1), math.Inf(-1), math.NaN(),
	math.Float64frombits(value.StaleNaN), math.Float64frombits(value.NormalNaN), math.Float64frombits(0xfff8000000000001),
	math.Float64frombits(0x7ff0000000000001), math.MaxInt64, math.MinInt64, 1e300, 123456.789,
}

// valueGen draws columns of the shapes that metrics have, and worse.
func valueGen() *rapid.Generator[[]float64] {
	return rapid.Custom(func(t *rapid.T) []float64 {
		n := rapid.IntRange(0, 400).Draw(t, "n")
		kind := rapid.IntRange(0, 5).Draw(t, "kind")
		scale := math.Pow(10, float64(rapid.IntRange(0, 7).Draw(t, "scale")))
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		vs := make([]float64, n)
		acc := r.Int64N(1 << 40)
		for i := range vs {
			switch kind {
			case 0: // counter of decimals
				if r.IntN(3) > 0 {
					acc += r.Int64N(2000)
				}
				vs[i] = float64(acc) / scale
			case 1: // gauge of decimals
				vs[i] = float64(r.Int64N(20000)-10000) / scale
			case 2:
				vs[i] = math.Float64frombits(r.Uint64())
			case 3:
				vs[i] = oddValues[r.IntN(len(oddValues))]
			case 4: // runs with odd values between
				vs[i] = float64(acc)
				if r.IntN(40) == 0 {
					vs[i] = oddValues[r.IntN(len(oddValues))]
					acc += r.Int64N(5)
				}
			default:
				vs[i] = r.NormFloat64() * scale
			}
		}
		return vs
	})
}

func checkBits(t rapid.TB, got, want []float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d values, want %d", len(got), len(want))
	}
	for i := range want {
		if math.Float64bits(got[i]) != math.Float64bits(want[i]) {
			t.Fatalf("value %d: %x (%v), want %x (%v)", i, math.Float64bits(got[i]), got[i], math.Float64bits(want[i]), want[i])
		}
	}
}

func TestXORRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		vs := valueGen().Draw(t, "vs")
		prefix := []float64{42}
		got, err := DecodeXOR(prefix, EncodeXOR(nil, vs), len(vs))
		if err != nil {
			t.Fatal(err)
		}
		checkBits(t, got[1:], vs)
	})
}

// TestXORStreamIsFinal holds the promise the buffer builds on: bytes given out
// do not change, and a copy finished at any point decodes.
func TestXORStreamIsFinal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		vs := valueGen().Draw(t, "vs")
		cut := rapid.IntRange(0, len(vs)).Draw(t, "cut")
		var s XORState
		var b []byte
		for _, v := range vs[:cut] {
			b = s.Append(b, v)
		}
		early := s.Finish(append([]byte(nil), b...))
		for _, v := range vs[cut:] {
			b = s.Append(b, v)
		}
		got, err := DecodeXOR(nil, early, cut)
		if err != nil {
			t.Fatal(err)
		}
		checkBits(t, got, vs[:cut])
		if got, err = DecodeXOR(nil, s.Finish(b), len(vs)); err != nil {
			t.Fatal(err)
		}
		checkBits(t, got, vs)
	})
}

func TestXORTruncated(t *testing.T) {
	b := EncodeXOR(nil, oddValues)
	for i := range b {
		if _, err := DecodeXOR(nil, b[:i], len(oddValues)); err == nil {
			t.Fatalf("a stream cut to %d of %d bytes decodes", i, len(b))
		}
	}
}

func FuzzDecodeXOR(f *testing.F) {
	f.Add(EncodeXOR(nil, oddValues), len(oddValues))
	f.Add([]byte{0xff, 0xff, 0xff}, 3)
	f.Fuzz(func(t *testing.T, b []byte, n int) {
		vs, err := DecodeXOR(nil, b, n)
		if err != nil {
			return
		}
		again, err := DecodeXOR(nil, EncodeXOR(nil, vs), n)
		if err != nil {
			t.Fatal(err)
		}
		checkBits(t, again, vs)
	})
}
