package promql

import (
	"context"

	"github.com/count-db/count/promql/store"
)

// The interfaces to the storage below, by their public names. They live in a
// sub-package because the other sub-packages use them and none imports its
// parent.
type (
	// Store is the data that queries run on.
	Store = store.Store
	// SeriesLookup is a store that can look one series up.
	SeriesLookup = store.SeriesLookup
	// SeriesLister is a store that finds series without their samples.
	SeriesLister = store.SeriesLister
	// SeriesSet walks the series of a Select.
	SeriesSet = store.SeriesSet
	// Series is one series of a set.
	Series = store.Series
	// Selection is a set with random access.
	Selection = store.Selection
	// Condenser is a selection that can describe runs of samples.
	Condenser = store.Condenser
	// Tracked is a selection whose storage remembers when it changed.
	Tracked = store.Tracked
	// ExemplarSeries are the exemplars of one series.
	ExemplarSeries = store.ExemplarSeries
	// Warnings are texts about an answer that may be incomplete.
	Warnings = store.Warnings
	// Consistency says how many copies a read asks for.
	Consistency = store.Consistency
)

// The levels of consistency.
const (
	Quorum = store.Quorum
	One    = store.One
	All    = store.All
)

// WithoutCache makes the queries under the context compute everything.
func WithoutCache(ctx context.Context) context.Context { return store.WithoutCache(ctx) }

// ParseConsistency reads the value of the consistency parameter.
func ParseConsistency(s string) (Consistency, error) { return store.ParseConsistency(s) }

// WithConsistency sets the level for all reads under the context.
func WithConsistency(ctx context.Context, c Consistency) context.Context {
	return store.WithConsistency(ctx, c)
}

// ConsistencyFrom returns the level that the reads under the context ask for.
func ConsistencyFrom(ctx context.Context) Consistency { return store.ConsistencyFrom(ctx) }
