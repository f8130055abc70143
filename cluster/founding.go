package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/count-db/count/cluster/membership"
	"github.com/count-db/count/cluster/ring"
	"github.com/count-db/count/cluster/transport"
)

const (
	foundingInterval = 250 * time.Millisecond // between two rounds of asking while there is no ring
	seedInterval     = 2 * time.Second        // the same while no majority of the ring is in sight
	probeTimeout     = 2 * time.Second
)

// founder says whether this node is named by its own list.
func (c *Cluster) founder() bool { return slices.Contains(c.opts.Seeds, c.opts.Address) }

// found asks the seeds until there is a ring, and again whenever no majority is
// in sight: the members' addresses may all have changed. Where there is a ring, it
// also looks whether the seeds are of the same cluster.
func (c *Cluster) found() {
	var looked time.Time
	for c.ctx.Err() == nil {
		wait := seedInterval
		if c.topo.Load() == nil {
			wait = foundingInterval
		}
		if c.topo.Load() == nil || !c.majority.Load() {
			c.askSeeds()
		}
		if c.topo.Load() != nil && (looked.IsZero() || time.Since(looked) >= strangersEvery) {
			c.checkSeeds()
			looked = time.Now()
		}
		t := time.NewTimer(wait)
		select {
		case <-c.ctx.Done():
		case <-t.C:
		}
		t.Stop()
	}
}

// seedAnswer is what a seed says.
type seedAnswer struct {
	ringAnswer
	hello transport.Hello
}

func (c *Cluster) askSeeds() {
	var founders []membership.Founder
	var refused, silent error
	for _, address := range c.opts.Seeds {
		if address == c.opts.Address {
			founders = append(founders, c.selfFounder(address))
			continue
		}
		answer, err := c.probe(address)
		if err != nil {
			if transport.CodeOf(err) == transport.CodeRefused || misfit(err) != "" {
				refused = fmt.Errorf("%s: %w", address, err)
			} else {
				silent = fmt.Errorf("%s: %w", address, err)
			}
			continue
		}
		if answer.Ring != nil {
			c.adoptFrom(answer)
			continue
		}
		founders = append(founders, membership.Founder{
			Address: address, ID: answer.hello.Node, Zone: answer.hello.Zone, Disk: answer.hello.Disk,
			List: answer.hello.Founders, Resolved: answer.hello.Resolved,
		})
	}
	c.noteResolved(founders)
	switch {
	case c.topo.Load() != nil:
		return
	case refused != nil: // waiting changes nothing about it
		c.setWaits(refused)
		return
	case !c.founder() && len(founders) == 0 && silent != nil:
		c.setWaits(fmt.Errorf("%w: this node's ADVERTISE_ADDRESS %s is not in its CLUSTER_NODES, so it joins through them, and none answers: %w", ErrNotFounded, c.opts.Address, silent))
		return
	case !c.founder():
		c.setWaits(fmt.Errorf("%w: this node's ADVERTISE_ADDRESS %s is not in its CLUSTER_NODES, so it joins through them, and none has a ring yet", ErrNotFounded, c.opts.Address))
		return
	}
	members, err := membership.Found(c.opts.Node, c.opts.Seeds, founders)
	if err != nil {
		c.setWaits(err)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.topo.Load() != nil {
		return
	}
	if err := c.adoptLocked(c.firstRing(members)); err != nil {
		c.waits = err
	}
}

func (c *Cluster) selfFounder(address string) membership.Founder {
	return membership.Founder{Address: address, ID: c.opts.Node, Zone: c.opts.Zone, Disk: c.diskID(), List: c.opts.Seeds}
}

// noteResolved remembers who answers under the names of the list, for founders
// whose lists use other names.
func (c *Cluster) noteResolved(founders []membership.Founder) {
	if len(founders) != len(c.opts.Seeds) {
		return
	}
	var ids []ring.NodeID
	for _, f := range founders {
		ids = append(ids, f.ID)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.resolved = ids
}

func (c *Cluster) setWaits(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.topo.Load() != nil {
		return
	}
	if c.waits == nil || c.waits.Error() != err.Error() {
		c.warn("the cluster is not founded", err)
	}
	c.waits = err
}

// notFounded says why there is no ring, also where there is one by now: the caller
// found none.
func (c *Cluster) notFounded() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.waits == nil:
		return ErrNotFounded
	case errors.Is(c.waits, ErrNotFounded):
		return c.waits
	}
	return fmt.Errorf("%w: %w", ErrNotFounded, c.waits)
}

// adoptFrom takes over a ring that another node has in force.
func (c *Cluster) adoptFrom(a seedAnswer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if have := c.state.Ring; have != nil && have.Number >= a.Ring.Number {
		return
	}
	for id, address := range a.Addresses {
		if n, known := c.view.Get(id, time.Now()); id != c.opts.Node && (!known || n.Address == "") {
			c.view.Learn(membership.Info{ID: id, Address: address}, time.Now())
			c.state.Addresses[id] = address
		}
	}
	if err := c.adoptLocked(a.Ring); err != nil {
		c.warn("a ring could not be put in force", err, "from", a.hello.Node, "ring", a.Ring.Number)
	}
}

// probe asks whoever answers at the address for its ring. With an error the answer
// may still say who that is.
func (c *Cluster) probe(address string) (seedAnswer, error) {
	ctx, cancel := context.WithTimeout(c.ctx, probeTimeout)
	defer cancel()
	hello, payload, err := transport.Ask(ctx, c.opts.Dial, address, c, opRing, nil)
	a := seedAnswer{hello: hello}
	if err != nil {
		return a, err
	}
	if len(payload) > 0 {
		if a.ringAnswer, err = decodeRing(payload); err != nil {
			return a, fmt.Errorf("ring of node %d: %w", hello.Node, err)
		}
	}
	return a, nil
}

// noteRing acts on an error that says that rings differ.
func (c *Cluster) noteRing(err error) {
	var remote *transport.RemoteError
	if !errors.As(err, &remote) || remote.Code != transport.CodeOldRing || len(remote.Detail) == 0 {
		return
	}
	a, ringErr := decodeRing(remote.Detail)
	if ringErr != nil {
		c.warn("a newer ring could not be read", ringErr)
		return
	}
	// Not from here: the caller holds a write's lock.
	c.wg.Go(func() { c.adoptFrom(seedAnswer{ringAnswer: a}) })
}

// ringAnswer is a ring as it is sent, with where its members are.
type ringAnswer struct {
	Ring      *membership.RingRecord `json:"ring"`
	Addresses map[ring.NodeID]string `json:"addresses"`
}

// ringBytes is the ring in force as it is sent; nil when there is none.
func (c *Cluster) ringBytes() ([]byte, error) {
	t := c.topo.Load()
	if t == nil {
		return nil, nil
	}
	return json.Marshal(ringAnswer{Ring: t.record, Addresses: c.addresses()})
}

// addresses returns where the members are.
func (c *Cluster) addresses() map[ring.NodeID]string {
	out := map[ring.NodeID]string{}
	for _, n := range c.Nodes() {
		if n.InRing {
			out[n.ID] = n.Address
		}
	}
	return out
}

func decodeRing(payload []byte) (ringAnswer, error) {
	var a ringAnswer
	err := json.Unmarshal(payload, &a)
	if err == nil && a.Ring == nil {
		err = errors.New("no ring in the answer")
	}
	return a, err
}
