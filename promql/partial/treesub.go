package partial

import (
	"fmt"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
)

// overSubquery compiles a function over a subquery of what is no per-series
// expression: a tree of its own, on the subquery's steps.
func (c *treeCompiler) overSubquery(n *parser.Call) (*Tree, error) {
	outer := &compiler{prog: &Program{opts: c.opts, given: true}, grid: c.grid}
	f := rangeFuncs()[n.Func.Name]
	if f == nil || len(n.Args) != f.args+1 {
		return nil, fmt.Errorf("function %s is not computed over vectors", n.Func.Name)
	}
	q, ok := n.Args[f.rangeArg].(*parser.SubqueryExpr)
	if !ok {
		return nil, fmt.Errorf("a range over %T", n.Args[f.rangeArg])
	}
	var others []parser.Expr
	for i, a := range n.Args {
		if i != f.rangeArg {
			others = append(others, a)
		}
	}
	args, err := scalars(others)
	if err != nil {
		return nil, err
	}
	s, err := outer.subqueryOf(q)
	if err != nil {
		return nil, err
	}
	inner := &treeCompiler{grid: s.gridOf(c.grid), opts: c.opts, leaves: c.leaves}
	below, err := inner.compile(q.Expr)
	if err != nil {
		return nil, err
	}
	c.leaves = inner.leaves
	if c.opts.DelayedNameRemoval && below.pending {
		return nil, fmt.Errorf("the metric name is dropped at the end of the query")
	}
	p := outer.prog
	p.fn, p.fnArgs, p.call = f, args, callOver(n, f, q, s)
	p.sel = selector{offset: s.offset, rng: s.rng}
	p.dropName = !f.keepsName
	return &Tree{grid: c.grid, below: []*Tree{below}, over: p, subquery: s, pending: below.pending && f.keepsName}, nil
}

// overSubquery evaluates a function over the series that a subquery gave.
func (e *treeEvaluator) overSubquery(t *Tree) ([]Series, error) {
	outer := e.counts
	e.counts = newCounts(t.below[0].grid)
	rows, err := e.evaluate(t.below[0])
	if err != nil {
		return nil, err
	}
	total, read := t.subquery.perStep(t.grid, e.counts.total, e.counts.read)
	outer.add(total, read)
	e.counts = outer
	if e.max > 0 && pointsOf(rows) > e.max {
		return nil, promql.ErrTooManySamples("query execution")
	}
	w := newEvaluator(t.over, t.grid, e.max)
	out := make([]Series, 0, len(rows))
	seen := map[string]bool{}
	for i := range rows {
		s := &rows[i]
		if s.H != nil || (t.over.fn.counter && s.Labels.Has(labels.MetricName)) {
			return nil, ErrFallback
		}
		w.takeRow(&row{v: s.V, ok: s.OK, all: s.OK == nil}, t.below[0].grid)
		n, err := w.eval(s.Labels, nil)
		if err != nil {
			return nil, err
		}
		if n == 0 {
			continue
		}
		ls := w.outputLabels()
		key := string(ls.Bytes(nil))
		if seen[key] {
			return nil, ErrFallback
		}
		seen[key] = true
		result := Series{Labels: ls, V: append([]float64(nil), w.row.v...)}
		if !w.row.all {
			result.OK = append([]bool(nil), w.row.ok...)
		}
		out = append(out, result)
	}
	e.out.annos.Merge(w.annotations())
	return out, nil
}

// counts are the samples of the steps of a grid.
type counts struct{ total, read []int64 }

func newCounts(g Grid) *counts {
	return &counts{total: make([]int64, g.Len()), read: make([]int64, g.Len())}
}

func (c *counts) add(total, read []int64) {
	for k := range total {
		c.total[k] += total[k]
		c.read[k] += read[k]
	}
}
