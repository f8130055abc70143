package column

import (
	"math"
)

// maxScale is the largest number of decimals tried; 10^12 and less are exact.
const maxScale = 12

// powers of ten by exponent.
var powers = [maxScale + 1]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12}

// maxExact bounds the integers that floats hold without gaps.
const maxExact = 1 << 53

// scaled returns the integer m with m / 10^scale = v to the bit.
func scaled(v float64, scale int) (int64, bool) {
	p := powers[scale]
	x := v * p
	if !(x > -maxExact && x < maxExact) {
		return 0, false
	}
	m := int64(math.RoundToEven(x))
	return m, math.Float64bits(float64(m)/p) == math.Float64bits(v)
}

// integers are a column of floats as multiples of a step above an origin, all
// over a power of ten: v = (origin + step*q) / 10^scale.
type integers struct {
	scale    int
	origin   int64
	step     int64   // above 0
	q        []int64 // one a sample; a special one repeats its neighbour
	specials []int32 // places of the samples that have no such form
}

// toIntegers finds the smallest scale that all but a few values have; false
// when too many have none. The slices' memory is used again.
func (t *integers) toIntegers(vs []float64) bool {
	t.q, t.specials, t.scale = t.q[:0], t.specials[:0], 0
	limit := len(vs)/16 + 1
	for i, v := range vs {
		k := t.scale
		_, ok := scaled(v, k)
		for !ok && k < maxScale {
			k++
			_, ok = scaled(v, k)
		}
		if ok {
			t.scale = k
			continue
		}
		if t.specials = append(t.specials, int32(i)); len(t.specials) > limit {
			return false
		}
	}
	if len(t.specials) == len(vs) {
		return false
	}
	return t.fill(vs, limit)
}

// fill computes q for the scale found. A value that fitted a smaller scale may
// be too large for this one, so specials are collected anew.
func (t *integers) fill(vs []float64, limit int) bool {
	t.specials = t.specials[:0]
	started := false
	var last int64
	for i, v := range vs {
		m, ok := scaled(v, t.scale)
		if !ok {
			if t.specials = append(t.specials, int32(i)); len(t.specials) > limit {
				return false
			}
			t.q = append(t.q, last)
			continue
		}
		if !started {
			started = true
			for j := range t.q {
				t.q[j] = m
			}
		}
		last = m
		t.q = append(t.q, m)
	}
	t.divide()
	return started
}

// divide takes the origin and the greatest common divisor out: pages, sectors
// and quarters need only their number.
func (t *integers) divide() {
	t.origin = t.q[0]
	g := int64(0)
	for _, m := range t.q {
		d := m - t.origin
		if g > 1 && d%g == 0 || d == 0 {
			continue
		}
		if g = gcd(g, max(d, -d)); g == 1 {
			break
		}
	}
	t.step = max(g, 1)
	if t.step == 1 {
		for i := range t.q {
			t.q[i] -= t.origin
		}
		return
	}
	for i := range t.q {
		t.q[i] = (t.q[i] - t.origin) / t.step
	}
}

func gcd(a, b int64) int64 {
	for a != 0 {
		a, b = b%a, a
	}
	return b
}

// toFloats is the way back, of one block.
func toFloats(dst []float64, q []int64, scale int, origin, step int64) {
	q = q[:len(dst)]
	switch {
	case scale == 0 && step == 1:
		for i := range dst {
			dst[i] = float64(origin + q[i])
		}
	case scale == 0:
		for i := range dst {
			dst[i] = float64(origin + step*q[i])
		}
	default:
		p := powers[scale]
		for i := range dst {
			dst[i] = float64(origin+step*q[i]) / p
		}
	}
}
