package membership

import (
	"time"

	"github.com/count-db/count/cluster/ring"
)

const (
	// MaxStrangers is how many nodes outside the ring a node remembers: anybody who
	// reaches the port can name some.
	MaxStrangers = 256
	// strangerPatience is how long a stranger that does not answer keeps its place
	// from another one.
	strangerPatience = time.Minute
)

// Room says whether what is said of a node is remembered: it is known, or a member
// of the ring, or there are few strangers. Of many, the one that was silent for
// longest is forgotten.
func (v *View) Room(id ring.NodeID, now time.Time) bool {
	if v.nodes[id] != nil {
		return true
	}
	members := 0
	if v.ring != nil {
		members = len(v.ring.Members())
	}
	if len(v.nodes) < 2*members+MaxStrangers {
		return true
	}
	var oldest *Node
	for _, n := range v.nodes {
		if !n.Up && !n.InRing && n.ID != v.self && (oldest == nil || n.LastSeen.Before(oldest.LastSeen)) {
			oldest = n
		}
	}
	if oldest == nil || now.Sub(oldest.LastSeen) < strangerPatience {
		return false
	}
	v.drop(oldest.ID)
	return true
}
