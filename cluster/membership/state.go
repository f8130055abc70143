package membership

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"reflect"
	"slices"

	"github.com/count-db/count/cluster/agree"
	"github.com/count-db/count/cluster/ring"
	"github.com/count-db/count/cluster/settle"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/vfs"
	"github.com/count-db/count/internal/wire"
)

// StateFile is the name of the state's file in the data directory. It holds votes
// and promises, which a node must not forget (C2, V4), so there is a copy: a bit
// that flips in one of the two costs nothing.
const (
	StateFile = "cluster.state"
	stateCopy = "cluster.state.copy"
)

// stateMagic opens the file; the last byte is the version of the form.
const stateMagic = "COUNTCS\x01"

// stateSeed starts the checksum of the file.
const stateSeed = 0xc1057a7e

// RingMember is a member as a ring records it.
type RingMember struct {
	ID   ring.NodeID `json:"id"`
	Zone string      `json:"zone,omitempty"`
	Disk string      `json:"disk_id"`
}

// RingRecord is a ring as it is agreed, kept and sent: all else follows from it.
type RingRecord struct {
	Number    uint64       `json:"number"`
	ClusterID string       `json:"cluster_id"`
	RF        int          `json:"replication_factor"`
	Members   []RingMember `json:"members"`
	// Next is set while a change is under way: this ring is then a dual one (C3),
	// of Members and of Next.
	Next *NextRing `json:"next,omitempty"`
	// Lost is set in a dual ring that was founded by force, without an agreement (C2):
	// the members of the ring before that were given up, and those of Members whose
	// disks were lost and not filled again. The ring before is of Members and Lost, and
	// nothing that was acknowledged there counts on what is lost.
	Lost []RingMember `json:"lost,omitempty"`
}

// NextRing is what a change leads to.
type NextRing struct {
	RF      int          `json:"replication_factor"`
	Members []RingMember `json:"members"`
}

// Ring places the members.
func (r *RingRecord) Ring() (*ring.Ring, error) {
	if r.Next == nil {
		return place(r.Number, r.RF, r.Members)
	}
	before, err := place(r.Number, r.RF, r.before())
	if err != nil {
		return nil, err
	}
	if len(r.Lost) > 0 {
		before = before.Survived(r.lost(), placed(r.Members))
	}
	after, err := place(r.Number, r.Next.RF, r.Next.Members)
	if err != nil {
		return nil, err
	}
	return ring.Dual(r.Number, before, after)
}

func place(number uint64, rf int, all []RingMember) (*ring.Ring, error) {
	return ring.New(number, rf, placed(all))
}

func placed(all []RingMember) []ring.Member {
	members := make([]ring.Member, 0, len(all))
	for _, m := range all {
		members = append(members, ring.Member{ID: m.ID, Zone: m.Zone})
	}
	return members
}

// before returns the members of the ring before the one that is coming into being.
func (r *RingRecord) before() []RingMember {
	all := slices.Clip(r.Members)
	for _, m := range r.Lost {
		if r.Member(m.ID) == nil {
			all = append(all, m)
		}
	}
	return all
}

func (r *RingRecord) lost() []ring.NodeID {
	ids := make([]ring.NodeID, 0, len(r.Lost))
	for _, m := range r.Lost {
		ids = append(ids, m.ID)
	}
	return ids
}

// Electorate are those who agree on the ring after this one (C2).
func (r *RingRecord) Electorate() agree.Electorate {
	e := make(agree.Electorate, 0, len(r.Members))
	for _, m := range r.Members {
		e = append(e, agree.Voter{Node: m.ID, Disk: m.Disk})
	}
	return e
}

// Member returns the record of a node; nil when it is no member, or only one of
// Next.
func (r *RingRecord) Member(id ring.NodeID) *RingMember {
	for i := range r.Members {
		if r.Members[i].ID == id {
			return &r.Members[i]
		}
	}
	return nil
}

// State is what a node knows of the cluster across restarts.
type State struct {
	Cluster   string                   `json:"cluster"`
	Node      ring.NodeID              `json:"node_id"`
	Disk      string                   `json:"disk_id"`
	Renewed   string                   `json:"renewed_disk_id,omitempty"` // since it was found to be an older copy
	Former    []string                 `json:"former_disk_ids,omitempty"` // before that
	Ring      *RingRecord              `json:"ring,omitempty"`            // nil before the founding
	Addresses map[ring.NodeID]string   `json:"addresses,omitempty"`
	Seen      map[ring.NodeID]Sighting `json:"seen,omitempty"`
	// Baseline is the version of the samples that were stored before this node
	// kept versions.
	Baseline model.Version `json:"baseline,omitempty"`
	// Strange says that this node stored samples before it knew of any ring. Such a
	// node may found a cluster or be a member already, but it does not join one.
	Strange bool `json:"strange,omitempty"`
	// Refilling says why this node must merge its data back; empty: it need not.
	Refilling string `json:"refilling,omitempty"`
	// Past are the last starts on this disk, since such a merge was completed.
	Past []Start `json:"past,omitempty"`
	// Merged is the disk on which such a merge was completed last.
	Merged string `json:"merged,omitempty"`
	// Vote is this node's part in agreeing on the next ring (agree.EncodeState).
	Vote []byte `json:"vote,omitempty"`
	// Settle is this node's part in settling (V4).
	Settle *settle.State `json:"settle,omitempty"`
	// Copied is how far this node has come with its part of a change.
	Copied *CopyProgress `json:"copied,omitempty"`
	// Pause is what was said last of pausing a change.
	Pause *Pause `json:"pause,omitempty"`
	// Refilled is how far such a merge has come.
	Refilled *RefillProgress `json:"refilled,omitempty"`
	// Shed is when this node dropped last what it does not own.
	Shed *ShedProgress `json:"shed,omitempty"`
}

