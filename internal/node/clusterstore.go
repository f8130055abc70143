package node

import (
	"context"
	"fmt"
	"sort"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/cluster"
	"github.com/count-db/count/cluster/quorum"
	"github.com/count-db/count/engine"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/noted"
	"github.com/count-db/count/promql"
)

// clusterStore shows the whole cluster's data to the queries: by this node's own
// copy where that is provably complete (C7), which costs one small round, and by
// merging several copies where it is not.
type clusterStore struct {
	cluster *cluster.Cluster
	local   *localStore
	cache   *promql.Cache // nil: none
}

var _ promql.Store = (*clusterStore)(nil)

// atLevel says to the cluster what the request says of consistency.
func atLevel(ctx context.Context) context.Context {
	switch promql.ConsistencyFrom(ctx) {
	case promql.One:
		return quorum.WithLevel(ctx, quorum.One)
	case promql.All:
		return quorum.WithLevel(ctx, quorum.All)
	}
	return ctx
}

// Select implements promql.Store.
func (s *clusterStore) Select(ctx context.Context, mint, maxt int64, ms ...*labels.Matcher) (promql.SeriesSet, error) {
	if s.cluster.CopyIsComplete(atLevel(ctx)) {
		return s.local.Select(ctx, mint, maxt, ms...)
	}
	set, err := s.cluster.Select(atLevel(ctx), mint, maxt, ms...)
	if err != nil {
		return nil, fmt.Errorf("ask the cluster for series: %w", err)
	}
	return clusterSet{set}, nil
}

// deletes returns the deletes that overlap [mint, maxt], as a read of this range
// meets them; complete says whether they are all there are.
func (s *clusterStore) deletes(ctx context.Context, mint, maxt int64) (all []model.Tombstone, complete bool, err error) {
	if s.cluster.CopyIsComplete(ctx) {
		return s.local.db.Tombstones(mint, maxt), true, nil
	}
	// No series matches: the nodes answer with their deletes alone.
	set, err := s.cluster.Select(ctx, mint, maxt, &labels.Matcher{Type: labels.MatchEqual, Name: labels.MetricName, Value: ""},
		&labels.Matcher{Type: labels.MatchNotEqual, Name: labels.MetricName, Value: ""})
	if err != nil {
		return nil, false, fmt.Errorf("ask the cluster for deletes: %w", err)
	}
	defer set.Close()
	for set.Next() { // there is none
	}
	return set.Tombstones(), noted.OnlyGone(set.Warnings()), set.Err()
}

// SelectSeries implements promql's store.SeriesLookup: only the nodes that hold
// the series matter, and this one may be enough.
func (s *clusterStore) SelectSeries(ctx context.Context, mint, maxt int64, ls labels.Labels) (promql.SeriesSet, error) {
	if s.cluster.SeriesIsComplete(atLevel(ctx), ls) {
		var ms []*labels.Matcher
		ls.Range(func(l labels.Label) {
			ms = append(ms, &labels.Matcher{Type: labels.MatchEqual, Name: l.Name, Value: l.Value})
		})
		set, err := s.local.Select(ctx, mint, maxt, ms...)
		if err != nil {
			return nil, err
		}
		return newExactSet(set, ls), nil
	}
	set, err := s.cluster.SelectSeries(atLevel(ctx), mint, maxt, ls)
	if err != nil {
		return nil, fmt.Errorf("ask the cluster for a series: %w", err)
	}
	return clusterSet{set}, nil
}

// exactSet has the one series of a set that has these labels and no others.
type exactSet struct {
	promql.SeriesSet
	labels labels.Labels
}

// newExactSet goes straight to the series where the set has random access: the
// others may be many.
func newExactSet(set promql.SeriesSet, ls labels.Labels) promql.SeriesSet {
	local, ok := set.(*localSet)
	if !ok {
		return &exactSet{SeriesSet: set, labels: ls}
	}
	i := sort.Search(local.Len(), func(i int) bool { return labels.Compare(local.Labels(i), ls) >= 0 })
	local.at = i - 1
	return &exactSet{SeriesSet: set, labels: ls}
}

