package node

import (
	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/cluster"
	"github.com/count-db/count/engine"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/promql"
)

// shareSet are those series of a selection of the storage that are in a share.
type shareSet struct {
	sel   *engine.Selection
	scope string
	in    []int32 // places in sel, ascending
	at    int
}

var (
	_ promql.SeriesSet = (*shareSet)(nil)
	_ promql.Tracked   = (*shareSet)(nil)
	_ promql.Condenser = (*shareSet)(nil)
)

func newShareSet(sel *engine.Selection, share *cluster.Share) *shareSet {
	s := &shareSet{sel: sel, scope: share.Name(), at: -1}
	for i := range sel.Len() {
		if share.Has(sel.Ref(i), sel.Labels(i)) {
			s.in = append(s.in, int32(i))
		}
	}
	return s
}

// Len implements promql.Selection.
func (s *shareSet) Len() int { return len(s.in) }

// Labels implements promql.Selection.
func (s *shareSet) Labels(i int) labels.Labels { return s.sel.Labels(int(s.in[i])) }

// Read implements promql.Selection.
func (s *shareSet) Read(i int, mint, maxt int64, dst *model.Columns) error {
	return s.sel.Read(int(s.in[i]), mint, maxt, dst)
}

// Mark implements promql.Tracked.
func (s *shareSet) Mark() uint64 { return s.sel.Mark() }

// ChangedFrom implements promql.Tracked.
func (s *shareSet) ChangedFrom(mark uint64, mint, maxt int64) int64 {
	return s.sel.ChangedFrom(mark, mint, maxt)
}

// Scope implements promql.Tracked.
func (s *shareSet) Scope() string { return s.scope }

// Condense implements promql's store.Condenser.
func (s *shareSet) Condense(i int, mint, maxt int64, how model.Condense, dst *model.Condensed) (bool, error) {
	return s.sel.Condense(int(s.in[i]), mint, maxt, how, dst)
}

// Next implements promql.SeriesSet.
func (s *shareSet) Next() bool {
	s.at++
	return s.at < len(s.in)
}

// At implements promql.SeriesSet.
func (s *shareSet) At() promql.Series { return localSeries{s.sel, int(s.in[s.at])} }

// Err implements promql.SeriesSet.
func (s *shareSet) Err() error { return nil }

// Warnings implements promql.SeriesSet: the node has all of the share.
func (s *shareSet) Warnings() promql.Warnings { return nil }

// Close implements promql.SeriesSet.
func (s *shareSet) Close() { s.sel.Close() }
