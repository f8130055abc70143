package cluster

import (
	"context"
	"fmt"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/cluster/membership"
	"github.com/count-db/count/internal/model"
)

// A node that was alone stored no versions: the order of arrival was the
// version. When it becomes one of a cluster all of that gets one version, the
// baseline: the clock of that moment, above every delete of before and below
// every write after it. It is kept in the cluster's state, because the same
// sample must have the same version whenever it is read, copied or repaired.

// based is this node's storage with a version on every sample.
type based struct {
	Local
	baseline model.Version
}

// withBaseline shows the storage with the baseline of the state, which is made
// and kept when there is none yet.
func withBaseline(local Local, clock Clock, state *membership.State, o Options) (Local, error) {
	if state.Baseline == 0 {
		state.Baseline = clock.Now()
		state.Strange = state.Ring == nil && len(local.Windows()) > 0
		if err := o.FS.MkdirAll(o.Dir); err != nil {
			return nil, fmt.Errorf("make the folder of the cluster's state: %w", err)
		}
		if err := state.Save(o.FS, o.Dir); err != nil {
			return nil, err
		}
	}
	clock.Observe(state.Baseline)
	return &based{Local: local, baseline: state.Baseline}, nil
}

// Select returns a selection whose samples all have versions.
func (b *based) Select(ctx context.Context, mint, maxt int64, ms ...*labels.Matcher) (Selection, error) {
	sel, err := b.Local.Select(ctx, mint, maxt, ms...)
	if err != nil {
		return nil, err
	}
	return &basedSelection{Selection: sel, baseline: b.baseline}, nil
}

type basedSelection struct {
	Selection
	baseline model.Version
}

// Read fills dst; see based.
func (s *basedSelection) Read(i int, mint, maxt int64, dst *model.Columns) error {
	if err := s.Selection.Read(i, mint, maxt, dst); err != nil {
		return err
	}
	for len(dst.Ver) < len(dst.T) {
		dst.Ver = append(dst.Ver, 0)
	}
	for k, v := range dst.Ver {
		if v == 0 {
			dst.Ver[k] = s.baseline
		}
	}
	for k := range dst.Hist {
		if dst.Hist[k].Ver == 0 {
			dst.Hist[k].Ver = s.baseline
		}
	}
	return nil
}
