package cluster

import (
	"maps"
	"sync/atomic"

	"github.com/count-db/count/cluster/ring"
	"github.com/count-db/count/cluster/transport"
)

// peerTable are the connections to the other members of the ring. Looking one up
// takes no lock: every write and read does, and whoever holds Cluster.mu may be
// making a change of the ring durable, which takes as long as the disk does.
type peerTable struct {
	all atomic.Pointer[map[ring.NodeID]*transport.Peer] // never changed in place
}

func (t *peerTable) get(id ring.NodeID) *transport.Peer {
	if all := t.all.Load(); all != nil {
		return (*all)[id]
	}
	return nil
}

// setLocked puts a member's connections in place; nil takes them out. The caller
// holds Cluster.mu.
func (t *peerTable) setLocked(id ring.NodeID, p *transport.Peer) {
	next := map[ring.NodeID]*transport.Peer{}
	if all := t.all.Load(); all != nil {
		maps.Copy(next, *all)
	}
	if next[id] = p; p == nil {
		delete(next, id)
	}
	t.all.Store(&next)
}

// takeAllLocked empties the table. The caller holds Cluster.mu.
func (t *peerTable) takeAllLocked() map[ring.NodeID]*transport.Peer {
	if all := t.all.Swap(nil); all != nil {
		return *all
	}
	return nil
}

// peer returns another member's connections; nil for a node that is no member.
func (c *Cluster) peer(id ring.NodeID) *transport.Peer { return c.peers.get(id) }
