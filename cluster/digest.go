package cluster

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/cluster/merge"
	"github.com/count-db/count/cluster/ring"
	"github.com/count-db/count/cluster/transport"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/wire"
)

// A member compares what it holds as a candidate with each owner by digests: one
// per slice of time and candidate list. A digest is the sum of a hash of every
// sample (series, timestamp, version, value) and the number of samples, so it
// does not depend on order. Slices that differ are read from both, and the owner
// is sent what it misses. A stand-in holds little, so its slices always differ
// from an owner's: they are few.
//
// Samples that came less than two write deadlines ago are left out: they may
// still be on their way.

// sliceLength is the length of a slice of time.
const sliceLength = int64(10 * time.Minute / time.Millisecond)

// digestKey names what a digest is of.
type digestKey struct {
	slice int64 // floor(t / sliceLength)
	list  int   // number of the candidate list in the ring in force
}

type digest struct {
	sum   uint64
	count uint64
}

// changes remembers which slices were written to, so that only those are
// compared: all of them are compared once after a start.
type changes struct {
	mu    sync.Mutex
	dirty map[int64]time.Time // guarded by mu; slice to when it was last written to
}

// noteChange notes the slices that a batch touches.
func (c *Cluster) noteChange(b *model.Batch) {
	c.changes.mu.Lock()
	defer c.changes.mu.Unlock()
	if c.changes.dirty == nil {
		c.changes.dirty = map[int64]time.Time{}
	}
	now := time.Now()
	last := int64(math.MinInt64)
	note := func(t int64) {
		if slice := t / sliceLength; slice != last {
			last = slice
			c.changes.dirty[slice] = now
		}
	}
	for i := range b.Floats {
		note(b.Floats[i].T)
	}
	for i := range b.Hists {
		note(b.Hists[i].T)
	}
}

// changedSince returns the range of time that was written to since then.
func (c *Cluster) changedSince(then time.Time) (mint, maxt int64, any bool) {
	c.changes.mu.Lock()
	defer c.changes.mu.Unlock()
	mint, maxt = math.MaxInt64, 0
	for slice, at := range c.changes.dirty {
		if at.Before(then) {
			delete(c.changes.dirty, slice)
			continue
		}
		mint, maxt, any = min(mint, slice*sliceLength), max(maxt, (slice+1)*sliceLength-1), true
	}
	return mint, maxt, any
}

// compareSoon has the whole content compared with a member that is back.
func (c *Cluster) compareSoon(id ring.NodeID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.compareAll[id] = true
}

// compare compares with the other members: every interval what was written to
// lately, and everything after a start or a return.
func (c *Cluster) compare() {
	tick := time.NewTicker(c.opts.DigestInterval / 12)
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-tick.C:
		}
		t := c.topo.Load()
		if t == nil || t.alone || c.refill.running() || !c.majority.Load() {
			continue
		}
		regular := time.Since(last) >= c.opts.DigestInterval
		since := last.Add(-2 * c.opts.DigestInterval)
		if regular {
			last = time.Now()
		}
		for _, m := range t.ring.Members() {
			if m.ID != c.opts.Node && c.ctx.Err() == nil {
				c.compareDue(t, m.ID, regular, since)
			}
		}
	}
}

func (c *Cluster) compareDue(t *topology, id ring.NodeID, regular bool, since time.Time) {
	c.mu.Lock()
	all := c.compareAll[id] && c.view.InSight(id)
	if all {
		delete(c.compareAll, id)
	}
	inSight := c.view.InSight(id)
	c.mu.Unlock()
	mint, maxt := int64(0), int64(math.MaxInt64)
	if !all {
		var any bool
		if mint, maxt, any = c.changedSince(since); !regular || !any || !inSight {
			return
		}
	}
	n, err := c.compareWith(c.ctx, t, id, mint, maxt)
	if err != nil {
		if c.ctx.Err() == nil {
			c.warn("the comparison with another node goes on later", err, "node", id)
			c.compareSoon(id)
		}
		return
	}
	c.stats.compared.Inc()
	if n > 0 {
		c.info("differences found and sent", "node", id, "samples", n)
	}
}

