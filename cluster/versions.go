package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/count-db/count/cluster/frontier"
	"github.com/count-db/count/cluster/ring"
	"github.com/count-db/count/cluster/transport"
	"github.com/count-db/count/internal/model"
	"github.com/prometheus/prometheus/model/labels"
)

// byVersion puts samples that were read as series back into batches of one
// version each: the form in which they are stored and sent.
type byVersion struct {
	c       *Cluster
	batches map[model.Version]*model.Batch
	samples int
}

func (c *Cluster) newByVersion() *byVersion {
	return &byVersion{c: c, batches: map[model.Version]*model.Batch{}}
}

func (v *byVersion) of(version model.Version) *model.Batch {
	b := v.batches[version]
	if b == nil {
		b = v.c.getBatch()
		b.Version = version
		v.batches[version] = b
	}
	return b
}

// add takes all samples of a series.
func (v *byVersion) add(ls labels.Labels, cols *model.Columns) error {
	ref, err := v.c.local.Intern(ls)
	if err != nil {
		return fmt.Errorf("series %s: %w", ls, err)
	}
	for i, t := range cols.T {
		b := v.of(cols.Ver[i])
		if len(cols.ST) > 0 || len(b.STs) > 0 {
			for len(b.STs) < len(b.Floats) {
				b.STs = append(b.STs, 0)
			}
			st := int64(0)
			if len(cols.ST) > 0 {
				st = cols.ST[i]
			}
			b.STs = append(b.STs, st)
		}
		b.Floats = append(b.Floats, model.FloatSample{T: t, V: cols.V[i], Ref: ref})
	}
	for _, p := range cols.Hist {
		b := v.of(p.Ver)
		b.Hists = append(b.Hists, model.HistogramSample{T: p.T, ST: p.ST, H: p.H, FH: p.FH, Ref: ref})
	}
	v.samples += cols.Len()
	return nil
}

// take empties v and returns the batches, ascending by version. Whoever takes
// them gives them back with putBatch.
func (v *byVersion) take() []*model.Batch {
	out := make([]*model.Batch, 0, len(v.batches))
	for _, version := range slices.Sorted(maps.Keys(v.batches)) {
		out = append(out, v.batches[version])
	}
	v.batches, v.samples = map[model.Version]*model.Batch{}, 0
	return out
}

// storeAll stores batches on this node and waits until they are durable.
func (c *Cluster) storeAll(ctx context.Context, batches []*model.Batch) error {
	begun := make([]storing, 0, len(batches))
	for _, b := range batches { // they share syncs
		s := c.beginStoring(ctx, b, pushed)
		begun = append(begun, s)
		if s.err != nil {
			break
		}
	}
	var errs []error
	for i := range begun {
		errs = append(errs, begun[i].wait())
	}
	return errors.Join(errs...)
}

// sendAll sends batches that keep their versions to another member and waits
// until they are durable there.
func (c *Cluster) sendAll(ctx context.Context, id ring.NodeID, batches []*model.Batch) error {
	return c.sendKnown(ctx, id, batches, nil)
}

// sendKnown is sendAll for batches whose origins are known.
func (c *Cluster) sendKnown(ctx context.Context, id ring.NodeID, batches []*model.Batch, origins []frontier.Origin) error {
	if id == c.opts.Node {
		return c.storeAll(ctx, batches)
	}
	p := c.peer(id)
	if p == nil {
		return transport.ErrUnreachable
	}
	a := &transport.Append{}
	for _, b := range batches {
		a.Sections = append(a.Sections, transport.Section{Batch: b, Body: transport.AppendBatch(nil, b)})
	}
	if len(a.Sections) > 0 {
		a.Sections[0].Origins = origins // of the request as a whole
	}
	return appendAndWait(ctx, p, a)
}

func appendAndWait(ctx context.Context, p *transport.Peer, a *transport.Append) error {
	done := make(chan error, 1)
	if err := p.Append(a, func(_ transport.AppendReply, err error) { done <- err }); err != nil {
		return err
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
