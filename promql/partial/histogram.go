package partial

import (
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/promql/prom"
)

// readSeries reads the current series again, at other times.
type readSeries func(mint, maxt int64, dst *model.Columns) error

// histograms says whether the program can take a series with native histograms.
func (p *Program) histograms() bool {
	return !p.nested && p.sub == nil && !p.sel.statsOnly && p.agg.op != parser.LIMITK && p.agg.op != parser.COUNT_VALUES
}

// admit prepares a row with native histograms for the program's aggregation: some
// leave them out and say so.
func (p *Program) admit(r *row, annos *annotations.Annotations) error {
	if r.h == nil {
		return nil
	}
	pos := p.aggPos
	switch p.agg.op {
	case parser.LIMITK, parser.COUNT_VALUES:
		return ErrFallback
	case parser.TOPK, parser.BOTTOMK:
		pos = p.kPos
	case parser.MIN, parser.MAX, parser.STDDEV, parser.STDVAR, parser.QUANTILE:
	default:
		return nil
	}
	r.spread()
	for k, h := range r.h {
		if r.ok[k] && h != nil {
			r.ok[k] = false
			annos.Add(annotations.NewHistogramIgnoredInAggregationInfo(p.agg.op.String(), pos))
		}
	}
	r.h = nil
	return nil
}

// evalHistograms evaluates a series that has native histograms, alone or beside
// floats. Windows go through Prometheus's own functions.
func (w *evaluator) evalHistograms(read readSeries) (int64, error) {
	if !w.prog.histograms() {
		return 0, ErrFallback
	}
	hints, err := prom.CounterResetHints(&w.cols, read)
	if err != nil {
		return 0, err
	}
	w.hpoints, w.hsts = w.hpoints[:0], w.hsts[:0]
	for i, p := range w.cols.Hist {
		h := p.FH
		if p.H != nil {
			h = p.H.ToFloat(nil)
		} else {
			h = h.Copy()
		}
		h.CounterResetHint = hints[i]
		if w.prog.fn != nil && value.IsStaleNaN(h.Sum) {
			continue
		}
		w.hpoints = append(w.hpoints, promql.HPoint{T: p.T, H: h})
		w.hsts = append(w.hsts, p.ST)
	}
	w.row.withHistograms()
	if w.prog.fn == nil {
		w.instantHistograms()
	} else {
		if hasStale(w.cols.V) {
			dropStale(&w.cols)
		}
		w.windowsOfHistograms()
	}
	points := int64(0)
	for k := range w.row.v {
		switch h := w.row.h[k]; {
		case !w.row.ok[k]:
		case h != nil:
			points += sizeOf(h)
		default:
			points++
			w.informs = true
		}
	}
	for _, o := range w.prog.ops {
		o.apply(&w.row, w.grid, &w.annos)
	}
	return points, nil
}

// sizeOf returns how many samples a histogram counts for, as Prometheus's engine
// has it.
func sizeOf(h *histogram.FloatHistogram) int64 { return int64((h.Size() + 8) / 16) }

// instantHistograms takes the newest sample of each step, of either kind.
func (w *evaluator) instantHistograms() {
	fi, hi := 0, 0
	for k := range w.row.v {
		ref := w.prog.sel.ref(w.grid, k)
		for fi < len(w.cols.T) && w.cols.T[fi] <= ref {
			fi++
		}
		for hi < len(w.hpoints) && w.hpoints[hi].T <= ref {
			hi++
		}
		from := ref - w.prog.opts.LookbackMs
		float := fi > 0 && w.cols.T[fi-1] > from
		hist := hi > 0 && w.hpoints[hi-1].T > from
		if float && hist {
			float = w.cols.T[fi-1] > w.hpoints[hi-1].T
			hist = !float
		}
		switch {
		case float && !value.IsStaleNaN(w.cols.V[fi-1]):
			w.row.v[k], w.row.ok[k] = w.cols.V[fi-1], true
			w.total[k]++
			w.read[k]++
		case hist && !value.IsStaleNaN(w.hpoints[hi-1].H.Sum):
			h := w.hpoints[hi-1].H
			w.row.h[k], w.row.ok[k] = h, true
			w.total[k] += sizeOf(h)
			w.read[k] += sizeOf(h)
		}
	}
}

// windowsOfHistograms hands each window, floats and histograms, to Prometheus's
// function.
func (w *evaluator) windowsOfHistograms() {
	p := w.prog
	w.fpoints = w.fpoints[:0]
	for i, t := range w.cols.T {
		w.fpoints = append(w.fpoints, promql.FPoint{T: t, F: w.cols.V[i]})
	}
	sizes := make([]int64, len(w.hpoints)+1) // up to each histogram
	hts := make([]int64, len(w.hpoints))
	for i, h := range w.hpoints {
		sizes[i+1] = sizes[i] + sizeOf(h.H)
		hts[i] = h.T
	}
	var fb, hb bounds
	fb.fill(w.grid, &p.sel, p.sel.rng, w.cols.T)
	hb.fill(w.grid, &p.sel, p.sel.rng, hts)
	call := w.caller()
	for k := range w.row.v {
		fl, fh, hl, hh := fb.lo[k], fb.hi[k], hb.lo[k], hb.hi[k]
		if fl == fh && hl == hh {
			continue
		}
		total := int64(fh-fl) + sizes[hh] - sizes[hl]
		read := total
		if k > 0 {
			read = int64(fh-max(fl, fb.hi[k-1])) + sizes[hh] - sizes[max(hl, hb.hi[k-1])]
		}
		w.total[k] += total
		w.read[k] += read
		series := promql.Series{Metric: w.labels, Floats: w.fpoints[fl:fh:fh], Histograms: w.hpoints[hl:hh:hh]}
		var fst, hst []int64
		if len(w.cols.ST) > 0 {
			fst = w.cols.ST[fl:fh]
		} else {
			fst = make([]int64, fh-fl)
		}
		hst = w.hsts[hl:hh]
		if s, ok := call(k, series, fst, hst); ok {
			w.row.v[k], w.row.h[k], w.row.ok[k] = s.F, s.H, true
		}
	}
}

// caller returns a function that computes one window by Prometheus's code.
func (w *evaluator) caller() func(k int, s promql.Series, fst, hst []int64) (promql.Sample, bool) {
	p := w.prog
	call := promql.FunctionCalls[p.fn.name]
	enh := &promql.EvalNodeHelper{Out: make(promql.Vector, 0, 1)}
	matrix := make(promql.Matrix, 1)
	sts := &promql.StartTimestamps{}
	vectors := make([]promql.Vector, len(p.fnArgs))
	for i := range vectors {
		vectors[i] = make(promql.Vector, 1)
	}
	return func(k int, s promql.Series, fst, hst []int64) (promql.Sample, bool) {
		enh.Ts = w.grid.At(k)
		for i, arg := range p.fnArgs {
			vectors[i][0] = promql.Sample{F: arg(enh.Ts), Metric: labels.EmptyLabels()}
		}
		matrix[0] = s
		if p.fn.startTimes && p.opts.UseStartTimestamps {
			sts.Floats = append(sts.Floats[:0], fst...)
			sts.Histograms = append(sts.Histograms[:0], hst...)
			enh.StartTimestamps = sts
		}
		out, annos := call(vectors, matrix, p.call.Args, enh)
		w.annos.Merge(annos)
		enh.Out = out[:0]
		if len(out) == 0 {
			return promql.Sample{}, false
		}
		return out[0], true
	}
}
