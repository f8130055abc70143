package prom

import (
	"context"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/count-db/count/internal/noted"
	"github.com/count-db/count/promql/store"
)

// seriesSet shows a store's set as storage.SeriesSet.
type seriesSet struct {
	ctx        context.Context // the set lives as long as one request
	set        store.SeriesSet
	mint, maxt int64
	hints      *storage.SelectHints
	dropST     bool // hide start timestamps
	returned   int
	ended      error // the request has ended
	// warned is handed out before it is complete: Prometheus's handler of
	// /api/v1/series asks for it before it asks for the first series.
	warned annotations.Annotations
}

func (s *seriesSet) Next() bool {
	if s.next() {
		return true
	}
	s.warn()
	return false
}

func (s *seriesSet) next() bool {
	for {
		if s.hints != nil && s.hints.Limit > 0 && s.returned >= s.hints.Limit {
			return false
		}
		// Not all that read us look at the context, and series by series they gather
		// what has no other bound.
		if s.ended = s.ctx.Err(); s.ended != nil || !s.set.Next() {
			return false
		}
		if s.hints != nil && s.hints.ShardCount > 0 &&
			labels.StableHash(s.set.At().Labels())%s.hints.ShardCount != s.hints.ShardIndex {
			continue
		}
		s.returned++
		return true
	}
}

func (s *seriesSet) At() storage.Series {
	return &series{series: s.set.At(), mint: s.mint, maxt: s.maxt, dropST: s.dropST}
}

func (s *seriesSet) Err() error {
	err := s.set.Err()
	if err == nil {
		err = s.ended
	}
	noted.Fail(s.ctx, err) // not all that read us keep what it wraps
	return err
}

func (s *seriesSet) Warnings() annotations.Annotations {
	s.warn()
	return s.warned
}

// warn takes over what is known of warnings by now.
func (s *seriesSet) warn() {
	warnings := s.set.Warnings()
	noted.Add(s.ctx, warnings)
	s.warned.Merge(Annotations(warnings))
}

// series shows one series of a store as storage.Series.
type series struct {
	series     store.Series
	mint, maxt int64
	dropST     bool
}

func (s *series) Labels() labels.Labels { return s.series.Labels() }

// Iterator reuses the memory of it if it is one of ours.
func (s *series) Iterator(it chunkenc.Iterator) chunkenc.Iterator {
	i, ok := it.(*iterator)
	if !ok {
		i = &iterator{}
	}
	i.reset(s)
	return i
}
