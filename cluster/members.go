package cluster

import (
	"errors"
	"fmt"
	"time"

	"github.com/count-db/count/cluster/membership"
	"github.com/count-db/count/cluster/rebalance"
	"github.com/count-db/count/cluster/ring"
	"github.com/count-db/count/cluster/transport"
)

func (c *Cluster) selfInfo() membership.Info {
	return membership.Info{
		ID: c.opts.Node, Address: c.opts.Address, Zone: c.opts.Zone, Disk: c.diskID(), Starts: c.opts.Disk.Starts,
		Version: c.opts.Version, DataSize: c.opts.DataSize(), Refilling: c.refill.running(),
	}
}

// Hello introduces this node.
func (c *Cluster) Hello() transport.Hello {
	secret := ""
	if c.opts.Secret != nil {
		secret = c.opts.Secret() // it may read a file
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	h := transport.Hello{
		Protocol: transport.Version, Cluster: c.opts.Cluster, Node: c.opts.Node, Disk: c.diskID(), Starts: c.opts.Disk.Starts, Start: c.instance,
		Address: c.opts.Address, Zone: c.opts.Zone, RF: c.opts.RF, Version: c.opts.Version, DataSize: c.opts.DataSize(),
		Founders: c.opts.Seeds, Resolved: c.resolved, Refilling: c.refill.running(), RequestIDs: true, Secret: secret, Seen: map[ring.NodeID]membership.Sighting{},
	}
	for id, s := range c.state.Seen {
		h.Seen[id] = s
	}
	if r := c.state.Ring; r != nil {
		h.ClusterID, h.Ring = r.ClusterID, r.Number
	}
	return h
}

// maxRefusals is how many refused nodes are remembered at once.
const maxRefusals = 64

// Meet checks another node's introduction and learns from it.
func (c *Cluster) Meet(h transport.Hello) error {
	err := c.meet(h)
	c.mu.Lock()
	defer c.mu.Unlock()
	who := fmt.Sprintf("node %d at %.*s", h.Node, maxAddress, h.Address)
	if err == nil {
		delete(c.refused, who)
		return nil
	}
	known, before := c.refused[who]
	if !before && len(c.refused) >= maxRefusals {
		return err // somebody makes up nodes: enough of them are remembered, and in the log
	}
	if c.refused[who] = (refusal{why: err.Error(), at: time.Now()}); known.why != err.Error() {
		c.warn("another node is refused", err, "node", h.Node, "address", fmt.Sprintf("%.*s", maxAddress, h.Address))
	}
	return err
}

func (c *Cluster) meet(h transport.Hello) error {
	switch o := &c.opts; {
	case len(h.Address) > maxAddress || len(h.Cluster) > maxAddress || len(h.Zone) > maxAddress || len(h.Disk) > maxAddress || len(h.ClusterID) > maxAddress:
		return errors.New("an introduction that no node writes: its fields are too long")
	case h.Protocol != transport.Version:
		return fmt.Errorf("node %d speaks version %d of the protocol, node %d version %d", h.Node, h.Protocol, o.Node, transport.Version)
	case h.Cluster != o.Cluster:
		return fmt.Errorf("CLUSTER_NAME differs: node %d belongs to %q, node %d to %q", h.Node, h.Cluster, o.Node, o.Cluster)
	case h.Node == o.Node:
		return fmt.Errorf("NODE_ID %d is used twice: at %s (disk %s) and at %s (disk %s)", h.Node, h.Address, h.Disk, o.Address, c.diskID())
	case h.Node == 0:
		return errors.New("a node without NODE_ID")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	// The setting only founds: a ring has its own, which Change changes.
	if c.state.Ring == nil && h.Ring == 0 && h.RF != c.opts.RF {
		return fmt.Errorf("REPLICATION_FACTOR differs: node %d has %d, node %d has %d", h.Node, h.RF, c.opts.Node, c.opts.RF)
	}
	if r := c.state.Ring; r != nil && h.ClusterID != "" && h.ClusterID != r.ClusterID {
		return fmt.Errorf("node %d belongs to another cluster of the name %q (id %s, here %s)", h.Node, h.Cluster, h.ClusterID, r.ClusterID)
	}
	now := time.Now()
	if n, known := c.view.Get(h.Node, now); known && n.Up && n.Disk != "" && !membership.SameDirectory(n.Disk, h.Disk) {
		return fmt.Errorf("NODE_ID %d is used twice: disk %s answers at %s, and disk %s comes from %s", h.Node, n.Disk, n.Address, h.Disk, h.Address)
	}
	if !c.view.Room(h.Node, now) {
		return fmt.Errorf("node %d is one too many: %d nodes outside the ring are known", h.Node, membership.MaxStrangers)
	}
	c.learnLocked(h, now)
	return nil
}

// learnLocked takes over what another node says of itself and of this one.
func (c *Cluster) learnLocked(h transport.Hello, now time.Time) {
	moved := c.view.Learn(membership.Info{
		ID: h.Node, Address: h.Address, Zone: h.Zone, Disk: h.Disk, Starts: h.Starts, Version: h.Version, DataSize: h.DataSize, Refilling: h.Refilling,
	}, now)
	if p := c.peer(h.Node); p != nil {
		p.Kick()
	}
	seen := membership.Sighting{Disk: h.Disk, Starts: h.Starts, Random: h.Start}.After(c.state.Seen[h.Node])
	if (moved || c.state.Seen[h.Node] != seen) && c.keepsLocked(h.Node) {
		c.state.Seen[h.Node] = seen
		c.state.Addresses[h.Node] = h.Address
		c.saveLocked()
	}
	c.remembered[h.Node] = h.Seen[c.opts.Node]
	if c.state.Ring != nil {
		c.checkDiskLocked()
	}
}

// keepsLocked says whether what is known of a node is kept on disk: not of ever more
// that are in no ring.
func (c *Cluster) keepsLocked(id ring.NodeID) bool {
	_, known := c.state.Addresses[id]
	return known || c.state.Ring != nil && c.state.Ring.Member(id) != nil || len(c.state.Addresses) < 2*membership.MaxStrangers
}

func (c *Cluster) saveLocked() {
	if err := c.state.Save(c.opts.FS, c.opts.Dir); err != nil {
		// Everything in it is learned again, but for the ring: adopt checks that.
		c.warn("cluster.state could not be written", err)
	}
}

// firstRing is the ring that these members found.
func (c *Cluster) firstRing(members []membership.RingMember) *membership.RingRecord {
	return &membership.RingRecord{
		Number: 1, ClusterID: membership.ClusterID(c.opts.Cluster, members), RF: c.opts.RF, Members: members,
	}
}

// adoptLocked puts a ring in force, durably first.
func (c *Cluster) adoptLocked(record *membership.RingRecord) error {
	t, err := newTopology(record, c.opts.Node, c.local.Labels)
	if err != nil {
		return err
	}
	old := c.state.Ring
	if in := c.topo.Load(); in != nil && in.ring.Number() == t.ring.Number() {
		t.numbers = in.numbers // a number is given out once
	} else if in != nil && !t.ring.Changing() {
		c.changes.restart() // in the middle of a change everything is copied already
	}
	if old == nil {
		me := record.Member(c.opts.Node)
		c.fresh.Store(record.Number == 1 && me != nil && me.Disk == c.diskID() && c.opts.Disk.Starts <= 1)
	}
	if old == nil || old.Number != record.Number {
		next := *c.floors.now()
		next.Enter(record.Number)
		if err := c.installFloorsLocked(next); err != nil {
			return err
		}
		strange := c.state.Strange
		c.state.Ring, c.state.Strange = record, strange && record.Member(c.opts.Node) == nil
		if err := c.state.Save(c.opts.FS, c.opts.Dir); err != nil {
			c.state.Ring, c.state.Strange = old, strange
			return err
		}
		c.windows.clear() // its lists are others
		c.info("a ring is in force", "ring", record.Number, "members", len(record.Members), "cluster_id", record.ClusterID)
	}
	if record.RF != c.opts.RF && (old == nil || old.RF != record.RF || c.topo.Load() == nil) {
		c.info("REPLICATION_FACTOR is for founding a cluster only: the ring's own counts; count cluster set-replication-factor changes it",
			"ring_has", record.RF, "setting", c.opts.RF)
	}
	c.view.SetRing(t.ring, time.Now())
	c.partLocked(old, record)
	c.noteLeaving(old, record)
	c.checkDiskLocked()
	c.gate.Lock()
	c.topo.Store(t)
	c.gate.Unlock()
	c.waits = nil
	c.changing.now()
	c.connectLocked()
	c.noteSightLocked()
	return nil
}

// connectLocked begins to connect to the members of the ring. Who was a member of a
// ring before that this node left over dual ones is connected still: it was taken for
// a visitor meanwhile, and is in sight again.
func (c *Cluster) connectLocked() {
	t := c.topo.Load()
	if !c.started || t == nil {
		return
	}
	for _, m := range t.ring.Members() {
		if p := c.peer(m.ID); p != nil && p.Connected() {
			c.view.SetUp(m.ID, true, time.Now())
		}
		if m.ID != c.opts.Node && c.peer(m.ID) == nil && c.ctx.Err() == nil {
			back := make(chan struct{}, 1)
			c.back[m.ID] = back
			c.turns[m.ID]++
			c.view.SetUp(m.ID, false, time.Now())
			c.peers.setLocked(m.ID, c.newPeer(m.ID, c.turns[m.ID]))
			c.wg.Go(func() { c.attend(m.ID, back) })
		}
	}
}

// checkDiskLocked decides whether this node must refill (C5), and has no vote (C2).
func (c *Cluster) checkDiskLocked() {
	recorded := ""
	if m := c.state.Ring.Member(c.opts.Node); m != nil {
		recorded = m.Disk
	} else {
		return // it holds nothing for the ring
	}
	c.renewLocked()
	disk := c.diskLocked()
	if lost, _, _ := c.local.Lost(); lost > 0 {
		disk.Gap = true // found since the start
	}
	reason := membership.RefillReason(disk, recorded, c.state.Merged, nil)
	if c.refill.covers(reason) {
		reason = ""
	}
	if reason == "" || reason == membership.NewReason && c.state.Refilling == membership.OlderReason {
		reason = c.state.Refilling // of a run before that did not finish
	}
	// A gap may be merged back already when another node's memory shows the rest.
	if running := c.refill.why(); reason == "" || running != "" && (running != membership.GapReason || reason != membership.OlderReason) {
		return
	}
	if len(c.state.Ring.Members) == 1 {
		c.warn("data was lost and there is nobody to refill from", errors.New(reason))
		return
	}
	c.state.Refilling = reason
	c.saveLocked()
	c.refill.start(reason)
	c.warn("this node is refilling: it counts for no read until it has merged its data back", errors.New(reason))
}

// noteRefills takes over who refills, and who does not any more: where gossip does
// not get through, only a new connection would tell.
func (c *Cluster) noteRefills(reports map[ring.NodeID]rebalance.Report) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, r := range reports {
		if id != c.opts.Node && r.Disk != "" {
			c.view.SetRefilling(id, r.Refill)
		}
	}
}

// newPeer begins to connect to a member; turn says how many peers of it there were
// before.
func (c *Cluster) newPeer(id ring.NodeID, turn uint64) *transport.Peer {
	return transport.NewPeer(transport.PeerOptions{
		Address: func() string {
			c.mu.Lock()
			defer c.mu.Unlock()
			n, _ := c.view.Get(id, time.Now())
			return n.Address
		},
		Dial: c.opts.Dial, Greeter: c, Labels: c.local.Labels, RequestIDs: c.opts.RequestIDs,
		Met: func(h transport.Hello) error {
			if h.Node != id {
				return fmt.Errorf("node %d answers at the address of node %d", h.Node, id)
			}
			return nil
		},
		Up:     func(up bool) { c.onUp(id, turn, up) },
		Failed: func(err error) { c.onFailed(id, err) },
	})
}

// misfit says why the two ends of a connection did not come to talk though they
// reached one another, "" where it was something else.
func misfit(err error) string {
	var h *transport.HandshakeError
	if errors.As(err, &h) {
		return h.Text
	}
	return ""
}

// onFailed is called after each attempt to connect to a member that failed. What
// an operator has to mend is logged when it begins and when it changes.
func (c *Cluster) onFailed(id ring.NodeID, err error) {
	text := misfit(err)
	if text == "" {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.misfits[id] == text {
		return
	}
	c.misfits[id] = text
	n, _ := c.view.Get(id, time.Now())
	c.warn("a member cannot be talked to", errors.New(text), "node", id, "address", n.Address)
}

// onUp is called when a member can be reached and when it no longer can.
func (c *Cluster) onUp(id ring.NodeID, turn uint64, up bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.turns[id] != turn {
		return // it left and is back, and what ended is the connection from before
	}
	c.view.SetUp(id, up, time.Now())
	c.noteSightLocked()
	if !up {
		c.changes.gone(id, time.Now())
	} else {
		delete(c.misfits, id)
		select {
		case c.back[id] <- struct{}{}:
		default:
		}
	}
}

// noteSightLocked works out the minority rule (C4).
func (c *Cluster) noteSightLocked() {
	majority := c.view.Majority()
	if majority {
		c.settled.Store(true)
	}
	if c.majority.Swap(majority) != majority && c.state.Ring != nil && len(c.state.Ring.Members) > 1 {
		switch {
		case majority:
			c.info("a majority of the cluster is in sight")
		case c.ctx.Err() == nil: // else it lets go of the others itself
			c.warn("writes are refused", ErrMinority)
		}
	}
}

// tick does what is due every second: nodes outside the ring are in sight while
// they are connected, marks and hints are synced, those for nobody are dropped, and a lone start is over in time.
func (c *Cluster) tick() {
	every := time.NewTicker(time.Second)
	defer every.Stop()
	began := time.Now()
	marked := began
	strangers := map[ring.NodeID]int{}
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-every.C:
		}
		if time.Since(began) >= c.opts.FailureTimeout {
			c.settled.Store(true)
		}
		if now := time.Now(); now.Sub(marked) >= markInterval {
			marked = now
			c.markNow()
		}
		c.noteVisitors()
		if err := c.hints.Sync(); err != nil {
			c.warn("hints could not be made durable", err)
		}
		c.dropStrangers(strangers)
		for _, id := range c.hints.Owed() {
			c.nudge(id)
		}
	}
}

