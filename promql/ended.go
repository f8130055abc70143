package promql

import (
	"context"
	"errors"

	"github.com/prometheus/prometheus/promql"
)

// endedBy names the error of a query whose context has ended as Prometheus's engine
// names it in the course of an evaluation, for the API to tell timeouts (503) and
// cancelled queries (499) from others, wherever they were noticed: while the
// engine takes series from a storage, a context that ends reads like any other
// error of the storage, and another node's part of the work may fail in any way.
func endedBy(ctx context.Context, err error) error {
	var timeout promql.ErrQueryTimeout
	var canceled promql.ErrQueryCanceled
	var tooMany promql.ErrTooManySamples
	if err == nil || ctx.Err() == nil || errors.As(err, &timeout) || errors.As(err, &canceled) || errors.As(err, &tooMany) {
		return err
	}
	return endOf(ctx.Err(), "expression evaluation")
}

// endOf names an error of a context as Prometheus's engine does.
func endOf(err error, where string) error {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return promql.ErrQueryTimeout(where)
	case errors.Is(err, context.Canceled):
		return promql.ErrQueryCanceled(where)
	default:
		return err
	}
}
