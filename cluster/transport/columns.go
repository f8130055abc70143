package transport

import (
	"encoding/binary"
	"math"
	"slices"

	"github.com/prometheus/prometheus/model/labels"

	count "github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/wire"
)

// Marks of the columns that follow.
const (
	hasVersions = 1
	hasStarts   = 2
)

// AppendColumns appends the samples [from, to) of c's floats and, when hists is
// set, its histograms.
func AppendColumns(dst []byte, c *count.Columns, from, to int, hists bool) []byte {
	marks := byte(0)
	if len(c.Ver) > 0 {
		marks |= hasVersions
	}
	if len(c.ST) > 0 {
		marks |= hasStarts
	}
	dst = append(dst, marks)
	dst = wire.AppendUvarint(dst, uint64(to-from))
	last, step := int64(0), int64(0)
	for _, t := range c.T[from:to] {
		d := t - last
		dst = wire.AppendVarint(dst, d-step)
		last, step = t, d
	}
	if marks&hasVersions != 0 {
		v := uint64(0)
		for _, ver := range c.Ver[from:to] {
			dst = wire.AppendVarint(dst, int64(uint64(ver)-v))
			v = uint64(ver)
		}
	}
	if marks&hasStarts != 0 {
		for i := from; i < to; i++ {
			if c.ST[i] == 0 {
				dst = append(dst, 0)
				continue
			}
			dst = wire.AppendVarint(dst, startDistance(c.T[i], c.ST[i]))
		}
	}
	for _, v := range c.V[from:to] {
		dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(v))
	}
	if !hists {
		return append(dst, 0)
	}
	dst = wire.AppendUvarint(dst, uint64(len(c.Hist)))
	for _, p := range c.Hist {
		dst = wire.AppendUvarint(dst, uint64(p.Ver))
		dst = AppendHistogram(dst, p)
	}
	return dst
}

// DecodeColumns reads columns and appends them to c: a series may come in
// several parts.
func DecodeColumns(d *wire.Decoder, c *count.Columns) {
	marks := d.Byte()
	if marks&^(hasVersions|hasStarts) != 0 {
		d.Fail("marks of columns %#x", marks)
	}
	n := d.Count(9) // a timestamp and a value each
	base := len(c.T)
	if len(c.Ver) != 0 && len(c.Ver) != base || marks&hasVersions != 0 && len(c.Ver) != base {
		d.Fail("part of a series with versions behind one without")
	}
	if d.Err() != nil {
		return
	}
	c.T, c.V = slices.Grow(c.T, n), slices.Grow(c.V, n)
	last, step := int64(0), int64(0)
	for range n {
		step += d.Varint()
		last += step
		c.T = append(c.T, last)
	}
	if marks&hasVersions != 0 {
		c.Ver = slices.Grow(c.Ver, n)
		v := uint64(0)
		for range n {
			v += uint64(d.Varint())
			c.Ver = append(c.Ver, count.Version(v))
		}
	}
	if marks&hasStarts != 0 || len(c.ST) > 0 {
		for len(c.ST) < base {
			c.ST = append(c.ST, 0)
		}
		for i := range n {
			st := int64(0)
			if marks&hasStarts != 0 {
				st = startAt(c.T[base+i], d.Varint())
			}
			c.ST = append(c.ST, st)
		}
	}
	values := d.Take(8 * n)
	if d.Err() != nil {
		return
	}
	for i := range n {
		c.V = append(c.V, math.Float64frombits(binary.LittleEndian.Uint64(values[8*i:])))
	}
	for range d.Count(4) {
		ver := count.Version(d.Uvarint())
		p := DecodeHistogram(d)
		if d.Err() != nil {
			return
		}
		p.Ver = ver
		c.Hist = append(c.Hist, p)
	}
}

// AppendMatchers appends matchers.
func AppendMatchers(dst []byte, ms []*labels.Matcher) []byte {
	dst = wire.AppendUvarint(dst, uint64(len(ms)))
	for _, m := range ms {
		dst = append(dst, byte(m.Type))
		dst = wire.AppendString(dst, m.Name)
		dst = wire.AppendString(dst, m.Value)
	}
	return dst
}

// DecodeMatchers reads matchers.
func DecodeMatchers(d *wire.Decoder) []*labels.Matcher {
	var ms []*labels.Matcher
	for range d.Count(3) {
		kind, name, value := labels.MatchType(d.Byte()), d.String(), d.String()
		if kind > labels.MatchNotRegexp {
			d.Fail("matcher of type %d", kind)
		}
		if d.Err() != nil {
			return nil
		}
		m, err := labels.NewMatcher(kind, name, value)
		if err != nil {
			d.Fail("matcher %s: %v", name, err)
			return nil
		}
		ms = append(ms, m)
	}
	return ms
}

// AppendTombstones appends deletes.
func AppendTombstones(dst []byte, all []count.Tombstone) []byte {
	dst = wire.AppendUvarint(dst, uint64(len(all)))
	for i := range all {
		t := &all[i]
		dst = wire.AppendUvarint(dst, uint64(t.Version))
		dst = wire.AppendVarint(dst, t.MinT)
		dst = wire.AppendVarint(dst, t.MaxT)
		dst = AppendMatchers(dst, t.Matchers)
	}
	return dst
}

// DecodeTombstones reads deletes.
func DecodeTombstones(d *wire.Decoder) []count.Tombstone {
	var all []count.Tombstone
	for range d.Count(4) {
		t := count.Tombstone{Version: count.Version(d.Uvarint()), MinT: d.Varint(), MaxT: d.Varint(), Matchers: DecodeMatchers(d)}
		if d.Err() != nil {
			return nil
		}
		all = append(all, t)
	}
	return all
}
