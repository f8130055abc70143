package cluster

import (
	"context"
	"errors"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/cluster/transport"
	"github.com/count-db/count/internal/model"
)

// ErrUnknownSeries is wrapped by errors of Local.Append when a reference of the
// batch was forgotten: its labels must be interned again.
var ErrUnknownSeries = errors.New("series was forgotten")

// Storage is what writes and copies need of this node's storage. All methods
// are safe for concurrent use.
type Storage interface {
	// Intern returns the reference of a series, new or not.
	Intern(ls labels.Labels) (model.Ref, error)
	// Labels returns the labels of a reference, empty when it was forgotten.
	Labels(ref model.Ref) labels.Labels
	// Begin stores a stamped batch: what begins first comes first. It is durable
	// when wait, which may be called by any goroutine, has returned nil. A fresh
	// one that is not above the highest version seen of one of its series is
	// answered stale and not stored (V2). The batch belongs to the caller again.
	Begin(ctx context.Context, b *model.Batch, fresh bool) (reply transport.AppendReply, wait func() error, err error)
	// NewBulk returns a way in for what is copied from other nodes, which keeps its
	// versions.
	NewBulk() Bulk
	// Delete stores tombstones with their versions (V3), those that are there
	// already for nothing.
	Delete(ctx context.Context, ts ...model.Tombstone) error
	// RaiseVersions makes every series count as having seen the version (V2).
	RaiseVersions(v model.Version)
}

// Reader is what reads need of this node's storage.
type Reader interface {
	// Select returns the series that match and may have samples in [mint, maxt]
	// (ms, inclusive), sorted by labels. Read fills versions.
	Select(ctx context.Context, mint, maxt int64, ms ...*labels.Matcher) (Selection, error)
	// Tombstones returns the deletes that overlap [mint, maxt].
	Tombstones(mint, maxt int64) []model.Tombstone
	// Windows returns the windows (floor(t / 2 h)) that may hold samples,
	// ascending.
	Windows() []int64
	// LabelNames returns sorted names; limit 0 = all.
	LabelNames(ctx context.Context, mint, maxt int64, limit int, ms ...*labels.Matcher) ([]string, error)
	// LabelValues returns sorted values; limit 0 = all.
	LabelValues(ctx context.Context, name string, mint, maxt int64, limit int, ms ...*labels.Matcher) ([]string, error)
}

// Extras are the data beside samples.
type Extras interface {
	// Exemplars returns the exemplars of the series that match one of the sets.
	Exemplars(ctx context.Context, mint, maxt int64, sets ...[]*labels.Matcher) ([]ExemplarSeries, error)
	// Metadata returns the metadata of a family, of all when it is empty.
	Metadata(family string, limit int) []model.Metadata
}

// Loser is what refilling needs of this node's storage: what it has lost (C5).
type Loser interface {
	// Lost returns the range of time (ms, inclusive) in which samples are missing,
	// and the number of the loss; 0 when none are.
	Lost() (number uint64, mint, maxt int64)
	// Refilled says that what was lost up to a number is here again as far as others
	// have it; complete: all of it.
	Refilled(number uint64, complete bool) error
}

// Local is this node's storage.
type Local interface {
	Storage
	Reader
	Extras
	Shedder
	Settler
	Loser
}

// Selection is a set of series over one snapshot of the storage.
type Selection interface {
	Len() int
	Labels(i int) labels.Labels
	// Read resets dst and fills it; safe concurrently with distinct dst.
	Read(i int, mint, maxt int64, dst *model.Columns) error
	Close()
}

// ExemplarSeries are the exemplars of one series, ascending by timestamp.
type ExemplarSeries struct {
	Labels    labels.Labels
	Exemplars []model.Exemplar // Ref is not filled
}

// Clock gives versions (V1). Safe for concurrent use.
type Clock interface {
	// Now returns a version above every one given out or met.
	Now() model.Version
	// Observe moves the clock past a version that came from elsewhere.
	Observe(v model.Version)
}
