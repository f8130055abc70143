package promql

import (
	"context"
	"errors"
	"fmt"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/wire"
	"github.com/count-db/count/promql/partial"
	"github.com/count-db/count/promql/store"
)

// listingVersion is what a Listing and its answer have in the place of
// fragmentVersion.
const listingVersion = 2

// Listing asks a data node for the series that match and have samples in a range:
// their labels alone travel. It goes the way of a Fragment.
type Listing struct {
	MinT, MaxT int64 // ms, inclusive
	Limit      int   // of each node: the first by labels; 0 = all
	Matchers   []*labels.Matcher
}

// Append appends the form on the wire.
func (l *Listing) Append(dst []byte) []byte {
	start := len(dst)
	dst = append(wire.BeginFrame(dst), listingVersion)
	dst = wire.AppendVarint(wire.AppendVarint(dst, l.MinT), l.MaxT)
	dst = wire.AppendUvarint(dst, uint64(max(l.Limit, 0)))
	dst = wire.AppendUvarint(dst, uint64(len(l.Matchers)))
	for _, m := range l.Matchers {
		dst = wire.AppendString(wire.AppendString(append(dst, byte(m.Type)), m.Name), m.Value)
	}
	return wire.EndFrame(dst, start, 0)
}

// isListing says whether a fragment is a Listing, of any version.
func isListing(fragment []byte) bool {
	return len(fragment) > wire.FrameOverhead && fragment[wire.FrameOverhead] == listingVersion
}

// DecodeListing reads a Listing from the wire. Errors wrap wire.ErrCorrupt or
// ErrFragmentForm.
func DecodeListing(data []byte) (Listing, error) {
	outer := wire.NewDecoder(data)
	d := wire.NewDecoder(outer.Frame(0))
	if err := outer.Err(); err != nil {
		return Listing{}, fmt.Errorf("listing: %w", err)
	}
	if v := d.Byte(); v != listingVersion {
		return Listing{}, fmt.Errorf("%w: version %d", ErrFragmentForm, v)
	}
	l := Listing{MinT: d.Varint(), MaxT: d.Varint(), Limit: int(d.Uint32Varint())}
	for range d.Count(3) {
		kind, name, value := labels.MatchType(d.Byte()), d.String(), d.String()
		if kind > labels.MatchNotRegexp {
			d.Fail("matcher of type %d", kind)
		}
		if d.Err() != nil {
			break
		}
		m, err := labels.NewMatcher(kind, name, value)
		if err != nil {
			d.Fail("matcher of %s: %v", name, err)
			break
		}
		l.Matchers = append(l.Matchers, m)
	}
	if d.Err() == nil && d.Len()+outer.Len() > 0 {
		d.Fail("%d bytes behind a listing", d.Len()+outer.Len())
	}
	if err := d.Err(); err != nil {
		return Listing{}, fmt.Errorf("listing: %w", err)
	}
	return l, nil
}

// answerListing finds the series of a Listing that came over the wire.
func answerListing(ctx context.Context, s Store, fragment []byte) ([]byte, error) {
	l, err := DecodeListing(fragment)
	if err != nil {
		return nil, err
	}
	series, _, err := l.List(ctx, s)
	if err != nil {
		return nil, err
	}
	dst := wire.AppendUvarint([]byte{listingVersion}, uint64(len(series)))
	for _, ls := range series {
		dst = partial.AppendLabels(dst, ls)
	}
	return dst, nil
}

// DecodeListed reads what a node answered to a Listing: label sets in their order.
func DecodeListed(answer []byte) ([]labels.Labels, error) {
	if len(answer) == 0 || answer[0] != listingVersion {
		return nil, fmt.Errorf("%w: %w", ErrAnswer, ErrFragmentForm)
	}
	d := wire.NewDecoder(answer[1:])
	all := make([]labels.Labels, 0, d.Count(1))
	for range cap(all) {
		all = append(all, partial.DecodeLabels(&d))
	}
	if d.Err() == nil && d.Len() > 0 {
		d.Fail("%d bytes behind the series", d.Len())
	}
	if err := d.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	return all, nil
}

// List finds the series in a store: by its ListSeries, or by reading.
func (l *Listing) List(ctx context.Context, s Store) ([]labels.Labels, Warnings, error) {
	lister, ok := s.(store.SeriesLister)
	var set SeriesSet
	var err error
	if ok {
		set, err = lister.ListSeries(ctx, l.MinT, l.MaxT, l.Limit, l.Matchers...)
	} else {
		set, err = s.Select(ctx, l.MinT, l.MaxT, l.Matchers...)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("list series: %w", err)
	}
	defer set.Close()
	var all []labels.Labels
	var cols model.Columns
	for (l.Limit <= 0 || len(all) < l.Limit) && set.Next() {
		if !ok {
			if err := set.At().Read(l.MinT, l.MaxT, &cols); err != nil {
				return nil, nil, fmt.Errorf("list series: %w", err)
			}
			if cols.Len() == 0 {
				continue
			}
		}
		all = append(all, set.At().Labels())
	}
	if err := errors.Join(set.Err(), ctx.Err()); err != nil {
		return nil, nil, fmt.Errorf("list series: %w", err)
	}
	return all, set.Warnings(), nil
}

// NewListedSet returns a set of series of which the labels alone are known; they
// are sorted and each is there once.
func NewListedSet(all []labels.Labels, warnings Warnings) SeriesSet {
	return &listedSet{all: all, warnings: warnings, at: -1}
}

type listedSet struct {
	all      []labels.Labels
	warnings Warnings
	at       int
}

// Next implements SeriesSet.
func (s *listedSet) Next() bool {
	s.at++
	return s.at < len(s.all)
}

// At implements SeriesSet.
func (s *listedSet) At() Series { return listed{s.all[s.at]} }

// Err implements SeriesSet.
func (s *listedSet) Err() error { return nil }

// Warnings implements SeriesSet.
func (s *listedSet) Warnings() Warnings { return s.warnings }

// Close implements SeriesSet.
func (s *listedSet) Close() {}

// listed is a series without its samples.
type listed struct{ labels labels.Labels }

func (l listed) Labels() labels.Labels { return l.labels }

func (l listed) Read(_, _ int64, dst *model.Columns) error {
	dst.Reset()
	return nil
}
