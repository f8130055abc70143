package membership

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/count-db/count/cluster/ring"
	"github.com/count-db/count/internal/vfs"
	"github.com/count-db/count/internal/wire"
)

// StateFile is the name of the state's file in the data directory.
const StateFile = "cluster.state"

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
}

// Ring places the members.
func (r *RingRecord) Ring() (*ring.Ring, error) {
	members := make([]ring.Member, 0, len(r.Members))
	for _, m := range r.Members {
		members = append(members, ring.Member{ID: m.ID, Zone: m.Zone})
	}
	return ring.New(r.Number, r.RF, members)
}

// Member returns the record of a node; nil when it is no member.
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
	Ring      *RingRecord              `json:"ring,omitempty"` // nil before the founding
	Addresses map[ring.NodeID]string   `json:"addresses,omitempty"`
	Seen      map[ring.NodeID]Sighting `json:"seen,omitempty"`
	// Refilling says why this node must merge its data back; empty: it need not.
	Refilling string `json:"refilling,omitempty"`
	// Merged is the disk on which such a merge was completed last.
	Merged string `json:"merged,omitempty"`
}

// LoadState reads the state; nil without an error when there is no file.
func LoadState(filesystem vfs.FS, dir string) (*State, error) {
	name := filepath.Join(dir, StateFile)
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
	if err == nil {
		err = vfs.WriteFile(filesystem, filepath.Join(dir, StateFile), data)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", StateFile, err)
	}
	return nil
}
