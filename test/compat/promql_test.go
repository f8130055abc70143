package compat

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/storage"

	"github.com/count-db/count/engine"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/vfs"
	"github.com/count-db/count/promql"
	"github.com/count-db/count/promql/promtest"
)

// TestPrometheusScripts runs all of Prometheus's PromQL scripts over the storage.
func TestPrometheusScripts(t *testing.T) {
	for _, c := range []struct {
		name             string
		reduced, flushed bool
	}{
		{"buffer", false, false},
		{"files, reduced", true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			// The settings of Prometheus's own run of the scripts.
			e, err := promql.New(promql.Options{
				Timeout: 100 * time.Second, MaxSamples: promqltest.DefaultMaxSamplesPerQuery,
				DelayedNameRemoval: true, UseStartTimestamps: true, NoReduction: !c.reduced,
			})
			if err != nil {
				t.Fatal(err)
			}
			promqltest.RunBuiltinTestsWithStorage(t, e, func(t testing.TB) storage.Storage {
				return newStorage(t, c.flushed)
			})
		})
	}
}

// newStorage opens a storage in memory. With flushed, what is written goes to
// files before it is read.
func newStorage(t testing.TB, flushed bool) storage.Storage {
	t.Helper()
	db, err := engine.Open(vfs.NewMem(), "data", engine.Options{NoBackground: true, Sync: engine.SyncNever})
	if err != nil {
		t.Fatal(err)
	}
	return promtest.NewStorage(&dbStore{db}, func(ctx context.Context, samples []promtest.Sample) error {
		b, err := batchOf(db, samples)
		if err != nil {
			return err
		}
		if _, err := db.Append(ctx, b, engine.AppendOptions{Fresh: true}); err != nil {
			return fmt.Errorf("append: %w", err)
		}
		if flushed {
			return db.Flush(ctx)
		}
		return nil
	}, db.Close)
}

// batchOf makes a write batch of the samples of a script.
func batchOf(db *engine.DB, samples []promtest.Sample) (*model.Batch, error) {
	b := &model.Batch{}
	for _, s := range samples {
		ref, err := db.Intern(s.Labels)
		if err != nil {
			return nil, fmt.Errorf("intern %s: %w", s.Labels, err)
		}
		if s.H != nil || s.FH != nil {
			b.Hists = append(b.Hists, model.HistogramSample{Ref: ref, T: s.T, ST: s.ST, H: s.H, FH: s.FH})
			continue
		}
		b.Floats = append(b.Floats, model.FloatSample{Ref: ref, T: s.T, V: s.V})
		b.STs = append(b.STs, s.ST)
	}
	return b, nil
}

// dbStore shows the storage to the queries.
type dbStore struct{ db *engine.DB }

var _ promql.Store = (*dbStore)(nil)

func (s *dbStore) Select(ctx context.Context, mint, maxt int64, ms ...*labels.Matcher) (promql.SeriesSet, error) {
	sel, err := s.db.Select(ctx, mint, maxt, ms...)
	if err != nil {
		return nil, err
	}
	return &dbSet{Selection: sel, at: -1}, nil
}

func (s *dbStore) LabelNames(ctx context.Context, mint, maxt int64, limit int, ms ...*labels.Matcher) ([]string, promql.Warnings, error) {
	names, err := s.db.LabelNames(ctx, mint, maxt, limit, ms...)
	return names, nil, err
}

func (s *dbStore) LabelValues(ctx context.Context, name string, mint, maxt int64, limit int, ms ...*labels.Matcher) ([]string, promql.Warnings, error) {
	values, err := s.db.LabelValues(ctx, name, mint, maxt, limit, ms...)
	return values, nil, err
}

func (s *dbStore) Exemplars(context.Context, int64, int64, ...[]*labels.Matcher) ([]promql.ExemplarSeries, promql.Warnings, error) {
	return nil, nil, nil
}

// dbSet is a selection as a set.
type dbSet struct {
	*engine.Selection
	at int
}

func (s *dbSet) Next() bool { s.at++; return s.at < s.Len() }

func (s *dbSet) At() promql.Series { return dbSeries{s, s.at} }

func (s *dbSet) Err() error { return nil }

func (s *dbSet) Warnings() promql.Warnings { return nil }

type dbSeries struct {
	set *dbSet
	i   int
}

func (s dbSeries) Labels() labels.Labels { return s.set.Labels(s.i) }

func (s dbSeries) Read(mint, maxt int64, dst *model.Columns) error {
	return s.set.Read(s.i, mint, maxt, dst)
}
