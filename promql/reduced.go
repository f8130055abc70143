package promql

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/stats"

	"github.com/count-db/count/promql/partial"
	"github.com/count-db/count/promql/plan"
)

// maxSteps is the most steps of a query that is split. The states of the reduced
// evaluator have a place for every step, used or not; the HTTP API allows no more
// steps than this either.
const maxSteps = 11_001

// reduce splits the query: its parts are computed by the reduced evaluator when
// Prometheus's engine first asks for them, the remainder by that engine. again
// makes the same query without the split, for data that the reduced evaluator
// does not compute. The query is returned as it is where nothing can be split
// off or the data is not ours.
func (e *Engine) reduce(text string, q promql.Query, parts *partQueryable, opts promql.QueryOpts, again func() (promql.Query, error)) promql.Query {
	stmt, ok := q.Statement().(*parser.EvalStmt)
	if e.opts.NoReduction || parts == nil || !ok {
		return q
	}
	grid := gridOf(stmt)
	if !splittable(grid) {
		return q
	}
	p := plan.Split(stmt.Expr, grid, e.partialOptions(stmt, opts))
	if len(p.Parts) == 0 {
		return q
	}
	stmt.Expr = p.Remainder
	parts.text, parts.stmt, parts.parts = text, stmt, p.Parts
	parts.samples = q.Stats().Samples
	parts.maxSamples, parts.cache = int64(e.opts.MaxSamples), e.opts.Cache
	parts.whole = p.Whole()
	return &reducedQuery{Query: q, parts: parts, again: again}
}

// splittable says whether a query on this grid is split: it has steps, and not
// too many.
func splittable(g partial.Grid) bool { return g.End >= g.Start && g.Len() <= maxSteps }

// gridOf returns the steps of a query.
func gridOf(stmt *parser.EvalStmt) partial.Grid {
	return newGrid(stmt.Start, stmt.End, stmt.Interval)
}

func newGrid(start, end time.Time, step time.Duration) partial.Grid {
	g := partial.Grid{Start: start.UnixMilli(), End: end.UnixMilli(), Step: step.Milliseconds()}
	if g.Step <= 0 {
		g.End, g.Step = g.Start, 1
	}
	return g
}

func (e *Engine) partialOptions(stmt *parser.EvalStmt, opts promql.QueryOpts) partial.Options {
	o := partial.Options{
		LookbackMs:         stmt.LookbackDelta.Milliseconds(),
		UseStartTimestamps: e.opts.UseStartTimestamps,
		DelayedNameRemoval: e.opts.DelayedNameRemoval,
		SubqueryStepMs:     defaultSubqueryStep.Milliseconds(),
	}
	if opts != nil {
		if use := opts.UseStartTimestamps(); use != nil {
			o.UseStartTimestamps = *use
		}
	}
	return o
}

// reducedQuery runs the split query, and where that is not possible the whole
// one.
type reducedQuery struct {
	promql.Query
	parts    *partQueryable
	again    func() (promql.Query, error)
	fellBack bool
}

func (q *reducedQuery) Exec(ctx context.Context) *promql.Result {
	res := q.Query.Exec(ctx)
	var tooMany promql.ErrTooManySamples
	if errors.As(res.Err, &tooMany) {
		res.Err = tooMany // as it reads where nothing was split off
	}
	if !errors.Is(res.Err, partial.ErrFallback) {
		if res.Err == nil && q.parts.whole {
			// The engine has done all but this: it saw no series.
			res.Value = q.parts.value
		}
		return res
	}
	q.fellBack = true
	whole, err := q.again()
	if err != nil {
		return &promql.Result{Err: err}
	}
	q.Query.Close()
	q.Query = whole
	return whole.Exec(ctx)
}

// partQueryable serves placeholders from the reduced evaluator and all else from
// the queryable below.
type partQueryable struct {
	storage.Queryable
	store      Store
	text       string
	stmt       *parser.EvalStmt
	parts      []plan.Part
	samples    *stats.QuerySamples
	maxSamples int64
	whole      bool         // the query is one part alone
	value      parser.Value // its result then
	cache      *Cache
}

// partsOver returns the queryable to give to Prometheus's engine, and nil parts
// where the data is not behind a Store.
func partsOver(q storage.Queryable) (storage.Queryable, *partQueryable) {
	ours, ok := q.(interface{ Store() Store })
	if !ok {
		return q, nil
	}
	parts := &partQueryable{Queryable: q, store: ours.Store()}
	return parts, parts
}

func (q *partQueryable) Querier(mint, maxt int64) (storage.Querier, error) {
	below, err := q.Queryable.Querier(mint, maxt)
	if err != nil || len(q.parts) == 0 {
		return below, err //nolint:wrapcheck // of package prom
	}
	return &partQuerier{Querier: below, parts: q}, nil
}

// NewInstantQuery implements promql.QueryEngine.
func (e *Engine) NewInstantQuery(ctx context.Context, q storage.Queryable, opts promql.QueryOpts, qs string, ts time.Time) (promql.Query, error) {
	data, parts := partsOver(q)
	query, err := e.engine.NewInstantQuery(ctx, data, opts, qs, ts)
	if err != nil {
		return nil, err //nolint:wrapcheck // the API shows the parser's message as it is
	}
	query = e.reduce(qs, query, parts, opts, func() (promql.Query, error) {
		return e.engine.NewInstantQuery(ctx, q, opts, qs, ts)
	})
	return e.tracked(query, ActiveQuery{Query: qs, Start: ts, End: ts}), nil
}

// NewRangeQuery implements promql.QueryEngine.
func (e *Engine) NewRangeQuery(ctx context.Context, q storage.Queryable, opts promql.QueryOpts, qs string, start, end time.Time, step time.Duration) (promql.Query, error) {
	data, parts := partsOver(q)
	query, err := e.engine.NewRangeQuery(ctx, data, opts, qs, start, end, step)
	if err != nil {
		return nil, err //nolint:wrapcheck // the API shows the parser's message as it is
	}
	query = e.reduce(qs, query, parts, opts, func() (promql.Query, error) {
		return e.engine.NewRangeQuery(ctx, q, opts, qs, start, end, step)
	})
	return e.tracked(query, ActiveQuery{Query: qs, Start: start, End: end, Step: step}), nil
}
