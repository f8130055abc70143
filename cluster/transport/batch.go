package transport

import (
	"encoding/binary"
	"math"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	count "github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/wire"
)

// AppendBatch appends the samples body of b (FORMAT.md): series are named by
// the sender's references, which mean something only beside the definitions
// that travelled on the same connection or in the same hint file.
func AppendBatch(dst []byte, b *count.Batch) []byte {
	dst = wire.AppendUvarint(dst, uint64(b.Version))
	dst = appendFloats(dst, b)
	dst = wire.AppendUvarint(dst, uint64(len(b.Hists)))
	for i := range b.Hists {
		h := &b.Hists[i]
		dst = wire.AppendUvarint(dst, uint64(h.Ref))
		dst = AppendHistogram(dst, count.HistogramPoint{T: h.T, ST: h.ST, H: h.H, FH: h.FH})
	}
	dst = wire.AppendUvarint(dst, uint64(len(b.Exemplars)))
	for i := range b.Exemplars {
		e := &b.Exemplars[i]
		dst = wire.AppendUvarint(dst, uint64(e.Ref))
		dst = AppendExemplar(dst, e)
	}
	return AppendMetadata(dst, b.Metadata)
}

// AppendMetadata appends metadata of families.
func AppendMetadata(dst []byte, all []count.Metadata) []byte {
	dst = wire.AppendUvarint(dst, uint64(len(all)))
	for i := range all {
		m := &all[i]
		dst = wire.AppendString(dst, m.Family)
		dst = wire.AppendString(dst, string(m.Type))
		dst = wire.AppendString(dst, m.Unit)
		dst = wire.AppendString(dst, m.Help)
	}
	return dst
}

// appendFloats writes three columns: the timestamps as runs, because the samples
// of a scrape share theirs, the references as differences, and the values raw.
func appendFloats(dst []byte, b *count.Batch) []byte {
	n := len(b.Floats)
	dst = wire.AppendUvarint(dst, uint64(n))
	if n == 0 {
		return dst
	}
	last := int64(0)
	for i := 0; i < n; {
		t, run := b.Floats[i].T, 1
		for i+run < n && b.Floats[i+run].T == t {
			run++
		}
		dst = wire.AppendVarint(dst, t-last)
		dst = wire.AppendUvarint(dst, uint64(run))
		last, i = t, i+run
	}
	ref := int64(0)
	for i := range b.Floats {
		dst = wire.AppendVarint(dst, int64(b.Floats[i].Ref)-ref)
		ref = int64(b.Floats[i].Ref)
	}
	for i := range b.Floats {
		dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(b.Floats[i].V))
	}
	if len(b.STs) != n {
		return append(dst, 0)
	}
	dst = append(dst, 1)
	for i, st := range b.STs {
		if st == 0 {
			dst = append(dst, 0)
			continue
		}
		// Shifted by one, so that a start equal to the timestamp is not "none".
		dst = wire.AppendVarint(dst, startDistance(b.Floats[i].T, st))
	}
	return dst
}

// startDistance codes a start timestamp by its distance before t; 0 is taken to
// mean none, so distances of 0 and more move up by one.
func startDistance(t, st int64) int64 {
	if d := t - st; d < 0 {
		return d
	} else {
		return d + 1
	}
}

func startAt(t, d int64) int64 {
	switch {
	case d == 0:
		return 0
	case d < 0:
		return t - d
	default:
		return t - (d - 1)
	}
}

// DecodeBatch reads a samples body and appends it to b, with the references
// translated by refs. The version is b's afterwards.
func DecodeBatch(d *wire.Decoder, b *count.Batch, refs func(sender uint32) (count.Ref, bool)) {
	b.Version = count.Version(d.Uvarint())
	decodeFloats(d, b, refs)
	for range d.Count(4) {
		ref := decodeRef(d, refs)
		h := DecodeHistogram(d)
		if d.Err() != nil {
			return
		}
		b.Hists = append(b.Hists, count.HistogramSample{T: h.T, ST: h.ST, H: h.H, FH: h.FH, Ref: ref})
	}
	for range d.Count(4) {
		ref := decodeRef(d, refs)
		e := DecodeExemplar(d)
		if d.Err() != nil {
			return
		}
		e.Ref = ref
		b.Exemplars = append(b.Exemplars, e)
	}
	b.Metadata = DecodeMetadata(d, b.Metadata)
}

