package promql

import (
	"fmt"
	"time"

	"github.com/prometheus/prometheus/promql"

	"github.com/count-db/count/promql/partial"
	"github.com/count-db/count/promql/plan"
)

// Explain tells how a query would be split: the parts that the reduced evaluator
// computes, the remainder for Prometheus's engine, and why other sub-expressions
// were left to it. step 0 is an instant query at start.
func (e *Engine) Explain(query string, start, end time.Time, step time.Duration) (string, error) {
	expr, err := e.parser.ParseExpr(query)
	if err != nil {
		return "", fmt.Errorf("parse query: %w", err)
	}
	expr, err = promql.PreprocessExpr(expr, start, end, step)
	if err != nil {
		return "", fmt.Errorf("prepare query: %w", err)
	}
	grid := newGrid(start, end, step)
	if e.opts.NoReduction || !splittable(grid) {
		return (&plan.Plan{Remainder: expr}).String(), nil
	}
	return plan.Split(expr, grid, partial.Options{
		LookbackMs: e.opts.LookbackDelta.Milliseconds(), UseStartTimestamps: e.opts.UseStartTimestamps, DelayedNameRemoval: e.opts.DelayedNameRemoval,
		SubqueryStepMs: defaultSubqueryStep.Milliseconds(),
	}).String(), nil
}
