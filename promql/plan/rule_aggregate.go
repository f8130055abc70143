package plan

import (
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/count-db/count/promql/partial"
)

// aggregate takes an aggregation over a per-series expression whole.
func (s *splitter) aggregate(e parser.Expr, in scope) (parser.Expr, bool) {
	if _, ok := e.(*parser.AggregateExpr); !ok {
		return nil, false
	}
	p, err := partial.Compile(e, in.grid, s.opts)
	if err != nil {
		return nil, false
	}
	return s.take(e, p, in), true
}

// leave notes why an aggregation is left to Prometheus's engine.
func (s *splitter) leave(e parser.Expr, in scope) {
	if _, ok := e.(*parser.AggregateExpr); !ok {
		return
	}
	if _, err := partial.Compile(e, in.grid, s.opts); err != nil {
		s.plan.Left = append(s.plan.Left, Left{Text: e.String(), Reason: err.Error()})
	}
}
