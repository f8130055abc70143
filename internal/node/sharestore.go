package node

import (
	"context"
	"errors"
	"fmt"

	"github.com/cespare/xxhash/v2"
	"github.com/prometheus/prometheus/model/labels"
	prompromql "github.com/prometheus/prometheus/promql"

	"github.com/count-db/count/cluster"
	"github.com/count-db/count/engine"
	"github.com/count-db/count/internal/headroom"
	"github.com/count-db/count/promql"
	"github.com/count-db/count/promql/partial"
	"github.com/count-db/count/promql/plan"
)

var _ promql.PartialRunner = (*clusterStore)(nil)

// computed is what one node computed of a part of a query.
type computed struct {
	result   *partial.Result
	warnings promql.Warnings
}

// RunPartial implements promql.PartialRunner: by this node's own copy where that
// is complete, else by the owners, each for a part of the series, and where
// neither can be, over several copies.
func (s *clusterStore) RunPartial(ctx context.Context, f promql.Fragment, p plan.Part) (*partial.Result, promql.Warnings, error) {
	ctx = atLevel(ctx)
	if s.cluster.CopyIsComplete(ctx) {
		return s.cache.RunPart(ctx, s.local, p, f.MaxSamples)
	}
	parts, err := cluster.Spread(ctx, s.cluster, s.job(f, p))
	if errors.Is(err, cluster.ErrNotSpread) {
		return s.cache.RunPart(ctx, mergedStore{s, nil}, p, f.MaxSamples)
	}
	if err != nil {
		return nil, nil, err
	}
	results := make([]*partial.Result, 0, len(parts))
	var warnings promql.Warnings
	for _, c := range parts {
		results = append(results, c.result)
		warnings = append(warnings, c.warnings...)
	}
	result, err := promql.JoinParts(f.Query, f.MaxSamples, results)
	return result, warnings, err
}

// job is a part of a query as the cluster spreads it.
func (s *clusterStore) job(f promql.Fragment, p plan.Part) cluster.Job[computed] {
	points := int64(0) // of all nodes, as they come: the limit is that of the query
	over := func(ctx context.Context, store promql.Store) (computed, error) {
		result, warnings, err := s.cache.RunPart(ctx, store, p, f.MaxSamples)
		return computed{result, warnings}, err
	}
	return cluster.Job[computed]{
		Take: func(c computed) error {
			if points += c.result.Points; points > f.MaxSamples && f.MaxSamples > 0 {
				return prompromql.ErrTooManySamples("query execution")
			}
			return nil
		},
		Fragment: f.Append(nil), Turn: turnOf(f),
		Here: func(ctx context.Context, share *cluster.Share) (computed, error) {
			c, err := over(ctx, &shareStore{s.local, share})
			return c, uselessUnless(err, endsQuery)
		},
		Merged: func(ctx context.Context, share *cluster.Share) (computed, error) {
			return over(ctx, mergedStore{s, share})
		},
		Decode: func(answer []byte) (computed, error) {
			result, err := promql.DecodeAnswer(p, answer)
			return computed{result: result}, uselessUnless(err, func(err error) bool { return !errors.Is(err, promql.ErrAnswer) })
		},
	}
}

// turnOf is the same for a panel of a dashboard however its time moves.
func turnOf(f promql.Fragment) uint64 {
	return xxhash.Sum64String(f.Query) + uint64(f.Node)
}

// endsQuery says whether a part of a query fails with the error wherever it is
// computed.
func endsQuery(err error) bool {
	var tooMany prompromql.ErrTooManySamples
	return errors.Is(err, partial.ErrFallback) || errors.As(err, &tooMany) ||
		errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// serveFragments has this node compute parts of other nodes' queries. Those that
// its memory is too short for end their queries, because what the asking node would
// do instead, reading the samples from here and there, takes more.
func serveFragments(c *cluster.Cluster, db *engine.DB, e *promql.Engine, guard *headroom.Guard) {
	local := &localStore{db: db}
	c.ServeFragments(func(ctx context.Context, share *cluster.Share, fragment []byte) ([]byte, error) {
		ctx, leave := guard.Enter(ctx)
		defer leave()
		answer, err := e.AnswerFragment(ctx, &shareStore{local, share}, fragment)
		if err != nil && headroom.Short(ctx) {
			if ended, ok := promql.GivenUp(fragment, "expression evaluation on a node that is short of it"); ok {
				return ended, nil
			}
		}
		return answer, err
	})
}

// mergedStore shows the series of a share, all when it is nil, read from several
// copies.
type mergedStore struct {
	*clusterStore
	share *cluster.Share
}

// Select implements promql.Store.
func (s mergedStore) Select(ctx context.Context, mint, maxt int64, ms ...*labels.Matcher) (promql.SeriesSet, error) {
	var set *cluster.Set
	var err error
	if s.share == nil {
		set, err = s.cluster.Select(ctx, mint, maxt, ms...)
	} else {
		set, err = s.cluster.SelectShare(ctx, s.share, mint, maxt, ms...)
	}
	if err != nil {
		return nil, fmt.Errorf("ask the cluster for series: %w", err)
	}
	return clusterSet{set}, nil
}

// shareStore shows the series of a share that this node's own storage holds.
type shareStore struct {
	*localStore
	share *cluster.Share
}

// Select implements promql.Store.
func (s *shareStore) Select(ctx context.Context, mint, maxt int64, ms ...*labels.Matcher) (promql.SeriesSet, error) {
	set, err := s.unlessLost(s.localStore.Select(ctx, mint, maxt, ms...))
	if err != nil || s.share.All() {
		return set, err
	}
	local, ok := set.(*localSet)
	if !ok {
		return nil, fmt.Errorf("a selection of kind %T", set)
	}
	return newShareSet(local.Selection, s.share), nil
}

// errLost refuses what this node cannot compute: its result has no place for the
// warning.
var errLost = errors.New("this node has lost samples of the range")

// unlessLost refuses a set whose samples are lost in part: another owner may have
// them, and where none has, the set that is merged says so.
func (s *shareStore) unlessLost(set promql.SeriesSet, err error) (promql.SeriesSet, error) {
	if err != nil || len(set.Warnings()) == 0 {
		return set, err
	}
	set.Close()
	return nil, errLost
}
