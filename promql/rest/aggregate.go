package rest

import (
	"context"
	"errors"
	"fmt"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"

	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/promql/partial"
	"github.com/count-db/count/promql/store"
)

// aggregation is one of the functions over time.
type aggregation uint8

const (
	aggSum aggregation = iota
	aggMean
	aggMin
	aggMax
	aggCount
)

// function returns the name of PromQL's function that an aggregation is.
func (a aggregation) function() string {
	return [...]string{"sum_over_time", "avg_over_time", "min_over_time", "max_over_time", "count_over_time"}[a]
}

func parseAggregation(name string) (aggregation, error) {
	switch name {
	case "sum":
		return aggSum, nil
	case "mean", "avg":
		return aggMean, nil
	case "min":
		return aggMin, nil
	case "max":
		return aggMax, nil
	case "count":
		return aggCount, nil
	case "":
		return 0, badRequest("aggregation is missing: sum, mean, avg, min, max and count are allowed")
	default:
		return 0, badRequest("unknown aggregation %q: sum, mean, avg, min, max and count are allowed", name)
	}
}

// windowValue is what an aggregation gives for a window that has samples.
type windowValue struct {
	start int64 // of the window
	v     float64
}

// Bounds of what is evaluated at once.
const (
	seriesAtOnce  = 64
	samplesAtOnce = 1 << 20 // of one series, aimed at
	firstRange    = int64(24 * 3600_000)
)

// aggregate evaluates a few series over all windows of the query, by the runner
// that PromQL's functions over time are evaluated by. The values of each series
// are in the order of time. budget is the samples that the request may still
// read.
func (q *query) aggregate(ctx context.Context, series []store.Series, budget *int64) ([][]windowValue, error) {
	out := make([][]windowValue, len(series))
	list := make(seriesList, 0, len(series))
	number := make([]int, 0, len(series)) // of the list's series
	for i, s := range series {
		if s != nil {
			list, number = append(list, s), append(number, i)
		}
	}
	if len(list) == 0 {
		return out, nil
	}
	for _, p := range q.pieces() {
		if err := p.evaluate(ctx, q.agg, list, budget, func(i int, v windowValue) { out[number[i]] = append(out[number[i]], v) }); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// evaluate evaluates a run of windows, so many at once that what is read of a
// series stays small. take is given the values of the i-th series.
func (p *piece) evaluate(ctx context.Context, agg aggregation, list seriesList, budget *int64, take func(i int, v windowValue)) error {
	program, err := partial.OverTime(agg.function(), p.width, nil)
	if err != nil {
		return fmt.Errorf("aggregate: %w", err)
	}
	aim := samplesAtOnce * int64(len(list))
	atOnce := max(1, firstRange/p.width)
	for done := int64(0); done < p.n; {
		n := min(atOnce, p.n-done)
		result, err := partial.Runner{MaxSamples: max(1, *budget)}.Run(ctx, program, p.grid(done, n), list)
		if err != nil {
			return endOf(err)
		}
		samples := result.Samples()
		if *budget -= samples; *budget < 0 {
			return errTooManySamples()
		}
		rows, err := result.Final()
		if err != nil {
			return endOf(err)
		}
		i := 0
		for _, row := range rows {
			for !labels.Equal(list[i].Labels(), row.Labels) {
				i++ // it has no value
			}
			p.values(done, row, func(v windowValue) { take(i, v) })
		}
		done += n
		if samples*4 <= aim {
			atOnce = n * 4
		} else {
			atOnce = max(1, n*aim/samples)
		}
	}
	return nil
}

// values hands over the values of a series, whose first is that of the window
// with the number first.
func (p *piece) values(first int64, row partial.Series, take func(windowValue)) {
	for k, v := range row.V {
		if row.OK == nil || row.OK[k] {
			take(windowValue{start: p.name + (first+int64(k))*p.width, v: v})
		}
	}
}

// endOf turns the runner's limits into the client's fault.
func endOf(err error) error {
	var tooMany promql.ErrTooManySamples
	if errors.As(err, &tooMany) || errors.Is(err, partial.ErrFallback) {
		return errTooManySamples()
	}
	return fmt.Errorf("aggregate: %w", err)
}

func errTooManySamples() error {
	return limitError("query reads more samples than it may (QUERY_MAX_SAMPLES)")
}

// seriesList is a few series with random access.
type seriesList []store.Series

func (l seriesList) Len() int { return len(l) }

func (l seriesList) Labels(i int) labels.Labels { return l[i].Labels() }

func (l seriesList) Read(i int, mint, maxt int64, dst *model.Columns) error {
	return l[i].Read(mint, maxt, dst) //nolint:wrapcheck // the runner says what was read
}

// Condense implements store.Condenser where the series do.
func (l seriesList) Condense(i int, mint, maxt int64, how model.Condense, dst *model.Condensed) (bool, error) {
	c, ok := l[i].(store.SeriesCondenser)
	if !ok {
		return false, nil
	}
	return c.Condense(mint, maxt, how, dst) //nolint:wrapcheck // the runner says what was read
}
