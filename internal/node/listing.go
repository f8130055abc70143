package node

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/cluster"
	"github.com/count-db/count/engine"
	"github.com/count-db/count/promql"
)

var (
	_ promql.SeriesLister = (*localStore)(nil)
	_ promql.SeriesLister = (*shareStore)(nil)
	_ promql.SeriesLister = (*clusterStore)(nil)
)

// heldSet are the series of a selection that have samples in a range, without the
// samples.
type heldSet struct {
	ctx        context.Context // of the request that the set is for
	sel        *engine.Selection
	share      *cluster.Share // only its series; nil = all
	mint, maxt int64
	at         int
	warnings   promql.Warnings
	err        error
}

// heldLook is after how many series the set looks whether it is still wanted.
const heldLook = 256

// Next implements promql.SeriesSet.
func (s *heldSet) Next() bool {
	for s.err == nil {
		if s.at++; s.at >= s.sel.Len() {
			return false
		}
		if s.at%heldLook == 0 {
			if s.err = s.ctx.Err(); s.err != nil {
				return false
			}
		}
		if s.share != nil && !s.share.Has(s.sel.Ref(s.at), s.sel.Labels(s.at)) {
			continue
		}
		var held bool
		if held, s.err = s.sel.Holds(s.at, s.mint, s.maxt); held {
			return true
		}
	}
	return false
}

// At implements promql.SeriesSet.
func (s *heldSet) At() promql.Series { return localSeries{s.sel, s.at} }

// Err implements promql.SeriesSet.
func (s *heldSet) Err() error { return s.err }

// Warnings implements promql.SeriesSet.
func (s *heldSet) Warnings() promql.Warnings { return s.warnings }

// Close implements promql.SeriesSet.
func (s *heldSet) Close() { s.sel.Close() }

// ListSeries implements promql.SeriesLister.
func (s *localStore) ListSeries(ctx context.Context, mint, maxt int64, _ int, ms ...*labels.Matcher) (promql.SeriesSet, error) {
	return s.list(ctx, nil, mint, maxt, ms)
}

func (s *localStore) list(ctx context.Context, share *cluster.Share, mint, maxt int64, ms []*labels.Matcher) (promql.SeriesSet, error) {
	sel, err := s.db.Select(ctx, mint, maxt, ms...)
	if err != nil {
		return nil, fmt.Errorf("select series: %w", err)
	}
	return &heldSet{ctx: ctx, sel: sel, share: share, mint: mint, maxt: maxt, at: -1, warnings: s.lossIn(mint, maxt)}, nil
}

// ListSeries implements promql.SeriesLister.
func (s *shareStore) ListSeries(ctx context.Context, mint, maxt int64, _ int, ms ...*labels.Matcher) (promql.SeriesSet, error) {
	share := s.share
	if share.All() {
		share = nil
	}
	set, err := s.list(ctx, share, mint, maxt, ms)
	return s.unlessLost(set, err)
}

// ListSeries implements promql.SeriesLister: the series are found where queries are
// computed, and only what no owner can vouch for is read from several copies.
func (s *clusterStore) ListSeries(ctx context.Context, mint, maxt int64, limit int, ms ...*labels.Matcher) (promql.SeriesSet, error) {
	ctx = atLevel(ctx)
	if s.cluster.CopyIsComplete(ctx) {
		return s.local.ListSeries(ctx, mint, maxt, limit, ms...)
	}
	l := promql.Listing{MinT: mint, MaxT: maxt, Limit: limit, Matchers: ms}
	parts, err := cluster.Spread(ctx, s.cluster, s.listingJob(l))
	if errors.Is(err, cluster.ErrNotSpread) {
		return mergedStore{s, nil}.Select(ctx, mint, maxt, ms...)
	}
	if err != nil {
		return nil, fmt.Errorf("list the cluster's series: %w", err)
	}
	var all []labels.Labels
	var warnings promql.Warnings
	for _, p := range parts {
		all, warnings = append(all, p.series...), append(warnings, p.warnings...)
	}
	slices.SortFunc(all, labels.Compare)
	return promql.NewListedSet(all, warnings), nil
}

// listed is what one node found of a listing.
type listed struct {
	series   []labels.Labels
	warnings promql.Warnings
}

// listingJob is a listing as the cluster spreads it.
func (s *clusterStore) listingJob(l promql.Listing) cluster.Job[listed] {
	over := func(ctx context.Context, store promql.Store) (listed, error) {
		series, warnings, err := l.List(ctx, store)
		return listed{series, warnings}, err
	}
	return cluster.Job[listed]{
		Fragment: l.Append(nil),
		Here: func(ctx context.Context, share *cluster.Share) (listed, error) {
			found, err := over(ctx, &shareStore{s.local, share})
			return found, uselessUnless(err, endsQuery)
		},
		Merged: func(ctx context.Context, share *cluster.Share) (listed, error) {
			return over(ctx, readStore{mergedStore{s, share}})
		},
		Decode: func(answer []byte) (listed, error) {
			series, err := promql.DecodeListed(answer)
			return listed{series: series}, uselessUnless(err, func(err error) bool { return !errors.Is(err, promql.ErrAnswer) })
		},
	}
}

// uselessUnless marks an error as one that another owner may not have.
func uselessUnless(err error, final func(error) bool) error {
	if err == nil || final(err) {
		return err
	}
	return fmt.Errorf("%w: %w", cluster.ErrUseless, err)
}

// readStore hides how a store lists series: they are read.
type readStore struct{ promql.Store }
