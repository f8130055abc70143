package cluster

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/count-db/count/cluster/antientropy"
	"github.com/count-db/count/cluster/ring"
	"github.com/count-db/count/cluster/transport"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/wire"
)

// Beside the comparisons of what was written to lately (digest.go) everything is
// compared again and again, so that what rots on a disk or was lost without a
// trace is found: newest data hourly, older data daily, the rest weekly, within
// a share of one core (package antientropy). The digests of closed windows are
// kept (windowdigest.go); when nothing else is due they are compared with what is
// read back from the files, checksums included.

const verifyMin = 100 * time.Millisecond // between two comparisons

// verifying is where the slow cycle stands. It begins anew with each start: what
// was verified is not kept, because a restart may come after damage.
type verifying struct {
	mu       sync.Mutex
	schedule *antientropy.Schedule // guarded by mu
	ranges   []antientropy.Range   // guarded by mu; as of the last look
	peers    []ring.NodeID         // guarded by mu; the other members of the ring
	done     uint64                // guarded by mu; comparisons of the cycle
	failed   string                // guarded by mu; the last failure, empty after a success
}

func newVerifying(now time.Time, periods antientropy.Periods) *verifying {
	return &verifying{schedule: antientropy.NewSchedule(periods, now)}
}

// next returns the comparison that is due most among the members in sight.
func (v *verifying) next(peers []ring.NodeID, inSight func(ring.NodeID) bool, now time.Time) (antientropy.Task, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.peers, v.ranges = peers, antientropy.Cut(0, now.UnixMilli(), now.UnixMilli())
	v.schedule.Keep(v.ranges, peers)
	var seen []ring.NodeID
	for _, id := range peers {
		if inSight(id) {
			seen = append(seen, id)
		}
	}
	return v.schedule.Next(v.ranges, seen, now)
}

func (v *verifying) note(t antientropy.Task, err error, now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.schedule.Done(t, err == nil, now)
	v.failed = ""
	if err != nil {
		v.failed = err.Error()
		return
	}
	v.done++
}

func (v *verifying) oldest(now time.Time) time.Duration {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.schedule.Oldest(v.ranges, v.peers, now)
}

// verify carries the slow cycle out.
func (c *Cluster) verify() {
	wait := c.opts.timing.verifyIdle
	for {
		if err := c.rest(wait); err != nil {
			return
		}
		wait = c.opts.timing.verifyIdle
		t := c.topo.Load()
		if t == nil || t.alone || !t.member || t.ring.Changing() || c.refill.running() || !c.majority.Load() {
			continue
		}
		task, due := c.verifying.next(c.otherMembers(t), c.inSight, time.Now())
		began := time.Now()
		if !due {
			done, err := c.readBack(c.ctx, t, began)
			if err != nil && c.ctx.Err() == nil {
				c.warn("what a window has lost is brought back later", err)
			}
			if done {
				wait = max(verifyMin, antientropy.Rest(time.Since(began), c.opts.VerifyShare))
			}
			continue
		}
		_, err := c.compareWith(c.ctx, t, task.Peer, task.Range.MinT, task.Range.MaxT, c.cut(4).version)
		c.verifying.note(task, err, time.Now())
		wait = max(verifyMin, antientropy.Rest(time.Since(began), c.opts.VerifyShare))
	}
}

func (c *Cluster) otherMembers(t *topology) []ring.NodeID {
	var out []ring.NodeID
	for _, m := range t.ring.Members() {
		if m.ID != c.opts.Node {
			out = append(out, m.ID)
		}
	}
	return out
}

// Repaired is the outcome of a Repair with one member.
type Repaired struct {
	Node    ring.NodeID `json:"node_id"`
	Differ  int         `json:"differing_slices"` // slices of ten minutes and candidates
	Sent    int         `json:"sent_samples"`
	Fetched int         `json:"fetched_samples"`
	Error   string      `json:"error,omitempty"`
}

// Repair compares a range of time (ms, inclusive) with all other members now and
// makes both sides equal; a dry run only says what differs. Members that cannot
// be compared with are named with the reason.
func (c *Cluster) Repair(ctx context.Context, mint, maxt int64, dry bool) ([]Repaired, error) {
	t := c.topo.Load()
	switch {
	case t == nil:
		return nil, unavailable(c.notFounded())
	case c.refill.running():
		return nil, unavailable(ErrRefilling)
	}
	before := c.cut(4).version
	out := []Repaired{}
	for _, id := range c.otherMembers(t) {
		r := Repaired{Node: id}
		if err := c.repairWith(ctx, t, &r, digestAsk{ring: t.ring.Number(), mint: mint, maxt: maxt, before: before}, dry); err != nil {
			r.Error = err.Error()
		}
		out = append(out, r)
	}
	return out, ctx.Err()
}

func (c *Cluster) repairWith(ctx context.Context, t *topology, r *Repaired, a digestAsk, dry bool) error {
	differ, err := c.differing(ctx, t, r.Node, a)
	if err != nil {
		return err
	}
	if r.Differ = len(differ); dry {
		return nil
	}
	if r.Fetched, err = c.askForMissing(ctx, t, r.Node, a); err != nil {
		return err
	}
	if len(differ) > 0 {
		r.Sent, err = c.sendDiffering(ctx, t, r.Node, differ, a.before)
	}
	return err
}

// askForMissing has a member send what this node misses.
func (c *Cluster) askForMissing(ctx context.Context, t *topology, id ring.NodeID, a digestAsk) (int, error) {
	p := c.peer(id)
	if p == nil {
		return 0, transport.ErrUnreachable
	}
	body := wire.AppendUvarint(nil, t.ring.Number())
	body = wire.AppendVarint(wire.AppendVarint(body, a.mint), a.maxt)
	body = wire.AppendUvarint(body, uint64(a.before))
	answer, err := p.Call(ctx, opCompare, body)
	if err != nil {
		return 0, fmt.Errorf("have node %d compare: %w", id, err)
	}
	d := wire.NewDecoder(answer)
	sent := int(d.Uvarint())
	return sent, d.Err()
}

func (c *Cluster) serveCompare(ctx context.Context, from ring.NodeID, d *wire.Decoder, w *transport.Answer) error {
	number, mint, maxt, before := d.Uvarint(), d.Varint(), d.Varint(), model.Version(d.Uvarint())
	if d.Err() != nil {
		return d.Err()
	}
	if err := c.vouchesBy(number); err != nil {
		return err
	}
	sent, err := c.compareWith(ctx, c.topo.Load(), from, mint, maxt, before)
	w.End(wire.AppendUvarint(nil, uint64(sent)))
	return err
}

// RepairStatus is what GET /cluster/repair answers.
type RepairStatus struct {
	NodeID           ring.NodeID `json:"node_id"`
	OldestUnverified float64     `json:"oldest_unverified_seconds"`
	Ranges           int         `json:"ranges"` // of time, each compared with each other member
	Verified         uint64      `json:"verified_ranges_total"`
	LastError        string      `json:"last_error,omitempty"`
	// Settling says what of the data is settled (V4).
	Settling SettlingStatus `json:"settling"`
}

// RepairStatus says where the slow cycle stands.
func (c *Cluster) RepairStatus() RepairStatus {
	s := RepairStatus{NodeID: c.opts.Node, OldestUnverified: c.verifying.oldest(time.Now()).Seconds()}
	c.verifying.mu.Lock()
	defer c.verifying.mu.Unlock()
	s.Settling = c.settlingStatus(time.Now())
	s.Ranges, s.Verified, s.LastError = len(c.verifying.ranges), c.verifying.done, c.verifying.failed
	return s
}