// RefillProgress is how far a node has come with merging back what it lost (C5).
// Another disk, ring or reason begins anew.
type RefillProgress struct {
	Disk   string `json:"disk_id"`
	Starts uint64 `json:"starts"` // of the disk, when it came so far
	Ring   uint64 `json:"ring"`
	Reason string `json:"reason"`
	Until  int64  `json:"until"` // ms; everything before it is merged
	// Floor is the highest that those have settled that are merged from (V4).
	Floor model.Version `json:"floor,omitempty"`
	// Lost numbers what the storage had lost by then.
	Lost uint64 `json:"lost,omitempty"`
}

// ShedProgress says that a node dropped what it does not own.
type ShedProgress struct {
	Ring uint64 `json:"ring"` // in force then
	At   int64  `json:"at"`   // ms
}

// CopyProgress is how far a node has come with copying what a dual ring makes it
// a candidate of (C3).
type CopyProgress struct {
	Ring  uint64 `json:"ring"`  // the dual ring
	Until int64  `json:"until"` // ms; everything before it is merged
	Done  bool   `json:"done"`  // everything is
	// Samples is how many were merged so far.
	Samples int64 `json:"samples,omitempty"`
	// Floor is the highest that those have settled that a new member copies from.
	Floor model.Version `json:"floor,omitempty"`
}

// Pause says whether the copying of a change rests.
type Pause struct {
	Ring   uint64        `json:"ring"` // the dual ring
	Paused bool          `json:"paused"`
	At     model.Version `json:"at"` // the last one that was said counts
}

// LoadState reads the state and makes both files of it whole and equal; nil without
// an error when there is none. The file is written before its copy, and what only
// the file has was promised to nobody: Save had not returned.
func LoadState(filesystem vfs.FS, dir string) (*State, error) {
	s, err := readState(filesystem, filepath.Join(dir, StateFile))
	if err != nil && !errors.Is(err, wire.ErrCorrupt) {
		return nil, err
	}
	other, otherErr := readState(filesystem, filepath.Join(dir, stateCopy))
	if otherErr != nil && !errors.Is(otherErr, wire.ErrCorrupt) {
		return nil, otherErr
	}
	switch {
	case s == nil && other == nil && errors.Join(err, otherErr) != nil:
		return nil, fmt.Errorf("the votes and promises of this node are lost, so that it cannot be what it was: give it an empty data directory, and it refills from the others: %w", errors.Join(err, otherErr))
	case err != nil, s == nil:
		s = other
	}
	if s == nil {
		return nil, nil
	}
	if err == nil && otherErr == nil && reflect.DeepEqual(s, other) {
		return s, nil
	}
	return s, s.Save(filesystem, dir)
}

// CheckState reads both files of the state, changes nothing, and returns what is
// wrong with them. The state is nil when there is none that can be read.
func CheckState(filesystem vfs.FS, dir string) (*State, []error) {
	var faults []error
	s, err := readState(filesystem, filepath.Join(dir, StateFile))
	if err != nil {
		faults = append(faults, err)
	}
	other, err := readState(filesystem, filepath.Join(dir, stateCopy))
	if err != nil {
		faults = append(faults, err)
	}
	if s == nil {
		s = other
	}
	return s, faults
}

func readState(filesystem vfs.FS, name string) (*State, error) {
	data, err := vfs.ReadFile(filesystem, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	s, err := decodeState(data)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return s, nil
}

func decodeState(data []byte) (*State, error) {
	if len(data) < len(stateMagic) || string(data[:len(stateMagic)]) != stateMagic {
		return nil, wire.Corruptf("not a cluster state of version %d", stateMagic[len(stateMagic)-1])
	}
	d := wire.NewDecoder(data[len(stateMagic):])
	payload := d.Frame(stateSeed)
	if d.Err() != nil {
		return nil, d.Err()
	}
	var s State
	if err := json.Unmarshal(payload, &s); err != nil {
		return nil, wire.Corruptf("%v", err)
	}
	if s.Ring != nil {
		if _, err := s.Ring.Ring(); err != nil {
			return nil, wire.Corruptf("%v", err)
		}
	}
	return &s, nil
}

func encodeState(s *State) ([]byte, error) {
	payload, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	return wire.AppendFrame([]byte(stateMagic), payload, stateSeed), nil
}

// Save makes the state durable.
func (s *State) Save(filesystem vfs.FS, dir string) error {
	data, err := encodeState(s)
	for _, name := range []string{StateFile, stateCopy} {
		if err == nil {
			err = vfs.WriteFile(filesystem, filepath.Join(dir, name), data)
		}
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", StateFile, err)
	}
	return nil
}
