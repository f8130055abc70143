// Package columntest generates columns for tests and benchmarks of the engine.
package columntest

import (
	"math"
	"math/rand/v2"
)

// SetA generates value columns like a node exporter's: counters in seconds of
// two decimals, byte counters, histogram buckets, gauges of few decimals, slow
// counters and constants; about 38 % of the samples repeat the one before. The same arguments give the
// same columns.
func SetA(series, samples int) [][]float64 {
	r := rand.New(rand.NewPCG(7, 7))
	out := make([][]float64, series)
	for i := range out {
		out[i] = setASeries(r, i%100, samples)
	}
	return out
}

// setASeries returns one column; kind is its place in a hundred.
func setASeries(r *rand.Rand, kind, samples int) []float64 {
	vs := make([]float64, samples)
	acc := int64(r.IntN(1 << 30))
	rate := math.Exp(r.NormFloat64())
	for j := range vs {
		switch {
		case kind < 13: // CPU seconds; a few modes are nearly idle
			mean := []float64{1400, 60, 30, 5, 0.5, 0.1, 0, 0}[kind%8] * rate
			acc += poisson(r, mean)
			vs[j] = float64(acc) / 100
		case kind < 21: // bytes of a network or disk
			acc += int64(40000 * rate * (1 + r.Float64()/2))
			vs[j] = float64(acc)
		case kind < 49: // buckets of a histogram, requests, errors
			acc += poisson(r, []float64{0, 0.05, 0.5, 2, 8, 20, 40}[kind%7]*rate)
			vs[j] = float64(acc)
		case kind < 59: // temperatures of one decimal
			acc += int64(math.Round(r.NormFloat64() * 2))
			vs[j] = float64(acc%400+300) / 10
		case kind < 65: // pages of memory
			acc += int64(math.Round(r.NormFloat64() * 30))
			vs[j] = float64(acc) * 4096
		case kind < 69: // load average, two decimals
			acc += int64(math.Round(r.NormFloat64() * 3))
			vs[j] = float64(acc%1000) / 100
		case kind < 73: // ratios without a short decimal form
			vs[j] = 0.5 + 0.1*math.Sin(float64(j)/50) + 0.001*r.Float64()
			vs[j] = math.Round(vs[j]*1e4) / 1e4
		case kind < 82: // counters that move now and then
			if r.IntN(12) == 0 {
				acc += int64(r.IntN(5))
			}
			vs[j] = float64(acc)
		default: // constants
			vs[j] = float64(acc)
		}
	}
	return vs
}

// poisson draws a count of the given mean, normal-like for large means.
func poisson(r *rand.Rand, mean float64) int64 {
	if mean > 30 {
		return max(0, int64(math.Round(mean+math.Sqrt(mean)*r.NormFloat64())))
	}
	limit, p, n := math.Exp(-mean), 1.0, int64(-1)
	for p > limit {
		p *= r.Float64()
		n++
	}
	return n
}

// Repeats returns the share of samples equal to the one before.
func Repeats(cols [][]float64) float64 {
	same, all := 0, 0
	for _, vs := range cols {
		for i := 1; i < len(vs); i++ {
			if vs[i] == vs[i-1] {
				same++
			}
		}
		all += len(vs)
	}
	return float64(same) / float64(all)
}

// Timestamps returns the timestamps (ms) of one target's scrapes: every 15 s
// from start, with up to 20 ms of jitter to both sides.
func Timestamps(target int, start int64, samples int) []int64 {
	r := rand.New(rand.NewPCG(uint64(target), 3))
	ts := make([]int64, samples)
	for i := range ts {
		ts[i] = start + int64(i)*15_000 + r.Int64N(41) + 20
	}
	return ts
}
