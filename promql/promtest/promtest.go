// Package promtest runs Prometheus's PromQL test scripts over a store.Store: it
// makes a storage.Storage of any store and a function that appends to it. For
// tests only.
package promtest

import (
	"context"
	"errors"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"github.com/count-db/count/promql/memstore"
	"github.com/count-db/count/promql/prom"
	"github.com/count-db/count/promql/store"
)

// Sample is one sample handed to an Appender; of V, H and FH one counts: H and
// FH when they are set, else V.
type Sample struct {
	Labels labels.Labels
	ST, T  int64
	V      float64
	H      *histogram.Histogram
	FH     *histogram.FloatHistogram
}

// Storage is a storage.Storage over a store. Only what the scripts use works.
type Storage struct {
	*prom.Queryable
	append func(ctx context.Context, samples []Sample) error
	close  func() error
}

var _ storage.Storage = (*Storage)(nil)

// NewStorage returns a storage that reads from s, hands committed samples to
// appendAll and is closed by closeStore (may be nil).
func NewStorage(s store.Store, appendAll func(ctx context.Context, samples []Sample) error, closeStore func() error) *Storage {
	return &Storage{Queryable: prom.New(s), append: appendAll, close: closeStore}
}

// NewMemory returns a storage over a new memory store.
func NewMemory() (*Storage, *memstore.Store) {
	m := memstore.New()
	return NewStorage(m, AppendTo(m), nil), m
}

// AppendTo returns the function of NewStorage that appends to a memory store.
func AppendTo(m *memstore.Store) func(context.Context, []Sample) error {
	return func(_ context.Context, samples []Sample) error {
		for _, s := range samples {
			if s.H != nil || s.FH != nil {
				m.AppendHistogram(s.Labels, s.ST, s.T, s.H, s.FH)
			} else {
				m.Append(s.Labels, s.ST, s.T, s.V)
			}
		}
		return nil
	}
}

// errV1 answers the calls of the interface that the scripts never make.
var errV1 = errors.New("the first appender interface is not served")

// Appender returns an appender that refuses everything: it is in the interface
// but not used any more.
func (s *Storage) Appender(context.Context) storage.Appender { return refusing{} }

// AppenderV2 returns an appender that collects and hands over at Commit.
func (s *Storage) AppenderV2(ctx context.Context) storage.AppenderV2 {
	return &appender{ctx: ctx, to: s}
}

// StartTime is not known.
func (s *Storage) StartTime() (int64, error) { return 0, nil }

// Close closes the store.
func (s *Storage) Close() error {
	if s.close == nil {
		return nil
	}
	return s.close()
}

type appender struct {
	ctx     context.Context // one transaction
	to      *Storage
	samples []Sample
}

func (a *appender) Append(_ storage.SeriesRef, ls labels.Labels, st, t int64, v float64, h *histogram.Histogram, fh *histogram.FloatHistogram, _ storage.AppendV2Options) (storage.SeriesRef, error) {
	s := Sample{Labels: ls.Copy(), ST: st, T: t, V: v}
	if h != nil {
		s.H = h.Copy()
	}
	if fh != nil {
		s.FH = fh.Copy()
	}
	a.samples = append(a.samples, s)
	return 0, nil
}

func (a *appender) AppendExemplars(storage.SeriesRef, labels.Labels, []exemplar.Exemplar) error {
	return nil
}

func (a *appender) Commit() error { return a.to.append(a.ctx, a.samples) }

func (a *appender) Rollback() error {
	a.samples = nil
	return nil
}

type refusing struct{ storage.Appender }

func (refusing) Append(storage.SeriesRef, labels.Labels, int64, float64) (storage.SeriesRef, error) {
	return 0, errV1
}

func (refusing) Commit() error { return errV1 }

func (refusing) Rollback() error { return nil }