// Next implements promql.SeriesSet.
func (s *exactSet) Next() bool {
	for s.SeriesSet.Next() {
		switch order := labels.Compare(s.At().Labels(), s.labels); {
		case order == 0:
			return true
		case order > 0:
			return false
		}
	}
	return false
}

// LabelNames implements promql.Store.
func (s *clusterStore) LabelNames(ctx context.Context, mint, maxt int64, limit int, ms ...*labels.Matcher) ([]string, promql.Warnings, error) {
	if s.cluster.CopyIsComplete(atLevel(ctx)) {
		return s.local.LabelNames(ctx, mint, maxt, limit, ms...)
	}
	names, warnings, err := s.cluster.LabelNames(atLevel(ctx), mint, maxt, limit, ms...)
	if err != nil {
		return nil, nil, fmt.Errorf("ask the cluster for label names: %w", err)
	}
	return names, warnings, nil
}

// LabelValues implements promql.Store.
func (s *clusterStore) LabelValues(ctx context.Context, name string, mint, maxt int64, limit int, ms ...*labels.Matcher) ([]string, promql.Warnings, error) {
	if s.cluster.CopyIsComplete(atLevel(ctx)) {
		return s.local.LabelValues(ctx, name, mint, maxt, limit, ms...)
	}
	values, warnings, err := s.cluster.LabelValues(atLevel(ctx), name, mint, maxt, limit, ms...)
	if err != nil {
		return nil, nil, fmt.Errorf("ask the cluster for values of label %s: %w", name, err)
	}
	return values, warnings, nil
}

// Exemplars implements promql.Store.
func (s *clusterStore) Exemplars(ctx context.Context, mint, maxt int64, sets ...[]*labels.Matcher) ([]promql.ExemplarSeries, promql.Warnings, error) {
	if s.cluster.CopyIsComplete(atLevel(ctx)) {
		return s.local.Exemplars(ctx, mint, maxt, sets...)
	}
	found, warnings, err := s.cluster.Exemplars(atLevel(ctx), mint, maxt, sets...)
	if err != nil {
		return nil, nil, fmt.Errorf("ask the cluster for exemplars: %w", err)
	}
	out := make([]promql.ExemplarSeries, 0, len(found))
	for _, f := range found {
		out = append(out, promql.ExemplarSeries(f))
	}
	return out, warnings, nil
}

// clusterSet is an answer of the cluster as a set of series.
type clusterSet struct{ *cluster.Set }

// At implements promql.SeriesSet.
func (s clusterSet) At() promql.Series { return s.Set.At() }

// Warnings implements promql.SeriesSet.
func (s clusterSet) Warnings() promql.Warnings { return s.Set.Warnings() }

// clusterAdmin are the administrative operations on a cluster: deletes are the
// cluster's, all else is this node's.
type clusterAdmin struct {
	localAdmin
	cluster *cluster.Cluster
}

// Delete implements apiv1.Admin.
func (a *clusterAdmin) Delete(ctx context.Context, mint, maxt int64, ms ...*labels.Matcher) error {
	return a.cluster.Delete(ctx, model.Tombstone{MinT: mint, MaxT: maxt, Matchers: ms})
}

// Metadata implements apiv1.MetadataReader. Its answer has no place for
// warnings: they are noted.
func (a *clusterAdmin) Metadata(ctx context.Context, family string, limit int) ([]model.Metadata, error) {
	all, warnings, err := a.cluster.Metadata(atLevel(ctx), family, limit)
	if err != nil {
		return nil, fmt.Errorf("ask the cluster for metadata: %w", err)
	}
	noted.Add(ctx, warnings)
	return all, nil
}

// ClusterStore returns the whole cluster's data, by the node whose storage db
// is, and has that node compute parts of the others' queries by the engine: for
// tests that put nodes together by themselves.
func ClusterStore(c *cluster.Cluster, db *engine.DB, e *promql.Engine) promql.Store {
	serveFragments(c, db, e, nil)
	return &clusterStore{cluster: c, local: &localStore{db: db}, cache: e.Cache()}
}
