package promql_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/storage"

	"github.com/count-db/count/promql"
	"github.com/count-db/count/promql/memstore"
	"github.com/count-db/count/promql/partial"
	"github.com/count-db/count/promql/plan"
	"github.com/count-db/count/promql/promtest"
	"github.com/count-db/count/promql/store"
)

// spread is a store whose parts are computed by three nodes, each of which has
// every third series, and come back over the wire.
type spread struct {
	*memstore.Store
	engine *promql.Engine
	runs   *atomic.Int64
}

var _ promql.PartialRunner = spread{}

func (s spread) RunPartial(ctx context.Context, f promql.Fragment, p plan.Part) (*partial.Result, promql.Warnings, error) {
	s.runs.Add(1)
	f, err := promql.DecodeFragment(f.Append(nil))
	if err != nil {
		return nil, nil, err
	}
	var all *partial.Result
	var warnings promql.Warnings
	for node := range uint64(3) {
		r, ws, err := s.engine.RunFragment(ctx, third{s.Store, node}, f)
		if err != nil {
			return nil, ws, err
		}
		warnings = append(warnings, ws...)
		if r, err = partial.Decode(p.Program, p.Grid, r.Append(nil, f.Query)); err != nil {
			return nil, nil, err
		}
		if all == nil {
			all = r
		} else {
			all.Merge(r)
		}
	}
	return all, warnings, nil
}

// third shows the series of one node.
type third struct {
	*memstore.Store
	node uint64
}

func (s third) Select(ctx context.Context, mint, maxt int64, ms ...*labels.Matcher) (promql.SeriesSet, error) {
	set, err := s.Store.Select(ctx, mint, maxt, ms...)
	if err != nil {
		return nil, err
	}
	return &thirdSet{SeriesSet: set, node: s.node}, nil
}

type thirdSet struct {
	store.SeriesSet
	node uint64
}

func (s *thirdSet) Next() bool {
	for s.SeriesSet.Next() {
		if labels.StableHash(s.At().Labels())%3 == s.node {
			return true
		}
	}
	return false
}

// TestPrometheusScriptsOnThreeNodes runs Prometheus's scripts with every part of a
// query computed on three nodes.
func TestPrometheusScriptsOnThreeNodes(t *testing.T) {
	e := newEngine(t, promql.Options{
		Timeout: 100 * time.Second, MaxSamples: promqltest.DefaultMaxSamplesPerQuery,
		DelayedNameRemoval: true, UseStartTimestamps: true,
	})
	var runs atomic.Int64
	promqltest.RunBuiltinTestsWithStorage(t, e, func(testing.TB) storage.Storage {
		m := memstore.New()
		return promtest.NewStorage(spread{m, e, &runs}, promtest.AppendTo(m), nil)
	})
	if runs.Load() < 100 {
		t.Errorf("only %d parts were computed apart", runs.Load())
	}
}

func TestFragmentsOfOtherTreesAreRefused(t *testing.T) {
	e := newEngine(t, promql.Options{})
	for _, f := range []promql.Fragment{
		{Query: "sum(x", Node: 0},
		{Query: "sum(x)", Node: 1},
		{Query: "sort(x)", Node: 0},
		{Query: "sum(x)", Node: 0, Start: 0, End: 1 << 50, Step: 1},
		{Query: "sum(x)", Node: 0, Start: 10, End: 1, Step: 1},
	} {
		if _, err := e.Part(f); err == nil {
			t.Errorf("%+v was taken", f)
		}
	}
	if _, err := e.Part(promql.Fragment{Query: "1 + sum(x)", Node: 2, Start: 0, End: 10, Step: 1}); err != nil {
		t.Error(err)
	}
}
