package column

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// intGen draws integer columns of the shapes that timestamps, counters and
// gauges have, with outliers, and worse.
func intGen() *rapid.Generator[[]int64] {
	return rapid.Custom(func(t *rapid.T) []int64 {
		n := rapid.IntRange(0, 400).Draw(t, "n")
		kind := rapid.IntRange(0, 6).Draw(t, "kind")
		width := rapid.IntRange(0, 62).Draw(t, "width")
		outliers := rapid.IntRange(0, 20).Draw(t, "outliers")
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		xs := make([]int64, n)
		acc, step := int64(r.Uint64()), int64(0)
		for i := range xs {
			noise := r.Int64N(1 << width)
			switch kind {
			case 0: // timestamps with jitter
				xs[i] = 1_700_000_000_000 + int64(i)*15000 + r.Int64N(41) - 20
			case 1: // counter
				acc += noise
				xs[i] = acc
			case 2: // slow counter
				if r.IntN(10) == 0 {
					acc += noise
				}
				xs[i] = acc
			case 3: // gauge
				xs[i] = noise
			case 4: // accelerating
				step += noise
				acc += step
				xs[i] = acc
			case 5:
				xs[i] = int64(r.Uint64())
			default:
				xs[i] = []int64{math.MinInt64, math.MaxInt64, 0, -1}[r.IntN(4)]
			}
			if outliers > 0 && r.IntN(outliers*20) == 0 {
				xs[i] = int64(r.Uint64()) >> r.IntN(64)
				if kind == 1 {
					acc = xs[i]
				}
			}
		}
		return xs
	})
}

func TestIntsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		xs := intGen().Draw(t, "xs")
		b := append(EncodeInts(nil, xs), "tail"...)
		got, rest, err := DecodeInts([]int64{7}, b, len(xs))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got[1:], xs) || string(rest) != "tail" {
			t.Fatalf("got %v and rest %q, want %v", got[1:], rest, xs)
		}
	})
}

func TestPackBits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		width := rapid.IntRange(0, 64).Draw(t, "width")
		vals := rapid.SliceOfN(rapid.Uint64(), 0, blockLen).Draw(t, "vals")
		padding := rapid.IntRange(0, 9).Draw(t, "padding")
		b := packBits(nil, vals, width)
		if len(b) != packedLen(len(vals), width) {
			t.Fatalf("%d bytes", len(b))
		}
		out := make([]int64, len(vals))
		unpackBits(out, append(b, make([]byte, padding)...), width)
		for i, v := range vals {
			if width < 64 {
				v &= 1<<width - 1
			}
			if uint64(out[i]) != v {
				t.Fatalf("value %d: %x, want %x", i, out[i], v)
			}
		}
	})
}

// TestPlanBlockOutliers holds the sizes of shapes that a plain frame of
// reference would spoil.
func TestPlanBlockOutliers(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	counter := func(reset int) []int64 {
		xs := make([]int64, blockLen)
		acc := int64(1) << 40
		for i := range xs {
			if i == reset {
				acc = 0
			}
			acc += 1000 + r.Int64N(16)
			xs[i] = acc
		}
		return xs
	}
	slow := make([]int64, blockLen)
	for i := range slow {
		slow[i] = int64(i / 12)
	}
	for _, c := range []struct {
		name string
		xs   []int64
		most int // bytes
	}{
		{"constant", make([]int64, blockLen), 2},
		{"counter", counter(-1), 9 + 64 + 2},
		{"counter with a reset", counter(50), 9 + 64 + 14},
		{"slow counter", slow, 2 + 2 + 2 + 11},
	} {
		if b := EncodeInts(nil, c.xs); len(b) > c.most {
			t.Errorf("%s: %d bytes, want at most %d", c.name, len(b), c.most)
		}
	}
}

func FuzzDecodeInts(f *testing.F) {
	f.Add(EncodeInts(nil, []int64{1, 2, 3, 500, 5, 6, 7}), 7)
	f.Add(EncodeInts(nil, []int64{math.MinInt64, math.MaxInt64, 0, -1}), 4)
	f.Fuzz(func(t *testing.T, b []byte, n int) {
		xs, _, err := DecodeInts(nil, b, n)
		if err != nil {
			return
		}
		again, _, err := DecodeInts(nil, EncodeInts(nil, xs), n)
		if err != nil || !slices.Equal(xs, again) {
			t.Fatalf("%v: %v after a round trip of %v", err, again, xs)
		}
	})
}
