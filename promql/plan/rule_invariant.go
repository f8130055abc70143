package plan

import (
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/count-db/count/promql/partial"
)

// invariant enters an expression that is evaluated once, at the start of the
// query, and repeated for all steps.
func (s *splitter) invariant(n *parser.StepInvariantExpr, in scope) {
	switch n.Expr.(type) {
	case *parser.MatrixSelector, *parser.SubqueryExpr:
		return
	}
	in.grid = partial.Grid{Start: in.grid.Start, End: in.grid.Start, Step: in.grid.Step}
	in.once = true
	n.Expr = s.rewrite(n.Expr, in)
}
