package wal

import (
	"fmt"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"

	"github.com/count-db/count/engine/version"
	countmodel "github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/wire"
)

// DecodedBatch is what a batch record holds. It may be used again for the next
// record; labels and histograms that were read stay valid.
type DecodedBatch struct {
	Batch  countmodel.Batch
	Series []SeriesDef
	Meta   BatchMeta

	builder labels.ScratchBuilder
}

// DecodeBatch reads a record that EncodeBatch wrote into dst, which it empties
// first. The error wraps wire.ErrCorrupt, or names a format that this build does
// not know.
func DecodeBatch(rec []byte, dst *DecodedBatch) error {
	dst.Batch.Reset()
	clear(dst.Series)
	dst.Series, dst.Meta = dst.Series[:0], BatchMeta{}
	d := wire.NewDecoder(rec)
	kind, format := d.Byte(), d.Byte()
	if d.Err() == nil && (kind != RecordBatch || format != batchFormat) {
		return fmt.Errorf("log record of kind %d, format %d is not supported here (a batch is %d, %d)", kind, format, RecordBatch, batchFormat)
	}
	sections := d.Uvarint()
	if sections&^uint64(knownSections) != 0 {
		return fmt.Errorf("batch record with unknown sections %#x: written by a newer build", sections)
	}
	dst.Batch.Version = countmodel.Version(d.Uint64())
	for _, s := range [...]struct {
		bit    uint64
		decode func(*wire.Decoder, *DecodedBatch)
	}{
		{hasMeta, decodeMeta},
		{hasSeries, decodeSeries},
		{hasFloats, decodeFloats},
		{hasStarts, decodeStarts},
		{hasHistograms, decodeHistograms},
		{hasExemplars, decodeExemplars},
		{hasMetadata, decodeMetadata},
	} {
		if sections&s.bit != 0 && d.Err() == nil {
			s.decode(&d, dst)
		}
	}
	if d.Err() == nil && d.Len() > 0 {
		d.Fail("%d bytes behind the batch", d.Len())
	}
	if d.Err() != nil {
		return fmt.Errorf("batch record: %w", d.Err())
	}
	return nil
}

func decodeMeta(d *wire.Decoder, b *DecodedBatch) {
	f := wire.NewDecoder(d.Bytes())
	m := &b.Meta
	for _, field := range [...]*uint64{&m.Coordinator, &m.Start, &m.Ring, &m.List, &m.Number} {
		*field = f.Uvarint()
	}
	// Fields behind these are a later build's.
	if f.Err() != nil {
		d.Fail("batch origin: %v", f.Err())
	}
}

func decodeSeries(d *wire.Decoder, b *DecodedBatch) {
	for range d.Count(2) {
		def := SeriesDef{Ref: countmodel.Ref(d.Uint32Varint())}
		def.Labels = decodeLabels(d, &b.builder)
		if d.Err() != nil {
			return
		}
		b.Series = append(b.Series, def)
	}
}

// decodeLabels reads labels, which must be sorted, without doubles.
func decodeLabels(d *wire.Decoder, builder *labels.ScratchBuilder) labels.Labels {
	builder.Reset()
	last := ""
	for i := range d.Count(2) {
		name := d.String()
		if i > 0 && name <= last {
			d.Fail("label %q behind %q", name, last)
		}
		last = name
		builder.Add(name, d.String())
	}
	return builder.Labels()
}

func decodeFloats(d *wire.Decoder, b *DecodedBatch) {
	n := d.Count(1) // each value has a tag
	if n == 0 {
		d.Fail("no floats in their section")
		return
	}
	if cap(b.Batch.Floats) < n {
		b.Batch.Floats = make([]countmodel.FloatSample, n)
	}
	b.Batch.Floats = b.Batch.Floats[:n]
	decodeRefs(d, b.Batch.Floats)
	decodeTimes(d, b.Batch.Floats)
	if d.Err() == nil {
		decodeValues(d, b.Batch.Floats)
	}
}

