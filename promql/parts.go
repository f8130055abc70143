package promql

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"
	"golang.org/x/sync/errgroup"

	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/promql/partial"
	"github.com/count-db/count/promql/plan"
	"github.com/count-db/count/promql/prom"
	"github.com/count-db/count/promql/store"
)

// Fragment names a part of a query to a data node: the query as it was written,
// never printed again, and the part's node in its tree.
type Fragment struct {
	Query            string
	Node             int
	Start, End, Step int64 // of the query, ms; Step 0 = an instant query
	partial.Options
	MaxSamples int64
	NoCache    bool // compute all, keep nothing
}

// PartialRunner may be implemented by a Store whose series lie on other nodes:
// it has the part evaluated where its data is, each series by one copy, and
// merges what comes back. Without it parts are computed here over Select.
type PartialRunner interface {
	RunPartial(ctx context.Context, f Fragment, p plan.Part) (*partial.Result, Warnings, error)
}

// partQuerier serves the placeholders of one execution.
type partQuerier struct {
	storage.Querier
	parts   *partQueryable
	running sync.WaitGroup
}

// Select starts to compute the part that the matchers stand for, or selects
// series. Parts that other nodes compute run side by side; here each part uses
// all cores by itself and waits until it is asked for.
func (q *partQuerier) Select(ctx context.Context, sorted bool, hints *storage.SelectHints, ms ...*labels.Matcher) storage.SeriesSet {
	id := slices.IndexFunc(q.parts.parts, func(p plan.Part) bool { return p.StoodFor(ms) })
	if id < 0 {
		return q.Querier.Select(ctx, sorted, hints, ms...)
	}
	set := &partSet{parts: q.parts, part: q.parts.parts[id], at: -1, whole: q.parts.whole}
	set.compute = sync.OnceFunc(func() {
		set.result, set.warnings, set.err = q.parts.compute(ctx, set.part)
	})
	if _, ok := q.parts.store.(PartialRunner); ok {
		q.running.Go(set.compute)
	}
	return set
}

// Close waits for what Select started.
func (q *partQuerier) Close() error {
	q.running.Wait()
	return q.Querier.Close() //nolint:wrapcheck // of package prom
}

// compute evaluates a part.
func (q *partQueryable) compute(ctx context.Context, part plan.Part) (*partial.Result, Warnings, error) {
	if part.Tree != nil {
		return q.computeTree(ctx, part)
	}
	if r, ok := q.store.(PartialRunner); ok {
		f := q.fragment(part)
		f.NoCache = !store.MayCache(ctx)
		result, warnings, err := r.RunPartial(ctx, f, part)
		if err != nil {
			return nil, warnings, fmt.Errorf("evaluate %s: %w", part.Text, err)
		}
		return result, warnings, nil
	}
	return q.cache.RunPart(ctx, q.store, part, q.maxSamples)
}

// computeTree evaluates the leaves of a part, side by side where other nodes do,
// and then the tree over them.
func (q *partQueryable) computeTree(ctx context.Context, part plan.Part) (*partial.Result, Warnings, error) {
	results := make([]*partial.Result, len(part.Leaves))
	warnings := make([]Warnings, len(part.Leaves))
	group, groupCtx := errgroup.WithContext(ctx)
	if _, ok := q.store.(PartialRunner); !ok {
		group.SetLimit(1)
	}
	for i, leaf := range part.Leaves {
		group.Go(func() (err error) {
			results[i], warnings[i], err = q.compute(groupCtx, leaf)
			return err
		})
	}
	err := group.Wait()
	all := slices.Concat(warnings...)
	if err != nil {
		return nil, all, err //nolint:wrapcheck // of this package
	}
	result, err := part.Tree.Evaluate(results, part.Grid, q.maxSamples)
	return result, all, err //nolint:wrapcheck // it is shown as it is
}

func (q *partQueryable) fragment(part plan.Part) Fragment {
	return Fragment{
		Query: q.text, Node: part.Node,
		Start: q.stmt.Start.UnixMilli(), End: q.stmt.End.UnixMilli(), Step: q.stmt.Interval.Milliseconds(),
		Options: part.Program.Options(), MaxSamples: q.maxSamples,
	}
}

