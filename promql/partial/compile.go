package partial

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/util/annotations"
)

// Compile compiles a node of a preprocessed tree (promql.PreprocessExpr) that is
// evaluated on grid: an aggregation over a per-series expression, or such an
// expression alone. The error says, in a few words for explain, why the node is
// left to Prometheus's engine; it is no fault of the query.
//
// The offsets of the node's selectors are set as Prometheus's engine sets them.
func Compile(e parser.Expr, g Grid, opts Options) (*Program, error) {
	c := &compiler{prog: &Program{opts: opts}, grid: g, funcs: rangeFuncs()}
	agg, ok := e.(*parser.AggregateExpr)
	if !ok {
		if err := c.perSeries(e); err != nil {
			return nil, err
		}
		return c.prog, c.names()
	}
	if err := c.aggregate(agg); err != nil {
		return nil, err
	}
	if err := c.perSeries(agg.Expr); err != nil {
		return nil, err
	}
	return c.prog, c.names()
}

type compiler struct {
	prog  *Program
	grid  Grid
	funcs map[string]*rangeFunc
}

// aggregate compiles the aggregation around the per-series expression.
func (c *compiler) aggregate(agg *parser.AggregateExpr) error {
	a := &c.prog.agg
	switch agg.Op {
	case parser.SUM, parser.AVG, parser.MIN, parser.MAX, parser.COUNT, parser.GROUP, parser.STDDEV, parser.STDVAR:
	case parser.TOPK, parser.BOTTOMK, parser.LIMITK:
		k, ok := agg.Param.(*parser.NumberLiteral)
		if !ok || !(k.Val >= 1 && k.Val < 1<<20) {
			return fmt.Errorf("%s with a parameter that is no small number", agg.Op)
		}
		a.k = int(k.Val)
	case parser.QUANTILE:
		q, ok := agg.Param.(*parser.NumberLiteral)
		if !ok || !(q.Val >= 0 && q.Val <= 1) {
			return fmt.Errorf("quantile with a parameter that is no number from 0 to 1")
		}
		a.quantile = q.Val
	case parser.COUNT_VALUES:
		label, ok := agg.Param.(*parser.StringLiteral)
		if !ok || !model.UTF8Validation.IsValidLabelName(label.Val) || isMetadataLabel(label.Val) || slices.Contains(agg.Grouping, label.Val) {
			return fmt.Errorf("count_values with a label that has another meaning")
		}
		a.label = label.Val
	case parser.LIMIT_RATIO:
		r, ok := agg.Param.(*parser.NumberLiteral)
		if !ok || !(r.Val >= -1 && r.Val <= 1) || r.Val == 0 {
			return fmt.Errorf("limit_ratio with a parameter that is no ratio")
		}
		c.prog.ratio = r.Val
		return nil
	default:
		return fmt.Errorf("%s needs all series in one place", agg.Op)
	}
	a.op, a.without = agg.Op, agg.Without
	c.prog.aggPos, c.prog.kPos = agg.Expr.PositionRange(), agg.PosRange
	a.grouping = slices.Clone(agg.Grouping)
	if a.without {
		a.grouping = append(a.grouping, labels.MetricName, "__type__", "__unit__")
		if a.label != "" {
			a.grouping = append(a.grouping, a.label)
		}
	}
	slices.Sort(a.grouping)
	a.grouping = slices.Compact(a.grouping)
	return nil
}

// keepsLabels says whether the aggregation's result has the labels of its input.
func (a *aggregation) keepsLabels() bool {
	return a.op == 0 || a.op == parser.TOPK || a.op == parser.BOTTOMK || a.op == parser.LIMITK
}

// names refuses what depends on how dropped names come together: series of
// several names that become equal, and names that delayed removal still needs.
func (c *compiler) names() error {
	p := c.prog
	if !p.dropName {
		return nil
	}
	if p.sel.name == "" {
		return fmt.Errorf("the metric name is dropped and the selector does not fix it")
	}
	if p.opts.DelayedNameRemoval && (p.agg.keepsLabels() || (!p.agg.without && slices.Contains(p.agg.grouping, labels.MetricName))) {
		return fmt.Errorf("the metric name is dropped at the end of the query")
	}
	if !p.opts.DelayedNameRemoval && !p.agg.without {
		// What has been dropped groups nothing.
		p.agg.grouping = slices.DeleteFunc(p.agg.grouping, isMetadataLabel)
	}
	return nil
}

// perSeries compiles an expression that treats each series alone.
func (c *compiler) perSeries(e parser.Expr) error {
	switch n := e.(type) {
	case *parser.ParenExpr:
		return c.perSeries(n.Expr)
	case *parser.VectorSelector:
		return c.selector(n, 0)
	case *parser.UnaryExpr:
		if err := c.perSeries(n.Expr); err != nil {
			return err
		}
		if n.Op == parser.SUB {
			c.push(negate(), true)
		}
		return nil
	case *parser.BinaryExpr:
		return c.binary(n)
	case *parser.Call:
		return c.callOf(n)
	default:
		return fmt.Errorf("%s is not per series", strings.TrimPrefix(fmt.Sprintf("%T", e), "*parser."))
	}
}

func (c *compiler) push(o op, dropName bool) {
	c.prog.ops = append(c.prog.ops, o)
	c.prog.dropName = c.prog.dropName || dropName
}

