package plan

import (
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/count-db/count/promql/partial"
)

// series takes a per-series expression over a range that no aggregation above
// took. Without a range there is nothing to gain, because the values would only
// be handed through, unless the expression is the whole query.
func (s *splitter) series(e parser.Expr, in scope) (parser.Expr, bool) {
	switch e.(type) {
	case *parser.Call, *parser.BinaryExpr, *parser.UnaryExpr:
	case *parser.VectorSelector:
		if !in.whole {
			return nil, false
		}
	default:
		return nil, false
	}
	if e.Type() != parser.ValueTypeVector {
		return nil, false
	}
	p, err := partial.Compile(e, in.grid, s.opts)
	if err != nil || !p.OverRange() && !in.whole {
		return nil, false
	}
	return s.take(e, p, in), true
}
