// Package storage puts a node's storage together as its other parts see it: the
// cluster and the entrances. It is a package of its own so that whole clusters can be
// simulated on the storage that nodes have, without the rest of a node.
package storage

import (
	"encoding/hex"
	"fmt"
	"sync/atomic"

	"github.com/count-db/count/cluster"
	"github.com/count-db/count/cluster/membership"
	"github.com/count-db/count/engine"
	"github.com/count-db/count/internal/vfs"
)

// Storage is an open storage that tells its node's part of the cluster what it has
// lost.
type Storage struct {
	*engine.DB
	told atomic.Pointer[cluster.Cluster] // of losses; nil until there is one
}

// Open opens the data directory dir, which replays the log.
func Open(fsys vfs.FS, dir string, o engine.Options) (*Storage, error) {
	s := &Storage{}
	o.OnLost = func() {
		if c := s.told.Load(); c != nil {
			c.NoteLost()
		}
	}
	var err error
	if s.DB, err = engine.Open(fsys, dir, o); err != nil {
		return nil, fmt.Errorf("open the data directory %s: %w", dir, err)
	}
	return s, nil
}

// Disk says which disk it is, for cluster.Options.
func (s *Storage) Disk() membership.Disk {
	id := s.Identity()
	return membership.Disk{ID: hex.EncodeToString(id.DiskID[:]), Starts: id.Starts, Gap: id.Gap}
}

// Tell has the cluster be told of losses, those too that were found while there was
// nobody to tell.
func (s *Storage) Tell(c *cluster.Cluster) {
	s.told.Store(c)
	if s.Lost() != (engine.Lost{}) {
		c.NoteLost()
	}
}
