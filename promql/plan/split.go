package plan

import (
	"strconv"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/count-db/count/promql/partial"
)

// PartLabel is the label of the selector that stands for a part, for people; its
// value is the part's index.
const PartLabel = "__count_part__"

// Part is a sub-expression to compute apart.
type Part struct {
	// Node is the place of the sub-expression in the tree before the split:
	// the number of nodes before it in depth-first order. With the text of the
	// query it names the part to another node.
	Node    int
	Text    string // of the sub-expression, for people
	Program *partial.Program
	Grid    partial.Grid
	// Once: the part is evaluated once, for all steps of the query.
	Once bool
	// Tree joins the results of Leaves, which are evaluated like parts; nil for a
	// part that is a program by itself.
	Tree        *partial.Tree
	Leaves      []Part
	placeholder *labels.Matcher
}

// Plan is a split query.
type Plan struct {
	Remainder parser.Expr
	Parts     []Part
	// Left lists, by node, why a sub-expression was left to Prometheus's engine.
	Left  []Left
	steps int // of the query
}

// Whole says whether one part is all of the query, evaluated at each of its steps.
func (p *Plan) Whole() bool {
	e := p.Remainder
	for {
		switch n := e.(type) {
		case *parser.ParenExpr:
			e = n.Expr
		case *parser.StepInvariantExpr:
			e = n.Expr
		case *parser.VectorSelector:
			if len(p.Parts) != 1 || !p.Parts[0].StoodFor(n.LabelMatchers) {
				return false
			}
			return !p.Parts[0].Once || p.steps == 1
		default:
			return false
		}
	}
}

// Left is a sub-expression that was looked at and left.
type Left struct {
	Text, Reason string
}

// Split splits a preprocessed tree (promql.PreprocessExpr) that is evaluated on
// grid. The tree is changed; Remainder is its new root.
func Split(e parser.Expr, g partial.Grid, opts partial.Options) *Plan {
	s := &splitter{plan: &Plan{steps: g.Len()}, opts: opts, numbers: map[parser.Node]int{}}
	n := 0
	parser.Inspect(e, func(node parser.Node, _ []parser.Node) error {
		if node != nil {
			s.numbers[node] = n
			n++
		}
		return nil
	})
	s.plan.Remainder = s.rewrite(e, scope{grid: g, whole: true})
	return s.plan
}

// scope is what a node inherits from above.
type scope struct {
	grid partial.Grid
	once bool
	// whole: the node is all of the query, at each of its steps.
	whole bool
}

type splitter struct {
	plan    *Plan
	opts    partial.Options
	numbers map[parser.Node]int
}

// rewrite returns what stands in the place of e: a placeholder, or e itself with
// its children rewritten.
func (s *splitter) rewrite(e parser.Expr, in scope) parser.Expr {
	for _, rule := range []func(parser.Expr, scope) (parser.Expr, bool){s.aggregate, s.series, s.tree} {
		if placeholder, ok := rule(e, in); ok {
			return placeholder
		}
	}
	s.leave(e, in)
	s.descend(e, in)
	return e
}

// descend rewrites the children of a node that stays.
func (s *splitter) descend(e parser.Expr, in scope) {
	whole := in.whole
	in.whole = false
	switch n := e.(type) {
	case *parser.AggregateExpr:
		n.Expr = s.rewrite(n.Expr, in)
		if n.Param != nil {
			n.Param = s.rewrite(n.Param, in)
		}
	case *parser.BinaryExpr:
		n.LHS = s.rewrite(n.LHS, in)
		n.RHS = s.rewrite(n.RHS, in)
	case *parser.UnaryExpr:
		n.Expr = s.rewrite(n.Expr, in)
	case *parser.ParenExpr:
		in.whole = whole
		n.Expr = s.rewrite(n.Expr, in)
	case *parser.StepInvariantExpr:
		in.whole = whole && in.grid.Len() == 1
		s.invariant(n, in)
	case *parser.Call:
		for i, arg := range n.Args {
			switch guardOf(n.Func.Name) {
			case guardTree:
			case guardArgument:
				s.descend(arg, in)
			default:
				n.Args[i] = s.rewrite(arg, in)
			}
		}
	}
	// Subqueries have a grid of their own and are left, as are selectors and
	// literals.
}

// take makes a part of e and returns its placeholder, which stands at the same
// position, so that annotations name the same place.
func (s *splitter) take(e parser.Expr, p *partial.Program, in scope) parser.Expr {
	return s.placeholder(e, Part{Node: s.numbers[e], Text: e.String(), Program: p, Grid: in.grid, Once: in.once})
}

func (s *splitter) placeholder(e parser.Expr, p Part) parser.Expr {
	p.placeholder = &labels.Matcher{Type: labels.MatchEqual, Name: PartLabel, Value: strconv.Itoa(len(s.plan.Parts))}
	s.plan.Parts = append(s.plan.Parts, p)
	return &parser.VectorSelector{LabelMatchers: []*labels.Matcher{p.placeholder}, PosRange: e.PositionRange()}
}

// Programs lists the parts that are programs: the plan's own and the leaves of its
// trees.
func (p *Plan) Programs() []Part {
	var list []Part
	for _, part := range p.Parts {
		if part.Tree == nil {
			list = append(list, part)
		}
		list = append(list, part.Leaves...)
	}
	return list
}

// StoodFor says whether these are the matchers of the part's placeholder
// themselves, not ones that a user wrote alike.
func (p *Part) StoodFor(ms []*labels.Matcher) bool {
	return len(ms) == 1 && ms[0] == p.placeholder
}
