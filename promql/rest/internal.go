package rest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/promql/store"
)

// Internal serves the documented internal form of the queries, by which one
// node asks another for its own copy.
type Internal struct {
	// Local is this node's own copy.
	Local store.Store
	// NodeID of this node.
	NodeID int
	// Allow says whether the request comes from the cluster's own side; nil =
	// any.
	Allow func(r *http.Request) error
}

// answerInternal answers {"series","start_time","end_time","aggregation"}: the
// points where aggregation is null, else one value.
func (h *Handler) answerInternal(ctx context.Context, out *response, r *http.Request, b *body) error {
	in := h.opts.Internal
	if in == nil {
		return badRequest("the internal form of this request is not served here")
	}
	if in.Allow != nil {
		if err := in.Allow(r); err != nil {
			return &requestError{status: http.StatusForbidden, text: err.Error()}
		}
	}
	q, err := b.internalQuery()
	if err != nil {
		return err
	}
	local := &Handler{store: in.Local, parser: h.parser, opts: h.opts}
	ls, err := model.ParseSeriesKey(q.series[0])
	if err != nil {
		return badRequest("series %q: %v", q.series[0], err)
	}
	series, closeSet, err := local.exact(ctx, out, q, ls)
	if err != nil {
		return err
	}
	defer closeSet()
	budget := h.opts.MaxSamples
	out.text(`{"success":true,"data":`)
	if q.aggregated {
		out.text(`null,"aggregated_value":`)
	}
	if err := local.writeOne(ctx, out, &q, series, &budget); err != nil {
		return fmt.Errorf("own copy: %w", err)
	}
	if !q.aggregated {
		out.text(`,"aggregated_value":null`)
	}
	out.text(`,"error":null,"node_id":`)
	out.buf = strconv.AppendInt(out.buf, int64(in.NodeID), 10)
	out.text("}")
	return nil
}

// internalQuery returns the internal form. Its aggregations are written with a
// capital.
func (b *body) internalQuery() (query, error) {
	var q query
	var key string
	if absent(b.Series) || json.Unmarshal(b.Series, &key) != nil {
		return query{}, badRequest("series must be a series key")
	}
	q.series = []string{key}
	var err error
	if q.start, err = requiredMillis("start_time", b.StartTime); err != nil {
		return query{}, err
	}
	if q.end, err = requiredMillis("end_time", b.EndTime); err != nil {
		return query{}, err
	}
	if b.Aggregation != nil {
		q.aggregated = true
		if q.agg, err = parseAggregation(strings.ToLower(*b.Aggregation)); err != nil {
			return query{}, err
		}
	}
	return q, q.check()
}
