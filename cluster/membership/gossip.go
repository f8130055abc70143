package membership

import (
	"encoding/json"
	"fmt"
	"log"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/count-db/count/cluster/ring"
)

// GossipOptions are what Gossip needs. All are required.
type GossipOptions struct {
	Self           func() Info // what this node says of itself now
	Transport      memberlist.Transport
	Heartbeat      time.Duration // between two probes of a node
	FailureTimeout time.Duration // silent for so long = failed
	Logger         *log.Logger
	// Heard is called when a node joins, changes what it says, fails (alive is
	// false) or leaves (alive is false too). It must not block and must not call
	// Gossip: memberlist holds its locks.
	Heard func(info Info, alive bool)
}

// Gossip spreads what nodes say of themselves and who seems to be alive. It is
// memberlist; ownership never depends on it.
type Gossip struct {
	opts GossipOptions
	list *memberlist.Memberlist
}

// gossipMeta is what travels with a node: at most memberlist.MetaMaxSize bytes.
type gossipMeta struct {
	Address   string `json:"a"`
	Zone      string `json:"z,omitempty"`
	Disk      string `json:"d"`
	Starts    uint64 `json:"s"`
	Version   string `json:"v,omitempty"`
	DataSize  int64  `json:"b,omitempty"`
	Refilling bool   `json:"r,omitempty"`
}

func encodeMeta(i Info, limit int) []byte {
	m := gossipMeta{Address: i.Address, Zone: i.Zone, Disk: i.Disk, Starts: i.Starts, Version: i.Version, DataSize: i.DataSize, Refilling: i.Refilling}
	text, err := json.Marshal(m)
	if err != nil || len(text) > limit {
		m.Version, m.Zone = "", ""
		if text, err = json.Marshal(m); err != nil || len(text) > limit {
			return nil
		}
	}
	return text
}

func infoOf(n *memberlist.Node) (Info, error) {
	id, err := strconv.ParseUint(n.Name, 10, 64)
	if err != nil {
		return Info{}, fmt.Errorf("gossip of %q: %w", n.Name, err)
	}
	var m gossipMeta
	if err := json.Unmarshal(n.Meta, &m); err != nil {
		return Info{}, fmt.Errorf("gossip of %q: %w", n.Name, err)
	}
	return Info{ID: ring.NodeID(id), Address: m.Address, Zone: m.Zone, Disk: m.Disk, Starts: m.Starts, Version: m.Version, DataSize: m.DataSize, Refilling: m.Refilling}, nil
}

// StartGossip begins to gossip.
func StartGossip(o GossipOptions) (*Gossip, error) {
	g := &Gossip{opts: o}
	list, err := memberlist.Create(g.config())
	if err != nil {
		return nil, fmt.Errorf("start gossip: %w", err)
	}
	g.list = list
	return g, nil
}

// config turns the two settings into memberlist's.
func (g *Gossip) config() *memberlist.Config {
	o := &g.opts
	c := memberlist.DefaultLANConfig()
	c.Name = o.Self().ID.String()
	c.Transport = o.Transport
	c.RequireNodeNames = true
	c.ProbeInterval = o.Heartbeat
	c.ProbeTimeout = min(o.Heartbeat/2, time.Second)
	// A node is probed once an interval and fails when its suspicion has lasted:
	// the multiplier is of the interval. The longest suspicion is the shortest,
	// so that the timeout is what was set however few nodes there are.
	c.SuspicionMult = max(1, int(math.Round(float64(o.FailureTimeout-o.Heartbeat)/float64(o.Heartbeat))))
	c.SuspicionMaxTimeoutMult = 1
	c.GossipInterval = min(200*time.Millisecond, o.Heartbeat)
	c.GossipToTheDeadTime = o.FailureTimeout
	c.PushPullInterval = 15 * time.Second
	c.TCPTimeout = 2 * time.Second
	// The fallback ping would take the same path.
	c.DisableTcpPings = true
	c.Delegate, c.Events = g, g
	c.Logger = o.Logger
	return c
}

// Join makes contact with nodes by their gossip addresses that are not known.
func (g *Gossip) Join(addresses []string) error {
	_, err := g.list.Join(addresses)
	return err
}

// Alive returns the nodes that gossip thinks alive, ascending.
func (g *Gossip) Alive() []ring.NodeID {
	var out []ring.NodeID
	for _, n := range g.list.Members() {
		if id, err := strconv.ParseUint(n.Name, 10, 64); err == nil {
			out = append(out, ring.NodeID(id))
		}
	}
	slices.Sort(out)
	return out
}

// Stop ends gossiping, without saying good-bye: a restart is no leaving.
func (g *Gossip) Stop() error { return g.list.Shutdown() }

// NodeMeta is called by memberlist for what this node says of itself.
func (g *Gossip) NodeMeta(limit int) []byte { return encodeMeta(g.opts.Self(), limit) }

// NotifyMsg is called by memberlist for messages of ours: there are none.
func (g *Gossip) NotifyMsg([]byte) {}

// GetBroadcasts is called by memberlist for messages of ours: there are none.
func (g *Gossip) GetBroadcasts(int, int) [][]byte { return nil }

// LocalState is called by memberlist for state of ours: there is none.
func (g *Gossip) LocalState(bool) []byte { return nil }

// MergeRemoteState is called by memberlist for state of ours: there is none.
func (g *Gossip) MergeRemoteState([]byte, bool) {}

// NotifyJoin is called by memberlist, with its locks held.
func (g *Gossip) NotifyJoin(n *memberlist.Node) { g.heard(n, true) }

// NotifyUpdate is called by memberlist, with its locks held.
func (g *Gossip) NotifyUpdate(n *memberlist.Node) { g.heard(n, true) }

// NotifyLeave is called by memberlist, with its locks held.
func (g *Gossip) NotifyLeave(n *memberlist.Node) { g.heard(n, false) }

func (g *Gossip) heard(n *memberlist.Node, alive bool) {
	info, err := infoOf(n)
	if err != nil {
		g.opts.Logger.Print(err)
		return
	}
	g.opts.Heard(info, alive)
}
