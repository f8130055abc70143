package cluster

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"github.com/count-db/count/cluster/membership"
	"github.com/count-db/count/cluster/rebalance"
	"github.com/count-db/count/cluster/ring"
)

// ringPlan is what GET /cluster/ring answers to ?join=ID or ?leave=ID: what that
// change would move. Nothing is changed.
type ringPlan struct {
	Change string      `json:"change"` // in words
	Share  float64     `json:"share"`  // part of all series whose copies move, summed over the copies
	Bytes  int64       `json:"bytes"`  // about so many, on disk, over the network; 0 = not known
	Nodes  []plannedOf `json:"nodes"`  // ascending by id
}

// plannedOf is a member before and after the planned change.
type plannedOf struct {
	ID     ring.NodeID `json:"id"`
	Before float64     `json:"share_before"` // part of all series that it owns, 0 to 1
	After  float64     `json:"share_after"`
	Copies float64     `json:"copies"` // part of all series that it copies from others
	Bytes  int64       `json:"bytes"`  // about so many, on disk; 0 = not known
}

// plannedChange reads what a request for the ring asks to be planned; nil:
// nothing.
func plannedChange(r *http.Request) (*rebalance.Request, error) {
	query := r.URL.Query()
	for name, kind := range map[string]rebalance.Kind{"join": rebalance.Join, "leave": rebalance.Leave} {
		if !query.Has(name) {
			continue
		}
		id, err := strconv.ParseUint(query.Get(name), 10, 64)
		if err != nil || id == 0 {
			return nil, fmt.Errorf("%w: %s must be the id of a node", errBadRequest, name)
		}
		// The disk is the new node's own secret; any stands for it in a plan.
		return &rebalance.Request{Kind: kind, Node: ring.NodeID(id), Zone: query.Get("zone"), Disk: "planned"}, nil
	}
	return nil, nil
}

// planChange says what a change of the ring would move.
func (c *Cluster) planChange(t *topology, wish rebalance.Request) (*ringPlan, error) {
	record, err := rebalance.Begin(t.record, wish)
	if err != nil {
		return nil, err
	}
	dual, err := record.Ring()
	if err != nil {
		return nil, fmt.Errorf("place the planned ring: %w", err)
	}
	plan := &ringPlan{Change: wish.String()}
	if !dual.Changing() {
		return plan, nil
	}
	before, after, tasks := dual.Before().Shares(), dual.After().Shares(), rebalance.Plan(dual)
	perShare := bytesPerShare(before, c.Nodes())
	for _, m := range dual.Members() {
		n := plannedOf{ID: m.ID, Before: before[m.ID], After: after[m.ID], Copies: rebalance.Share(tasks, m.ID)}
		n.Bytes = int64(n.Copies * perShare)
		plan.Share += n.Copies
		plan.Bytes += n.Bytes
		plan.Nodes = append(plan.Nodes, n)
	}
	slices.SortFunc(plan.Nodes, func(a, b plannedOf) int { return cmp.Compare(a.ID, b.ID) })
	return plan, nil
}

// bytesPerShare is about how much one copy of everything takes on disk, from
// what the nodes say of themselves.
func bytesPerShare(shares map[ring.NodeID]float64, nodes []membership.Node) float64 {
	var size, share float64
	for _, n := range nodes {
		if n.DataSize > 0 && shares[n.ID] > 0 {
			size, share = size+float64(n.DataSize), share+shares[n.ID]
		}
	}
	if share == 0 {
		return 0
	}
	return size / share
}
