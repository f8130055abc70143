// Package store declares what the query side needs of the storage below it.
// It is the lowest package of promql, so that the adapter, the REST queries and
// the reduced evaluator share one set of interfaces; package promql gives them
// their public names. The local engine and the cluster implement them.
package store

import (
	"context"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/internal/model"
)

// Warnings are texts for the user about an answer that may be incomplete or
// stale. They travel beside the answer and are no errors.
type Warnings []string

// Store is the data that queries run on. All methods are safe for concurrent
// use. Times are ms since the epoch and both bounds are inclusive. An error
// that says that too few copies answered must come out of Select's set (Err) or
// the call itself and is kept in the chain of what the query returns.
type Store interface {
	// Select returns the series that match and have samples in [mint, maxt].
	// Series that may have none are allowed: they read empty. It returns at once;
	// fetching goes on in the background or on the first Next, so that a query
	// with several selectors waits for the slowest and not for the sum. The
	// set must be closed, and the context held until then: cancelling it ends
	// the set with an error.
	//
	// Read options that concern all of a request come by the context:
	// see ConsistencyFrom.
	Select(ctx context.Context, mint, maxt int64, ms ...*labels.Matcher) (SeriesSet, error)
	// LabelNames returns the sorted names of labels of the matched series that
	// have samples in the range (a store may widen the range to whole windows).
	// limit 0 = no limit.
	LabelNames(ctx context.Context, mint, maxt int64, limit int, ms ...*labels.Matcher) ([]string, Warnings, error)
	// LabelValues returns the sorted values of one label, else as LabelNames.
	LabelValues(ctx context.Context, name string, mint, maxt int64, limit int, ms ...*labels.Matcher) ([]string, Warnings, error)
	// Exemplars returns, sorted by labels, the exemplars of the series that
	// match any one of the sets of matchers.
	Exemplars(ctx context.Context, mint, maxt int64, sets ...[]*labels.Matcher) ([]ExemplarSeries, Warnings, error)
}

// SeriesLookup may be implemented by a Store that can look one series up by all
// of its labels, cheaper than a Select that matches others too: the set has that
// series alone, or none.
type SeriesLookup interface {
	SelectSeries(ctx context.Context, mint, maxt int64, ls labels.Labels) (SeriesSet, error)
}

// SeriesLister may be implemented by a Store that finds the series which have
// samples in a range without handing the samples out: the set has exactly those,
// and nothing reads them. limit 0 = no limit; with one the first series by labels
// are enough.
type SeriesLister interface {
	ListSeries(ctx context.Context, mint, maxt int64, limit int, ms ...*labels.Matcher) (SeriesSet, error)
}

// SeriesSet walks the series of a Select in the order of labels.Compare, each
// label set once. It belongs to one goroutine; the series it hands out do not.
//
// A set that can answer in any order should also implement Selection: then a
// query evaluates its series on several cores.
type SeriesSet interface {
	// Next moves to the next series. It may block. False: the end, or an
	// error.
	Next() bool
	// At returns the current series, which stays valid until Close.
	At() Series
	// Err is what ended the set, nil at its end.
	Err() error
	// Warnings are complete when Next has returned false or the set is a
	// Selection.
	Warnings() Warnings
	// Close releases what the set holds (a snapshot, connections). No series of
	// the set is used after it. It may be called at any time and more than once.
	Close()
}

// HintLookback, ms, is how far before the mint of a Select readers may look for
// the histogram before the first one: it tells whether that one is a counter
// reset. There a store may return less than it has, or nothing, where more would
// cost a round trip.
const HintLookback = int64(5 * 60 * 1000)

// Series is one series of a set.
type Series interface {
	Labels() labels.Labels
	// Read fills dst (after dst.Reset) with the samples in [mint, maxt], merged,
	// without deleted ones. It may be called repeatedly, with any ranges within
	// that of the Select (and HintLookback before it), and at the same time with
	// other dst. Histograms in dst are shared and stay valid and unchanged: the
	// reader may keep them and must not change them.
	Read(mint, maxt int64, dst *model.Columns) error
}

// Selection is random access to the series of a Select. Index i runs from 0 to
// Len()-1 in the order of the labels. All methods are safe for concurrent use
// (Read with distinct dst) until Close.
type Selection interface {
	Len() int
	Labels(i int) labels.Labels
	Read(i int, mint, maxt int64, dst *model.Columns) error
}

// Condenser may be implemented by a Selection whose storage can describe whole runs
// of samples without reading them. False: not those of this series, Read must be
// asked; dst means nothing then.
type Condenser interface {
	Condense(i int, mint, maxt int64, how model.Condense, dst *model.Condensed) (bool, error)
}

// SeriesCondenser is the same for a Series.
type SeriesCondenser interface {
	Condense(mint, maxt int64, how model.Condense, dst *model.Condensed) (bool, error)
}

// Tracked may be implemented by a Selection whose storage remembers when it changed:
// what was computed from it may be kept and used while the storage shows the same.
type Tracked interface {
	Selection
	// Mark names the state of the storage that the selection reads: every change
	// that the mark includes is in what Read returns.
	Mark() uint64
	// ChangedFrom returns the first time in [mint, maxt] from which on the storage
	// may now show something else than at an earlier mark, above maxt where it shows
	// the same.
	ChangedFrom(mark uint64, mint, maxt int64) int64
	// Scope names which of the storage's series the selection picks from; "" = all.
	// Selections of one storage with the same scope and matchers differ by what was
	// changed alone.
	Scope() string
}

// ExemplarSeries are the exemplars of one series, ascending by timestamp.
type ExemplarSeries struct {
	Labels    labels.Labels
	Exemplars []model.Exemplar // Ref is not filled
}