// RunPart evaluates a part over the series of a store, all that it shows, with the
// help of the cache; nil is none. maxSamples 0 = no limit.
func (c *Cache) RunPart(ctx context.Context, s Store, part plan.Part, maxSamples int64) (*partial.Result, Warnings, error) {
	mint, maxt := part.Program.Range(part.Grid)
	set, err := s.Select(ctx, mint, maxt, part.Program.Matchers()...)
	if err != nil {
		return nil, nil, fmt.Errorf("select series: %w", err)
	}
	defer set.Close()
	sel, err := selectionOf(set)
	if err != nil {
		return nil, set.Warnings(), err
	}
	result, err := c.run(ctx, part, sel, partial.Runner{MaxSamples: maxSamples})
	return result, set.Warnings(), err
}

// JoinParts puts the results of a part together that several nodes computed for
// the query, each series by one of them. The limit of samples is that of all.
func JoinParts(query string, maxSamples int64, results []*partial.Result) (*partial.Result, error) {
	all, err := partial.Join(query, results)
	if err != nil {
		return nil, err //nolint:wrapcheck // says what is missing
	}
	switch {
	case maxSamples <= 0:
	case all.Points > maxSamples:
		return nil, promql.ErrTooManySamples("query execution")
	case all.Places() > 2*maxSamples:
		return nil, partial.ErrFallback
	}
	return all, nil
}

// selectionOf gives random access to a set; one that streams is walked first.
func selectionOf(set SeriesSet) (Selection, error) {
	if sel, ok := set.(Selection); ok {
		return sel, nil
	}
	var list seriesList
	for set.Next() {
		list = append(list, set.At())
	}
	if err := set.Err(); err != nil {
		return nil, fmt.Errorf("walk series: %w", err)
	}
	return list, nil
}

// seriesList is a walked set.
type seriesList []store.Series

func (l seriesList) Len() int { return len(l) }

func (l seriesList) Labels(i int) labels.Labels { return l[i].Labels() }

func (l seriesList) Read(i int, mint, maxt int64, dst *model.Columns) error {
	return l[i].Read(mint, maxt, dst) //nolint:wrapcheck // the runner names the series
}

// partSet is the result of a part as Prometheus's engine sees it: series sampled
// at the steps.
type partSet struct {
	parts    *partQueryable
	part     plan.Part
	compute  func() // sets the three below; again does nothing but wait
	result   *partial.Result
	warnings Warnings
	err      error

	series []partial.Series
	at     int
	whole  bool // the part is the query: its series are not for the engine
}

// Next waits for the result.
func (s *partSet) Next() bool {
	if s.at < 0 {
		s.compute()
		if s.err != nil {
			return false
		}
		if s.series, s.err = s.result.Final(); s.err != nil {
			return false
		}
		if s.whole {
			s.parts.value = valueOf(s.series, s.part.Grid, s.parts.stmt.Interval == 0)
			s.series = nil
		}
		s.account()
	}
	s.at++
	return s.at < len(s.series)
}

// account turns the counts of the placeholder's points, which the engine adds,
// into those of the samples behind them. It runs on the engine's goroutine.
func (s *partSet) account() {
	samples := s.parts.samples
	samples.UpdatePeak(int(s.result.Points))
	samples.IncrementSeries(s.result.Series - int64(len(s.series)))
	given := make([]int64, s.part.Grid.Len())
	for _, series := range s.series {
		for k := range given {
			given[k] += series.Samples(k)
		}
	}
	steps := gridOf(s.parts.stmt).Len()
	for step := range steps {
		k := step
		if s.part.Once {
			k = 0
		}
		samples.IncrementSamplesAtStep(step, s.result.Total[k]-given[k])
		if step == 0 || !s.part.Once {
			samples.IncrementSamplesReadAtStep(step, s.result.Read[k]-given[k])
		}
	}
}

func (s *partSet) At() storage.Series { return partial.NewStorageSeries(s.series[s.at], s.part.Grid) }

func (s *partSet) Err() error { return s.err }

func (s *partSet) Warnings() annotations.Annotations {
	s.compute()
	a := prom.Annotations(s.warnings)
	if s.result != nil {
		a.Merge(s.result.Annotations())
	}
	return a
}
