package partial

import (
	"fmt"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
)

// Tree is an expression over the results of several programs, its leaves: binary
// operators between vectors, and above them what is done to each series alone and
// aggregations. It is evaluated where the results of the leaves come together,
// series by series instead of step by step: which series match is found once.
//
// What Prometheus refuses (several series of one match group, results with equal
// labels) is left to it, for the error's text: ErrFallback.
type Tree struct {
	grid        Grid
	leaf        int   // index among the leaves, where below is nil
	join        *join // between below[0] and below[1]
	below       []*Tree
	apply       op        // to each series of below[0]
	dropName    bool      // with apply
	aggregation *Program  // over the series of below[0]
	over        *Program  // a function over the series of below[0],
	subquery    *subquery // which are those of this subquery
	pending     bool      // names are still to be dropped, or may be
}

// Leaf is an operand of a tree.
type Leaf struct {
	Expr    parser.Expr
	Program *Program
	Grid    Grid // of the query, or of a subquery in it
}

// CompileTree compiles a node of a preprocessed tree that joins vectors. The error
// says why the node is left to Prometheus's engine.
func CompileTree(e parser.Expr, g Grid, opts Options) (*Tree, []Leaf, error) {
	c := &treeCompiler{grid: g, opts: opts}
	t, err := c.compile(e)
	if err != nil {
		return nil, nil, err
	}
	if len(t.below) == 0 {
		return nil, nil, fmt.Errorf("nothing is joined")
	}
	return t, c.leaves, nil
}

type treeCompiler struct {
	grid   Grid
	opts   Options
	leaves []Leaf
}

func (c *treeCompiler) compile(e parser.Expr) (*Tree, error) {
	if e.Type() != parser.ValueTypeVector {
		return nil, fmt.Errorf("%s is no vector", e)
	}
	if p, err := Compile(e, c.grid, c.opts); err == nil {
		c.leaves = append(c.leaves, Leaf{e, p, c.grid})
		return &Tree{grid: c.grid, leaf: len(c.leaves) - 1, pending: true}, nil
	}
	switch n := e.(type) {
	case *parser.ParenExpr:
		return c.compile(n.Expr)
	case *parser.UnaryExpr:
		if n.Op != parser.SUB {
			return c.compile(n.Expr)
		}
		return c.applied(n.Expr, negate(), true)
	case *parser.BinaryExpr:
		if n.LHS.Type() == parser.ValueTypeVector && n.RHS.Type() == parser.ValueTypeVector {
			return c.joined(n)
		}
		vector, o, dropName, err := withScalar(n)
		if err != nil {
			return nil, err
		}
		return c.applied(vector, o, dropName)
	case *parser.Call:
		if _, ok := rangeFuncs()[n.Func.Name]; ok {
			return c.overSubquery(n)
		}
		o, err := instantCall(n)
		if err != nil {
			return nil, err
		}
		return c.applied(n.Args[0], o, true)
	case *parser.AggregateExpr:
		return c.aggregated(n)
	default:
		return nil, fmt.Errorf("%T is not computed over vectors", e)
	}
}

// applied compiles what is done to each series alone.
func (c *treeCompiler) applied(e parser.Expr, o op, dropName bool) (*Tree, error) {
	below, err := c.compile(e)
	if err != nil {
		return nil, err
	}
	if c.opts.DelayedNameRemoval && dropName && below.pending {
		return nil, fmt.Errorf("the metric name is dropped at the end of the query")
	}
	return &Tree{grid: c.grid, below: []*Tree{below}, apply: o, dropName: dropName, pending: below.pending}, nil
}

func (c *treeCompiler) aggregated(n *parser.AggregateExpr) (*Tree, error) {
	a := &compiler{prog: &Program{opts: c.opts}, grid: c.grid}
	if err := a.aggregate(n); err != nil {
		return nil, err
	}
	if !a.prog.Aggregates() {
		return nil, fmt.Errorf("%s over vectors", n.Op)
	}
	below, err := c.compile(n.Expr)
	if err != nil {
		return nil, err
	}
	return &Tree{grid: c.grid, below: []*Tree{below}, aggregation: a.prog, pending: below.pending}, nil
}