// compareWith sends the member what it misses of what both own. The member finds
// what this node misses by its own comparison.
func (c *Cluster) compareWith(ctx context.Context, t *topology, id ring.NodeID, mint, maxt int64) (sent int, err error) {
	before := model.VersionAt(time.Now().Add(-2 * c.opts.WriteDeadline).UnixMicro())
	theirs, err := c.digestsOf(ctx, t, id, mint, maxt, before)
	if err != nil {
		return 0, err
	}
	mine, err := c.digests(ctx, t, c.opts.Node, id, mint, maxt, before)
	if err != nil {
		return 0, err
	}
	var differ []digestKey
	for k, d := range mine {
		if theirs[k] != d {
			differ = append(differ, k)
		}
	}
	if len(differ) == 0 {
		return 0, nil
	}
	c.stats.divergent.Add(float64(len(differ)))
	slices.SortFunc(differ, func(a, b digestKey) int { return int(a.slice - b.slice) })
	for i := 0; i < len(differ); {
		lists := map[int]bool{}
		slice := differ[i].slice
		for ; i < len(differ) && differ[i].slice == slice; i++ {
			lists[differ[i].list] = true
		}
		n, err := c.sendDifference(ctx, t, id, slice, lists, before)
		if err != nil {
			return sent, err
		}
		sent += n
	}
	return sent, nil
}

// sendDifference sends the member the samples of a slice that it misses.
func (c *Cluster) sendDifference(ctx context.Context, t *topology, id ring.NodeID, slice int64, lists map[int]bool, before model.Version) (int, error) {
	a := newAnswers(t, 0)
	q := selectRequest{mint: slice * sliceLength, maxt: (slice+1)*sliceLength - 1, holder: id}
	s, err := c.open(ctx, a, []ring.NodeID{id}, q)
	if err != nil {
		return 0, err
	}
	defer s.Close()
	s.patient = true
	held := map[string]*model.Columns{}
	for s.Next() {
		held[s.At().labels.String()] = &s.At().cols
	}
	if err := s.sources[0].err; err != nil {
		return 0, fmt.Errorf("read slice %d of node %d: %w", slice, id, err)
	}
	for _, ts := range c.local.Tombstones(q.mint, q.maxt) {
		if !hasTombstone(s.tombstones, &ts) {
			if err := c.sendDelete(ctx, id, ts); err != nil {
				return 0, err
			}
		}
	}
	v := c.newByVersion()
	err = c.eachLocal(ctx, q.mint, q.maxt, func(ls labels.Labels, cols *model.Columns) error {
		if !lists[t.ring.ListOf(model.SeriesIDOf(ls).Token())] {
			return nil
		}
		merge.Hide(cols, ls, s.tombstones)
		other := held[ls.String()]
		if other == nil {
			other = &model.Columns{}
		}
		var united, missing model.Columns
		merge.Columns(&united, []*model.Columns{cols, other}, c.opts.Rule)
		merge.Missing(&missing, &united, other, c.opts.Rule)
		only(&missing, before)
		return v.add(ls, &missing)
	})
	if err != nil || v.samples == 0 {
		return 0, err
	}
	n, batches := v.samples, v.take()
	err = c.sendAll(ctx, id, batches)
	for _, b := range batches {
		c.putBatch(b)
	}
	if err == nil {
		c.stats.repaired.Add(float64(n))
	}
	return n, err
}

// only keeps the samples below a version.
func only(c *model.Columns, before model.Version) {
	all := *c
	*c = model.Columns{}
	for i, t := range all.T {
		if all.Ver[i] >= before {
			continue
		}
		c.T, c.V, c.Ver = append(c.T, t), append(c.V, all.V[i]), append(c.Ver, all.Ver[i])
		if len(all.ST) > 0 {
			c.ST = append(c.ST, all.ST[i])
		}
	}
	for _, p := range all.Hist {
		if p.Ver < before {
			c.Hist = append(c.Hist, p)
		}
	}
}