func decodeRefs(d *wire.Decoder, fs []countmodel.FloatSample) {
	switch form := d.Byte(); form {
	case formRuns:
		prev := int64(-1)
		decodeRuns(d, len(fs), func(i, n int, delta int64) {
			prev += delta + 1
			if prev < 0 || prev+int64(n) > 1<<32 {
				d.Fail("series reference %d", prev)
				return
			}
			for j := range n {
				fs[i+j].Ref = countmodel.Ref(prev + int64(j))
			}
			prev += int64(n) - 1
		})
	case formDelta:
		prev := int64(0)
		for i := range fs {
			prev += d.Varint()
			if prev < 0 || prev >= 1<<32 {
				d.Fail("series reference %d", prev)
				return
			}
			fs[i].Ref = countmodel.Ref(prev)
		}
	default:
		d.Fail("references of form %d", form)
	}
}

func decodeTimes(d *wire.Decoder, fs []countmodel.FloatSample) {
	switch form := d.Byte(); form {
	case formRuns:
		t := int64(0)
		decodeRuns(d, len(fs), func(i, n int, delta int64) {
			t += delta
			for j := range n {
				fs[i+j].T = t
			}
		})
	case formDelta:
		t, delta := int64(0), int64(0)
		for i := range fs {
			delta += d.Varint()
			t += delta
			fs[i].T = t
		}
	default:
		d.Fail("timestamps of form %d", form)
	}
}

// decodeRuns reads (delta, length) pairs until they cover n items.
func decodeRuns(d *wire.Decoder, n int, run func(i, n int, delta int64)) {
	for i := 0; i < n && d.Err() == nil; {
		delta, length := d.Varint(), d.Uvarint()
		if length == 0 || length > uint64(n-i) {
			d.Fail("run of %d in a column of %d", length, n)
			return
		}
		run(i, int(length), delta)
		i += int(length)
	}
}

func decodeStarts(d *wire.Decoder, b *DecodedBatch) {
	n := len(b.Batch.Floats)
	if cap(b.Batch.STs) < n {
		b.Batch.STs = make([]int64, n)
	}
	b.Batch.STs = b.Batch.STs[:n]
	st := int64(0)
	decodeRuns(d, n, func(i, n int, delta int64) {
		st += delta
		for j := range n {
			b.Batch.STs[i+j] = st
		}
	})
}

// decodeRef reads the difference of a reference to the one before.
func decodeRef(d *wire.Decoder, prev int64) int64 {
	ref := prev + d.Varint()
	if ref < 0 || ref >= 1<<32 {
		d.Fail("series reference %d", ref)
		return 0
	}
	return ref
}

func decodeHistograms(d *wire.Decoder, b *DecodedBatch) {
	ref, t, st := int64(0), int64(0), int64(0)
	for range d.Count(4) {
		ref = decodeRef(d, ref)
		t += d.Varint()
		st += d.Varint()
		h := countmodel.HistogramSample{Ref: countmodel.Ref(ref), T: t, ST: st}
		switch kind := d.Byte(); kind {
		case histInt:
			h.H = version.DecodeHistogram(d)
		case histFloat:
			h.FH = version.DecodeFloatHistogram(d)
		default:
			d.Fail("histogram of kind %d", kind)
		}
		if d.Err() != nil {
			return
		}
		b.Batch.Hists = append(b.Batch.Hists, h)
	}
}

func decodeExemplars(d *wire.Decoder, b *DecodedBatch) {
	ref, t := int64(0), int64(0)
	for range d.Count(11) {
		ref = decodeRef(d, ref)
		t += d.Varint()
		e := countmodel.Exemplar{Ref: countmodel.Ref(ref), T: t, V: d.Float64(), Labels: decodeLabels(d, &b.builder)}
		if d.Err() != nil {
			return
		}
		b.Batch.Exemplars = append(b.Batch.Exemplars, e)
	}
}

func decodeMetadata(d *wire.Decoder, b *DecodedBatch) {
	for range d.Count(4) {
		m := countmodel.Metadata{Family: d.String()}
		m.Metadata = metadata.Metadata{Type: model.MetricType(d.String()), Unit: d.String(), Help: d.String()}
		if d.Err() != nil {
			return
		}
		b.Batch.Metadata = append(b.Batch.Metadata, m)
	}
}
