package rest

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/promql/store"
)

// found is one series of an answer.
type found struct {
	labels labels.Labels
	series store.Series // nil where a key names a series that does not exist
	named  bool         // by a key: answered even where there are no samples
	// values are the aggregates of the windows, evaluated says that they are known.
	values    []windowValue
	evaluated bool
}

// answerOne answers a GET: one exact series.
func (h *Handler) answerOne(ctx context.Context, out *response, q query) error {
	ls, err := model.ParseSeriesKey(q.series[0])
	if err != nil {
		return badRequest("series %q: %v", q.series[0], err)
	}
	series, closeSet, err := h.exact(ctx, out, q, ls)
	if err != nil {
		return err
	}
	defer closeSet()
	budget := h.opts.MaxSamples
	return h.writeOne(ctx, out, &q, series, &budget)
}

// answerMany answers a POST: several keys and selectors. A series that is named
// more than once is answered where it is named first.
func (h *Handler) answerMany(ctx context.Context, out *response, q query) error {
	var all []found
	seen := map[string]bool{}
	add := func(f found) error {
		key := string(model.AppendCanonical(nil, f.labels))
		if seen[key] {
			return nil
		}
		seen[key] = true
		if len(all) == h.opts.MaxSeries {
			return limitError("query names or matches more than %d series", h.opts.MaxSeries)
		}
		all = append(all, f)
		return nil
	}
	budget := h.opts.MaxSamples
	for _, entry := range q.series {
		closeSet, err := h.entry(ctx, out, q, entry, &budget, add)
		if err != nil {
			return err
		}
		defer closeSet()
	}
	return h.writeMany(ctx, out, &q, all, &budget)
}

// entry finds the series of one entry of a POST request. What it returns is not
// nil where err is.
func (h *Handler) entry(ctx context.Context, out *response, q query, entry string, budget *int64, add func(found) error) (func(), error) {
	if !strings.HasPrefix(strings.TrimSpace(entry), "{") {
		ls, err := model.ParseSeriesKey(entry)
		if err != nil {
			return nil, badRequest("series %q: %v", entry, err)
		}
		series, closeSet, err := h.exact(ctx, out, q, ls)
		if err != nil {
			return nil, err
		}
		if err := add(found{labels: ls, series: series, named: true}); err != nil {
			closeSet()
			return nil, err
		}
		return closeSet, nil
	}
	ms, err := h.parser.ParseMetricSelector(entry)
	if err != nil {
		return nil, badRequest("selector %q: %v", entry, err)
	}
	if !slices.ContainsFunc(ms, func(m *labels.Matcher) bool { return !m.Matches("") }) {
		return nil, badRequest("selector %q must contain at least one matcher that does not match the empty string", entry)
	}
	if all, ok, err := h.aggregateApart(ctx, out, &q, ms, budget); ok || err != nil {
		for _, f := range all {
			if err := add(f); err != nil {
				return nil, err
			}
		}
		return func() {}, err
	}
	set, err := h.store.Select(ctx, q.start, q.end, ms...)
	if err != nil {
		return nil, fmt.Errorf("select %s: %w", entry, err)
	}
	for set.Next() {
		s := set.At()
		if err := add(found{labels: s.Labels(), series: s}); err != nil {
			set.Close()
			return nil, err
		}
	}
	if err := set.Err(); err != nil {
		set.Close()
		return nil, fmt.Errorf("select %s: %w", entry, err)
	}
	out.warn(set.Warnings())
	return set.Close, nil
}

// exact finds the one series that has these labels and no others; nil where
// there is none. The function closes what was opened.
func (h *Handler) exact(ctx context.Context, out *response, q query, ls labels.Labels) (store.Series, func(), error) {
	set, err := h.selectExact(ctx, q, ls)
	if err != nil {
		return nil, nil, fmt.Errorf("select series %s: %w", model.SeriesKey(ls), err)
	}
	var series store.Series
	if sel, ok := set.(store.Selection); ok {
		n := sel.Len()
		i := sort.Search(n, func(i int) bool { return labels.Compare(sel.Labels(i), ls) >= 0 })
		if i < n && labels.Equal(sel.Labels(i), ls) {
			series = selected{sel: sel, i: i}
		}
	} else {
		// To the end, because only there the warnings are complete.
		for set.Next() {
			if s := set.At(); series == nil && labels.Equal(s.Labels(), ls) {
				series = s
			}
		}
	}
	if err := set.Err(); err != nil {
		set.Close()
		return nil, nil, fmt.Errorf("select series %s: %w", model.SeriesKey(ls), err)
	}
	out.warn(set.Warnings())
	return series, set.Close, nil
}

// selectExact asks for one series where the store can look it up, else for all
// that have these labels among others.
func (h *Handler) selectExact(ctx context.Context, q query, ls labels.Labels) (store.SeriesSet, error) {
	if s, ok := h.store.(store.SeriesLookup); ok {
		return s.SelectSeries(ctx, q.start, q.end, ls)
	}
	var ms []*labels.Matcher
	ls.Range(func(l labels.Label) {
		ms = append(ms, &labels.Matcher{Type: labels.MatchEqual, Name: l.Name, Value: l.Value})
	})
	return h.store.Select(ctx, q.start, q.end, ms...)
}

// selected is one series of a selection.
type selected struct {
	sel store.Selection
	i   int
}

func (s selected) Labels() labels.Labels { return s.sel.Labels(s.i) }

func (s selected) Read(mint, maxt int64, dst *model.Columns) error {
	return s.sel.Read(s.i, mint, maxt, dst)
}

// Condense implements store.SeriesCondenser where the selection does.
func (s selected) Condense(mint, maxt int64, how model.Condense, dst *model.Condensed) (bool, error) {
	c, ok := s.sel.(store.Condenser)
	if !ok {
		return false, nil
	}
	return c.Condense(s.i, mint, maxt, how, dst) //nolint:wrapcheck // the caller says what was read
}