// binary compiles arithmetic and comparisons with a scalar.
func (c *compiler) binary(n *parser.BinaryExpr) error {
	vector, o, dropName, err := withScalar(n)
	if err != nil {
		return err
	}
	if err := c.perSeries(vector); err != nil {
		return err
	}
	c.push(o, dropName)
	return nil
}

// withScalar returns the vector of an operator between a vector and a scalar, and
// what the operator does to each of its series.
func withScalar(n *parser.BinaryExpr) (vector parser.Expr, o op, dropName bool, err error) {
	vector, swap := n.LHS, false
	s, ok := compileScalar(n.RHS)
	if !ok || n.RHS.Type() != parser.ValueTypeScalar {
		vector, swap = n.RHS, true
		if s, ok = compileScalar(n.LHS); !ok || n.LHS.Type() != parser.ValueTypeScalar {
			return nil, op{}, false, fmt.Errorf("operator %s joins vectors", n.Op)
		}
	}
	o, ok = scalarOp(n, s, swap)
	if !ok {
		return nil, op{}, false, fmt.Errorf("operator %s", n.Op)
	}
	return vector, o, !n.Op.IsComparisonOperator() || n.ReturnBool, nil
}

// callOf compiles a function over a range or over an instant vector.
func (c *compiler) callOf(n *parser.Call) error {
	if f, ok := c.funcs[n.Func.Name]; ok {
		return c.overRange(n, f)
	}
	o, err := instantCall(n)
	if err != nil {
		return err
	}
	if err := c.perSeries(n.Args[0]); err != nil {
		return err
	}
	c.push(o, true)
	return nil
}

// instantCall returns what a function over an instant vector, its first argument,
// does to each series.
func instantCall(n *parser.Call) (op, error) {
	if len(n.Args) == 0 {
		return op{}, fmt.Errorf("function %s is not per series", n.Func.Name)
	}
	args, err := scalars(n.Args[1:])
	if err != nil {
		return op{}, err
	}
	o, ok := instantOp(n.Func.Name, args)
	if !ok {
		return op{}, fmt.Errorf("function %s is not per series", n.Func.Name)
	}
	return o, nil
}

func scalars(exprs []parser.Expr) ([]scalar, error) {
	out := make([]scalar, len(exprs))
	for i, e := range exprs {
		s, ok := compileScalar(e)
		if !ok {
			return nil, fmt.Errorf("an argument is no constant")
		}
		out[i] = s
	}
	return out, nil
}

// overRange compiles a function over a range selector.
func (c *compiler) overRange(n *parser.Call, f *rangeFunc) error {
	if len(n.Args) != f.args+1 {
		return fmt.Errorf("function %s with %d arguments", n.Func.Name, len(n.Args))
	}
	var others []parser.Expr
	for i, a := range n.Args {
		if i != f.rangeArg {
			others = append(others, a)
		}
	}
	args, err := scalars(others)
	if err != nil {
		return err
	}
	p := c.prog
	p.fn, p.fnArgs, p.call = f, args, n
	if q, ok := n.Args[f.rangeArg].(*parser.SubqueryExpr); ok {
		return c.subquery(n, f, q)
	}
	m, ok := n.Args[f.rangeArg].(*parser.MatrixSelector)
	if !ok {
		return fmt.Errorf("a range over %T", n.Args[f.rangeArg])
	}
	vs, ok := m.VectorSelector.(*parser.VectorSelector)
	if !ok || m.Range <= 0 {
		return fmt.Errorf("a range that is computed")
	}
	if err := c.selector(vs, m.Range); err != nil {
		return err
	}
	p.dropName = !f.keepsName && !p.opts.Plain
	if f.counter && p.sel.name != "" && !counterName(p.sel.name) {
		p.info = annotations.NewPossibleNonCounterInfo(p.sel.name, n.Args[0].PositionRange())
	}
	return nil
}

// counterName says whether a name looks like that of a counter.
func counterName(name string) bool {
	for _, suffix := range []string{"_total", "_sum", "_count", "_bucket"} {
		if strings.HasSuffix(name, suffix) {
			return true
		}
	}
	return false
}

// selector compiles the leaf.
func (c *compiler) selector(vs *parser.VectorSelector, rng time.Duration) error {
	if vs.Anchored || vs.Smoothed {
		return fmt.Errorf("anchored and smoothed selectors")
	}
	if vs.Timestamp != nil && c.grid.Len() > 1 {
		return fmt.Errorf("a selector at a fixed time on several steps")
	}
	s := &c.prog.sel
	s.matchers, s.statsOnly = vs.LabelMatchers, vs.SkipHistogramBuckets
	for _, m := range vs.LabelMatchers {
		if m.Name == labels.MetricName && m.Type == labels.MatchEqual {
			s.name = m.Value
		}
	}
	s.offset, s.rng, s.at = vs.OriginalOffset.Milliseconds(), rng.Milliseconds(), vs.Timestamp
	vs.Offset = vs.OriginalOffset
	if vs.Timestamp != nil {
		vs.Offset += time.Duration(c.grid.Start-*vs.Timestamp) * time.Millisecond
	}
	if rng > 0 && s.rng == 0 {
		return fmt.Errorf("a range below a millisecond")
	}
	return nil
}
