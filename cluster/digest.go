package cluster

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/cluster/antientropy"
	"github.com/count-db/count/cluster/ring"
	"github.com/count-db/count/cluster/transport"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/wire"
)

// A member compares what it holds as a candidate with each owner by digests: one
// per slice of time and candidate list, the sum of a 128-bit hash of every sample
// with its version (package antientropy). Where slices differ, digests of single
// series say which ones, and the owner is sent what this node has of them: it
// keeps what wins by V1. A stand-in holds little, so its slices always differ
// from an owner's: they are few.
//
// Samples that came less than two write deadlines ago are left out: they may
// still be on their way (cut.go).

// sliceLength is the length of a slice of time.
const sliceLength = int64(10 * time.Minute / time.Millisecond)

// compare compares with the other members: every interval what was written to
// lately, sooner where a member lacks something of it (lacksNewest) or waits for
// this node's word that it is complete (vouch); at a member's return what was
// written to since it was lost; and once after a start everything, because what was
// missed before is not known.
func (c *Cluster) compare() {
	tick := time.NewTicker(c.opts.DigestInterval / looks)
	defer tick.Stop()
	regular := time.Now()
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-tick.C:
		}
		c.noteReading()
		t := c.topo.Load()
		if t == nil {
			continue
		}
		c.newest.keep(c.otherMembers(t), time.Now())
		if t.alone || c.refill.running() || !c.majority.Load() {
			continue
		}
		if t.ring.Changing() && !t.ring.Before().Has(c.opts.Node) {
			continue // a joining node copies, and compares when it has all
		}
		due := time.Since(regular) >= c.opts.DigestInterval
		if due {
			regular = time.Now()
		}
		waiting := c.unvouched(t)
		c.snap(t)
		for _, id := range c.otherMembers(t) {
			if !t.owesAnything(id) {
				continue // it copies everything: a comparison would find it empty
			}
			upTo := c.cut(4)
			regular := due
			if since, waits := waiting[id]; waits {
				upTo = c.cut(looks)
				s, ok := c.snapshots.before(c.epoch(t), upTo)
				regular = due || ok && !s.at.Before(since)
			} else if c.lacksNewest(t, id) {
				regular, upTo = true, c.cut(looks)
			}
			if c.ctx.Err() == nil {
				c.compareDue(t, id, regular, upTo)
			}
		}
		c.changes.prune(time.Now().Add(-3*c.opts.DigestInterval), c.newest.oldest(time.Now()))
	}
}

// looks is how often in an interval it is looked for what is to be compared.
const looks = 12

