package cluster

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/count-db/count/cluster/membership"
	"github.com/count-db/count/cluster/ring"
	"github.com/count-db/count/cluster/transport"
)

// A disk that was put back to an older copy may have forgotten what it promised and
// accepted, and then two rings of one number could be agreed on. So (C2)
//
//   - a vote counts this node's mark on, and nothing of it leaves before a majority,
//     this node included, remembers that mark durably (tellMark);
//   - a node votes only when it has heard, since it started, what a majority remembers
//     of its disk, and in its first moments what all members do (mayVote);
//   - one of which more is remembered than its disk has stands on a new disk from then
//     on (renewLocked): it refills, and has no vote until the ring records that disk.
//
// Of an odd number of members two majorities may have but this node in common. So two
// rings are still possible where none of those that a node saw when it voted is among
// those that it sees in the first hearingPatience on the older copy. Nobody in sight
// could know better then, and whoever waited for more would lose the vote wherever
// another node is down.

const (
	// hearingPatience is how long a node that has just started waits for the members
	// that are not in sight before it votes without having heard them.
	hearingPatience = 5 * time.Second
	// stragglerPatience is how long a vote waits for members to remember it that are
	// not needed for it.
	stragglerPatience = 100 * time.Millisecond
)

// voting is what a node remembers of its votes while it runs.
type voting struct {
	began time.Time

	mark uint64 // guarded by Cluster.mu; of the last vote of this start
	told uint64 // guarded by Cluster.mu; the highest mark of this start that a majority remembers

	noted uint64     // guarded by Cluster.mu; counts what other nodes had this one remember
	keep  sync.Mutex // held while that is made durable
	kept  uint64     // guarded by keep; of noted
}

// diskID returns the id under which the ring knows this node's disk.
func (c *Cluster) diskID() string {
	if id := c.renewed.Load(); id != nil {
		return *id
	}
	return c.opts.Disk.ID
}

// diskLocked returns this node's disk as it is told from its copies.
func (c *Cluster) diskLocked() membership.Disk {
	disk := c.opts.Disk
	disk.ID, disk.Former, disk.Past = c.diskID(), c.state.Former, c.state.Past
	return disk
}

// renewLocked has this node stand on a new disk where another node remembers more of
// the one that it stands on. The caller holds c.mu.
func (c *Cluster) renewLocked() {
	disk := c.diskLocked()
	var by ring.NodeID
	for id, s := range c.remembered {
		if disk.IsOlder(s) {
			by = id
		}
	}
	id := membership.Renewed(disk.ID, c.instance)
	if by == 0 || id == disk.ID || len(c.state.Ring.Members) == 1 {
		return
	}
	c.state.Renewed = id
	c.state.Former = append(c.state.Former, disk.ID)
	c.state.Former = c.state.Former[max(0, len(c.state.Former)-membership.KeptStarts):]
	c.state.Past = c.state.Past[len(c.state.Past)-1:]
	if c.refill.covers(membership.OlderReason) {
		c.state.Merged = id
	} else {
		c.state.Refilling = membership.OlderReason
	}
	c.core = nil
	c.renewed.Store(&id)
	c.saveLocked() // where it fails, the next start finds the same
	c.warn("this node has no vote until the ring records its disk anew", errors.New(membership.OlderReason), "remembered_by", by, "disk", disk.ID, "now", id)
}

// formerVoteLocked returns the disk that the ring records for this node where that was
// found to be an older copy and may answer proposals all the same: where nothing is
// decided without all votes, the others remember. Without it two members could not
// agree on recording the disk. Empty: there is none. The caller holds c.mu.
func (c *Cluster) formerVoteLocked(r *membership.RingRecord) string {
	m, e := r.Member(c.opts.Node), r.Electorate()
	if m == nil || m.Disk == c.diskID() || !membership.SameDirectory(m.Disk, c.diskID()) || e.Majority() < len(e) {
		return ""
	}
	return m.Disk
}

