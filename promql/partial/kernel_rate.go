package partial

import "github.com/prometheus/prometheus/model/value"

func rateKernel(w *evaluator) { w.extrapolate(true, true) }

func increaseKernel(w *evaluator) { w.extrapolate(true, false) }

func deltaKernel(w *evaluator) { w.extrapolate(false, false) }

// extrapolate computes rate, increase and delta. What rests on timestamps comes
// from the bounds; of the values, the first and the last of each window and the
// counter resets between them are looked at. Every operation is the one that
// Prometheus's extrapolatedRate does, in its order, so that the bits agree.
func (w *evaluator) extrapolate(counter, perSecond bool) {
	if counter && w.useST() {
		genericKernel(w)
		return
	}
	b := w.bounds
	r := b.rateOf(w.grid, &w.prog.sel, w.cols.T, perSecond)
	out, vs := w.row.v, w.cols.V
	w.row.all = b.full2
	if !counter {
		for k := range out {
			lo, hi := b.lo[k], b.hi[k]
			if hi-lo < 2 {
				continue
			}
			w.row.ok[k] = true
			out[k] = (vs[hi-1] - vs[lo]) * r.factor[k]
		}
		return
	}
	resets := w.findResets()
	rangeSeconds := w.prog.sel.rangeSeconds()
	first := 0 // index of the first reset that may lie in the window
	for k := range out {
		lo, hi := b.lo[k], b.hi[k]
		if hi-lo < 2 {
			continue
		}
		w.row.ok[k] = true
		increase := vs[hi-1] - vs[lo]
		if len(resets) > 0 {
			for first < len(resets) && resets[first] <= lo {
				first++
			}
			for _, i := range resets[first:] {
				if i >= hi {
					break
				}
				increase += vs[i-1]
			}
		}
		factor := r.factor[k]
		// A counter cannot have been below zero: if its zero point is nearer than
		// the start of the window, that is where the extrapolation ends. The test
		// without a division is wide enough to let no such case pass.
		if start := vs[lo]; increase > 0 && start >= 0 && !(r.sampled[k]*start > r.start[k]*increase*1.000001) {
			if toZero := r.sampled[k] * (start / increase); toZero < r.start[k] {
				factor = rateFactor(r.sampled[k], toZero, r.end[k], rangeSeconds, perSecond)
			}
		}
		out[k] = increase * factor
	}
}

// findResets returns the indexes of the samples that are below the one before.
func (w *evaluator) findResets() []int32 {
	w.resets = w.resets[:0]
	vs := w.cols.V
	for i := 1; i < len(vs); i++ {
		if vs[i] < vs[i-1] {
			w.resets = append(w.resets, int32(i))
		}
	}
	return w.resets
}

func irateKernel(w *evaluator) {
	if w.useST() {
		genericKernel(w)
		return
	}
	w.lastTwo(true)
}

func ideltaKernel(w *evaluator) { w.lastTwo(false) }

// lastTwo computes irate and idelta from the last two samples of each window.
func (w *evaluator) lastTwo(rate bool) {
	b := w.bounds
	ts, vs := w.cols.T, w.cols.V
	w.row.all = b.full2
	for k := range w.row.v {
		lo, hi := b.lo[k], b.hi[k]
		if hi-lo < 2 {
			continue
		}
		w.row.ok[k] = true
		result := vs[hi-1]
		if !rate || !(vs[hi-1] < vs[hi-2]) {
			result = vs[hi-1] - vs[hi-2]
		}
		if rate {
			result /= float64(ts[hi-1]-ts[hi-2]) / 1000
		}
		w.row.v[k] = result
	}
}

// useST says whether start timestamps must be looked at.
func (w *evaluator) useST() bool {
	return w.prog.opts.UseStartTimestamps && len(w.cols.ST) > 0
}

// instantKernel takes the newest sample of each step that is not older than the
// lookback. A stale marker is no value.
func instantKernel(w *evaluator) {
	b, vs := w.bounds, w.cols.V
	w.row.all = b.full && !w.stale
	if w.row.all {
		for k := range w.row.v {
			w.row.v[k] = vs[b.hi[k]-1]
		}
		return
	}
	for k := range w.row.v {
		if b.lo[k] == b.hi[k] {
			continue
		}
		v := vs[b.hi[k]-1]
		w.row.v[k], w.row.ok[k] = v, !w.stale || !value.IsStaleNaN(v)
	}
}
