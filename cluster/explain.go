package cluster

import (
	"fmt"
	"strings"

	"github.com/count-db/count/cluster/ring"
	"github.com/count-db/count/cluster/spread"
)

// ExplainSpread says for people where the parts of a query through this node
// would be computed now, for how much of all series; empty for a node alone.
func (c *Cluster) ExplainSpread() string {
	t := c.topo.Load()
	switch {
	case t == nil || t.alone:
		return ""
	case t.ring.Changing() || !t.member || !c.majority.Load():
		return "parts are computed over series merged from several copies"
	case t.whole:
		return fmt.Sprintf("parts are computed by node %d, which owns all series, where its copy is provably complete", c.opts.Node)
	}
	load := map[ring.NodeID]float64{}
	lists := make([]int, len(t.lists))
	for i := range lists {
		lists[i] = i
	}
	_, nobody := spread.Assign(spread.Request{
		Ring: t.ring, Self: c.opts.Node, Lists: lists, Usable: func(_ int, id ring.NodeID) bool { return c.canCompute(id) }, Load: load,
	})
	var parts []string
	for _, m := range t.ring.Members() {
		if share := load[m.ID]; share > 0 {
			parts = append(parts, fmt.Sprintf("node %d (%.0f %%)", m.ID, 100*share))
		}
	}
	out := "parts are computed by owners of the series: " + strings.Join(parts, ", ")
	merged := 0.0
	for _, i := range nobody {
		merged += t.ring.Share(i)
	}
	if merged > 0 {
		out += fmt.Sprintf("; %.0f %% are merged from several copies", 100*merged)
	}
	return out
}