// mayVote says why this node must not vote now.
func (c *Cluster) mayVote() error {
	t := c.topo.Load()
	switch {
	case t == nil:
		return ErrNotFounded
	case t.alone:
		return nil
	case !c.majority.Load():
		return fmt.Errorf("node %d does not vote: %w", c.opts.Node, ErrMinority)
	case time.Since(c.voting.began) >= hearingPatience:
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range t.ring.Voters() {
		if _, met := c.remembered[m.ID]; !met && m.ID != c.opts.Node {
			return fmt.Errorf("node %d has just started and waits %s for node %d before it votes", c.opts.Node, hearingPatience, m.ID)
		}
	}
	return nil
}

// tellMark returns when a majority, this node included, remembers the last vote of
// this start; the others in sight have a moment to do so too.
func (c *Cluster) tellMark(ctx context.Context) error {
	t := c.topo.Load()
	c.mu.Lock()
	mark, told := c.voting.mark, c.voting.told
	mine := membership.Sighting{Disk: c.diskID(), Starts: c.opts.Disk.Starts, Random: c.instance, Mark: mark}
	c.mu.Unlock()
	if mark == told || t == nil {
		return nil
	}
	text, err := json.Marshal(mine)
	if err != nil {
		return err
	}
	voters := t.ring.Voters()
	answers := make(chan error, len(voters))
	for _, m := range voters {
		if m.ID != c.opts.Node {
			c.wg.Go(func() { answers <- c.askToRemember(m.ID, text) })
		}
	}
	need, patience := len(voters)/2, make(<-chan time.Time)
	for waiting := len(voters) - 1; waiting > 0; waiting-- {
		select {
		case failed := <-answers:
			if failed != nil {
				err = errors.Join(err, failed)
			} else {
				need--
			}
			if need == 0 {
				timer := time.NewTimer(stragglerPatience)
				defer timer.Stop()
				patience = timer.C
			}
			continue
		case <-patience:
		case <-ctx.Done():
			err = errors.Join(err, ctx.Err())
		}
		break
	}
	if need > 0 {
		return fmt.Errorf("no majority remembers the vote of node %d: %w", c.opts.Node, cmp.Or(err, ErrMinority))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.voting.told = max(c.voting.told, mark)
	return nil
}

// askToRemember has a member remember durably how far this node's disk is.
func (c *Cluster) askToRemember(id ring.NodeID, mine []byte) error {
	p := c.peer(id)
	if p == nil {
		return fmt.Errorf("node %d: %w", id, transport.ErrUnreachable)
	}
	ctx, cancel := context.WithTimeout(c.ctx, roundTimeout)
	defer cancel()
	_, err := p.Call(ctx, opRemember, mine)
	var remote *transport.RemoteError
	if errors.As(err, &remote) && remote.Code == transport.CodeOther {
		return nil // a build that knows no such question: it remembers starts, and marks when samples are stored
	}
	if err != nil {
		return fmt.Errorf("node %d: %w", id, err)
	}
	return nil
}

// serveRemember answers when what another node says of its disk is durable here.
func (c *Cluster) serveRemember(from ring.NodeID, payload []byte) error {
	var theirs membership.Sighting
	if err := json.Unmarshal(payload, &theirs); err != nil || len(theirs.Disk) > maxAddress {
		return transport.Errorf(transport.CodeRefused, "not a disk and how far it is: %v", err)
	}
	noted, err := c.noteSighting(from, theirs)
	if err == nil {
		err = c.keepNoted(noted)
	}
	if err != nil {
		return transport.Errorf(transport.CodeUnavailable, "%v", err)
	}
	return nil
}

// noteSighting takes over what another node says of its disk, and returns how much was
// noted so far.
func (c *Cluster) noteSighting(from ring.NodeID, theirs membership.Sighting) (noted uint64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.keepsLocked(from) {
		return 0, fmt.Errorf("node %d is not known to node %d", from, c.opts.Node)
	}
	seen := theirs.After(c.state.Seen[from])
	if seen.Disk != theirs.Disk || seen.Starts != theirs.Starts || seen.Random != theirs.Random {
		return 0, fmt.Errorf("node %d remembers another start of the disk of node %d", c.opts.Node, from)
	}
	seen.Mark = max(seen.Mark, theirs.Mark)
	if seen != c.state.Seen[from] {
		c.state.Seen[from] = seen
		c.voting.noted++
	}
	return c.voting.noted, nil
}

// keepNoted makes what was noted durable, in one go for all that wait for it.
func (c *Cluster) keepNoted(noted uint64) error {
	c.voting.keep.Lock()
	defer c.voting.keep.Unlock()
	if c.voting.kept >= noted {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.state.Save(c.opts.FS, c.opts.Dir); err != nil {
		return err
	}
	c.voting.kept = c.voting.noted
	return nil
}
