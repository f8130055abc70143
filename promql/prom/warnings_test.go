package prom_test

import (
	"context"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"github.com/count-db/count/internal/noted"
	"github.com/count-db/count/promql/prom"
	"github.com/count-db/count/promql/store"
)

// lateStore knows its warnings only when all series were read, as a cluster
// does.
type lateStore struct{ store.Store }

type lateSet struct {
	store.SeriesSet
	ended bool
}

func (lateStore) Select(context.Context, int64, int64, ...*labels.Matcher) (store.SeriesSet, error) {
	return &lateSet{}, nil
}

func (lateStore) Exemplars(context.Context, int64, int64, ...[]*labels.Matcher) ([]store.ExemplarSeries, store.Warnings, error) {
	return nil, store.Warnings{"old exemplars"}, nil
}

func (s *lateSet) Next() bool {
	s.ended = true
	return false
}
func (s *lateSet) Err() error { return nil }
func (s *lateSet) Close()     {}
func (s *lateSet) Warnings() store.Warnings {
	if !s.ended {
		return nil
	}
	return store.Warnings{"possibly stale"}
}

// TestWarningsAskedForEarly: the handler of /api/v1/series takes the warnings
// before the first series.
func TestWarningsAskedForEarly(t *testing.T) {
	ctx, all := noted.With(t.Context())
	queryable := prom.New(lateStore{})
	q, err := queryable.Querier(0, 1)
	if err != nil {
		t.Fatal(err)
	}
	set := q.Select(ctx, true, &storage.SelectHints{Func: "series"})
	warnings := set.Warnings()
	if set.Next() || len(warnings) != 1 {
		t.Errorf("warnings %v", warnings)
	}
	e, err := queryable.ExemplarQuerier(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Select(0, 1); err != nil {
		t.Fatal(err)
	}
	if texts := all.Texts(); len(texts) != 2 || texts[0] != "possibly stale" || texts[1] != "old exemplars" {
		t.Errorf("noted: %q", texts)
	}
}

// TestNoLabelsOfNoTime: a range that ends before it begins has no labels, however
// widely a store looks.
func TestNoLabelsOfNoTime(t *testing.T) {
	q, err := prom.New(panicking{}).Querier(2, 1)
	if err != nil {
		t.Fatal(err)
	}
	if names, _, err := q.LabelNames(t.Context(), nil); len(names) > 0 || err != nil {
		t.Errorf("names %v, %v", names, err)
	}
	if values, _, err := q.LabelValues(t.Context(), "a", nil); len(values) > 0 || err != nil {
		t.Errorf("values %v, %v", values, err)
	}
}

// panicking is a store that must not be asked.
type panicking struct{ store.Store }
