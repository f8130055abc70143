package membership

import "github.com/count-db/count/cluster/ring"

// MaxStrangers is how many nodes outside the ring a node remembers: anybody who
// reaches the port can name some.
const MaxStrangers = 256

// Room says whether what is said of a node is remembered: it is known, or a member
// of the ring, or there are few strangers.
func (v *View) Room(id ring.NodeID) bool {
	if v.nodes[id] != nil || v.gone[id] {
		return true
	}
	members := 0
	if v.ring != nil {
		members = len(v.ring.Members())
	}
	return len(v.nodes)+len(v.gone) < 2*members+MaxStrangers
}
