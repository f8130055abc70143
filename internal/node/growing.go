package node

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/count-db/count/cluster/membership"
)

// A node that was told of no others is a ring of one: it stores no versions, the
// order of arrival is the version. When another node asks to join, it has to
// keep versions from then on: it closes its parts, puts its ring of one on disk
// and opens them again as a node of a cluster, within a second or so. Its
// presence on disk makes it one at every later start.

// clusterFolder is where in its data directory a node keeps its part of the
// cluster's state.
const clusterFolder = "cluster"

func (n *Node) clusterDir() string { return filepath.Join(n.opts.Config.DataDir, clusterFolder) }

// clustered says whether the node keeps versions and speaks to others: it is
// set so, or it has been joined.
func (n *Node) clustered() (bool, error) {
	if cfg := n.opts.Config; cfg.ClusterEnabled || cfg.Standalone {
		return cfg.ClusterEnabled, nil
	}
	_, err := n.fs.Stat(filepath.Join(n.clusterDir(), membership.StateFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("look for the state of a cluster: %w", err)
	}
	if err != nil {
		return false, nil
	}
	return true, n.security.joinable()
}

var (
	errGrowing    = errors.New("this node was alone and gets ready for others: try again")
	errStandalone = errors.New("this node takes no joins: CLUSTER_ENABLED is false")
)

// growUp is asked when another node wants to join a node alone.
func (p *parts) growUp() error {
	if p.joinable != nil {
		return p.joinable
	}
	p.growing.Do(func() { close(p.grown) })
	return errGrowing
}

// saveRing puts the ring of one, which a node alone keeps in memory, on disk.
func (n *Node) saveRing(p *parts) error {
	dir := n.clusterDir()
	if err := n.fs.MkdirAll(dir); err != nil {
		return fmt.Errorf("make the folder of the cluster's state: %w", err)
	}
	ring, err := membership.LoadState(p.aloneState, dir)
	if err != nil || ring == nil {
		return fmt.Errorf("read the ring of one: %w", err)
	}
	// All that was stored until now has this version from now on.
	ring.Baseline = p.db.Clock().Now()
	if err := ring.Save(n.fs, dir); err != nil {
		return fmt.Errorf("write the ring of one: %w", err)
	}
	return nil
}