func decodeFloats(d *wire.Decoder, b *count.Batch, refs func(uint32) (count.Ref, bool)) {
	n := d.Count(9) // a reference and a value each
	if n == 0 {
		return
	}
	base := len(b.Floats)
	if free := cap(b.Floats) - base; free < n {
		grown := make([]count.FloatSample, base, base+n+n/4)
		copy(grown, b.Floats)
		b.Floats = grown
	}
	out := b.Floats[base : base+n]
	t := int64(0)
	for i := 0; i < n; {
		t += d.Varint()
		run := d.Uvarint()
		if run == 0 || run > uint64(n-i) {
			d.Fail("run of %d timestamps where %d samples are left", run, n-i)
			return
		}
		for end := i + int(run); i < end; i++ {
			out[i].T = t
		}
	}
	if !decodeRefs(d, out, refs) {
		return
	}
	values := d.Take(8 * n)
	if values == nil {
		return
	}
	for i := range out {
		out[i].V = math.Float64frombits(binary.LittleEndian.Uint64(values[8*i:]))
	}
	hasStarts := d.Byte()
	if hasStarts > 1 {
		d.Fail("mark of start timestamps %d", hasStarts)
	}
	if d.Err() != nil {
		return
	}
	if hasStarts == 1 || len(b.STs) > 0 {
		for len(b.STs) < base {
			b.STs = append(b.STs, 0)
		}
		for i := range out {
			st := int64(0)
			if hasStarts == 1 {
				st = startAt(out[i].T, d.Varint())
			}
			b.STs = append(b.STs, st)
		}
	}
	b.Floats = b.Floats[:base+n]
}

func decodeRef(d *wire.Decoder, refs func(uint32) (count.Ref, bool)) count.Ref {
	sender := d.Uint32Varint()
	ref, ok := refs(sender)
	if !ok {
		d.Fail("series number %d was not defined", sender)
	}
	return ref
}

// decodeRefs reads the column of references. It works on the bytes themselves,
// because it is the loop that receiving samples spends its time in.
func decodeRefs(d *wire.Decoder, out []count.FloatSample, refs func(uint32) (count.Ref, bool)) bool {
	ahead := *d
	rest := ahead.Rest()
	at, sender := 0, int64(0)
	for i := range out {
		var u uint64
		if at < len(rest) && rest[at] < 0x80 {
			u = uint64(rest[at])
			at++
		} else {
			v, n := binary.Uvarint(rest[at:])
			if n <= 0 {
				d.Fail("column of series numbers reaches beyond the end")
				return false
			}
			u, at = v, at+n
		}
		sender += int64(u>>1) ^ -int64(u&1)
		if sender < 0 || sender > math.MaxUint32 {
			d.Fail("series number %d", sender)
			return false
		}
		ref, ok := refs(uint32(sender))
		if !ok {
			d.Fail("series number %d was not defined", sender)
			return false
		}
		out[i].Ref = ref
	}
	d.Take(at)
	return true
}

// AppendExemplar appends an exemplar without its reference.
func AppendExemplar(dst []byte, e *count.Exemplar) []byte {
	dst = wire.AppendVarint(dst, e.T)
	dst = wire.AppendUint64(dst, math.Float64bits(e.V))
	return AppendLabels(dst, e.Labels)
}

// DecodeExemplar reads an exemplar.
func DecodeExemplar(d *wire.Decoder) count.Exemplar {
	return count.Exemplar{T: d.Varint(), V: d.Float64(), Labels: DecodeLabels(d)}
}

// DecodeMetadata reads metadata of families and appends it to all.
func DecodeMetadata(d *wire.Decoder, all []count.Metadata) []count.Metadata {
	for range d.Count(4) {
		m := count.Metadata{Family: d.String()}
		m.Type, m.Unit, m.Help = model.MetricType(d.String()), d.String(), d.String()
		if d.Err() != nil {
			break
		}
		all = append(all, m)
	}
	return all
}

// AppendLabels appends a label set as its length and its canonical form.
func AppendLabels(dst []byte, ls labels.Labels) []byte {
	var scratch [512]byte
	return wire.AppendBytes(dst, count.AppendCanonical(scratch[:0], ls))
}

// DecodeLabels reads a label set. Names that are not ascending are an error:
// the canonical form has one order.
func DecodeLabels(d *wire.Decoder) labels.Labels {
	in := wire.NewDecoder(d.Bytes())
	b := labels.NewScratchBuilder(16)
	last := ""
	for in.Len() > 0 {
		name, value := in.String(), in.String()
		if in.Err() == nil && (name <= last || value == "") {
			in.Fail("label %q behind %q", name, last)
		}
		b.Add(name, value)
		last = name
	}
	if in.Err() != nil {
		d.Fail("labels: %v", in.Err())
		return labels.EmptyLabels()
	}
	return b.Labels()
}
