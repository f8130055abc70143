package partial

// bounds are the windows of one timestamps column on a grid. Series that share
// their timestamps share the bounds too, and with them all of a rate that does
// not depend on values.
type bounds struct {
	// lo and hi are the first sample of each step's window and the one behind its
	// last. For an instant selector hi-1 is the sample that counts and lo == hi
	// where there is none that is young enough.
	lo, hi []int32
	full   bool // every window has a sample
	full2  bool // every window has two
	// total and read are the samples that Prometheus would count at each step:
	// all of the window, and those of them that the step before did not have.
	// They are filled on first use.
	total, read []int64
	rate        *rateBounds
	uses        int64 // by how many series, for the counts of samples
	// weights are the samples before each of the column's, which may stand for
	// several, and behind the last; nil = each is one.
	weights []int64
}

// reset makes room for n steps.
func (b *bounds) reset(n int) {
	if cap(b.lo) < n {
		b.lo, b.hi = make([]int32, n), make([]int32, n)
	}
	b.lo, b.hi = b.lo[:n], b.hi[:n]
	b.full, b.full2, b.rate, b.uses, b.total, b.read, b.weights = true, true, nil, 0, nil, nil, nil
}

// fill computes the windows (ref-rng, ref] of each step over ascending
// timestamps.
func (b *bounds) fill(g Grid, sel *selector, width int64, ts []int64) {
	n := g.Len()
	b.reset(n)
	lo, hi := 0, 0
	for k := range n {
		ref := sel.ref(g, k)
		from := ref - width
		for hi < len(ts) && ts[hi] <= ref {
			hi++
		}
		for lo < hi && ts[lo] <= from {
			lo++
		}
		b.lo[k], b.hi[k] = int32(lo), int32(hi)
		switch hi - lo {
		case 0:
			b.full, b.full2 = false, false
		case 1:
			b.full2 = false
		}
	}
}

// samples returns how many samples lie from lo up to before hi.
func (b *bounds) samples(lo, hi int32) int64 {
	if b.weights == nil {
		return int64(hi - lo)
	}
	return b.weights[hi] - b.weights[lo]
}

// counts returns the samples of each step.
func (b *bounds) counts() (total, read []int64) {
	if b.total == nil {
		n := len(b.lo)
		b.total, b.read = make([]int64, n), make([]int64, n)
		for k := range n {
			b.total[k] = b.samples(b.lo[k], b.hi[k])
			b.read[k] = b.total[k]
			if k > 0 {
				b.read[k] = b.samples(max(b.lo[k], b.hi[k-1]), b.hi[k])
			}
		}
	}
	return b.total, b.read
}

// rateBounds are the parts of extrapolation that rest on timestamps alone.
type rateBounds struct {
	// factor is what a step's increase is multiplied by if the series' zero point
	// does not come into play.
	factor []float64
	// sampled is the time between the first and the last sample, start and end how
	// far the increase is extrapolated beyond them, all in seconds.
	sampled, start, end []float64
}

// rateOf returns the extrapolation of each window with two samples at least, as
// Prometheus's extrapolatedRate computes it. perSecond divides by the range.
func (b *bounds) rateOf(g Grid, sel *selector, ts []int64, perSecond bool) *rateBounds {
	if b.rate != nil {
		return b.rate
	}
	n := len(b.lo)
	buf := make([]float64, 4*n)
	r := &rateBounds{factor: buf[:n], sampled: buf[n : 2*n], start: buf[2*n : 3*n], end: buf[3*n:]}
	rangeSeconds := sel.rangeSeconds()
	for k := range n {
		lo, hi := b.lo[k], b.hi[k]
		if hi-lo < 2 {
			continue
		}
		ref := sel.ref(g, k)
		firstT, lastT := ts[lo], ts[hi-1]
		toStart := float64(firstT-(ref-sel.rng)) / 1000
		toEnd := float64(ref-lastT) / 1000
		sampled := float64(lastT-firstT) / 1000
		average := sampled / float64(b.samples(lo, hi)-1)
		threshold := average * 1.1
		if toStart >= threshold {
			toStart = average / 2
		}
		if toEnd >= threshold {
			toEnd = average / 2
		}
		r.sampled[k], r.start[k], r.end[k] = sampled, toStart, toEnd
		r.factor[k] = rateFactor(sampled, toStart, toEnd, rangeSeconds, perSecond)
	}
	b.rate = r
	return r
}

func rateFactor(sampled, toStart, toEnd, rangeSeconds float64, perSecond bool) float64 {
	factor := 1.0
	if sampled != 0 {
		factor = (sampled + toStart + toEnd) / sampled
	}
	if perSecond {
		factor /= rangeSeconds
	}
	return factor
}
