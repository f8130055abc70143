package backup

import (
	"context"
	"fmt"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/cluster/merge"
	"github.com/count-db/count/engine"
	"github.com/count-db/count/engine/version"
	"github.com/count-db/count/internal/model"
)

// merging reads the series of a slice of time from all snapshots, in the order of
// their labels, merged as a cluster merges copies.
type merging struct {
	sources    []*source
	tombstones []model.Tombstone
	mint, maxt int64
	merged     model.Columns
}

// source is the selection of one snapshot.
type source struct {
	node *Node
	sel  *engine.Selection
	at   int
	cols model.Columns
}

func (r *restoring) open(ctx context.Context, mint, maxt int64) (*merging, error) {
	m := &merging{mint: mint, maxt: maxt}
	for _, n := range r.nodes {
		sel, err := n.db.Select(ctx, mint, maxt, everySeries())
		if err != nil {
			m.close()
			return nil, fmt.Errorf("read the snapshot of node %d: %w", n.node.ID, err)
		}
		m.sources = append(m.sources, &source{node: n.node, sel: sel.WithVersions()})
		m.tombstones = append(m.tombstones, n.db.Tombstones(mint, maxt)...)
	}
	return m, nil
}

func everySeries() *labels.Matcher {
	return labels.MustNewMatcher(labels.MatchRegexp, labels.MetricName, ".*")
}

func (m *merging) close() {
	for _, s := range m.sources {
		s.sel.Close()
	}
}

// skip leaves out the series up to one, itself included.
func (m *merging) skip(last labels.Labels) {
	for _, s := range m.sources {
		for s.at < s.sel.Len() && labels.Compare(s.sel.Labels(s.at), last) <= 0 {
			s.at++
		}
	}
}

// next returns the next series that has samples; ok is false at the end. The
// columns are valid until the next call.
func (m *merging) next() (ls labels.Labels, cols *model.Columns, ok bool, err error) {
	for {
		first := false
		for _, s := range m.sources {
			if s.at == s.sel.Len() {
				continue
			}
			if l := s.sel.Labels(s.at); !first || labels.Compare(l, ls) < 0 {
				ls, first = l, true
			}
		}
		if !first {
			return ls, nil, false, nil
		}
		var copies []*model.Columns
		for _, s := range m.sources {
			if s.at == s.sel.Len() || labels.Compare(s.sel.Labels(s.at), ls) != 0 {
				continue
			}
			if err := s.read(m.mint, m.maxt); err != nil {
				return ls, nil, false, fmt.Errorf("read %s of node %d: %w", ls, s.node.ID, err)
			}
			s.at++
			copies = append(copies, &s.cols)
		}
		merge.Columns(&m.merged, copies, compareHistograms)
		merge.Hide(&m.merged, ls, m.tombstones)
		if m.merged.Len() > 0 {
			return ls, &m.merged, true, nil
		}
	}
}

// read reads the series at hand. Where the snapshot has no versions, its samples
// count as written when it was taken.
func (s *source) read(mint, maxt int64) error {
	if err := s.sel.Read(s.at, mint, maxt, &s.cols); err != nil {
		return err
	}
	if s.node.Versioned {
		return nil
	}
	s.cols.Ver = s.cols.Ver[:0]
	for range s.cols.T {
		s.cols.Ver = append(s.cols.Ver, s.node.Version)
	}
	for i := range s.cols.Hist {
		s.cols.Hist[i].Ver = s.node.Version
	}
	return nil
}

// compareHistograms is the engine's order of histograms of equal versions.
func compareHistograms(a, b *model.HistogramPoint) int {
	return version.Compare(version.OfHistogram(a), version.OfHistogram(b))
}
