package version

import (
	"math"

	"github.com/prometheus/prometheus/model/histogram"

	"github.com/count-db/count/internal/wire"
)

// The flags of the canonical bytes of a native histogram (FORMAT.md).
const (
	histGauge    = 1 << 0
	histZero     = 1 << 1
	histNegative = 1 << 2
	histCustom   = 1 << 3
	histKnown    = 1<<4 - 1
)

// AppendHistogram appends the canonical bytes of an integer histogram.
func AppendHistogram(dst []byte, h *histogram.Histogram) []byte {
	flags := histFlags(h.CounterResetHint, h.ZeroCount != 0 || math.Float64bits(h.ZeroThreshold) != 0,
		len(h.NegativeSpans)+len(h.NegativeBuckets) > 0, len(h.CustomValues) > 0)
	dst = append(dst, flags)
	dst = wire.AppendVarint(dst, int64(h.Schema))
	dst = appendFloat(dst, h.Sum)
	dst = wire.AppendUvarint(dst, h.Count)
	if flags&histZero != 0 {
		dst = wire.AppendUvarint(appendFloat(dst, h.ZeroThreshold), h.ZeroCount)
	}
	dst = appendInts(appendSpans(dst, h.PositiveSpans), h.PositiveBuckets)
	if flags&histNegative != 0 {
		dst = appendInts(appendSpans(dst, h.NegativeSpans), h.NegativeBuckets)
	}
	if flags&histCustom != 0 {
		dst = appendFloats(dst, h.CustomValues)
	}
	return dst
}

// AppendFloatHistogram appends the canonical bytes of a float histogram.
func AppendFloatHistogram(dst []byte, h *histogram.FloatHistogram) []byte {
	flags := histFlags(h.CounterResetHint, math.Float64bits(h.ZeroCount) != 0 || math.Float64bits(h.ZeroThreshold) != 0,
		len(h.NegativeSpans)+len(h.NegativeBuckets) > 0, len(h.CustomValues) > 0)
	dst = append(dst, flags)
	dst = wire.AppendVarint(dst, int64(h.Schema))
	dst = appendFloat(dst, h.Sum)
	dst = appendFloat(dst, h.Count)
	if flags&histZero != 0 {
		dst = appendFloat(appendFloat(dst, h.ZeroThreshold), h.ZeroCount)
	}
	dst = appendFloats(appendSpans(dst, h.PositiveSpans), h.PositiveBuckets)
	if flags&histNegative != 0 {
		dst = appendFloats(appendSpans(dst, h.NegativeSpans), h.NegativeBuckets)
	}
	if flags&histCustom != 0 {
		dst = appendFloats(dst, h.CustomValues)
	}
	return dst
}

func histFlags(hint histogram.CounterResetHint, zero, negative, custom bool) byte {
	var flags byte
	for _, f := range [...]struct {
		bit byte
		on  bool
	}{{histGauge, hint == histogram.GaugeType}, {histZero, zero}, {histNegative, negative}, {histCustom, custom}} {
		if f.on {
			flags |= f.bit
		}
	}
	return flags
}

func appendFloat(dst []byte, v float64) []byte { return wire.AppendUint64(dst, math.Float64bits(v)) }

func appendFloats(dst []byte, vs []float64) []byte {
	dst = wire.AppendUvarint(dst, uint64(len(vs)))
	for _, v := range vs {
		dst = appendFloat(dst, v)
	}
	return dst
}

func appendInts(dst []byte, vs []int64) []byte {
	dst = wire.AppendUvarint(dst, uint64(len(vs)))
	for _, v := range vs {
		dst = wire.AppendVarint(dst, v)
	}
	return dst
}

func appendSpans(dst []byte, spans []histogram.Span) []byte {
	dst = wire.AppendUvarint(dst, uint64(len(spans)))
	for _, s := range spans {
		dst = wire.AppendUvarint(wire.AppendVarint(dst, int64(s.Offset)), uint64(s.Length))
	}
	return dst
}

// DecodeHistogram reads an integer histogram; nil with d.Err set when the bytes
// are none.
func DecodeHistogram(d *wire.Decoder) *histogram.Histogram {
	flags, h := decodeFlags(d), &histogram.Histogram{}
	h.CounterResetHint = hintOf(flags)
	h.Schema = decodeSchema(d)
	h.Sum = d.Float64()
	h.Count = d.Uvarint()
	if flags&histZero != 0 {
		h.ZeroThreshold, h.ZeroCount = d.Float64(), d.Uvarint()
	}
	h.PositiveSpans, h.PositiveBuckets = decodeSpans(d), decodeInts(d)
	if flags&histNegative != 0 {
		h.NegativeSpans, h.NegativeBuckets = decodeSpans(d), decodeInts(d)
	}
	if flags&histCustom != 0 {
		h.CustomValues = decodeFloats(d)
	}
	if d.Err() != nil {
		return nil
	}
	return h
}

// DecodeFloatHistogram reads a float histogram; nil with d.Err set when the
// bytes are none.
func DecodeFloatHistogram(d *wire.Decoder) *histogram.FloatHistogram {
	flags, h := decodeFlags(d), &histogram.FloatHistogram{}
	h.CounterResetHint = hintOf(flags)
	h.Schema = decodeSchema(d)
	h.Sum, h.Count = d.Float64(), d.Float64()
	if flags&histZero != 0 {
		h.ZeroThreshold, h.ZeroCount = d.Float64(), d.Float64()
	}
	h.PositiveSpans, h.PositiveBuckets = decodeSpans(d), decodeFloats(d)
	if flags&histNegative != 0 {
		h.NegativeSpans, h.NegativeBuckets = decodeSpans(d), decodeFloats(d)
	}
	if flags&histCustom != 0 {
		h.CustomValues = decodeFloats(d)
	}
	if d.Err() != nil {
		return nil
	}
	return h
}

func decodeFlags(d *wire.Decoder) byte {
	flags := d.Byte()
	if flags&^byte(histKnown) != 0 {
		d.Fail("unknown histogram flags %#x", flags)
	}
	return flags
}

func hintOf(flags byte) histogram.CounterResetHint {
	if flags&histGauge != 0 {
		return histogram.GaugeType
	}
	return histogram.UnknownCounterReset
}

func decodeSchema(d *wire.Decoder) int32 {
	v := d.Varint()
	if v != int64(int32(v)) {
		d.Fail("histogram schema %d", v)
	}
	return int32(v)
}

func decodeSpans(d *wire.Decoder) []histogram.Span {
	n := d.Count(2)
	if n == 0 {
		return nil
	}
	spans := make([]histogram.Span, n)
	for i := range spans {
		offset := d.Varint()
		if offset != int64(int32(offset)) {
			d.Fail("histogram span offset %d", offset)
		}
		spans[i] = histogram.Span{Offset: int32(offset), Length: d.Uint32Varint()}
	}
	return spans
}

func decodeInts(d *wire.Decoder) []int64 {
	n := d.Count(1)
	if n == 0 {
		return nil
	}
	vs := make([]int64, n)
	for i := range vs {
		vs[i] = d.Varint()
	}
	return vs
}

func decodeFloats(d *wire.Decoder) []float64 {
	n := d.Count(8)
	if n == 0 {
		return nil
	}
	vs := make([]float64, n)
	for i := range vs {
		vs[i] = d.Float64()
	}
	return vs
}
