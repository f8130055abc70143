package cluster

import (
	"bufio"
	"net"
	"slices"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	stdlog "log"

	"github.com/count-db/count/cluster/membership"
	"github.com/count-db/count/cluster/ring"
	"github.com/count-db/count/cluster/transport"
)

// gossip is this node's part in spreading who is there.
type gossip struct {
	c    *Cluster
	wire *transport.Gossip
	list *membership.Gossip // set by start
}

func newGossip(c *Cluster) *gossip {
	return &gossip{c: c, wire: transport.NewGossip(c.opts.Node, c.opts.Dial, c, c.addressOf)}
}

func (c *Cluster) addressOf(id ring.NodeID) (string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, ok := c.view.Get(id, time.Now())
	return n.Address, ok && n.Address != ""
}

// takeGossip takes connections of the gossip kinds.
func (c *Cluster) takeGossip(kind string, nc net.Conn, in *bufio.Reader, from transport.Hello) {
	if c.gossip == nil {
		_ = nc.Close() // this node does not gossip
		return
	}
	c.gossip.wire.Accept(kind, nc, in, from)
}

func (g *gossip) start() error {
	list, err := membership.StartGossip(membership.GossipOptions{
		Self: g.c.selfInfo, Transport: g.wire, Heartbeat: g.c.opts.Heartbeat, FailureTimeout: g.c.opts.FailureTimeout,
		Logger: stdlog.New(log.NewStdlibAdapter(level.Debug(log.With(g.c.opts.Logger, "part", "gossip"))), "", 0),
		Heard:  g.heard,
	})
	if err != nil {
		return err
	}
	g.list = list
	g.c.wg.Go(g.join)
	return nil
}

// heard takes gossip's word; memberlist holds its locks.
func (g *gossip) heard(info membership.Info, alive bool) {
	c := g.c
	if info.ID == c.opts.Node {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !alive {
		c.view.Suspect(info.ID, true)
		return
	}
	c.view.Suspect(info.ID, false)
	if n, known := c.view.Get(info.ID, time.Now()); known && n.Up && n.Disk != "" && !membership.SameDirectory(n.Disk, info.Disk) {
		return // another disk under the id of a node that answers: it is refused when it connects
	}
	if !c.view.Room(info.ID, time.Now()) || len(info.Address) > maxAddress {
		return
	}
	if c.view.Learn(info, time.Now()) && c.keepsLocked(info.ID) {
		c.state.Addresses[info.ID] = info.Address
		c.saveLocked()
		if p := c.peer(info.ID); p != nil {
			p.Kick()
		}
	}
}

// join makes contact, again and again, with nodes whose addresses are known and
// that gossip does not know: memberlist itself asks only once.
func (g *gossip) join() {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-g.c.ctx.Done():
			return
		case <-tick.C:
		}
		alive := g.list.Alive()
		var missing []string
		for _, n := range g.c.Nodes() {
			if n.Up && n.ID != g.c.opts.Node && !slices.Contains(alive, n.ID) {
				missing = append(missing, transport.GossipAddress(n.ID))
			}
		}
		if len(missing) == 0 {
			continue
		}
		if err := g.list.Join(missing); err != nil {
			// It is tried again in a second; the peers' own state says more.
			_ = level.Debug(g.c.opts.Logger).Log("msg", "gossip could not make contact", "err", err)
		}
	}
}

func (g *gossip) stop() {
	if g.list == nil {
		return
	}
	if err := g.list.Stop(); err != nil {
		g.c.warn("gossip did not end well", err)
	}
}
