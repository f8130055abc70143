package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/count-db/count/cluster/membership"
	"github.com/count-db/count/cluster/rebalance"
	"github.com/count-db/count/cluster/ring"
)

// forcedStep is how far a forced ring's number lies above the one before: also
// above what members that are not reached may have agreed on meanwhile, so that
// they take it over when they are met again.
const forcedStep = 1000

// Recovered is the outcome of Recover.
type Recovered struct {
	Ring    uint64        `json:"ring"`
	Members []ring.NodeID `json:"members"`
	Lost    []ring.NodeID `json:"lost"`
	// Missing is the part of all series, 0 to 1, of which so many candidates are
	// lost that acknowledged writes may be missing.
	Missing float64 `json:"possibly_missing_share"`
}

// Recover founds the next ring from the members that this node reaches, without
// an agreement: for when a majority is lost for good (C2). It is the operator's
// word that the others are dead; were they alive, two clusters would acknowledge
// writes until they meet. Refused while a majority is in sight that has votes: members
// whose disks are new ones have none until a majority has agreed on recording them.
func (c *Cluster) Recover(ctx context.Context) (Recovered, error) {
	t := c.topo.Load()
	switch {
	case t == nil:
		return Recovered{}, unavailable(c.notFounded())
	case t.record.Member(c.opts.Node) == nil:
		return Recovered{}, fmt.Errorf("%w: node %d is no member: ask one that is", rebalance.ErrRefused, c.opts.Node)
	case t.alone:
		return Recovered{}, errMajority
	case c.refill.running():
		return Recovered{}, fmt.Errorf("%w: this node is refilling: ask one that is whole", rebalance.ErrRefused)
	}
	if !c.lostLongEnough() {
		return Recovered{}, unavailable(fmt.Errorf("a member was seen within %s: it may come back", recoverPatience))
	}
	reports := c.askReports(t)
	if c.topo.Load() != t {
		return Recovered{}, unavailable(errRingMoved)
	}
	for _, m := range t.ring.Voters() {
		if _, reached := reports[m.ID]; !reached && c.inSight(m.ID) {
			return Recovered{}, unavailable(fmt.Errorf("node %d is in sight and did not answer: try again", m.ID))
		}
	}
	if c.majority.Load() && 2*votes(t, reports) > len(t.ring.Voters()) {
		return Recovered{}, errMajority
	}
	out := Recovered{Ring: t.ring.Number() + forcedStep}
	record := &membership.RingRecord{Number: out.Ring, ClusterID: t.record.ClusterID, RF: t.record.RF}
	for _, m := range t.record.Members {
		if _, reached := reports[m.ID]; !reached {
			out.Lost = append(out.Lost, m.ID)
			continue
		}
		out.Members = append(out.Members, m.ID)
		record.Members = append(record.Members, m)
	}
	out.Missing = possiblyMissing(t, append(c.refillingMembers(t), out.Lost...))
	c.mu.Lock()
	err := c.adoptNewerLocked(record)
	c.mu.Unlock()
	if err != nil {
		return out, err
	}
	c.warn("a ring was founded by force", errors.New("acknowledged writes may be missing"), "ring", out.Ring, "lost", fmt.Sprint(out.Lost), "share", out.Missing)
	ctx, cancel := context.WithTimeout(ctx, reportTimeout)
	defer cancel()
	for _, id := range out.Members {
		if id != c.opts.Node {
			c.giveRing(ctx, id)
		}
	}
	return out, nil
}

var errMajority = fmt.Errorf("%w: a majority is in sight: remove dead members instead", rebalance.ErrRefused)

// votes returns how many members answer and can vote on the next ring.
func votes(t *topology, reports map[ring.NodeID]rebalance.Report) (n int) {
	for _, m := range t.ring.Voters() {
		if r, answers := reports[m.ID]; answers && !r.NoVote {
			n++
		}
	}
	return n
}

// refillingMembers returns the members in sight that have not merged back what they
// lost.
func (c *Cluster) refillingMembers(t *topology) (out []ring.NodeID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range t.ring.Voters() {
		if n, ok := c.view.Get(m.ID, time.Now()); ok && n.Up && n.Refilling && m.ID != c.opts.Node {
			out = append(out, m.ID)
		}
	}
	return out
}

// possiblyMissing returns the share of the circle whose candidates lost W or more.
func possiblyMissing(t *topology, lost []ring.NodeID) float64 {
	share := 0.0
	for bucket := range t.ring.Buckets() {
		l := &t.lists[t.ring.ListOfBucket(bucket)]
		if gone := l.Group(0); countIn(gone.Nodes, lost) >= gone.W {
			from, to := t.ring.Range(bucket)
			share += ring.Share(from, to)
		}
	}
	return min(share, 1)
}

func countIn(nodes, set []ring.NodeID) int {
	n := 0
	for _, id := range nodes {
		if slices.Contains(set, id) {
			n++
		}
	}
	return n
}

// recoverPatience is how long a member must be out of sight before it may be
// given up by force.
const recoverPatience = 10 * time.Second

// lostLongEnough says whether every member out of sight has been so for a while:
// a moment's hiccup is no reason to give anyone up.
func (c *Cluster) lostLongEnough() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	for _, n := range c.view.Nodes(now) {
		if n.InRing && !n.Up && n.ID != c.opts.Node && now.Sub(n.LastSeen) < recoverPatience {
			return false
		}
	}
	return true
}
