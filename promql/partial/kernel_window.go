package partial

import (
	"math"

	"github.com/prometheus/prometheus/util/kahansum"
)

// eachWindow calls f for every window that has samples.
func (w *evaluator) eachWindow(f func(k int, vs []float64) float64) {
	b := w.bounds
	w.row.all = b.full
	for k := range w.row.v {
		lo, hi := b.lo[k], b.hi[k]
		if lo == hi {
			continue
		}
		w.row.ok[k] = true
		w.row.v[k] = f(k, w.cols.V[lo:hi])
	}
}

func countKernel(w *evaluator) {
	b := w.bounds
	w.eachWindow(func(k int, _ []float64) float64 { return float64(b.samples(b.lo[k], b.hi[k])) })
}

func presentKernel(w *evaluator) {
	w.eachWindow(func(int, []float64) float64 { return 1 })
}

func lastKernel(w *evaluator) {
	w.eachWindow(func(_ int, vs []float64) float64 { return vs[len(vs)-1] })
}

func firstKernel(w *evaluator) {
	w.eachWindow(func(_ int, vs []float64) float64 { return vs[0] })
}

// overlap says whether windows share so many samples that it pays to look at
// each sample once.
func (w *evaluator) overlap() bool { return w.grid.Len() > 2 && w.grid.Step*2 <= w.prog.sel.rng }

// sumKernel sums each window from its first sample on, compensated, because that
// is what the bits of the result depend on; integers that cannot round are
// summed once for all windows.
func sumKernel(w *evaluator) {
	if w.overlap() && w.prefixSums() {
		b := w.bounds
		w.eachWindow(func(k int, _ []float64) float64 { return w.prefix[b.hi[k]] - w.prefix[b.lo[k]] })
		return
	}
	w.eachWindow(func(_ int, vs []float64) float64 {
		sum, c, n := sumFrom(0, vs)
		for _, v := range vs[n:] {
			sum, c = kahansum.Inc(v, sum, c)
		}
		if math.IsInf(sum, 0) {
			return sum
		}
		return sum + c
	})
}

// sumFrom adds to a sum, compensated as kahansum.Inc is and written out because
// the calls would cost more than the additions. It stops before the first value
// that would make the sum infinite and returns how many it has taken.
func sumFrom(sum float64, vs []float64) (s, c float64, n int) {
	for i, v := range vs {
		t := sum + v
		if t > math.MaxFloat64 || t < -math.MaxFloat64 {
			return sum, c, i
		}
		if math.Abs(sum) >= math.Abs(v) {
			c += (sum - t) + v
		} else {
			c += (v - t) + sum
		}
		sum = t
	}
	return sum, c, len(vs)
}

// prefixSums fills w.prefix if all values are integers whose absolute values add
// up to less than 2^53: then no sum of any of them rounds.
func (w *evaluator) prefixSums() bool {
	vs := w.cols.V
	if cap(w.prefix) < len(vs)+1 {
		w.prefix = make([]float64, len(vs)+1)
	}
	w.prefix = w.prefix[:len(vs)+1]
	var sum, absolute float64
	w.prefix[0] = 0
	for i, v := range vs {
		// Truncation by way of int64 is undefined for large values and NaN: those
		// do not compare equal or make the absolute sum too large. A negative zero
		// is an integer whose sum has another sign.
		if float64(int64(v)) != v || (v == 0 && math.Signbit(v)) {
			return false
		}
		absolute += math.Abs(v)
		sum += v
		w.prefix[i+1] = sum
	}
	return absolute < 1<<53
}

func avgKernel(w *evaluator) {
	if b := w.bounds; b.weights != nil {
		// Integers that cannot round: see condensing.
		w.eachWindow(func(k int, vs []float64) float64 {
			sum, count := 0.0, float64(b.samples(b.lo[k], b.hi[k]))
			for _, v := range vs {
				sum += v
			}
			return sum/count + 0/count
		})
		return
	}
	if w.overlap() && w.prefixSums() {
		b := w.bounds
		w.eachWindow(func(k int, vs []float64) float64 {
			count := float64(len(vs))
			return (w.prefix[b.hi[k]]-w.prefix[b.lo[k]])/count + 0/count
		})
		return
	}
	w.eachWindow(func(_ int, vs []float64) float64 { return mean(vs) })
}

