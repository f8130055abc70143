package cluster

import (
	"cmp"
	"context"
	"slices"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/cluster/ring"
	"github.com/count-db/count/cluster/transport"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/wire"
)

// LabelNames returns the sorted names of labels of the matched series with data
// in [mint, maxt]; limit 0 = all.
func (c *Cluster) LabelNames(ctx context.Context, mint, maxt int64, limit int, ms ...*labels.Matcher) ([]string, []string, error) {
	return c.askStrings(ctx, opLabelNames, "", mint, maxt, limit, ms, func(ctx context.Context) ([]string, error) {
		return c.local.LabelNames(ctx, mint, maxt, limit, ms...)
	})
}

// LabelValues returns the sorted values of one label, else as LabelNames.
func (c *Cluster) LabelValues(ctx context.Context, name string, mint, maxt int64, limit int, ms ...*labels.Matcher) ([]string, []string, error) {
	return c.askStrings(ctx, opLabelValues, name, mint, maxt, limit, ms, func(ctx context.Context) ([]string, error) {
		return c.local.LabelValues(ctx, name, mint, maxt, limit, ms...)
	})
}

func (c *Cluster) askStrings(ctx context.Context, op transport.Op, name string, mint, maxt int64, limit int, ms []*labels.Matcher, here func(context.Context) ([]string, error)) ([]string, []string, error) {
	body := wire.AppendString(nil, name)
	body = wire.AppendVarint(wire.AppendVarint(body, mint), maxt)
	body = wire.AppendUvarint(body, uint64(max(limit, 0)))
	body = transport.AppendMatchers(body, ms)
	lists, warnings, err := ask(ctx, c, question[[]string]{op: op, body: body, here: here, decode: decodeStrings, span: timeRange{mint, maxt}})
	if err != nil {
		return nil, nil, err
	}
	all := slices.Concat(lists...)
	slices.Sort(all)
	all = slices.Compact(all)
	if limit > 0 && len(all) > limit {
		all = all[:limit]
	}
	return all, warnings, nil
}

func decodeStrings(payload []byte) ([]string, error) {
	d := wire.NewDecoder(payload)
	out := make([]string, 0, d.Count(1))
	for range cap(out) {
		out = append(out, d.String())
	}
	return out, d.Err()
}

func (c *Cluster) serveLabels(ctx context.Context, op transport.Op, d *wire.Decoder, w *transport.Answer) error {
	name, mint, maxt, limit := d.String(), d.Varint(), d.Varint(), int(d.Uint32Varint())
	ms := transport.DecodeMatchers(d)
	if d.Err() != nil {
		return d.Err()
	}
	var all []string
	var err error
	if op == opLabelNames {
		all, err = c.local.LabelNames(ctx, mint, maxt, limit, ms...)
	} else {
		all, err = c.local.LabelValues(ctx, name, mint, maxt, limit, ms...)
	}
	if err != nil {
		return err
	}
	out := wire.AppendUvarint([]byte{c.standing(timeRange{mint, maxt}).byte()}, uint64(len(all)))
	for _, s := range all {
		out = wire.AppendString(out, s)
	}
	w.End(out)
	return nil
}

// Exemplars returns the exemplars of the series that match one of the sets,
// sorted by labels.
func (c *Cluster) Exemplars(ctx context.Context, mint, maxt int64, sets ...[]*labels.Matcher) ([]ExemplarSeries, []string, error) {
	body := wire.AppendVarint(wire.AppendVarint(nil, mint), maxt)
	body = wire.AppendUvarint(body, uint64(len(sets)))
	for _, ms := range sets {
		body = transport.AppendMatchers(body, ms)
	}
	lists, warnings, err := ask(ctx, c, question[[]ExemplarSeries]{
		op: opExemplars, body: body, decode: decodeExemplars,
		here: func(ctx context.Context) ([]ExemplarSeries, error) {
			return c.local.Exemplars(ctx, mint, maxt, sets...)
		},
	})
	if err != nil {
		return nil, nil, err
	}
	return uniteExemplars(lists), warnings, nil
}

