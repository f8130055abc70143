package partial

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"sync/atomic"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/util/annotations"
	"golang.org/x/sync/errgroup"

	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/promql/store"
)

// ErrFallback says that the data holds what the runner does not compute: the
// query must run whole on Prometheus's engine.
var ErrFallback = errors.New("not reducible: native histograms, metadata labels or more memory than the samples in use")

// seriesPerWorker is the number of series below which another core is not worth
// its partial states.
const seriesPerWorker = 16

// Runner runs programs. The zero value is ready: all cores, no limit.
type Runner struct {
	// Workers is the most goroutines of one run; 0 = GOMAXPROCS.
	Workers int
	// MaxSamples is the most points that a run may hold, counted as Prometheus
	// counts them for the per-series expression; 0 = no limit.
	MaxSamples int64
}

// Run evaluates the program over the series of a selection. The result is the
// same from run to run.
func (r Runner) Run(ctx context.Context, p *Program, g Grid, sel store.Selection) (*Result, error) {
	n := sel.Len()
	workers := r.Workers
	if workers == 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	workers = max(1, min(workers, n/seriesPerWorker))
	var counts shared
	if workers == 1 {
		w := newWorker(p, g, r.MaxSamples, &counts)
		if err := w.run(ctx, sel, 0, n); err != nil {
			return nil, err
		}
		return w.finish(), nil
	}
	// Each worker takes a run of neighbouring series, so that merging in their
	// order keeps the order of the series.
	all := make([]*worker, workers)
	group, ctx := errgroup.WithContext(ctx)
	for i := range all {
		all[i] = newWorker(p, g, r.MaxSamples, &counts)
		group.Go(func() error { return all[i].run(ctx, sel, n*i/workers, n*(i+1)/workers) })
	}
	if err := group.Wait(); err != nil {
		return nil, err //nolint:wrapcheck // of this package
	}
	result := all[0].finish()
	for _, w := range all[1:] {
		result.append(w.finish())
	}
	return result, nil
}

// shared are counts of all workers of a run.
type shared struct {
	points   atomic.Int64 // of the per-series expression
	reserved atomic.Int64 // steps of the series and groups of the result
}

// worker evaluates a part of the series, one after the other.
type worker struct {
	prog   *Program
	grid   Grid
	max    int64 // points, 0 = no limit
	shared *shared
	result *Result
	groups map[string]*group

	// Of the current series.
	labels labels.Labels
	cols   model.Columns
	stale  bool // an instant selector's column holds stale markers
	bounds *bounds
	row    row

	cache   boundsCache
	resets  []int32
	queue   []int32
	prefix  []float64
	fpoints []promql.FPoint
	keyBuf  []byte
	annos   annotations.Annotations
}

func newWorker(p *Program, g Grid, maxSamples int64, all *shared) *worker {
	return &worker{
		prog: p, grid: g, max: maxSamples, shared: all,
		result: newResult(p, g),
		groups: map[string]*group{},
	}
}

// run evaluates the series [from, to).
func (w *worker) run(ctx context.Context, sel store.Selection, from, to int) error {
	mint, maxt := w.prog.Range(w.grid)
	for i := from; i < to; i++ {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("evaluate series: %w", err)
		}
		if err := sel.Read(i, mint, maxt, &w.cols); err != nil {
			return fmt.Errorf("read series: %w", err)
		}
		w.labels = sel.Labels(i)
		if err := w.series(int32(i)); err != nil {
			return err
		}
	}
	return nil
}

// series evaluates the series that has been read.
func (w *worker) series(index int32) error {
	if len(w.cols.Hist) > 0 || (w.prog.dropName && hasMetadataLabels(w.labels)) {
		return ErrFallback
	}
	w.result.Series++
	if len(w.cols.T) == 0 {
		return nil
	}
	if len(w.cols.T) > math.MaxInt32 || (w.max > 0 && int64(len(w.cols.T)) > w.max) {
		// Prometheus's engine holds one window at a time and may get by.
		return ErrFallback
	}
	w.findBounds()
	w.row.reset(w.grid.Len())
	if w.prog.fn == nil {
		instantKernel(w)
	} else {
		w.prog.fn.kernel(w)
	}
	n := w.row.count()
	w.countSamples()
	if n == 0 {
		return nil
	}
	w.result.Points += int64(n)
	if all := w.shared.points.Add(int64(n)); w.max > 0 && all > w.max {
		return promql.ErrTooManySamples("query execution")
	}
	w.result.informs = w.result.informs || w.prog.info != nil
	for _, o := range w.prog.ops {
		o(&w.row, w.grid)
	}
	return w.take(index)
}

