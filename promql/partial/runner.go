package partial

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
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
	// Cuttable asks for what Result.Cut needs.
	Cuttable bool
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
		w := r.newWorker(p, g, &counts)
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
		all[i] = r.newWorker(p, g, &counts)
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
	*evaluator
	grouper
	max    int64 // points, 0 = no limit
	shared *shared
	piece  model.Columns // of a wide range
}

func (r Runner) newWorker(p *Program, g Grid, all *shared) *worker {
	w := &worker{
		evaluator: newEvaluator(p, g, r.MaxSamples), max: r.MaxSamples, shared: all,
		grouper: newGrouper(newResult(p, g)),
	}
	if r.Cuttable && w.sub == nil {
		w.points = &points{at: make([]int64, g.Len())}
	}
	return w
}

// run evaluates the series [from, to).
func (w *worker) run(ctx context.Context, sel store.Selection, from, to int) (err error) {
	defer func() {
		// Prometheus's functions panic with what is wrong about a query, such as a
		// smoothing factor: its engine will say so itself.
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", ErrFallback, r)
		}
	}()
	mint, maxt := w.prog.Range(w.grid)
	leaf := w.leaf()
	condenser := w.condenser(sel)
	for i := from; i < to; i++ {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("evaluate series: %w", err)
		}
		read := func(mint, maxt int64, dst *model.Columns) error { return sel.Read(i, mint, maxt, dst) }
		condensed, err := condenser.read(i, mint, maxt)
		if err == nil && !condensed {
			err = w.read(read, mint, maxt, &leaf.cols)
		}
		if err != nil {
			return fmt.Errorf("read series: %w", err)
		}
		if err := w.series(int32(i), sel.Labels(i), read); err != nil {
			return err
		}
	}
	return nil
}

// A range wider than readWhole, ms, is read in pieces, at least a thousandth of
// it each, where the samples of a series are bounded.
const readWhole = 32 * 24 * 3600 * 1000

// read reads the samples of a series, a wide range in pieces: one that holds more
// than is allowed is given up before all of it is in memory.
func (w *worker) read(read readSeries, mint, maxt int64, dst *model.Columns) error {
	if w.max <= 0 || maxt-mint <= readWhole {
		return read(mint, maxt, dst)
	}
	dst.Reset()
	width := max(readWhole, (maxt-mint)/1000)
	for from := mint; from <= maxt; from += width {
		if err := read(from, min(from+width-1, maxt), &w.piece); err != nil {
			return err
		}
		if int64(dst.Len()+w.piece.Len()) > w.max {
			return ErrFallback
		}
		extend(dst, &w.piece)
	}
	return nil
}

// extend appends later samples of the same series.
func extend(dst, later *model.Columns) {
	if n := len(dst.T); len(dst.ST) == 0 && len(later.ST) > 0 {
		dst.ST = append(dst.ST[:0], make([]int64, n)...)
	}
	if len(dst.ST) > 0 || len(later.ST) > 0 {
		dst.ST = append(dst.ST, later.ST...)
		if len(later.ST) == 0 {
			dst.ST = append(dst.ST, make([]int64, len(later.T))...)
		}
	}
	dst.T, dst.V, dst.Hist = append(dst.T, later.T...), append(dst.V, later.V...), append(dst.Hist, later.Hist...)
}

// series evaluates the series that has been read.
func (w *worker) series(index int32, ls labels.Labels, read readSeries) error {
	w.result.Series++
	n, err := w.eval(ls, read)
	if err != nil || n == 0 {
		return err
	}
	w.result.Points += n
	if all := w.shared.points.Add(n); w.max > 0 && all > w.max {
		return promql.ErrTooManySamples("query execution")
	}
	return w.take(index)
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
		ls := w.outputLabels()
		if !p.samples(ls) {
			return nil
		}
		w.result.keep(ls, &w.row)
		return w.reserve()
	}
	if w.row.h != nil {
		if err := p.admit(&w.row, &w.annos); err != nil {
			return err
		}
		if w.row.count() == 0 {
			return nil // there is no group of nothing
		}
	}
	g, created := w.groupOf(w.labels, index)
	if created {
		if err := w.reserve(); err != nil {
			return err
		}
	}
	g.state.add(&w.row, index)
	if s, ok := g.state.(histogramState); ok && w.row.h != nil && s.misfit() {
		return ErrFallback
	}
	if p.agg.keepsLabels() {
		w.result.names[index] = w.outputLabels()
	}
	return nil
}

// samples says whether limit_ratio keeps a series.
func (p *Program) samples(ls labels.Labels) bool {
	if p.ratio == 0 {
		return true
	}
	s := promql.NewHashRatioSampler()
	return s.AddRatioSampleWithOffset(p.ratio, s.SampleOffset(&ls))
}

// reserve counts the steps of one more series or group of the result.
func (w *worker) reserve() error {
	n := int64(w.grid.Len())
	if all := w.shared.reserved.Add(n); w.max > 0 && all > w.max+n {
		return ErrFallback
	}
	return nil
}

// grouper finds the groups of an aggregation.
type grouper struct {
	result *Result
	groups map[string]*group
	keyBuf []byte
}

func newGrouper(r *Result) grouper { return grouper{result: r, groups: map[string]*group{}} }

// groupOf finds or makes the group of a series.
func (g *grouper) groupOf(ls labels.Labels, index int32) (of *group, created bool) {
	a := &g.result.prog.agg
	key := g.keyBuf[:0]
	switch {
	case a.without:
		key = ls.BytesWithoutLabels(key, a.grouping...)
	case len(a.grouping) > 0:
		key = ls.BytesWithLabels(key, a.grouping...)
	}
	g.keyBuf = key
	if of := g.groups[string(key)]; of != nil {
		return of, false
	}
	of = &group{labels: a.groupLabels(ls), first: index, state: a.newState(g.result.grid.Len())}
	g.groups[string(key)] = of
	g.result.groups = append(g.result.groups, of)
	return of, true
}

// finish ends the part of this worker.
func (w *worker) finish() *Result {
	w.result.Total, w.result.Read = w.counts()
	w.result.annos.Merge(w.annotations())
	if w.points != nil && !w.histograms && len(w.annos) == 0 && w.prog.agg.cuttable() {
		w.result.points = w.points.finish()
	}
	return w.result
}
