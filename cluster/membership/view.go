package membership

import (
	"fmt"
	"slices"
	"time"

	"github.com/count-db/count/cluster/ring"
)

// Status is the state of a node.
type Status uint8

// The states; the drawing is in the package comment.
const (
	Joining Status = iota // known, in no ring yet
	Active
	Leaving
	Left
	Failed // in the ring, silent for the failure timeout
)

var statusNames = [...]string{"Joining", "Active", "Leaving", "Left", "Failed"}

// String returns the name as it stands in documents.
func (s Status) String() string { return statusNames[s] }

// MarshalText writes the name.
func (s Status) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the name.
func (s *Status) UnmarshalText(text []byte) error {
	i := slices.Index(statusNames[:], string(text))
	if i < 0 {
		return fmt.Errorf("unknown status %q: Joining, Active, Leaving, Left and Failed are known", text)
	}
	*s = Status(i)
	return nil
}

// Info is what a node says of itself.
type Info struct {
	ID        ring.NodeID
	Address   string // host:port at which others reach it
	Zone      string
	Disk      string // random id of its data directory
	Starts    uint64 // start counter of that directory
	Version   string // of the program
	DataSize  int64  // bytes
	Refilling bool
}

// Node is a node as seen from here.
type Node struct {
	Info
	Status   Status
	Up       bool      // it answers now
	LastSeen time.Time // when it last answered or was heard of; zero = never
	InRing   bool
	Left     bool // it was in a ring before
}

// View is what one node sees of the others. It is pure: callers bring the time.
// It is not safe for concurrent use.
type View struct {
	self    ring.NodeID
	timeout time.Duration // silent for so long = failed
	ring    *ring.Ring
	nodes   map[ring.NodeID]*Node
	gone    map[ring.NodeID]bool // gossip says failed
}

// NewView returns the view of a node that knows only itself.
func NewView(self Info, failureTimeout time.Duration, now time.Time) *View {
	v := &View{self: self.ID, timeout: failureTimeout, nodes: map[ring.NodeID]*Node{}, gone: map[ring.NodeID]bool{}}
	v.nodes[self.ID] = &Node{Info: self, Up: true, LastSeen: now}
	return v
}

// SetRing puts a ring in force.
func (v *View) SetRing(r *ring.Ring, now time.Time) {
	v.ring = r
	for _, n := range v.nodes {
		n.InRing = false
	}
	for _, m := range r.Members() {
		n := v.node(m.ID)
		n.InRing, n.Left = true, false
		if n.LastSeen.IsZero() {
			n.LastSeen = now // the timeout runs from here
		}
		if n.Zone == "" {
			n.Zone = m.Zone
		}
	}
}

// Ring returns the ring in force, nil before the founding.
func (v *View) Ring() *ring.Ring { return v.ring }

func (v *View) node(id ring.NodeID) *Node {
	n := v.nodes[id]
	if n == nil {
		n = &Node{Info: Info{ID: id}}
		v.nodes[id] = n
	}
	return n
}

// Learn takes what a node says of itself. It says whether the address is new.
func (v *View) Learn(info Info, now time.Time) (moved bool) {
	n := v.node(info.ID)
	moved = n.Address != info.Address && info.Address != ""
	if info.Address == "" {
		info.Address = n.Address
	}
	if info.Zone == "" {
		info.Zone = n.Zone
	}
	n.Info = info
	n.LastSeen = now
	return moved
}

// SetRefilling notes whether a known node is merging back what it lost.
func (v *View) SetRefilling(id ring.NodeID, refilling bool) {
	if n := v.nodes[id]; n != nil {
		n.Refilling = refilling
	}
}

// SetUp notes that a node answers, or no longer does.
func (v *View) SetUp(id ring.NodeID, up bool, now time.Time) {
	if old := v.nodes[id]; !up && (old == nil || old.Left && !old.InRing && id != v.self) {
		v.drop(id) // who has left is known as long as it can be seen
		return
	}
	n := v.node(id)
	if n.Up || up {
		n.LastSeen = now
	}
	n.Up = up
	if up {
		delete(v.gone, id)
	}
}

// Suspect takes gossip's word that a node failed, or is alive again. A node that
// answers here is not failed whatever is said.
func (v *View) Suspect(id ring.NodeID, failed bool) {
	if failed && v.nodes[id] != nil {
		v.gone[id] = true
	} else if !failed {
		delete(v.gone, id)
	}
}

// Leave takes a node's word that it goes: it is forgotten unless it is in the
// ring, which only a new ring changes.
func (v *View) Leave(id ring.NodeID) {
	if n := v.nodes[id]; n != nil && !n.InRing && id != v.self {
		v.drop(id)
	}
}

// Depart notes that a member is in the ring no longer.
func (v *View) Depart(id ring.NodeID) {
	n := v.nodes[id]
	if n == nil {
		return
	}
	if n.Left = true; !n.Up && id != v.self {
		v.drop(id)
	}
}

// Forget drops a node that is not of the ring.
func (v *View) Forget(id ring.NodeID) {
	if n := v.nodes[id]; n != nil && !n.InRing && id != v.self {
		v.drop(id)
	}
}

func (v *View) drop(id ring.NodeID) {
	delete(v.nodes, id)
	delete(v.gone, id)
}

// InSight says whether the node answers now.
func (v *View) InSight(id ring.NodeID) bool {
	n := v.nodes[id]
	return n != nil && (n.Up || id == v.self)
}

// Majority says whether more than half of the ring's members, failed ones
// counted, are in sight (C4). Without a ring there is none.
func (v *View) Majority() bool {
	if v.ring == nil {
		return false
	}
	seen := 0
	for _, m := range v.ring.Voters() {
		if v.InSight(m.ID) {
			seen++
		}
	}
	return 2*seen > len(v.ring.Voters())
}

// Seen returns how many nodes of the ring are in sight; before there is a ring,
// only this one.
func (v *View) Seen() int {
	if v.ring == nil {
		return 1
	}
	seen := 0
	for _, m := range v.ring.Members() {
		if v.InSight(m.ID) {
			seen++
		}
	}
	return seen
}

// Get returns one node.
func (v *View) Get(id ring.NodeID, now time.Time) (Node, bool) {
	n := v.nodes[id]
	if n == nil {
		return Node{}, false
	}
	out := *n
	out.Status = v.status(n, now)
	if id == v.self {
		out.Up, out.LastSeen = true, now
	}
	return out, true
}

// Nodes returns all nodes, ascending by id.
func (v *View) Nodes(now time.Time) []Node {
	out := make([]Node, 0, len(v.nodes))
	for id := range v.nodes {
		n, _ := v.Get(id, now)
		out = append(out, n)
	}
	slices.SortFunc(out, func(a, b Node) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	return out
}

func (v *View) status(n *Node, now time.Time) Status {
	if n.ID != v.self && !n.Up && (v.gone[n.ID] || now.Sub(n.LastSeen) >= v.timeout) {
		return Failed
	}
	switch {
	case !n.InRing && n.Left:
		return Left
	case !n.InRing:
		return Joining
	case !v.ring.Changing():
		return Active
	case !v.ring.Before().Has(n.ID):
		return Joining
	case !v.ring.After().Has(n.ID):
		return Leaving
	}
	return Active
}