func (c *Cluster) eachLocal(ctx context.Context, mint, maxt int64, f func(labels.Labels, *model.Columns) error) error {
	all := labels.MustNewMatcher(labels.MatchRegexp, labels.MetricName, ".*")
	sel, err := c.local.Select(ctx, mint, maxt, all)
	if err != nil {
		return err
	}
	defer sel.Close()
	var cols model.Columns
	for i := range sel.Len() {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := sel.Read(i, mint, maxt, &cols); err != nil {
			return err
		}
		if cols.Len() == 0 {
			continue
		}
		if err := f(sel.Labels(i), &cols); err != nil {
			return err
		}
	}
	return nil
}

// digests returns the digests of what this node holds of the lists that the
// holder is a candidate of and the owner owns.
func (c *Cluster) digests(ctx context.Context, t *topology, holder, owner ring.NodeID, mint, maxt int64, before model.Version) (map[digestKey]digest, error) {
	out := map[digestKey]digest{}
	err := c.eachLocal(ctx, mint, maxt, func(ls labels.Labels, cols *model.Columns) error {
		id := model.SeriesIDOf(ls)
		list := t.ring.ListOf(id.Token())
		if l := &t.lists[list]; !l.Has(holder) || !l.Owns(owner) {
			return nil
		}
		addDigests(out, id, list, cols, before)
		return nil
	})
	return out, err
}

// addDigests adds a series' samples to the digests of their slices.
func addDigests(out map[digestKey]digest, id model.SeriesID, list int, cols *model.Columns, before model.Version) {
	seed := binary.LittleEndian.Uint64(id[:8])
	var buf []byte
	add := func(t int64, ver model.Version, value []byte) {
		if ver >= before {
			return
		}
		k := digestKey{slice: t / sliceLength, list: list}
		d := out[k]
		d.sum += xxhash.Sum64(value)
		d.count++
		out[k] = d
	}
	for i, t := range cols.T {
		buf = wire.AppendUint64(buf[:0], seed)
		buf = wire.AppendUint64(buf, uint64(t))
		buf = wire.AppendUint64(buf, uint64(cols.Ver[i]))
		buf = wire.AppendUint64(buf, math.Float64bits(cols.V[i]))
		add(t, cols.Ver[i], buf)
	}
	for _, p := range cols.Hist {
		buf = wire.AppendUint64(buf[:0], seed)
		buf = wire.AppendUint64(buf, uint64(p.Ver))
		buf = transport.AppendHistogram(buf, p)
		add(p.T, p.Ver, buf)
	}
}

func (c *Cluster) digestsOf(ctx context.Context, t *topology, id ring.NodeID, mint, maxt int64, before model.Version) (map[digestKey]digest, error) {
	p := c.peer(id)
	if p == nil {
		return nil, transport.ErrUnreachable
	}
	body := wire.AppendUvarint(nil, t.ring.Number())
	body = wire.AppendUvarint(body, uint64(c.opts.Node))
	body = wire.AppendVarint(wire.AppendVarint(body, mint), maxt)
	body = wire.AppendUvarint(body, uint64(before))
	answer, err := p.Call(ctx, opDigests, body)
	if err != nil {
		return nil, err
	}
	d := wire.NewDecoder(answer)
	out := map[digestKey]digest{}
	for range d.Count(4) {
		k := digestKey{slice: d.Varint(), list: int(d.Uint32Varint())}
		out[k] = digest{sum: d.Uint64(), count: d.Uvarint()}
	}
	return out, d.Err()
}

func (c *Cluster) serveDigests(ctx context.Context, d *wire.Decoder, w *transport.Answer) error {
	number, other := d.Uvarint(), ring.NodeID(d.Uvarint())
	mint, maxt, before := d.Varint(), d.Varint(), model.Version(d.Uvarint())
	if d.Err() != nil {
		return d.Err()
	}
	if err := c.sameRing(number); err != nil {
		return err
	}
	if c.refill.running() {
		return transport.Errorf(transport.CodeUnavailable, "node %d is refilling", c.opts.Node)
	}
	all, err := c.digests(ctx, c.topo.Load(), other, c.opts.Node, mint, maxt, before)
	if err != nil {
		return err
	}
	out := wire.AppendUvarint(nil, uint64(len(all)))
	for k, v := range all {
		out = wire.AppendUvarint(wire.AppendVarint(out, k.slice), uint64(k.list))
		out = wire.AppendUvarint(wire.AppendUint64(out, v.sum), v.count)
	}
	w.End(out)
	return nil
}
