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

// compare compares with the other members: every interval what was written to
// lately; at a member's return what was written to since it was lost; and once
// after a start everything, because what was missed before is not known.
func (c *Cluster) compare() {
	tick := time.NewTicker(c.opts.DigestInterval / 12)
	defer tick.Stop()
	regular := time.Now()
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
		due := time.Since(regular) >= c.opts.DigestInterval
		if due {
			regular = time.Now()
		}
		c.snap(t)
		for _, m := range t.ring.Members() {
			if m.ID != c.opts.Node && c.ctx.Err() == nil {
				c.compareDue(t, m.ID, due)
			}
		}
		c.changes.prune(time.Now().Add(-3 * c.opts.DigestInterval))
	}
}

// compareDue compares with one member what is due.
func (c *Cluster) compareDue(t *topology, id ring.NodeID, due bool) {
	c.mu.Lock()
	inSight := c.view.InSight(id)
	c.mu.Unlock()
	if !inSight {
		return
	}
	ranges, since, any := c.changes.due(id, due, time.Now().Add(-2*c.opts.DigestInterval))
	if !any {
		return
	}
	// On a grid, so that all members ask for the same digests and compute them once.
	cut := time.Now().Add(-2 * c.opts.WriteDeadline).Truncate(c.opts.DigestInterval / 4)
	sent := 0
	for _, r := range ranges {
		n, err := c.compareWith(c.ctx, t, id, r.mint, r.maxt, model.VersionAt(cut.UnixMicro()))
		if err != nil {
			if c.ctx.Err() == nil {
				c.warn("the comparison with another node goes on later", err, "node", id)
				c.changes.again(id, since)
			}
			return
		}
		c.stats.compared.Inc()
		sent += n
	}
	if sent > 0 {
		c.info("differences found and sent", "node", id, "samples", sent)
	}
	if c.changes.done(id, since) {
		c.vouch(t, id, cut)
	}
}

// compareWith sends the member what it misses of what both own. The member finds
// what this node misses by its own comparison.
func (c *Cluster) compareWith(ctx context.Context, t *topology, id ring.NodeID, mint, maxt int64, before model.Version) (sent int, err error) {
	differ, err := c.differing(ctx, t, id, digestAsk{t.ring.Number(), mint, maxt, before})
	if err != nil || len(differ) == 0 {
		return 0, err
	}
	return c.sendDiffering(ctx, t, id, differ, before)
}

// differing returns what this node holds and the member, which owns it, has not
// or has otherwise: ascending by slice.
func (c *Cluster) differing(ctx context.Context, t *topology, id ring.NodeID, a digestAsk) ([]digestKey, error) {
	theirs, err := c.digestsOf(ctx, t, id, a.mint, a.maxt, a.before)
	if err != nil {
		return nil, err
	}
	mine, err := c.digestsHere(ctx, t, a)
	if err != nil {
		return nil, err
	}
	var differ []digestKey
	for k, d := range mine {
		if l := &t.lists[k.list]; l.Owns(id) && !l.Copies(id) && theirs[k] != d {
			differ = append(differ, k)
		}
	}
	slices.SortFunc(differ, func(a, b digestKey) int { return int(a.slice - b.slice) })
	return differ, nil
}

// sendDiffering sends the member what it misses of the differing slices.
func (c *Cluster) sendDiffering(ctx context.Context, t *topology, id ring.NodeID, differ []digestKey, before model.Version) (sent int, err error) {
	c.stats.divergent.Add(float64(len(differ)))
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
	n := v.samples
	batches := v.take()
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

// digestAsk names a set of digests.
type digestAsk struct {
	ring       uint64
	mint, maxt int64
	before     model.Version
}

// digestCache keeps the digests computed last: several members ask for the same.
type digestCache struct {
	mu   sync.Mutex
	ask  digestAsk            // guarded by mu
	kept map[digestKey]digest // guarded by mu; nil: none
}

// forget drops what was kept: samples below the cut have come since.
func (d *digestCache) forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.kept = nil
}

// digestsHere returns the digests of all that this node holds as a candidate.
func (c *Cluster) digestsHere(ctx context.Context, t *topology, ask digestAsk) (map[digestKey]digest, error) {
	c.digestCache.mu.Lock()
	defer c.digestCache.mu.Unlock()
	if c.digestCache.kept != nil && c.digestCache.ask == ask {
		return c.digestCache.kept, nil
	}
	out := map[digestKey]digest{}
	pace := newPace()
	err := c.eachLocal(ctx, ask.mint, ask.maxt, func(ls labels.Labels, cols *model.Columns) error {
		id := model.SeriesIDOf(ls)
		list := t.ring.ListOf(id.Token())
		if t.lists[list].Has(c.opts.Node) {
			addDigests(out, id, list, cols, ask.before)
		}
		return pace.rest(ctx, cols.Len())
	})
	if err != nil {
		return nil, err
	}
	c.digestCache.ask, c.digestCache.kept = ask, out
	return out, nil
}

// pace keeps background work to about half of a core.
type pace struct {
	began   time.Time
	samples int
}

// paceSamples is how many samples are worked on between two rests.
const paceSamples = 500_000

func newPace() *pace { return &pace{began: time.Now()} }

// rest notes the work done and rests for as long as it took, now and then.
func (p *pace) rest(ctx context.Context, samples int) error {
	if p.samples += samples; p.samples < paceSamples {
		return nil
	}
	t := time.NewTimer(time.Since(p.began))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	p.began, p.samples = time.Now(), 0
	return nil
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
	a := digestAsk{ring: d.Uvarint(), mint: d.Varint(), maxt: d.Varint(), before: model.Version(d.Uvarint())}
	if d.Err() != nil {
		return d.Err()
	}
	if err := c.sameRing(a.ring); err != nil {
		return err
	}
	if c.refill.running() {
		return transport.Errorf(transport.CodeUnavailable, "node %d is refilling", c.opts.Node)
	}
	t := c.topo.Load()
	if t == nil {
		return transport.Errorf(transport.CodeUnavailable, "node %d has no ring", c.opts.Node)
	}
	all, err := c.digestsHere(ctx, t, a)
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
