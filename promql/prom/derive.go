package prom

import (
	"fmt"

	"github.com/prometheus/prometheus/model/histogram"

	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/promql/store"
)

// CounterResetHints returns the hints of all histograms of cols, as the iterator
// derives them. read reads the same series: it is asked for what lies right before
// the first histogram.
func CounterResetHints(cols *model.Columns, read func(mint, maxt int64, dst *model.Columns) error) ([]histogram.CounterResetHint, error) {
	var s hintState
	s.reset()
	first := cols.Hist[0].T
	if len(cols.T) == 0 || cols.T[0] > first {
		var before model.Columns
		if err := read(first-store.HintLookback, first-1, &before); err != nil {
			return nil, fmt.Errorf("read before the first histogram: %w", err)
		}
		s.keep(&before)
	}
	hints := make([]histogram.CounterResetHint, len(cols.Hist))
	for i := range hints {
		hints[i] = s.hint(cols, i)
	}
	return hints, nil
}