// compareDue compares with one member, up to the cut, what is due.
func (c *Cluster) compareDue(t *topology, id ring.NodeID, regular bool, upTo cut) {
	c.mu.Lock()
	inSight := c.view.InSight(id)
	c.mu.Unlock()
	if !inSight {
		return
	}
	then := c.newest.since(id, time.Now().Add(-2*c.opts.DigestInterval), 2*c.opts.WriteDeadline)
	ranges, since, any := c.changes.due(id, regular, then)
	if !any {
		return
	}
	sent := 0
	for _, r := range ranges {
		n, err := c.compareWith(c.ctx, t, id, r.mint, r.maxt, upTo.version)
		if err != nil {
			if c.ctx.Err() == nil && c.changes.again(id, since, err) {
				c.warn("the comparison with another node goes on later", err, "node", id)
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
		c.newest.held(id, upTo.at)
		c.vouch(t, id, upTo)
	}
}

// compareWith sends the member what it misses of what both own. The member finds
// what this node misses by its own comparison.
func (c *Cluster) compareWith(ctx context.Context, t *topology, id ring.NodeID, mint, maxt int64, before model.Version) (sent int, err error) {
	differ, err := c.differing(ctx, t, id, digestAsk{ring: t.ring.Number(), mint: mint, maxt: maxt, before: before})
	if err != nil || len(differ) == 0 {
		return 0, err
	}
	return c.sendDiffering(ctx, t, id, differ, before)
}

// differing returns what this node holds and the member, which owns it, has not
// or has otherwise: ascending by slice. Closed windows are compared as a whole
// first.
func (c *Cluster) differing(ctx context.Context, t *topology, id ring.NodeID, a digestAsk) ([]antientropy.Key, error) {
	windows, any, rest := splitClosed(a, time.Now())
	var differ []antientropy.Key
	if any {
		keys, err := c.differingWindows(ctx, t, id, windows)
		if err != nil {
			return nil, err
		}
		differ = keys
	}
	for _, r := range rest {
		keys, err := c.differingSlices(ctx, t, id, r)
		if err != nil {
			return nil, err
		}
		differ = append(differ, keys...)
	}
	slices.SortFunc(differ, func(a, b antientropy.Key) int { return int(a.Slice - b.Slice) })
	return differ, nil
}

// differingSlices compares slice by slice.
func (c *Cluster) differingSlices(ctx context.Context, t *topology, id ring.NodeID, a digestAsk) ([]antientropy.Key, error) {
	theirs, floor, err := c.digestsOf(ctx, t, id, opDigests, a)
	if err != nil {
		return nil, err
	}
	a.floor = floor
	mine, err := c.digestsHere(ctx, t, a)
	if err != nil {
		return nil, err
	}
	var differ []antientropy.Key
	for k, d := range mine {
		if t.owesTo(id, k.List) && theirs[k] != d {
			differ = append(differ, k)
		}
	}
	return differ, nil
}

// sendDiffering sends the member what it misses of the differing slices.
func (c *Cluster) sendDiffering(ctx context.Context, t *topology, id ring.NodeID, differ []antientropy.Key, before model.Version) (sent int, err error) {
	c.stats.divergent.Add(float64(len(differ)))
	pace := c.newPace()
	for i := 0; i < len(differ); {
		lists := map[int]bool{}
		slice := differ[i].Slice
		for ; i < len(differ) && differ[i].Slice == slice; i++ {
			lists[differ[i].List] = true
		}
		n, err := c.sendSeries(ctx, t, id, slice, lists, before)
		if err != nil {
			return sent, err
		}
		sent += n
		c.stats.healed.Add(float64(len(lists)))
		if err := pace.rest(ctx, n); err != nil {
			return sent, err
		}
	}
	return sent, nil
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
	floor      settledAt // versions at or below it do not count
}

// digestCache keeps the digests computed last: several members ask for the same.
type digestCache struct {
	forgets atomic.Uint64

	mu   sync.Mutex                             // held while digests are computed
	ask  digestAsk                              // guarded by mu
	kept map[antientropy.Key]antientropy.Digest // guarded by mu; nil: none
	of   uint64                                 // guarded by mu; forgets when they were begun
}

// forget drops what was kept, and what is being computed: samples below the cut
// have come since. It waits for nobody: who calls it may be in the way of writes.
func (d *digestCache) forget() { d.forgets.Add(1) }

// digestsHere returns the digests of all that this node holds as a candidate.
func (c *Cluster) digestsHere(ctx context.Context, t *topology, ask digestAsk) (map[antientropy.Key]antientropy.Digest, error) {
	c.digestCache.mu.Lock()
	defer c.digestCache.mu.Unlock()
	begun := c.digestCache.forgets.Load()
	if c.digestCache.kept != nil && c.digestCache.ask == ask && c.digestCache.of == begun {
		return c.digestCache.kept, nil
	}
	out := map[antientropy.Key]antientropy.Digest{}
	hasher := antientropy.NewHasher(t.record.ClusterID)
	pace := c.newPace()
	err := c.eachLocal(ctx, ask.mint, ask.maxt, func(ls labels.Labels, cols *model.Columns) error {
		id := model.SeriesIDOf(ls)
		list := t.ring.ListOf(id.Token())
		if t.lists[list].Has(c.opts.Node) {
			series := hasher.Series(id)
			addDigests(out, &series, list, cols, &ask)
		}
		return pace.rest(ctx, cols.Len())
	})
	if err != nil {
		return nil, err
	}
	c.digestCache.ask, c.digestCache.kept, c.digestCache.of = ask, out, begun
	return out, nil
}

// addDigests adds a series' samples to the digests of their slices.
func addDigests(out map[antientropy.Key]antientropy.Digest, h *antientropy.SeriesHasher, list int, cols *model.Columns, a *digestAsk) {
	var at antientropy.Key
	var sum antientropy.Digest // of the slice that is gone through
	sliceOf := func(t int64) *antientropy.Digest {
		if k := (antientropy.Key{Slice: t / sliceLength, List: list}); k != at {
			flushDigest(out, at, &sum)
			at = k
		}
		return &sum
	}
	hashColumns(h, cols, a.before, a.floor, sliceOf)
	flushDigest(out, at, &sum)
}

func flushDigest(out map[antientropy.Key]antientropy.Digest, k antientropy.Key, sum *antientropy.Digest) {
	if sum.Count == 0 {
		return
	}
	d := out[k]
	d.Add(*sum)
	out[k], *sum = d, antientropy.Digest{}
}

// hashColumns adds the samples below a version to the digests that of returns for
// their timestamps. What is settled has no version.
func hashColumns(h *antientropy.SeriesHasher, cols *model.Columns, before model.Version, floor settledAt, of func(t int64) *antientropy.Digest) {
	for i, t := range cols.T {
		if cols.Ver[i] >= before {
			continue
		}
		st := int64(0)
		if len(cols.ST) > 0 {
			st = cols.ST[i]
		}
		h.Float(of(t), t, st, floor.hashed(cols.Ver[i], t), cols.V[i])
	}
	var form []byte
	for _, p := range cols.Hist {
		if p.Ver < before {
			form = transport.AppendHistogram(form[:0], p)
			h.Histogram(of(p.T), p.T, floor.hashed(p.Ver, p.T), form)
		}
	}
}

func (a *digestAsk) append(dst []byte) []byte {
	dst = wire.AppendUvarint(dst, a.ring)
	dst = wire.AppendVarint(wire.AppendVarint(dst, a.mint), a.maxt)
	return a.floor.append(wire.AppendUvarint(dst, uint64(a.before)))
}

// digestsOf asks a member for digests. They are by the higher of the two nodes'
// floors, which is returned: this node's have to be, too.
func (c *Cluster) digestsOf(ctx context.Context, t *topology, id ring.NodeID, op transport.Op, a digestAsk) (map[antientropy.Key]antientropy.Digest, settledAt, error) {
	a.floor = a.floor.higher(c.floors.at())
	p := c.peer(id)
	if p == nil {
		return nil, a.floor, transport.ErrUnreachable
	}
	answer, err := p.Call(ctx, op, a.append(nil))
	if err != nil {
		return nil, a.floor, err
	}
	d := wire.NewDecoder(answer)
	floor := decodeSettledAt(&d)
	out := map[antientropy.Key]antientropy.Digest{}
	for range d.Count(19) {
		k := antientropy.Key{Slice: d.Varint(), List: int(d.Uint32Varint())}
		if k.List >= len(t.lists) {
			d.Fail("list %d of %d", k.List, len(t.lists))
		}
		out[k] = decodeDigest(&d)
	}
	return out, floor, d.Err()
}

func (c *Cluster) serveDigests(ctx context.Context, d *wire.Decoder, w *transport.Answer) error {
	return c.serveDigestsBy(ctx, d, w, c.digestsHere)
}

// serveDigestsBy answers with the digests that a function computes.
func (c *Cluster) serveDigestsBy(ctx context.Context, d *wire.Decoder, w *transport.Answer, here func(context.Context, *topology, digestAsk) (map[antientropy.Key]antientropy.Digest, error)) error {
	a := digestAsk{ring: d.Uvarint(), mint: d.Varint(), maxt: d.Varint(), before: model.Version(d.Uvarint()), floor: decodeSettledAt(d)}
	if d.Err() != nil {
		return d.Err()
	}
	if err := c.vouchesBy(a.ring); err != nil {
		return err
	}
	t := c.topo.Load()
	if t == nil || t.ring.Number() != a.ring {
		return transport.Errorf(transport.CodeUnavailable, "ring %d is not in force at node %d", a.ring, c.opts.Node)
	}
	a.floor = a.floor.higher(c.floors.at())
	all, err := here(ctx, t, a)
	if err != nil {
		return err
	}
	out := wire.AppendUvarint(a.floor.append(nil), uint64(len(all)))
	for k, v := range all {
		out = wire.AppendUvarint(wire.AppendVarint(out, k.Slice), uint64(k.List))
		out = appendDigest(out, v)
	}
	w.End(out)
	return nil
}
