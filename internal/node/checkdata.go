package node

import (
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/count-db/count/cluster/hints"
	"github.com/count-db/count/cluster/membership"
	"github.com/count-db/count/cluster/settle"
	"github.com/count-db/count/engine"
	"github.com/count-db/count/internal/vfs"
)

// DataReport is what CheckData found.
type DataReport struct {
	engine.CheckReport
	Cluster *membership.State // nil on a node alone
	Hints   []hints.Checked
}

// CheckData reads everything in the data directory of a stopped node, changes
// nothing, and proves the invariants: those of the storage (engine.Check), and of
// the node's part in its cluster: its votes and promises can be read and fit one
// another, hints can be read, and what has no version has a baseline. The error is
// one of not being able to look.
func CheckData(fs vfs.FS, dir string) (DataReport, error) {
	var r DataReport
	clusterDir := filepath.Join(dir, clusterFolder)
	state, faults := membership.CheckState(fs, clusterDir)
	settled := engine.Settled{}
	if state != nil && state.Settle != nil {
		settled = engine.Settled{Floor: state.Settle.Floor, From: state.Settle.From}
	}
	var err error
	if r.CheckReport, err = engine.CheckSettled(fs, dir, settled); err != nil {
		return r, err
	}
	r.Cluster = state
	if lost := r.Lost; lost.Number > 0 {
		faults = append(faults, fmt.Errorf("lost: samples from %d to %d (ms) are missing here (loss %d): a node of a cluster merges them back from the others", lost.MinT, lost.MaxT, lost.Number))
	}
	if state != nil {
		faults = append(faults, r.membership(state)...)
	}
	var hintFaults []error
	if r.Hints, hintFaults, err = hints.Check(fs, filepath.Join(clusterDir, "hints")); err != nil {
		return r, err
	}
	r.Faults = append(append(r.Faults, faults...), hintFaults...)
	return r, nil
}

// membership returns what in the node's part in its cluster cannot be.
func (r *DataReport) membership(s *membership.State) []error {
	var faults []error
	fault := func(err error) {
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", membership.StateFile, err))
		}
	}
	if id := hex.EncodeToString(r.Identity.DiskID[:]); s.Disk != id {
		fault(fmt.Errorf("it is of disk %s, and this one is %s: the next start refills it", s.Disk, id))
	}
	if r.Versions.None > 0 && s.Baseline == 0 {
		fault(errors.New("samples in files have no version, and there is no baseline for them"))
	}
	if s.Settle != nil {
		fault(checkSettled(s.Settle))
	}
	return faults
}

// checkSettled says what in a member's part in settling cannot be (V4).
func checkSettled(s *settle.State) error {
	switch frozen := s.Frozen != (settle.Round{}); {
	case s.Floor > s.Mark:
		return fmt.Errorf("its floor %d is above the mark %d that it promised", s.Floor, s.Mark)
	case s.Floor != s.Decided.Floor:
		return fmt.Errorf("its floor %d is not the one that was decided, %d", s.Floor, s.Decided.Floor)
	case frozen && (s.Frozen.Floor <= s.Floor || s.Frozen.Floor > s.Mark):
		return fmt.Errorf("it is frozen for the floor %d, between its floor %d and its mark %d", s.Frozen.Floor, s.Floor, s.Mark)
	}
	return nil
}