func uniteExemplars(lists [][]ExemplarSeries) []ExemplarSeries {
	all := slices.Concat(lists...)
	slices.SortStableFunc(all, func(a, b ExemplarSeries) int { return labels.Compare(a.Labels, b.Labels) })
	var out []ExemplarSeries
	for _, s := range all {
		if n := len(out); n > 0 && labels.Equal(out[n-1].Labels, s.Labels) {
			out[n-1].Exemplars = append(out[n-1].Exemplars, s.Exemplars...)
			continue
		}
		out = append(out, ExemplarSeries{Labels: s.Labels, Exemplars: slices.Clone(s.Exemplars)})
	}
	for i := range out {
		e := out[i].Exemplars
		slices.SortFunc(e, func(a, b model.Exemplar) int {
			return cmp.Or(cmp.Compare(a.T, b.T), cmp.Compare(a.V, b.V), labels.Compare(a.Labels, b.Labels))
		})
		out[i].Exemplars = slices.CompactFunc(e, func(a, b model.Exemplar) bool {
			return a.T == b.T && a.V == b.V && labels.Equal(a.Labels, b.Labels)
		})
	}
	return out
}

func decodeExemplars(payload []byte) ([]ExemplarSeries, error) {
	d := wire.NewDecoder(payload)
	var out []ExemplarSeries
	for range d.Count(2) {
		s := ExemplarSeries{Labels: transport.DecodeLabels(&d)}
		for range d.Count(10) {
			s.Exemplars = append(s.Exemplars, transport.DecodeExemplar(&d))
		}
		if d.Err() != nil {
			break
		}
		out = append(out, s)
	}
	return out, d.Err()
}

func (c *Cluster) serveExemplars(ctx context.Context, d *wire.Decoder, w *transport.Answer) error {
	mint, maxt := d.Varint(), d.Varint()
	var sets [][]*labels.Matcher
	for range d.Count(1) {
		sets = append(sets, transport.DecodeMatchers(d))
	}
	if d.Err() != nil {
		return d.Err()
	}
	all, err := c.local.Exemplars(ctx, mint, maxt, sets...)
	if err != nil {
		return err
	}
	out := wire.AppendUvarint([]byte{c.countsByte()}, uint64(len(all)))
	for _, s := range all {
		out = transport.AppendLabels(out, s.Labels)
		out = wire.AppendUvarint(out, uint64(len(s.Exemplars)))
		for i := range s.Exemplars {
			out = transport.AppendExemplar(out, &s.Exemplars[i])
		}
	}
	w.End(out)
	return nil
}

// Metadata returns the metadata of a family, of all when it is empty, sorted by
// family; limit 0 = all.
func (c *Cluster) Metadata(ctx context.Context, family string, limit int) ([]model.Metadata, []string, error) {
	lists, warnings, err := ask(ctx, c, question[[]model.Metadata]{
		op: opMetadata, body: wire.AppendString(nil, family),
		here:   func(context.Context) ([]model.Metadata, error) { return c.local.Metadata(family, 0), nil },
		decode: decodeMetadata,
	})
	if err != nil {
		return nil, nil, err
	}
	all := slices.Concat(lists...)
	slices.SortFunc(all, func(a, b model.Metadata) int {
		return cmp.Or(cmp.Compare(a.Family, b.Family), cmp.Compare(a.Type, b.Type), cmp.Compare(a.Unit, b.Unit), cmp.Compare(a.Help, b.Help))
	})
	all = slices.Compact(all)
	if limit > 0 && len(all) > limit {
		all = all[:limit]
	}
	return all, warnings, nil
}

func decodeMetadata(payload []byte) ([]model.Metadata, error) {
	d := wire.NewDecoder(payload)
	all := transport.DecodeMetadata(&d, nil)
	return all, d.Err()
}

func (c *Cluster) metadataOf(ctx context.Context, id ring.NodeID) ([]model.Metadata, error) {
	p := c.peer(id)
	if p == nil {
		return nil, transport.ErrUnreachable
	}
	payload, err := p.Call(ctx, opMetadata, wire.AppendString(nil, ""))
	if err != nil {
		return nil, err
	}
	if len(payload) == 0 {
		return nil, wire.Corruptf("empty answer")
	}
	return decodeMetadata(payload[1:])
}

func (c *Cluster) serveMetadata(d *wire.Decoder, w *transport.Answer) error {
	family := d.String()
	if d.Err() != nil {
		return d.Err()
	}
	w.End(transport.AppendMetadata([]byte{c.countsByte()}, c.local.Metadata(family, 0)))
	return nil
}
