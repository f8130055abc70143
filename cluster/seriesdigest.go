package cluster

import (
	"context"
	"fmt"
	"slices"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/cluster/antientropy"
	"github.com/count-db/count/cluster/merge"
	"github.com/count-db/count/cluster/ring"
	"github.com/count-db/count/cluster/transport"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/wire"
)

// seriesAsk names digests of single series: those of some lists in one slice.
type seriesAsk struct {
	ring   uint64
	slice  int64
	lists  map[int]bool
	before model.Version
	floor  settledAt // see digestAsk
}

func (a *seriesAsk) mint() int64 { return a.slice * sliceLength }
func (a *seriesAsk) maxt() int64 { return (a.slice+1)*sliceLength - 1 }

func (a *seriesAsk) append(dst []byte) []byte {
	dst = wire.AppendUvarint(dst, a.ring)
	dst = wire.AppendVarint(dst, a.slice)
	dst = wire.AppendUvarint(dst, uint64(a.before))
	dst = wire.AppendUvarint(dst, uint64(len(a.lists)))
	for list := range a.lists {
		dst = wire.AppendUvarint(dst, uint64(list))
	}
	return a.floor.append(dst)
}

func decodeSeriesAsk(d *wire.Decoder) seriesAsk {
	a := seriesAsk{ring: d.Uvarint(), slice: d.Varint(), before: model.Version(d.Uvarint()), lists: map[int]bool{}}
	for range d.Count(1) {
		a.lists[int(d.Uint32Varint())] = true
	}
	a.floor = decodeSettledAt(d)
	return a
}

// eachSeries calls f with this node's series of the lists.
func (c *Cluster) eachSeries(ctx context.Context, t *topology, a *seriesAsk, f func(id model.SeriesID, ls labels.Labels, cols *model.Columns) error) error {
	return c.eachLocal(ctx, a.mint(), a.maxt(), func(ls labels.Labels, cols *model.Columns) error {
		id := model.SeriesIDOf(ls)
		if !a.lists[t.ring.ListOf(id.Token())] {
			return nil
		}
		return f(id, ls, cols)
	})
}

func (c *Cluster) seriesDigests(ctx context.Context, t *topology, a *seriesAsk) (antientropy.Series, error) {
	out := antientropy.Series{}
	hasher := antientropy.NewHasher(t.record.ClusterID)
	err := c.eachSeries(ctx, t, a, func(id model.SeriesID, _ labels.Labels, cols *model.Columns) error {
		var sum antientropy.Digest
		h := hasher.Series(id)
		hashColumns(&h, cols, a.before, a.floor, func(int64) *antientropy.Digest { return &sum })
		out[id] = sum
		return nil
	})
	return out, err
}

// sendSeries sends the member what it misses of a slice: all that this node has
// of the series whose digests differ.
func (c *Cluster) sendSeries(ctx context.Context, t *topology, id ring.NodeID, slice int64, lists map[int]bool, before model.Version) (int, error) {
	a := &seriesAsk{t.ring.Number(), slice, lists, before, c.floors.at()}
	theirs, deletes, err := c.seriesDigestsOf(ctx, id, a)
	if err != nil {
		return 0, fmt.Errorf("compare slice %d with node %d: %w", slice, id, err)
	}
	mine, err := c.seriesDigests(ctx, t, a)
	if err != nil {
		return 0, err
	}
	for _, ts := range c.local.Tombstones(a.mint(), a.maxt()) {
		if !hasTombstone(deletes, &ts) {
			if err := c.sendDelete(ctx, id, ts); err != nil && !isSettled(err) {
				return 0, err
			}
		}
	}
	d := antientropy.Compare(mine, theirs)
	wanted := map[model.SeriesID]bool{}
	for _, s := range slices.Concat(d.Send, d.Merge) {
		wanted[s] = true
	}
	v := c.newByVersion()
	err = c.eachSeries(ctx, t, a, func(series model.SeriesID, ls labels.Labels, cols *model.Columns) error {
		if !wanted[series] {
			return nil
		}
		merge.Hide(cols, ls, deletes)
		cols.Keep(func(_ int64, v model.Version) bool { return v < before })
		return v.add(ls, cols)
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

func (c *Cluster) seriesDigestsOf(ctx context.Context, id ring.NodeID, a *seriesAsk) (antientropy.Series, []model.Tombstone, error) {
	p := c.peer(id)
	if p == nil {
		return nil, nil, transport.ErrUnreachable
	}
	answer, err := p.Call(ctx, opSeriesDigests, a.append(nil))
	if err != nil {
		return nil, nil, err
	}
	d := wire.NewDecoder(answer)
	a.floor = decodeSettledAt(&d)
	deletes := transport.DecodeTombstones(&d)
	out := antientropy.Series{}
	for range d.Count(33) {
		var series model.SeriesID
		copy(series[:], d.Take(len(series)))
		out[series] = decodeDigest(&d)
	}
	return out, deletes, d.Err()
}

func (c *Cluster) serveSeriesDigests(ctx context.Context, d *wire.Decoder, w *transport.Answer) error {
	a := decodeSeriesAsk(d)
	if d.Err() != nil {
		return d.Err()
	}
	if err := c.vouchesBy(a.ring); err != nil {
		return err
	}
	a.floor = a.floor.higher(c.floors.at())
	all, err := c.seriesDigests(ctx, c.topo.Load(), &a)
	if err != nil {
		return err
	}
	out := transport.AppendTombstones(a.floor.append(nil), c.local.Tombstones(a.mint(), a.maxt()))
	out = wire.AppendUvarint(out, uint64(len(all)))
	for id, sum := range all {
		out = appendDigest(append(out, id[:]...), sum)
	}
	w.End(out)
	return nil
}

func appendDigest(dst []byte, d antientropy.Digest) []byte {
	dst = wire.AppendUint64(wire.AppendUint64(dst, d.Sum[0]), d.Sum[1])
	return wire.AppendUvarint(dst, d.Count)
}

func decodeDigest(d *wire.Decoder) antientropy.Digest {
	return antientropy.Digest{Sum: [2]uint64{d.Uint64(), d.Uint64()}, Count: d.Uvarint()}
}
