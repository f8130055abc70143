package apiv1

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
)

// federation answers /federate: the newest sample of each selected series, in
// an exposition format that a Prometheus can scrape.
type federation struct {
	queryable   storage.Queryable
	parser      parser.Parser
	lookback    time.Duration
	now         func() time.Time
	logger      *slog.Logger
	unavailable func(error) bool
}

// ServeHTTP implements http.Handler.
func (f *federation) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		http.Error(w, "error parsing form values: "+err.Error(), http.StatusBadRequest)
		return
	}
	matchers, err := f.parser.ParseMetricSelectors(r.Form["match[]"])
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	newest, err := f.newest(r.Context(), matchers)
	if err != nil {
		code := http.StatusInternalServerError
		if isUnavailable(f.unavailable, err) {
			code = http.StatusServiceUnavailable
		}
		http.Error(w, err.Error(), code)
		return
	}
	format := expfmt.NegotiateAccept(r.Header, expfmt.NewFormat(expfmt.TypeProtoDelim), expfmt.NewFormat(expfmt.TypeProtoText), expfmt.NewFormat(expfmt.TypeProtoCompact), expfmt.NewFormat(expfmt.TypeTextPlain))
	w.Header().Set("Content-Type", string(format))
	enc := expfmt.NewEncoder(w, format)
	for _, family := range families(newest, format.FormatType() != expfmt.TypeTextPlain) {
		if err := enc.Encode(family); err != nil {
			f.logger.Error("federation failed", "err", err)
			return
		}
	}
}

// newest returns the newest sample of each selected series within the
// lookback, sorted by metric name; series that have ended are left out.
func (f *federation) newest(ctx context.Context, matchers [][]*labels.Matcher) (promql.Vector, error) {
	now := f.now().UnixMilli()
	mint := now - f.lookback.Milliseconds()
	q, err := f.queryable.Querier(mint, now)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err := q.Close(); err != nil {
			f.logger.Warn("closing a querier failed", "err", err)
		}
	}()
	hints := &storage.SelectHints{Start: mint, End: now}
	sets := make([]storage.SeriesSet, 0, len(matchers))
	for _, ms := range matchers {
		sets = append(sets, q.Select(ctx, true, hints, ms...))
	}
	set := storage.NewMergeSeriesSet(sets, 0, storage.ChainedSeriesMerge)
	var out promql.Vector
	var it chunkenc.Iterator
	for set.Next() {
		s := set.At()
		it = s.Iterator(it)
		sample, ok, err := last(it)
		if err != nil {
			return nil, err
		}
		if ok {
			sample.Metric = s.Labels()
			out = append(out, sample)
		}
	}
	if err := set.Err(); err != nil {
		return nil, err
	}
	slices.SortStableFunc(out, func(a, b promql.Sample) int {
		return cmp.Compare(a.Metric.Get(labels.MetricName), b.Metric.Get(labels.MetricName))
	})
	return out, nil
}

// last returns the last sample of a series, unless it is a stale marker.
func last(it chunkenc.Iterator) (promql.Sample, bool, error) {
	var out promql.Sample
	ok := false
	for kind := it.Next(); kind != chunkenc.ValNone; kind = it.Next() {
		ok = true
		switch kind {
		case chunkenc.ValFloat:
			out.H = nil
			out.T, out.F = it.At()
		default:
			var fh *histogram.FloatHistogram
			out.T, fh = it.AtFloatHistogram(nil)
			out.H = fh
		}
	}
	if err := it.Err(); err != nil {
		return out, false, err
	}
	if ok && (out.H == nil && value.IsStaleNaN(out.F) || out.H != nil && value.IsStaleNaN(out.H.Sum)) {
		return out, false, nil
	}
	return out, ok, nil
}