// nudge makes a node in sight be brought up to date.
func (c *Cluster) nudge(id ring.NodeID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.view.InSight(id) {
		return
	}
	select {
	case c.back[id] <- struct{}{}:
	default:
	}
}

// noteVisitors notes whether nodes outside the ring are connected. One that becomes
// a member stands on its peer's word from then on; should it vanish before that
// peer ever reaches it, nobody says that it is gone, and its next start, at another
// address or on another disk, would be taken for a second node of its id.
func (c *Cluster) noteVisitors() {
	connected := map[ring.NodeID]bool{}
	var all []transport.Hello
	c.server.Peers(func(h transport.Hello) {
		connected[h.Node] = true
		all = append(all, h)
	})
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, h := range all {
		// Who was removed, was alive and joins again is connected from before: its
		// address was forgotten, and it does not introduce itself anew.
		if n, known := c.view.Get(h.Node, now); known && n.InRing && n.Address == "" {
			c.learnLocked(h, now)
		}
	}
	for _, n := range c.view.Nodes(now) {
		p := c.peers.get(n.ID)
		switch {
		case n.ID == c.opts.Node:
		case !n.InRing && (n.Up || connected[n.ID]):
			c.view.SetUp(n.ID, connected[n.ID], now)
		case !n.InRing && c.state.Ring != nil && now.Sub(n.LastSeen) >= c.opts.FailureTimeout:
			c.view.Forget(n.ID) // it has left, or never came in
		case n.InRing && n.Up && !connected[n.ID] && p != nil && !p.Connected():
			c.view.SetUp(n.ID, false, now)
			c.noteSightLocked()
		}
	}
}
