package promql

import (
	"context"
	"fmt"

	"github.com/count-db/count/promql/partial"
	"github.com/count-db/count/promql/rest"
)

// OverTime returns how the REST queries have functions over time evaluated by the
// nodes that have the series; nil where the store has no such nodes.
func (e *Engine) OverTime(s Store) rest.OverTime {
	r, ok := s.(PartialRunner)
	if !ok {
		return nil
	}
	return func(ctx context.Context, query string, g partial.Grid, maxSamples int64) (*partial.Result, Warnings, error) {
		f := Fragment{Query: query, Start: g.Start, End: g.End, Options: partial.Options{Plain: true}, MaxSamples: maxSamples}
		if g.Len() > 1 {
			f.Step = g.Step
		}
		part, err := e.Part(f)
		if err != nil {
			return nil, nil, fmt.Errorf("%w: %w", partial.ErrFallback, err)
		}
		return r.RunPartial(ctx, f, part) //nolint:wrapcheck // the handler says what was evaluated
	}
}
