package partial

import (
	"fmt"
	"time"

	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/parser/posrange"
	"github.com/prometheus/prometheus/util/annotations"
	"github.com/prometheus/prometheus/util/stats"
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

// subqueryOf returns what a subquery asks for, without its program.
func (c *compiler) subqueryOf(q *parser.SubqueryExpr) (*subquery, error) {
	s := &subquery{rng: q.Range.Milliseconds(), offset: q.OriginalOffset.Milliseconds(), step: q.Step.Milliseconds()}
	if q.Timestamp != nil {
		if c.grid.Len() > 1 {
			return nil, fmt.Errorf("a subquery at a fixed time on several steps")
		}
		s.offset += c.grid.Start - *q.Timestamp
	}
	if s.step == 0 {
		s.step = c.prog.opts.SubqueryStepMs
	}
	if s.rng <= 0 || s.step <= 0 {
		return nil, fmt.Errorf("a subquery without a range or a step")
	}
	if g := s.gridOf(c.grid); g.End < g.Start || g.Len() > maxSubquerySteps {
		return nil, fmt.Errorf("a subquery of no or too many steps")
	}
	return s, nil
}

// callOver returns the call with what Prometheus's engine puts in the place of the
// subquery.
func callOver(call *parser.Call, f *rangeFunc, q *parser.SubqueryExpr, s *subquery) *parser.Call {
	selector := &parser.MatrixSelector{
		Range:          q.Range,
		VectorSelector: &parser.VectorSelector{OriginalOffset: q.OriginalOffset, Offset: time.Duration(s.offset) * time.Millisecond, Timestamp: q.Timestamp},
	}
	replaced := *call
	replaced.Args = append(parser.Expressions{}, call.Args...)
	replaced.Args[f.rangeArg] = selector
	return &replaced
}

// subquery compiles a function over a subquery: the expression inside becomes a
// program of its own.
func (c *compiler) subquery(call *parser.Call, f *rangeFunc, q *parser.SubqueryExpr) error {
	s, err := c.subqueryOf(q)
	if err != nil {
		return err
	}
	inner := &compiler{prog: &Program{opts: c.prog.opts, nested: true}, grid: s.gridOf(c.grid), funcs: c.funcs}
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
	p.call = callOver(call, f, q, s)
	p.dropName = !f.keepsName || inner.prog.dropName
	named := !inner.prog.dropName || p.opts.DelayedNameRemoval
	if f.counter && named && p.sel.name != "" && !counterName(p.sel.name) {
		p.info = annotations.NewPossibleNonCounterInfo(p.sel.name, posrange.PositionRange{})
	}
	return nil
}

// perStep attributes the samples of a subquery's steps to those of the query around
// it, by Prometheus's own code.
func (s *subquery) perStep(g Grid, total, read []int64) (outerTotal, outerRead []int64) {
	inner := s.gridOf(g)
	below := stats.NewChildWithStepTracking(inner.Start, inner.End, inner.Step)
	for k := range total {
		below.IncrementSamplesAtStep(k, total[k])
		below.IncrementSamplesReadAtStep(k, read[k])
	}
	all := stats.NewChildWithStepTracking(g.Start, g.End, g.Step)
	consumer := stats.SubqueryConsumer{Start: g.Start, Interval: g.Step, NumSteps: g.Len(), Offset: s.offset, Range: s.rng}
	all.MergeTotalSamplesFromSubquery(below, consumer)
	all.MergeSamplesReadFromSubquery(below, consumer)
	return all.TotalSamplesPerStep, all.SamplesReadPerStep
}
