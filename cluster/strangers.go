package cluster

import (
	"errors"
	"fmt"
	"time"

	"github.com/count-db/count/cluster/membership"
	"github.com/count-db/count/cluster/transport"
)

const (
	// strangersEvery is how often a node that has a ring looks who answers at the
	// addresses of CLUSTER_NODES, where none is known as a member.
	strangersEvery = 30 * time.Second
	// refusedShown is how long after its last attempt a node that was refused is
	// still shown.
	refusedShown = 5 * time.Minute
)

// refusal is that a node was refused.
type refusal struct {
	why string
	at  time.Time // of the last attempt
}

// checkSeeds finds out whether CLUSTER_NODES names another cluster than the one
// that this node's disk belongs to. The node goes by its disk, so nothing else would
// tell: it works, apart from the nodes that it was meant to be with.
func (c *Cluster) checkSeeds() {
	t := c.topo.Load()
	if t == nil || c.seedIsMember() {
		return
	}
	apart := ""
	for _, address := range c.opts.Seeds {
		if address == c.opts.Address {
			continue
		}
		answer, err := c.probe(address)
		switch hello := answer.hello; {
		case err == nil: // of this cluster, or of none yet
			c.setApart("")
			return
		case hello.ClusterID != "" && hello.ClusterID != t.record.ClusterID:
			apart = c.otherCluster(t.record, address, hello)
		case apart == "" && misfit(err) != "":
			apart = fmt.Sprintf("CLUSTER_NODES names no known member of this node's cluster, and %s does not talk to it: %s", address, misfit(err))
		}
	}
	if apart != "" { // else nobody answers, and what was known stays
		c.setApart(apart)
	}
}

// seedIsMember says whether CLUSTER_NODES has the address of another member that
// answers.
func (c *Cluster) seedIsMember() bool {
	seeds := map[string]bool{}
	for _, address := range c.opts.Seeds {
		seeds[address] = true
	}
	for _, n := range c.Nodes() {
		if n.ID != c.opts.Node && n.InRing && n.Up && seeds[n.Address] {
			return true
		}
	}
	return false
}

func (c *Cluster) otherCluster(mine *membership.RingRecord, address string, theirs transport.Hello) string {
	return fmt.Sprintf("the disk of this node belongs to another cluster than CLUSTER_NODES names: to %q with the id %s (ring %d, %d members), while node %d, which answers at %s, belongs to %q with the id %s. "+
		"The node goes on in the cluster of its disk. To keep it there, name members of that one in CLUSTER_NODES; to have it join the other, start it with an empty DATA_DIR, after a `count backup` if what is on this disk is still needed",
		c.opts.Cluster, mine.ClusterID, mine.Number, len(mine.Members), theirs.Node, address, theirs.Cluster, theirs.ClusterID)
}

func (c *Cluster) setApart(why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if why != "" && why != c.apart {
		c.warn("the node is apart from the nodes that CLUSTER_NODES names", errors.New(why))
	}
	c.apart = why
}
