package differential

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"

	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/promql/memstore"
)

// sample is what one (series, timestamp) holds: nothing where gone.
type sample struct {
	v    float64
	h    *histogram.Histogram
	fh   *histogram.FloatHistogram
	gone bool
}

func (s sample) isFloat() bool { return !s.gone && s.h == nil && s.fh == nil }

func (s sample) isStale() bool { return s.isFloat() && value.IsStaleNaN(s.v) }

// equals compares bit for bit; the hint of a counter reset is derived.
func (s sample) equals(o sample) bool {
	switch {
	case s.gone || o.gone:
		return s.gone == o.gone
	case s.h != nil && o.h != nil:
		a, b := s.h.Copy(), o.h.Copy()
		a.CounterResetHint, b.CounterResetHint = 0, 0
		return a.Compact(0).Equals(b.Compact(0))
	case s.fh != nil && o.fh != nil:
		a, b := s.fh.Copy(), o.fh.Copy()
		a.CounterResetHint, b.CounterResetHint = 0, 0
		return a.Compact(0).Equals(b.Compact(0))
	}
	return s.isFloat() && o.isFloat() && math.Float64bits(s.v) == math.Float64bits(o.v)
}

func (s sample) String() string {
	switch {
	case s.gone:
		return "nothing"
	case s.h != nil:
		return "histogram " + s.h.String()
	case s.fh != nil:
		return "float histogram " + s.fh.String()
	}
	return fmt.Sprintf("%v (%x)", s.v, math.Float64bits(s.v))
}

// series is one series of the map.
type series struct {
	labels labels.Labels
	at     map[int64]sample
	// doubt holds what a request that was never answered wanted.
	doubt map[int64]sample
}

// times returns the timestamps that hold something, ascending.
func (s *series) times() []int64 { return slices.Sorted(maps.Keys(s.at)) }

// truth is what the node must answer.
type truth struct {
	series map[string]*series
}

func newTruth() *truth { return &truth{series: map[string]*series{}} }

func (w *truth) keys() []string { return slices.Sorted(maps.Keys(w.series)) }

func (w *truth) of(ls labels.Labels) *series {
	key := model.SeriesKey(ls)
	s := w.series[key]
	if s == nil {
		s = &series{labels: ls, at: map[int64]sample{}, doubt: map[int64]sample{}}
		w.series[key] = s
	}
	return s
}

// change is one sample that a request writes or deletes.
type change struct {
	labels labels.Labels
	t      int64
	to     sample
}

// apply does what was acknowledged.
func (w *truth) apply(changes []change) {
	for _, c := range changes {
		s := w.of(c.labels)
		if c.to.gone {
			delete(s.at, c.t)
		} else {
			s.at[c.t] = c.to
		}
	}
}

// suspect notes what was never answered.
func (w *truth) suspect(changes []change) {
	for _, c := range changes {
		w.of(c.labels).doubt[c.t] = c.to
	}
}

// settle decides the doubts about a series by what was seen of it, and returns
// the first difference that no doubt explains.
func (w *truth) settle(key string, got map[int64]sample) error {
	s := w.series[key]
	if s == nil {
		return fmt.Errorf("series %s with %d samples was never written", key, len(got))
	}
	for t, d := range s.doubt {
		seen, ok := got[t]
		if !ok {
			seen = sample{gone: true}
		}
		if seen.equals(d) {
			w.apply([]change{{s.labels, t, d}})
		}
	}
	clear(s.doubt)
	for t, want := range s.at {
		seen, ok := got[t]
		if !ok {
			return fmt.Errorf("%s at %d: nothing, want %v", key, t, want)
		}
		if !seen.equals(want) {
			return fmt.Errorf("%s at %d: %v, want %v", key, t, seen, want)
		}
	}
	for t, seen := range got {
		if _, ok := s.at[t]; !ok {
			return fmt.Errorf("%s at %d: %v, want nothing", key, t, seen)
		}
	}
	return nil
}

// store returns the map as a store for PromQL.
func (w *truth) store() *memstore.Store {
	m := memstore.New()
	for _, s := range w.series {
		var ts []int64
		var vs []float64
		for _, t := range s.times() {
			if p := s.at[t]; p.isFloat() {
				ts, vs = append(ts, t), append(vs, p.v)
			}
		}
		if len(s.at) == 0 {
			continue
		}
		m.SetColumns(s.labels, ts, vs)
		for t, p := range s.at {
			if !p.isFloat() {
				m.AppendHistogram(s.labels, 0, t, p.h, p.fh)
			}
		}
	}
	return m
}
