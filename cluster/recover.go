package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/count-db/count/cluster/membership"
	"github.com/count-db/count/cluster/rebalance"
	"github.com/count-db/count/cluster/ring"
	"github.com/count-db/count/cluster/transport"
)

// A majority that is lost for good (C2): by the operator's word the next ring is
// founded without an agreement, of the members that are reached. It comes as any
// other ring does (C3): dual at first, where of the ring before only what survived
// counts (ring.Survived), and final when those who gained ranges have merged all
// that the survivors hold of them.

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
// Should more members be lost before what the survivors hold is merged, that cannot
// end, and Recover founds the next ring again, whatever is in sight.
func (c *Cluster) Recover(ctx context.Context) (Recovered, error) {
	t, reports, err := c.survivors()
	if err != nil {
		return Recovered{}, err
	}
	record, out := c.forcedRing(t, reports)
	ctx, cancel := context.WithTimeout(ctx, reportTimeout)
	defer cancel()
	// To the others first: nobody is to find this ring on the disk of a node that
	// died when it alone had it, after the others were recovered once more.
	if err := c.giveForced(ctx, record); err != nil {
		return Recovered{}, err
	}
	c.mu.Lock()
	err = c.adoptNewerLocked(record)
	c.mu.Unlock()
	if err != nil {
		return out, err
	}
	c.warn("a ring was founded by force", errors.New("acknowledged writes may be missing"), "ring", out.Ring, "lost", fmt.Sprint(out.Lost), "share", out.Missing)
	return out, nil
}

var errMajority = fmt.Errorf("%w: a majority is in sight: remove dead members instead", rebalance.ErrRefused)

// survivors returns the ring in force and the reports of the members that are
// reached, when it is time to give up the others.
func (c *Cluster) survivors() (*topology, map[ring.NodeID]rebalance.Report, error) {
	t := c.topo.Load()
	switch {
	case t == nil:
		return nil, nil, unavailable(c.notFounded())
	case t.record.Member(c.opts.Node) == nil:
		return nil, nil, fmt.Errorf("%w: node %d is no member: ask one that is", rebalance.ErrRefused, c.opts.Node)
	case t.alone:
		return nil, nil, errMajority
	case c.refill.running():
		return nil, nil, fmt.Errorf("%w: this node is refilling: ask one that is whole", rebalance.ErrRefused)
	case !c.lostLongEnough():
		return nil, nil, unavailable(fmt.Errorf("a member was seen within %s: it may come back", recoverPatience))
	}
	reports := c.askReports(t)
	if c.topo.Load() != t {
		return nil, nil, unavailable(errRingMoved)
	}
	for _, m := range t.ring.Voters() {
		switch r, reached := reports[m.ID]; {
		case !reached && c.inSight(m.ID):
			return nil, nil, unavailable(fmt.Errorf("node %d is in sight and did not answer: try again", m.ID))
		case reached && r.Ring != t.ring.Number():
			// It was told of the ring by now; until it knows it cannot say what it lacks.
			return nil, nil, unavailable(fmt.Errorf("node %d had ring %d in force, not %d: try again", m.ID, r.Ring, t.ring.Number()))
		}
	}
	more := len(t.record.Lost) > 0 && !t.allReport(reports)
	if !more && c.majority.Load() && 2*votes(t, reports) > len(t.ring.Voters()) {
		return nil, nil, errMajority
	}
	return t, reports, nil
}

func (t *topology) allReport(reports map[ring.NodeID]rebalance.Report) bool {
	return !slices.ContainsFunc(t.ring.Voters(), func(m ring.Member) bool { _, reached := reports[m.ID]; return !reached })
}

// votes returns how many members answer and can vote on the next ring.
func votes(t *topology, reports map[ring.NodeID]rebalance.Report) (n int) {
	for _, m := range t.ring.Voters() {
		if r, answers := reports[m.ID]; answers && !r.NoVote {
			n++
		}
	}
	return n
}

// forcedRing returns the ring of those who report. It comes after the ring before a
// change that was under way, which is taken back, and after the ring before the last
// recovery where that has not ended. No two members give it the same number.
func (c *Cluster) forcedRing(t *topology, reports map[ring.NodeID]rebalance.Report) (*membership.RingRecord, Recovered) {
	rank := slices.IndexFunc(t.record.Members, func(m membership.RingMember) bool { return m.ID == c.opts.Node })
	number := t.ring.Number() + forcedStep*uint64(rank+1)
	record := &membership.RingRecord{Number: number, ClusterID: t.record.ClusterID, RF: t.record.RF, Lost: slices.Clone(t.record.Lost)}
	out := Recovered{Ring: number}
	var lost []ring.NodeID // or refilling
	for _, m := range t.record.Members {
		r, reached := reports[m.ID]
		if !reached || r.Refill {
			record.Lost = append(slices.DeleteFunc(record.Lost, func(o membership.RingMember) bool { return o.ID == m.ID }), m)
			lost = append(lost, m.ID)
		}
		if !reached {
			out.Lost = append(out.Lost, m.ID)
			continue
		}
		if r.Disk != "" {
			m.Disk = r.Disk // it has a vote again: no other one knows of this ring
		}
		out.Members = append(out.Members, m.ID)
		record.Members = append(record.Members, m)
	}
	for i := range t.lists {
		if t.lists[i].MayMiss(lost) {
			out.Missing = min(out.Missing+t.ring.Share(i), 1)
		}
	}
	if len(record.Members) == 1 {
		record.Lost = nil // there is nobody to merge with
		return record, out
	}
	record.Next = &membership.NextRing{RF: record.RF, Members: record.Members}
	return record, out
}

// giveForced gives a forced ring to its other members; an error: to none of them.
func (c *Cluster) giveForced(ctx context.Context, record *membership.RingRecord) error {
	if len(record.Members) == 1 {
		return nil
	}
	body, err := json.Marshal(ringAnswer{Ring: record, Addresses: c.addresses()})
	if err != nil {
		return err
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	given, failed := 0, error(nil)
	for _, m := range record.Members {
		if m.ID == c.opts.Node {
			continue
		}
		wg.Go(func() {
			err := error(transport.ErrUnreachable)
			if p := c.peer(m.ID); p != nil {
				_, err = p.Call(ctx, opTakeRing, body)
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed = errors.Join(failed, fmt.Errorf("node %d: %w", m.ID, err))
				return
			}
			given++
		})
	}
	wg.Wait()
	if given == 0 {
		return unavailable(fmt.Errorf("no other member took ring %d: %w", record.Number, failed))
	}
	return nil // the others are given it by those who have it
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
