package cluster

import (
	"context"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/count-db/count/cluster/frontier"
	"github.com/count-db/count/cluster/ring"
	"github.com/count-db/count/cluster/transport"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/wire"
)

// What was written in the newest minutes is compared every few seconds by the
// received sets (C7) instead of digests: whoever has stored every batch that this
// node has stored, and knows its deletes, lacks nothing of what is new, and the
// sets are kept in any case. Where a number is missing more than two write
// deadlines later the content is compared at once (docs/decisions/0010).

// newest is up to when each member is known to hold what this node holds.
type newest struct {
	mu    sync.Mutex
	until map[ring.NodeID]time.Time // guarded by mu; everything stored here by then is there
	lacks map[ring.NodeID]bool      // guarded by mu; a number was missing at the last look
}

func newNewest() *newest {
	return &newest{until: map[ring.NodeID]time.Time{}, lacks: map[ring.NodeID]bool{}}
}

// held notes that a member holds everything that was stored here by then.
func (n *newest) held(id ring.NodeID, then time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lacks[id] = false
	if then.After(n.until[id]) {
		n.until[id] = then
	}
}

// lacking notes that a member lacks something, and says whether that is new: what
// a comparison could not mend is left to the regular ones.
func (n *newest) lacking(id ring.NodeID) (isNew bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	isNew = !n.lacks[id]
	n.lacks[id] = true
	return isNew
}

// since returns from when on a regular comparison with a member has to look: then,
// or earlier where it is not known to hold what was written until then.
func (n *newest) since(id ring.NodeID, then time.Time, margin time.Duration) time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	if at, known := n.until[id]; known && at.Add(-margin).Before(then) {
		return at.Add(-margin)
	}
	return then
}

// keep forgets all but the members of a ring, of which a new one counts as
// compared with from now on.
func (n *newest) keep(members []ring.NodeID, now time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	until := make(map[ring.NodeID]time.Time, len(members))
	for _, id := range members {
		if until[id] = n.until[id]; until[id].IsZero() {
			until[id] = now
		}
	}
	n.until = until
}

// oldest returns the earliest time by which a member is known to hold everything;
// now when there is no other member.
func (n *newest) oldest(now time.Time) time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, at := range n.until {
		if at.Before(now) {
			now = at
		}
	}
	return now
}

// holding is what a member says of the sets of another.
type holding byte

const (
	holdsUnknown holding = 0 // it was never told that it holds what the other had before
	holdsAll     holding = 1
	holdsNotAll  holding = 2
)

// lacksNewest asks a member whether it has stored everything that this node had
// stored two write deadlines ago, and says whether the content is to be compared
// with it at once. A member that cannot tell, or does not answer, is left to the
// regular comparisons.
func (c *Cluster) lacksNewest(t *topology, id ring.NodeID) bool {
	if !c.inSight(id) {
		return false
	}
	s, ok := c.snapshots.before(c.epoch(t), c.cut(looks))
	if !ok {
		return false
	}
	said, deletes, err := c.holdsAll(t, id, s)
	switch {
	case err != nil || said == holdsUnknown:
		return false
	case said == holdsAll && len(deletes) == 0:
		c.stats.newestHeld.Inc()
		c.newest.held(id, s.at)
		return false
	}
	c.stats.newestLacking.Inc()
	// What is owed to it is on its way, and compared when it has been taken.
	if !c.newest.lacking(id) || c.owes(id) {
		return false
	}
	if err := c.sendDeletes(id, deletes); err != nil && c.ctx.Err() == nil {
		c.warn("deletes that another node misses are sent later", err, "node", id)
	}
	return said == holdsNotAll
}

// sendDeletes sends a member the deletes of some versions.
func (c *Cluster) sendDeletes(id ring.NodeID, versions []model.Version) error {
	for _, ts := range c.local.Tombstones(math.MinInt64, math.MaxInt64) {
		if !slices.Contains(versions, ts.Version) {
			continue
		}
		if err := c.sendDelete(c.ctx, id, ts); err != nil && !isSettled(err) {
			return err
		}
	}
	return nil
}

func (c *Cluster) owes(id ring.NodeID) bool {
	for _, owed := range c.hints.Owed() {
		if owed == id {
			return true
		}
	}
	return false
}

// holdsAll asks a member for what it says of a snapshot of this node, and which
// deletes it misses.
func (c *Cluster) holdsAll(t *topology, id ring.NodeID, s snapshot) (said holding, deletes []model.Version, err error) {
	p := c.peer(id)
	if p == nil {
		return holdsUnknown, nil, transport.ErrUnreachable
	}
	ctx, cancel := context.WithTimeout(c.ctx, c.opts.WriteDeadline)
	defer cancel()
	answer, err := p.Call(ctx, opHolds, c.appendHolds(nil, t, id, s))
	if err != nil {
		return holdsUnknown, nil, err
	}
	d := wire.NewDecoder(answer)
	said = holding(d.Byte())
	deletes = decodeVersions(&d)
	return said, deletes, d.Err()
}

// appendHolds appends this node's mark (C5) and what a snapshot shows of what the
// member has to have: the numbers of the ring in force, and the versions of the deletes of before.
func (c *Cluster) appendHolds(dst []byte, t *topology, id ring.NodeID, s snapshot) []byte {
	dst = wire.AppendUvarint(wire.AppendUvarint(dst, t.ring.Number()), c.epoch(t))
	dst = wire.AppendUvarint(dst, c.mark())
	before, floor := model.VersionAt(s.at.UnixMicro()), c.floors.at().version
	var deletes []model.Version
	for _, ts := range c.local.Tombstones(math.MinInt64, math.MaxInt64) {
		if ts.Version > floor && ts.Version < before {
			deletes = append(deletes, ts.Version)
		}
	}
	return s.sets.Of(func(s frontier.Stream) bool {
		return s.Ring == t.ring.Number() && int(s.List) < len(t.lists) && t.owesTo(id, int(s.List)) && t.lists[s.List].Has(c.opts.Node)
	}).Append(appendVersions(dst, deletes))
}

func (c *Cluster) serveHolds(from ring.NodeID, d *wire.Decoder, w *transport.Answer) error {
	number, epoch, mark := d.Uvarint(), d.Uvarint(), d.Uvarint()
	floor := c.floors.at().version
	deletes := slices.DeleteFunc(decodeVersions(d), func(v model.Version) bool { return v <= floor })
	sets := frontier.DecodeSets(d)
	if d.Err() != nil {
		return d.Err()
	}
	c.heardMark(from, number, epoch, mark)
	if err := c.vouchesBy(number); err != nil {
		return err
	}
	said := holdsNotAll
	switch ok, based, _ := c.ledger.Complete(from, epoch, sets); {
	case !based:
		said = holdsUnknown
	case ok:
		said = holdsAll
	}
	w.End(appendVersions([]byte{byte(said)}, c.missingDeletes(deletes)))
	return nil
}
