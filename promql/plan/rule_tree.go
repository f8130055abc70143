package plan

import (
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/count-db/count/promql/partial"
)

// tree takes operators between vectors, with what lies above them as far as it is
// understood: the leaves are evaluated where their data lies, the rest where their
// results come together.
func (s *splitter) tree(e parser.Expr, in scope) (parser.Expr, bool) {
	if e.Type() != parser.ValueTypeVector {
		return nil, false
	}
	t, leaves, err := partial.CompileTree(e, in.grid, s.opts)
	if err != nil {
		return nil, false
	}
	p := Part{Node: s.numbers[e], Text: e.String(), Grid: in.grid, Once: in.once, Tree: t}
	for _, leaf := range leaves {
		p.Leaves = append(p.Leaves, Part{
			Node: s.numbers[leaf.Expr], Text: leaf.Expr.String(), Program: leaf.Program, Grid: leaf.Grid, Once: in.once,
		})
	}
	return s.placeholder(e, p), true
}
