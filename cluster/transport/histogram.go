package transport

import (
	"math"

	"github.com/prometheus/prometheus/model/histogram"

	count "github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/wire"
)

// The two kinds of native histograms.
const (
	kindInteger = 1
	kindFloat   = 2
)

// AppendHistogram appends one native histogram with its timestamps, exactly:
// counter reset hint, spans and buckets as they are.
func AppendHistogram(dst []byte, p count.HistogramPoint) []byte {
	dst = wire.AppendVarint(dst, p.T)
	dst = wire.AppendVarint(dst, p.ST)
	if p.H != nil {
		h := p.H
		dst = append(dst, kindInteger, byte(h.CounterResetHint))
		dst = wire.AppendVarint(dst, int64(h.Schema))
		dst = appendFloat(dst, h.ZeroThreshold)
		dst = wire.AppendUvarint(dst, h.ZeroCount)
		dst = wire.AppendUvarint(dst, h.Count)
		dst = appendFloat(dst, h.Sum)
		dst = appendSpans(dst, h.PositiveSpans)
		dst = appendSpans(dst, h.NegativeSpans)
		dst = appendDeltas(dst, h.PositiveBuckets)
		dst = appendDeltas(dst, h.NegativeBuckets)
		return appendFloatList(dst, h.CustomValues)
	}
	h := p.FH
	dst = append(dst, kindFloat, byte(h.CounterResetHint))
	dst = wire.AppendVarint(dst, int64(h.Schema))
	dst = appendFloat(dst, h.ZeroThreshold)
	dst = appendFloat(dst, h.ZeroCount)
	dst = appendFloat(dst, h.Count)
	dst = appendFloat(dst, h.Sum)
	dst = appendSpans(dst, h.PositiveSpans)
	dst = appendSpans(dst, h.NegativeSpans)
	dst = appendFloatList(dst, h.PositiveBuckets)
	dst = appendFloatList(dst, h.NegativeBuckets)
	return appendFloatList(dst, h.CustomValues)
}

// DecodeHistogram reads one native histogram.
func DecodeHistogram(d *wire.Decoder) count.HistogramPoint {
	p := count.HistogramPoint{T: d.Varint(), ST: d.Varint()}
	kind, hint := d.Byte(), histogram.CounterResetHint(d.Byte())
	schema := d.Varint()
	if schema < math.MinInt32 || schema > math.MaxInt32 || hint > histogram.GaugeType {
		d.Fail("histogram of schema %d with hint %d", schema, hint)
	}
	switch kind {
	case kindInteger:
		p.H = &histogram.Histogram{
			CounterResetHint: hint, Schema: int32(schema), ZeroThreshold: d.Float64(),
			ZeroCount: d.Uvarint(), Count: d.Uvarint(), Sum: d.Float64(),
			PositiveSpans: decodeSpans(d), NegativeSpans: decodeSpans(d),
			PositiveBuckets: decodeDeltas(d), NegativeBuckets: decodeDeltas(d),
			CustomValues: decodeFloatList(d),
		}
	case kindFloat:
		p.FH = &histogram.FloatHistogram{
			CounterResetHint: hint, Schema: int32(schema), ZeroThreshold: d.Float64(),
			ZeroCount: d.Float64(), Count: d.Float64(), Sum: d.Float64(),
			PositiveSpans: decodeSpans(d), NegativeSpans: decodeSpans(d),
			PositiveBuckets: decodeFloatList(d), NegativeBuckets: decodeFloatList(d),
			CustomValues: decodeFloatList(d),
		}
	default:
		d.Fail("histogram of kind %d", kind)
	}
	return p
}

func appendFloat(dst []byte, v float64) []byte { return wire.AppendUint64(dst, math.Float64bits(v)) }

func appendFloatList(dst []byte, all []float64) []byte {
	dst = wire.AppendUvarint(dst, uint64(len(all)))
	for _, v := range all {
		dst = appendFloat(dst, v)
	}
	return dst
}

func appendDeltas(dst []byte, all []int64) []byte {
	dst = wire.AppendUvarint(dst, uint64(len(all)))
	for _, v := range all {
		dst = wire.AppendVarint(dst, v)
	}
	return dst
}

func appendSpans(dst []byte, all []histogram.Span) []byte {
	dst = wire.AppendUvarint(dst, uint64(len(all)))
	for _, s := range all {
		dst = wire.AppendVarint(dst, int64(s.Offset))
		dst = wire.AppendUvarint(dst, uint64(s.Length))
	}
	return dst
}

func decodeFloatList(d *wire.Decoder) []float64 {
	n := d.Count(8)
	if n == 0 {
		return nil
	}
	out := make([]float64, n)
	for i := range out {
		out[i] = d.Float64()
	}
	return out
}

func decodeDeltas(d *wire.Decoder) []int64 {
	n := d.Count(1)
	if n == 0 {
		return nil
	}
	out := make([]int64, n)
	for i := range out {
		out[i] = d.Varint()
	}
	return out
}

func decodeSpans(d *wire.Decoder) []histogram.Span {
	n := d.Count(2)
	if n == 0 {
		return nil
	}
	out := make([]histogram.Span, n)
	for i := range out {
		offset := d.Varint()
		if offset < math.MinInt32 || offset > math.MaxInt32 {
			d.Fail("histogram span at %d", offset)
		}
		out[i] = histogram.Span{Offset: int32(offset), Length: d.Uint32Varint()}
	}
	return out
}
