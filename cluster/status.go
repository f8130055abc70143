package cluster

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/cluster/membership"
	"github.com/count-db/count/cluster/ring"
	"github.com/count-db/count/internal/model"
)

// NodeStatus is a node in the status.
type NodeStatus struct {
	membership.NodeRecord
	Zone      string `json:"zone,omitempty"`
	Member    bool   `json:"member"` // of the ring in force
	InSight   bool   `json:"in_sight"`
	Refilling bool   `json:"refilling,omitempty"`
	OwedBytes int64  `json:"owed_bytes"` // hints kept here for it
	TLS       bool   `json:"tls"`        // this node is connected to it, by TLS
	Error     string `json:"error,omitempty"`
}

// Status is what GET /cluster/status answers.
type Status struct {
	NodeID            ring.NodeID     `json:"node_id"`
	Cluster           string          `json:"cluster"`
	ClusterID         string          `json:"cluster_id,omitempty"`
	Ring              uint64          `json:"ring"`               // 0 before the founding
	ReplicationFactor int             `json:"replication_factor"` // of the ring; before the founding the setting
	FoundingFactor    int             `json:"founding_factor"`    // the setting REPLICATION_FACTOR
	WriteQuorum       int             `json:"write_quorum"`
	Majority          bool            `json:"majority"`
	Refilling         string          `json:"refilling,omitempty"` // why
	Refill            *RefillProgress `json:"refill,omitempty"`    // of this node, while it is known
	Problems          []string        `json:"problems,omitempty"`
	// Change is the change of the ring that is under way.
	Change *ChangeStatus `json:"change,omitempty"`
	Shed   *ShedStatus   `json:"shed"`
	Nodes  []NodeStatus  `json:"nodes"`
}

// Status returns what this node sees of the cluster.
func (c *Cluster) Status() Status {
	owed, change := c.hints.Stats().PerNode, c.changeStatus()
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	s := Status{
		NodeID: c.opts.Node, Cluster: c.opts.Cluster, ReplicationFactor: c.opts.RF, FoundingFactor: c.opts.RF,
		Majority: c.view.Majority(), Refilling: c.refill.why(), Problems: c.problemsLocked(now), Change: change,
	}
	if r := c.state.Ring; r != nil {
		s.ClusterID, s.Ring, s.ReplicationFactor = r.ClusterID, r.Number, r.RF
		s.WriteQuorum, _ = ring.Quorum(r.RF, len(r.Members))
	}
	if s.Refilling != "" {
		s.Refill = c.refill.meter.progress()
	}
	s.Shed = c.shedding.status(c.hasShedLocked())
	for _, n := range c.view.Nodes(now) {
		ns := NodeStatus{NodeRecord: n.Record(), Zone: n.Zone, Member: n.InRing, InSight: n.Up, Refilling: n.Refilling, OwedBytes: owed[n.ID]}
		if n.ID == c.opts.Node {
			ns.Refilling, ns.DataSize = s.Refilling != "", c.opts.DataSize()
		}
		if p := c.peer(n.ID); p != nil {
			if err := p.Err(); err != nil {
				ns.Error = err.Error()
			}
			ns.TLS = p.Encrypted()
			if silence, connected := p.Silence(); connected {
				// Gossip asks after one node at a time: the connections know better.
				ns.LastSeen = max(ns.LastSeen, now.Add(-silence).UnixMilli())
			}
		}
		s.Nodes = append(s.Nodes, ns)
	}
	return s
}

// Nodes returns all nodes that this one knows, itself included.
func (c *Cluster) Nodes() []membership.Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.view.Nodes(time.Now())
}

func (c *Cluster) problemsLocked(now time.Time) []string {
	var out []string
	if c.topo.Load() == nil && c.waits != nil {
		out = append(out, c.waits.Error())
	}
	if t := c.topo.Load(); t != nil && !t.member {
		if why := c.changing.why(); why != "" {
			out = append(out, "this node is no member yet: "+why)
		}
	}
	if r := c.state.Ring; r != nil && !c.refill.running() {
		if m := r.Member(c.opts.Node); m != nil && m.Disk != c.diskID() {
			out = append(out, "the ring does not record this node's new disk yet: it has no vote on changes")
		}
	}
	if c.apart != "" {
		out = append(out, c.apart)
	}
	for _, n := range c.view.Nodes(now) {
		if n.InRing && n.ID != c.opts.Node && !n.Up {
			out = append(out, fmt.Sprintf("node %d at %s is not in sight", n.ID, n.Address)+c.whyAway(n.ID))
		}
	}
	for _, who := range slices.Sorted(maps.Keys(c.refused)) {
		if r := c.refused[who]; now.Sub(r.at) > refusedShown {
			delete(c.refused, who)
		} else {
			out = append(out, r.why)
		}
	}
	return out
}

// whyAway is why a member cannot be talked to, as the end of a sentence.
func (c *Cluster) whyAway(id ring.NodeID) string {
	if p := c.peer(id); p != nil {
		if text := misfit(p.Err()); text != "" {
			return ": " + text
		}
	}
	return ""
}

// Health is what /health needs to know.
type Health struct {
	Size     int      // nodes of the ring in sight, this one included
	Founded  bool     // there is a ring
	Majority bool     // more than half of the ring's members are in sight
	Settled  bool     // reads are answered: a majority was heard since the start, or a timeout has passed
	Refill   string   // why the node is refilling; empty: it is not
	Joining  bool     // the node is in no ring
	Left     bool     // the node was asked to leave and has left
	Refused  bool     // the node's join was taken back, and it does not ask again in this run
	Problems []string // for people
}

// Health returns how the cluster is, as seen from here.
func (c *Cluster) Health() Health {
	t := c.topo.Load()
	c.mu.Lock()
	defer c.mu.Unlock()
	h := Health{
		Size: c.view.Seen(), Founded: t != nil, Majority: c.view.Majority(), Refill: c.refill.why(),
		Settled: t != nil && (t.alone || c.settled.Load()), Problems: c.problemsLocked(time.Now()),
	}
	h.Left = c.changing.hasLeft() && t != nil && !t.member
	h.Refused = c.changing.takenBack() && t != nil && !t.member
	h.Joining = t != nil && !t.member && !h.Left && !h.Refused
	return h
}

// RingRecord returns the ring in force, nil before the founding.
func (c *Cluster) RingRecord() *membership.RingRecord {
	if t := c.topo.Load(); t != nil {
		return t.record
	}
	return nil
}

// Candidates returns the candidates of a series clockwise and how many of them
// are its owners.
func (c *Cluster) Candidates(ls labels.Labels) (nodes []ring.NodeID, owners int) {
	t := c.topo.Load()
	if t == nil {
		return nil, 0
	}
	position := model.SeriesIDOf(ls).Token()
	return t.ring.Candidates(nil, position), t.lists[t.ring.ListOf(position)].Owners
}
