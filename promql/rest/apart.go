package rest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/promql/partial"
	"github.com/count-db/count/promql/store"
)

// OverTime has a PromQL function over a range evaluated where the data lies, on
// the steps of the grid, with partial.Options.Plain. The samples it may look at
// are bounded by maxSamples.
type OverTime func(ctx context.Context, query string, g partial.Grid, maxSamples int64) (*partial.Result, store.Warnings, error)

// widestApart is the widest window, ms, that PromQL's durations can name, with
// room to spare.
const widestApart = int64(100 * 365 * 24 * 3600_000)

// aggregateApart has the series that match evaluated by the nodes that have them.
// False: there are none to ask, or they could not.
func (h *Handler) aggregateApart(ctx context.Context, out *response, q *query, ms []*labels.Matcher, budget *int64) ([]found, bool, error) {
	if !q.aggregated || h.opts.OverTime == nil {
		return nil, false, nil
	}
	byKey := map[string]int{}
	var all []found
	for _, p := range q.pieces() {
		if p.width > widestApart {
			return nil, false, nil
		}
		query := fmt.Sprintf("%s(%s[%dms])", q.agg.function(), selectorText(ms), p.width)
		result, warnings, err := h.opts.OverTime(ctx, query, p.grid(0, p.n), *budget)
		if errors.Is(err, partial.ErrFallback) {
			return nil, false, nil
		}
		if err != nil {
			return nil, false, endOf(err)
		}
		out.warn(warnings)
		if *budget -= result.Samples(); *budget < 0 {
			return nil, false, errTooManySamples()
		}
		rows, err := result.Final()
		if err != nil {
			return nil, false, endOf(err)
		}
		for _, row := range rows {
			key := string(row.Labels.Bytes(nil))
			i, ok := byKey[key]
			if !ok {
				i = len(all)
				byKey[key] = i
				all = append(all, found{labels: row.Labels, evaluated: true})
			}
			p.values(0, row, func(v windowValue) { all[i].values = append(all[i].values, v) })
		}
	}
	slices.SortFunc(all, func(a, b found) int { return labels.Compare(a.labels, b.labels) })
	return all, true, nil
}

// selectorText writes matchers as PromQL.
func selectorText(ms []*labels.Matcher) string {
	texts := make([]string, len(ms))
	for i, m := range ms {
		texts[i] = m.String()
	}
	return "{" + strings.Join(texts, ",") + "}"
}
