package engine

import (
	"fmt"
	"slices"
	"sync"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/vfs"
	"github.com/count-db/count/internal/wire"
)

var tombstonesFile = smallFile{name: "tombstones", magic: "CTts", version: 1}

// tombstone is a delete (V3) as the engine keeps it.
type tombstone struct {
	model.Tombstone
	// seq numbers the deletes of this directory from 1. A file notes the number
	// of the last one that needs not be applied to it any more.
	seq uint64
}

// span is what a tombstone means to one series: samples in [mint, maxt] below
// version are gone.
type span struct {
	mint, maxt int64
	version    model.Version
	seq        uint64
}

// tombIndex finds the tombstones that may match a series: there are thousands
// where series are deleted one by one.
type tombIndex struct {
	once  sync.Once
	named map[string][]*tombstone // by the metric name that they ask for
	rest  []*tombstone
}

func (x *tombIndex) build(tombs []tombstone) {
	x.named = make(map[string][]*tombstone, len(tombs))
	for i := range tombs {
		t := &tombs[i]
		at := slices.IndexFunc(t.Matchers, func(m *labels.Matcher) bool {
			return m.Type == labels.MatchEqual && m.Name == labels.MetricName
		})
		if at < 0 {
			x.rest = append(x.rest, t)
			continue
		}
		name := t.Matchers[at].Value
		x.named[name] = append(x.named[name], t)
	}
}

// spansOf appends the spans of the tombstones that match a series and overlap
// [mint, maxt].
func (v *view) spansOf(dst []span, ls labels.Labels, mint, maxt int64) []span {
	if len(v.tombs) == 0 {
		return dst
	}
	v.byName.once.Do(func() { v.byName.build(v.tombs) })
	for _, tombs := range [][]*tombstone{v.byName.named[ls.Get(labels.MetricName)], v.byName.rest} {
		for _, t := range tombs {
			if t.MinT <= maxt && t.MaxT >= mint && t.Matches(ls) {
				dst = append(dst, span{t.MinT, t.MaxT, t.Version, t.seq})
			}
		}
	}
	return dst
}

func writeTombstones(fsys vfs.FS, dir string, tombs []tombstone) error {
	return tombstonesFile.write(fsys, dir, encodeTombstones(tombs))
}

func readTombstones(fsys vfs.FS, dir string) ([]tombstone, error) {
	payload, ok, err := tombstonesFile.read(fsys, dir)
	if err != nil || !ok {
		return nil, err
	}
	tombs, err := decodeTombstones(payload)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", tombstonesFile.name, err)
	}
	return distinct(tombs), nil
}

// distinct leaves the first one of equal tombstones, which earlier builds stored
// again and again.
func distinct(tombs []tombstone) []tombstone {
	known := make(map[model.Version][]*model.Tombstone, len(tombs))
	out := make([]tombstone, 0, len(tombs))
	for i := range tombs {
		t := &tombs[i].Tombstone
		if !slices.ContainsFunc(known[t.Version], t.Equal) {
			known[t.Version] = append(known[t.Version], t)
			out = append(out, tombs[i])
		}
	}
	return out
}

func encodeTombstones(tombs []tombstone) []byte {
	dst := wire.AppendUvarint(nil, uint64(len(tombs)))
	for i := range tombs {
		t := &tombs[i]
		dst = wire.AppendUvarint(dst, uint64(t.Version))
		dst = wire.AppendVarint(dst, t.MinT)
		dst = wire.AppendVarint(dst, t.MaxT)
		dst = wire.AppendUvarint(dst, t.seq)
		dst = wire.AppendUvarint(dst, uint64(len(t.Matchers)))
		for _, m := range t.Matchers {
			dst = append(dst, byte(m.Type))
			dst = wire.AppendString(wire.AppendString(dst, m.Name), m.Value)
		}
	}
	return dst
}

func decodeTombstones(payload []byte) ([]tombstone, error) {
	d := wire.NewDecoder(payload)
	out := make([]tombstone, 0, d.Count(5))
	for range cap(out) {
		t := tombstone{Tombstone: model.Tombstone{Version: model.Version(d.Uvarint()), MinT: d.Varint(), MaxT: d.Varint()}, seq: d.Uvarint()}
		for range d.Count(3) {
			kind := labels.MatchType(d.Byte())
			name := d.String()
			value := d.String()
			if d.Err() != nil {
				return nil, d.Err()
			}
			if kind > labels.MatchNotRegexp {
				return nil, wire.Corruptf("matcher of unknown type %d", kind)
			}
			m, err := labels.NewMatcher(kind, name, value)
			if err != nil {
				return nil, wire.Corruptf("matcher: %v", err)
			}
			t.Matchers = append(t.Matchers, m)
		}
		out = append(out, t)
	}
	if d.Err() == nil && d.Len() > 0 {
		d.Fail("%d bytes behind the tombstones", d.Len())
	}
	return out, d.Err()
}
