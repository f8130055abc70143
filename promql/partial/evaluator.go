package partial

import (
	"math"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/count-db/count/internal/model"
)

// evaluator computes a program's per-series expression on a grid, one series
// after the other. It belongs to one goroutine.
type evaluator struct {
	prog *Program
	grid Grid
	max  int64      // samples of one series, 0 = no limit
	sub  *evaluator // of the subquery that the range function is over, or nil

	// Of the current series.
	labels labels.Labels
	cols   model.Columns // what the selector or the subquery gives
	// weights are those of bounds, for columns that are condensed; else nil.
	weights, weightBuf []int64
	stale              bool // an instant selector's column holds stale markers
	bounds             *bounds
	row                row // the result

	cache   boundsCache
	resets  []int32
	queue   []int32
	prefix  []float64
	fpoints []promql.FPoint
	hpoints []promql.HPoint
	hsts    []int64 // start timestamps of hpoints

	// Of all series so far.
	total, read []int64 // samples that Prometheus's engine would count at each step
	whole       int64   // series with a value at every step, not yet in them
	points      *points // of the per-series expression; nil: they are not asked for
	histograms  bool    // some series has native histograms
	informs     bool    // the program's info applies
	annos       annotations.Annotations
}

func newEvaluator(p *Program, g Grid, maxSamples int64) *evaluator {
	e := &evaluator{prog: p, grid: g, max: maxSamples, total: make([]int64, g.Len()), read: make([]int64, g.Len())}
	if p.sub != nil {
		e.sub = newEvaluator(p.sub.prog, p.sub.gridOf(g), maxSamples)
	}
	return e
}

// leaf is the evaluator whose columns are read from the store.
func (w *evaluator) leaf() *evaluator {
	for w.sub != nil {
		w = w.sub
	}
	return w
}

// eval evaluates the series whose samples the leaf has and returns how many
// points that took: those of the row, and of the subqueries below.
func (w *evaluator) eval(ls labels.Labels, read readSeries) (int64, error) {
	w.labels = ls
	w.row.reset(w.grid.Len())
	points := int64(0)
	if w.sub != nil {
		n, err := w.sub.eval(ls, read)
		if err != nil || n == 0 {
			return n, err
		}
		points = n
		w.labels = w.sub.outputLabels()
		w.takeSub()
	}
	if w.prog.dropName && hasMetadataLabels(ls) {
		return 0, ErrFallback
	}
	if len(w.cols.Hist) > 0 && !w.prog.opts.Plain {
		w.histograms = true
		return w.evalHistograms(read)
	}
	if len(w.cols.T) == 0 {
		return points, nil
	}
	samples := int64(len(w.cols.T))
	if w.weights != nil {
		samples = w.weights[len(w.cols.T)]
	}
	if samples > math.MaxInt32 || (w.max > 0 && samples > w.max) {
		// Prometheus's engine holds one window at a time and may get by.
		return 0, ErrFallback
	}
	w.findBounds()
	if w.prog.fn == nil {
		instantKernel(w)
	} else {
		w.prog.fn.kernel(w)
	}
	n := w.row.count()
	w.countSamples()
	w.points.add(&w.row, n)
	if n == 0 {
		return points, nil
	}
	w.informs = true
	for _, o := range w.prog.ops {
		o.apply(&w.row, w.grid, &w.annos)
	}
	return points + int64(n), nil
}

// takeSub makes the subquery's row the samples of this level.
func (w *evaluator) takeSub() { w.takeRow(&w.sub.row, w.sub.grid) }

// takeRow makes the values of a row the samples of the current series. Series that
// have a value at every step share their timestamps.
func (w *evaluator) takeRow(r *row, g Grid) {
	w.cols.Reset()
	for k, v := range r.v {
		if r.has(k) {
			w.cols.T = append(w.cols.T, g.At(k))
			w.cols.V = append(w.cols.V, v)
		}
	}
	if r.all {
		w.cols.TKey = 1
	}
}

// outputLabels are the labels of the series behind the per-series expression.
func (w *evaluator) outputLabels() labels.Labels {
	if w.prog.dropName && !w.prog.opts.DelayedNameRemoval {
		return w.labels.DropReserved(isMetadataLabel)
	}
	return w.labels
}

func isMetadataLabel(name string) bool {
	return name == labels.MetricName || name == "__type__" || name == "__unit__"
}

// hasMetadataLabels finds labels that are dropped with the name: then series of
// one name may become equal.
func hasMetadataLabels(ls labels.Labels) bool {
	return ls.Has("__type__") || ls.Has("__unit__")
}

// findBounds takes stale markers out of a range selector's samples and finds the
// windows.
func (w *evaluator) findBounds() {
	width := w.prog.sel.rng
	w.stale = hasStale(w.cols.V)
	if w.prog.fn == nil {
		width = w.prog.opts.LookbackMs
	} else if w.stale {
		dropStale(&w.cols)
	}
	if b := w.cache.get(w.cols.TKey); b != nil {
		b.uses++
		w.bounds = b
		return
	}
	b := w.cache.put(w.cols.TKey, w.grid.Len(), w.flush)
	b.fill(w.grid, &w.prog.sel, width, w.cols.T)
	if b.weights = w.weights; b.weights != nil {
		b.counts() // now: the next series has other weights in the same place
	}
	b.uses = 1
	w.bounds = b
}

func hasStale(vs []float64) bool {
	for _, v := range vs {
		if v != v && value.IsStaleNaN(v) {
			return true
		}
	}
	return false
}

// dropStale takes the stale markers out. The timestamps are then the series' own.
func dropStale(cols *model.Columns) {
	kept := 0
	for i, v := range cols.V {
		if value.IsStaleNaN(v) {
			continue
		}
		cols.T[kept], cols.V[kept] = cols.T[i], v
		if len(cols.ST) > 0 {
			cols.ST[kept] = cols.ST[i]
		}
		kept++
	}
	cols.T, cols.V, cols.TKey = cols.T[:kept], cols.V[:kept], 0
	if len(cols.ST) > 0 {
		cols.ST = cols.ST[:kept]
	}
}
