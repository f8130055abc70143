package rest

import (
	"context"
	"fmt"

	"github.com/prometheus/prometheus/model/value"

	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/promql/store"
)

// A range is read in slabs of time, so that it costs bounded memory; their width
// follows the density that was found.
const (
	firstSlab   = int64(3600_000) // ms
	minSlab     = int64(1000)     // ms
	slabSamples = 8192            // aimed at
	slabGrowth  = 8               // at most, from one slab to the next
)

// readFloats hands the floats of a series over in the order of time, without
// stale markers. Histograms are left out. budget is what the request may still
// read.
func readFloats(ctx context.Context, q *query, s store.Series, budget *int64, take func([]int64, []float64) error) error {
	if s == nil {
		return nil
	}
	var cols model.Columns
	slab := firstSlab
	for from := q.start; ; {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("read series: %w", err)
		}
		to := q.end
		if uint64(to)-uint64(from) > uint64(slab) {
			to = from + slab
		}
		if err := s.Read(from, to, &cols); err != nil {
			return fmt.Errorf("read series %s: %w", s.Labels(), err)
		}
		n := int64(cols.Len())
		if *budget -= n; *budget < 0 {
			return limitError("query reads more samples than it may (QUERY_MAX_SAMPLES)")
		}
		dropStale(&cols)
		if len(cols.T) > 0 {
			if err := take(cols.T, cols.V); err != nil {
				return err
			}
		}
		if to == q.end {
			return nil
		}
		from = to + 1
		slab = nextSlab(slab, n)
	}
}

func nextSlab(width, n int64) int64 {
	if n*slabGrowth <= slabSamples {
		return min(width, 1<<58) * slabGrowth
	}
	return max(minSlab, width/n*slabSamples)
}

// dropStale takes the stale markers out of the floats.
func dropStale(cols *model.Columns) {
	kept := 0
	for i, v := range cols.V {
		if value.IsStaleNaN(v) {
			continue
		}
		if kept != i {
			cols.T[kept], cols.V[kept] = cols.T[i], v
		}
		kept++
	}
	cols.T, cols.V = cols.T[:kept], cols.V[:kept]
}
