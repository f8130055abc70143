package partial

import (
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
)

// genericKernel hands each window to Prometheus's own function.
func genericKernel(w *evaluator) {
	p := w.prog
	call := promql.FunctionCalls[p.fn.name]
	b := w.bounds
	w.fpoints = w.fpoints[:0]
	for i, t := range w.cols.T {
		w.fpoints = append(w.fpoints, promql.FPoint{T: t, F: w.cols.V[i]})
	}
	matrix := promql.Matrix{{Metric: w.labels}}
	enh := &promql.EvalNodeHelper{Out: make(promql.Vector, 0, 1)}
	var sts promql.StartTimestamps
	useST := p.fn.startTimes && w.useST()
	vectors := make([]promql.Vector, len(p.fnArgs))
	for i := range vectors {
		vectors[i] = make(promql.Vector, 1)
	}
	for k := range w.row.v {
		lo, hi := b.lo[k], b.hi[k]
		if lo == hi {
			continue
		}
		enh.Ts = w.grid.At(k)
		for i, arg := range p.fnArgs {
			vectors[i][0] = promql.Sample{F: arg(enh.Ts), Metric: labels.EmptyLabels()}
		}
		matrix[0].Floats = w.fpoints[lo:hi:hi]
		if useST {
			sts.Floats = append(sts.Floats[:0], w.cols.ST[lo:hi]...)
			enh.StartTimestamps = &sts
		}
		out, annos := call(vectors, matrix, p.call.Args, enh)
		w.annos.Merge(annos)
		if len(out) > 0 {
			w.row.v[k], w.row.ok[k] = out[0].F, true
		}
		enh.Out = out[:0]
	}
}