// joined compiles a binary operator between vectors.
func (c *treeCompiler) joined(n *parser.BinaryExpr) (*Tree, error) {
	j, err := newJoin(n, c.opts)
	if err != nil {
		return nil, err
	}
	l, err := c.compile(n.LHS)
	if err != nil {
		return nil, err
	}
	r, err := c.compile(n.RHS)
	if err != nil {
		return nil, err
	}
	return &Tree{grid: c.grid, join: j, below: []*Tree{l, r}, pending: !j.dropsName() || slices.ContainsFunc(j.matching.Include, isMetadataLabel)}, nil
}

// Evaluate computes the tree from the results of its leaves, which are not used
// any more.
func (t *Tree) Evaluate(leaves []*Result, g Grid, maxSamples int64) (result *Result, err error) {
	defer func() {
		// As in a worker: Prometheus's functions panic with what is wrong about a query.
		if r := recover(); r != nil {
			result, err = nil, fmt.Errorf("%w: %v", ErrFallback, r)
		}
	}()
	out := newResult(&Program{}, g)
	e := &treeEvaluator{out: out, max: maxSamples, leaves: leaves, counts: newCounts(g)}
	rows, err := e.evaluate(t)
	if err != nil {
		return nil, err
	}
	out.rows, out.Total, out.Read = rows, e.counts.total, e.counts.read
	return out, nil
}

type treeEvaluator struct {
	out    *Result
	max    int64
	leaves []*Result
	counts *counts // of the steps of the query, or of the subquery that is evaluated
}

// leaf returns the series of a leaf.
func (e *treeEvaluator) leaf(r *Result) ([]Series, error) {
	rows, err := r.Final()
	if err != nil {
		return nil, err
	}
	e.counts.add(r.Total, r.Read)
	e.out.Series += r.Series
	e.out.Points += r.Points
	e.out.annos.Merge(r.annos)
	return rows, nil
}

func (e *treeEvaluator) evaluate(t *Tree) ([]Series, error) {
	if len(t.below) == 0 {
		return e.leaf(e.leaves[t.leaf])
	}
	if t.over != nil {
		return e.overSubquery(t)
	}
	l, err := e.evaluate(t.below[0])
	if err != nil {
		return nil, err
	}
	switch {
	case t.join != nil:
		r, err := e.evaluate(t.below[1])
		if err != nil {
			return nil, err
		}
		held := pointsOf(l) + pointsOf(r)
		rows, err := t.join.evaluate(l, r, t.grid.Len())
		if err != nil {
			return nil, err
		}
		if e.max > 0 && held+pointsOf(rows) > e.max {
			return nil, promql.ErrTooManySamples("query execution")
		}
		return rows, nil
	case t.aggregation != nil:
		return e.aggregate(t.aggregation, t.grid, l)
	default:
		return e.apply(t, l)
	}
}

// apply does to each series what the tree's root does.
func (e *treeEvaluator) apply(t *Tree, rows []Series) ([]Series, error) {
	dropped := false
	for i := range rows {
		s := &rows[i]
		r := row{v: s.V, ok: s.OK, all: s.OK == nil, h: s.H}
		t.apply.apply(&r, t.grid, &e.out.annos)
		if !r.all {
			s.OK = r.ok
		}
		if t.dropName && (s.Labels.Has(labels.MetricName) || hasMetadataLabels(s.Labels)) {
			s.Labels = s.Labels.DropReserved(isMetadataLabel)
			dropped = true
		}
	}
	if dropped {
		return mergeEqual(rows)
	}
	return rows, nil
}

// aggregate aggregates over series.
func (e *treeEvaluator) aggregate(p *Program, grid Grid, rows []Series) ([]Series, error) {
	g := newGrouper(newResult(p, grid))
	for i := range rows {
		s := &rows[i]
		r := row{v: s.V, ok: s.OK, all: s.OK == nil, h: s.H}
		if err := p.admit(&r, &e.out.annos); err != nil {
			return nil, err
		}
		of, _ := g.groupOf(s.Labels, int32(i))
		of.state.add(&r, int32(i))
		if p.agg.keepsLabels() {
			g.result.names[int32(i)] = s.Labels
		}
	}
	out, err := g.result.Final()
	e.out.annos.Merge(g.result.annos)
	return out, err
}

// pointsOf counts points as Prometheus's engine does.
func pointsOf(rows []Series) int64 {
	n := int64(0)
	for i := range rows {
		switch s := &rows[i]; {
		case s.OK == nil && s.H == nil:
			n += int64(len(s.V))
		default:
			for k := range s.V {
				n += s.Samples(k)
			}
		}
	}
	return n
}