// hasMetadataLabels finds labels that are dropped with the name: then series of
// one name may become equal.
func hasMetadataLabels(ls labels.Labels) bool {
	return ls.Has("__type__") || ls.Has("__unit__")
}

// findBounds takes stale markers out of a range selector's samples and finds the
// windows.
func (w *worker) findBounds() {
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

// countSamples accounts what Prometheus's engine would count: the samples of
// each window, or the values of an instant selector.
func (w *worker) countSamples() {
	if w.prog.fn != nil {
		return // by the bounds: see flush
	}
	w.bounds.uses = 0
	if w.row.all {
		w.result.allSteps++
		return
	}
	for k, ok := range w.row.ok {
		if ok {
			w.result.Total[k]++
			w.result.Read[k]++
		}
	}
}

// flush adds the samples of bounds that leave the cache.
func (w *worker) flush(b *bounds) {
	if w.prog.fn == nil || b.uses == 0 {
		return
	}
	total, read := b.counts()
	for k := range total {
		w.result.Total[k] += b.uses * total[k]
		w.result.Read[k] += b.uses * read[k]
	}
	b.uses = 0
}

// take hands the row to the group of the series. A result whose series and groups
// have mostly empty steps may need far more memory than its points: it is left to
// Prometheus's engine.
func (w *worker) take(index int32) error {
	p := w.prog
	if w.row.count() == 0 {
		return nil
	}
	if !p.Aggregates() {
		w.result.keep(w.outputLabels(), &w.row)
		return w.reserve()
	}
	g, created := w.groupOf(index)
	if created {
		if err := w.reserve(); err != nil {
			return err
		}
	}
	g.state.add(&w.row, index)
	if p.agg.keepsLabels() {
		w.result.names[index] = w.outputLabels()
	}
	return nil
}

// reserve counts the steps of one more series or group of the result.
func (w *worker) reserve() error {
	n := int64(w.grid.Len())
	if all := w.shared.reserved.Add(n); w.max > 0 && all > w.max+n {
		return ErrFallback
	}
	return nil
}

// outputLabels are the labels of the series behind the per-series expression.
func (w *worker) outputLabels() labels.Labels {
	if w.prog.dropName && !w.prog.opts.DelayedNameRemoval {
		return w.labels.DropReserved(isMetadataLabel)
	}
	return w.labels
}

func isMetadataLabel(name string) bool {
	return name == labels.MetricName || name == "__type__" || name == "__unit__"
}

// groupOf finds or makes the group of the current series.
func (w *worker) groupOf(index int32) (g *group, created bool) {
	a := &w.prog.agg
	key := w.keyBuf[:0]
	switch {
	case a.without:
		key = w.labels.BytesWithoutLabels(key, a.grouping...)
	case len(a.grouping) > 0:
		key = w.labels.BytesWithLabels(key, a.grouping...)
	}
	w.keyBuf = key
	if g := w.groups[string(key)]; g != nil {
		return g, false
	}
	g = &group{labels: a.groupLabels(w.labels), first: index, state: a.newState(w.grid.Len())}
	w.groups[string(key)] = g
	w.result.groups = append(w.result.groups, g)
	return g, true
}

// finish ends the part of this worker.
func (w *worker) finish() *Result {
	w.cache.each(w.flush)
	w.result.annos.Merge(w.annos)
	if w.result.allSteps > 0 {
		for k := range w.result.Total {
			w.result.Total[k] += w.result.allSteps
			w.result.Read[k] += w.result.allSteps
		}
		w.result.allSteps = 0
	}
	return w.result
}
