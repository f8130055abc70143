package rest

import (
	"context"

	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/promql/store"
)

// writeOne writes what the query asks of one series; nil is one without samples.
func (h *Handler) writeOne(ctx context.Context, out *response, q *query, s store.Series, budget *int64) error {
	if !q.aggregated {
		_, err := writePoints(ctx, out, q, s, budget)
		return err
	}
	values, err := q.aggregate(ctx, []store.Series{s}, budget)
	if err != nil {
		return err
	}
	return writeValues(out, q, values[0])
}

// writeMany writes the list of a POST answer. A series that a selector matched and
// that has nothing in the range is left out.
func (h *Handler) writeMany(ctx context.Context, out *response, q *query, all []found, budget *int64) error {
	out.text("[")
	first := true
	for len(all) > 0 {
		some := all[:min(len(all), seriesAtOnce)]
		all = all[len(some):]
		if q.aggregated {
			if err := q.aggregateSome(ctx, some, budget); err != nil {
				return err
			}
		}
		for i := range some {
			written, err := writeEntry(ctx, out, q, &some[i], first, budget)
			if err != nil {
				return err
			}
			first = first && !written
		}
	}
	out.text("]")
	return nil
}

// aggregateSome evaluates those of a few series that are not yet.
func (q *query) aggregateSome(ctx context.Context, some []found, budget *int64) error {
	var series []store.Series
	var of []*found
	for i := range some {
		if f := &some[i]; !f.evaluated {
			series, of = append(series, f.series), append(of, f)
		}
	}
	values, err := q.aggregate(ctx, series, budget)
	if err != nil {
		return err
	}
	for i, f := range of {
		f.values = values[i]
	}
	return nil
}

// writeEntry writes one series of a POST answer, unless there is nothing to say of
// it.
func writeEntry(ctx context.Context, out *response, q *query, f *found, first bool, budget *int64) (written bool, err error) {
	if q.aggregated && len(f.values) == 0 && !f.named {
		return false, nil
	}
	mark := len(out.buf)
	if !first {
		out.text(",")
	}
	out.text(`{"series":`)
	out.buf = appendString(out.buf, model.SeriesKey(f.labels))
	out.text(`,"labels":`)
	out.labels(f.labels)
	if q.aggregated && q.step == 0 {
		out.text(`,"value":`)
	} else {
		out.text(`,"points":`)
	}
	if q.aggregated {
		err = writeValues(out, q, f.values)
		f.values = nil
	} else {
		var n int64
		if n, err = writePoints(ctx, out, q, f.series, budget); n == 0 && !f.named && err == nil {
			// Without a point nothing can have been sent since the mark.
			out.buf = out.buf[:mark]
			return false, nil
		}
	}
	if err != nil {
		return false, err
	}
	out.text("}")
	return true, out.more()
}

// writePoints writes the samples of a series and returns their number.
func writePoints(ctx context.Context, out *response, q *query, s store.Series, budget *int64) (int64, error) {
	var n int64
	out.text("[")
	err := readFloats(ctx, q, s, budget, func(ts []int64, vs []float64) error {
		for i, t := range ts {
			if n > 0 {
				out.text(",")
			}
			n++
			out.point(t, vs[i])
			if err := out.more(); err != nil {
				return err
			}
		}
		return nil
	})
	out.text("]")
	return n, err
}

// writeValues writes the aggregates of a series: a list, or without a step one
// number: null where there is no sample, 0 for a count.
func writeValues(out *response, q *query, values []windowValue) error {
	if q.step == 0 {
		switch {
		case len(values) > 0:
			out.buf = appendNumber(out.buf, values[0].v)
		case q.agg == aggCount:
			out.text("0")
		default:
			out.text("null")
		}
		return nil
	}
	out.text("[")
	for i, v := range values {
		if i > 0 {
			out.text(",")
		}
		out.point(v.start, v.v)
		if err := out.more(); err != nil {
			return err
		}
	}
	out.text("]")
	return nil
}
