package partial

import (
	"fmt"
	"time"

	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/parser/posrange"
	"github.com/prometheus/prometheus/util/annotations"
)

// subquery is a per-series expression on a grid of its own, below a function
// over a range.
type subquery struct {
	prog   *Program
	rng    int64 // ms
	offset int64 // ms
	step   int64 // ms
}

// maxSubquerySteps bounds the steps of a subquery that is computed here.
const maxSubquerySteps = 1 << 17

// gridOf returns the steps of the subquery for the steps of the query around it:
// multiples of its own step, as Prometheus's subqueryEvaluationTimes has them.
func (s *subquery) gridOf(g Grid) Grid {
	end := g.At(g.Len()-1) - s.offset
	first := g.Start - s.offset - s.rng
	start := s.step * (first / s.step)
	if start <= first {
		start += s.step
	}
	return Grid{Start: start, End: end, Step: s.step}
}

// subquery compiles a function over a subquery: the expression inside becomes a
// program of its own.
func (c *compiler) subquery(call *parser.Call, f *rangeFunc, q *parser.SubqueryExpr) error {
	s := &subquery{rng: q.Range.Milliseconds(), offset: q.OriginalOffset.Milliseconds(), step: q.Step.Milliseconds()}
	if q.Timestamp != nil {
		if c.grid.Len() > 1 {
			return fmt.Errorf("a subquery at a fixed time on several steps")
		}
		s.offset += c.grid.Start - *q.Timestamp
	}
	if s.step == 0 {
		s.step = c.prog.opts.SubqueryStepMs
	}
	if s.rng <= 0 || s.step <= 0 {
		return fmt.Errorf("a subquery without a range or a step")
	}
	g := s.gridOf(c.grid)
	if g.End < g.Start || g.Len() > maxSubquerySteps {
		return fmt.Errorf("a subquery of no or too many steps")
	}
	inner := &compiler{prog: &Program{opts: c.prog.opts, nested: true}, grid: g, funcs: c.funcs}
	if err := inner.perSeries(q.Expr); err != nil {
		return err
	}
	if inner.prog.dropName && inner.prog.sel.name == "" {
		return fmt.Errorf("the metric name is dropped and the selector does not fix it")
	}
	s.prog = inner.prog
	p := c.prog
	p.sub = s
	p.sel = selector{matchers: inner.prog.sel.matchers, name: inner.prog.sel.name, offset: s.offset, rng: s.rng}
	// What Prometheus's engine puts in the place of the subquery.
	selector := &parser.MatrixSelector{
		Range:          q.Range,
		VectorSelector: &parser.VectorSelector{OriginalOffset: q.OriginalOffset, Offset: time.Duration(s.offset) * time.Millisecond, Timestamp: q.Timestamp},
	}
	replaced := *call
	replaced.Args = append(parser.Expressions{}, call.Args...)
	replaced.Args[f.rangeArg] = selector
	p.call = &replaced
	p.dropName = !f.keepsName || inner.prog.dropName
	named := !inner.prog.dropName || p.opts.DelayedNameRemoval
	if f.counter && named && p.sel.name != "" && !counterName(p.sel.name) {
		p.info = annotations.NewPossibleNonCounterInfo(p.sel.name, posrange.PositionRange{})
	}
	return nil
}
