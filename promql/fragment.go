package promql

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/prometheus/promql"

	"github.com/count-db/count/promql/partial"
	"github.com/count-db/count/promql/plan"
	"github.com/count-db/count/promql/store"
)

// Part finds the part of a query that a fragment names, on the node that is asked
// to compute it. An error means that this node splits the query differently, as
// another version may: the asking node then computes the part from samples.
func (e *Engine) Part(f Fragment) (plan.Part, error) {
	expr, err := e.parser.ParseExpr(f.Query)
	if err != nil {
		return plan.Part{}, fmt.Errorf("parse the query of a fragment: %w", err)
	}
	start, end := time.UnixMilli(f.Start), time.UnixMilli(f.End)
	step := time.Duration(f.Step) * time.Millisecond
	expr, err = promql.PreprocessExpr(expr, start, end, step)
	if err != nil {
		return plan.Part{}, fmt.Errorf("prepare the query of a fragment: %w", err)
	}
	grid := newGrid(start, end, step)
	if !splittable(grid) {
		return plan.Part{}, fmt.Errorf("a fragment from %d to %d by %d", f.Start, f.End, f.Step)
	}
	for _, part := range plan.Split(expr, grid, f.Options).Programs() {
		if part.Node == f.Node {
			return part, nil
		}
	}
	return plan.Part{}, fmt.Errorf("node %d of the query %q is no part of it", f.Node, f.Query)
}

// RunFragment computes a fragment over the series of a store, all that it shows:
// the store must show each series on one of the nodes that are asked. As many run
// at once as queries may, beside them: a query waits for its fragments on other
// nodes, so that they must not wait for queries. They are listed with the active
// queries. The limit of samples is the lower one of both nodes.
func (e *Engine) RunFragment(ctx context.Context, s Store, f Fragment) (*partial.Result, Warnings, error) {
	part, err := e.Part(f)
	if err != nil {
		return nil, nil, err
	}
	slot, err := e.fragments.Insert(ctx, f.Query)
	if err != nil {
		return nil, nil, err
	}
	defer e.fragments.Delete(slot)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	about := e.active.start(ActiveQuery{
		Query: f.Query, Start: time.UnixMilli(f.Start), End: time.UnixMilli(f.End), Step: time.Duration(f.Step) * time.Millisecond,
	}, cancel)
	defer e.active.finish(about.ID)
	if f.NoCache {
		ctx = store.WithoutCache(ctx)
	}
	return e.opts.Cache.RunPart(ctx, s, part, lowerLimit(f.MaxSamples, int64(e.opts.MaxSamples)))
}

// lowerLimit returns the lower one of two limits of which 0 is none.
func lowerLimit(a, b int64) int64 {
	if a <= 0 || b > 0 && b < a {
		return b
	}
	return a
}