// mean is Prometheus's avg_over_time: the compensated sum divided, and
// incremental from where the sum would overflow.
func mean(vs []float64) float64 {
	sum, c, n := sumFrom(vs[0], vs[1:])
	count := float64(n + 1)
	if n == len(vs)-1 {
		return sum/count + c/count
	}
	m := sum / count
	c /= count
	for _, v := range vs[n+1:] {
		count++
		q := (count - 1) / count
		m, c = kahansum.Inc(v/count, q*m, q*c)
	}
	return m + c
}

func stdvarKernel(w *evaluator) {
	w.eachWindow(func(_ int, vs []float64) float64 { return variance(vs) })
}

func stddevKernel(w *evaluator) {
	w.eachWindow(func(_ int, vs []float64) float64 { return math.Sqrt(variance(vs)) })
}

// variance is Prometheus's stdvar_over_time.
func variance(vs []float64) float64 {
	var count, m, cm, aux, ca float64
	for _, v := range vs {
		count++
		delta := v - (m + cm)
		m, cm = kahansum.Inc(delta/count, m, cm)
		aux, ca = kahansum.Inc(delta*(v-(m+cm)), aux, ca)
	}
	return (aux + ca) / count
}

func minKernel(w *evaluator) {
	if !w.overlap() {
		w.eachWindow(func(_ int, vs []float64) float64 {
			best := vs[0]
			for _, v := range vs[1:] {
				if v < best || math.IsNaN(best) {
					best = v
				}
			}
			return best
		})
		return
	}
	w.slidingExtreme(func(a, b float64) bool { return a < b })
}

func maxKernel(w *evaluator) {
	if !w.overlap() {
		w.eachWindow(func(_ int, vs []float64) float64 {
			best := vs[0]
			for _, v := range vs[1:] {
				if v > best || math.IsNaN(best) {
					best = v
				}
			}
			return best
		})
		return
	}
	w.slidingExtreme(func(a, b float64) bool { return a > b })
}

// slidingExtreme computes min_over_time and max_over_time over windows that
// overlap: the first of the values that none beats, NaN only where there is
// nothing else.
func (w *evaluator) slidingExtreme(beats func(a, b float64) bool) {
	// A queue of the samples that may still be the best of a later window: each
	// sample enters and leaves it once.
	b, vs := w.bounds, w.cols.V
	queue, head, next := w.queue[:0], 0, int32(0)
	w.eachWindow(func(k int, window []float64) float64 {
		for ; next < b.hi[k]; next++ {
			v := vs[next]
			if math.IsNaN(v) {
				continue
			}
			for len(queue) > head && beats(v, vs[queue[len(queue)-1]]) {
				queue = queue[:len(queue)-1]
			}
			queue = append(queue, next)
		}
		for head < len(queue) && queue[head] < b.lo[k] {
			head++
		}
		if head == len(queue) {
			return window[len(window)-1] // all are NaN
		}
		return vs[queue[head]]
	})
	w.queue = queue[:0]
}

func changesKernel(w *evaluator) {
	w.countPairs(func(prev, cur float64) bool {
		return cur != prev && !(math.IsNaN(cur) && math.IsNaN(prev))
	})
}

func resetsKernel(w *evaluator) {
	if w.useST() {
		genericKernel(w)
		return
	}
	w.countPairs(func(prev, cur float64) bool { return cur < prev })
}

// countPairs counts the neighbours in each window for which is holds, by counts
// from the start of the series.
func (w *evaluator) countPairs(is func(prev, cur float64) bool) {
	vs := w.cols.V
	if cap(w.prefix) < len(vs)+1 {
		w.prefix = make([]float64, len(vs)+1)
	}
	w.prefix = w.prefix[:len(vs)+1]
	n := 0.0
	for i := range vs {
		if i > 0 && is(vs[i-1], vs[i]) {
			n++
		}
		w.prefix[i] = n
	}
	b := w.bounds
	w.eachWindow(func(k int, _ []float64) float64 { return w.prefix[b.hi[k]-1] - w.prefix[b.lo[k]] })
}
