package partial

import (
	"github.com/prometheus/prometheus/model/histogram"

	"github.com/count-db/count/internal/wire"
)

// The flags of a step's histograms.
const (
	histSet      = 1 << iota // there is a histogram
	histComp                 // and its compensation
	histReset                // the hint "reset" was seen
	histNotReset             // the hint "not reset" was seen
)

// appendHistSums appends the histograms of each step; none at all is one byte.
func appendHistSums(dst []byte, hists []histSum) []byte {
	if hists == nil {
		return append(dst, 0)
	}
	dst = append(dst, 1)
	for i := range hists {
		s := &hists[i]
		var flags byte
		if s.sum != nil {
			flags |= histSet
		}
		if s.comp != nil {
			flags |= histComp
		}
		if s.reset {
			flags |= histReset
		}
		if s.notReset {
			flags |= histNotReset
		}
		dst = append(dst, flags)
		if s.sum != nil {
			dst = appendHistogram(dst, s.sum)
		}
		if s.comp != nil {
			dst = appendHistogram(dst, s.comp)
		}
	}
	return dst
}

func decodeHistSums(d *wire.Decoder, n int) []histSum {
	switch d.Byte() {
	case 0:
		return nil
	case 1:
	default:
		d.Fail("unknown form of histograms")
		return nil
	}
	if d.Len() < n {
		d.Fail("histograms of %d steps in %d bytes", n, d.Len())
		return nil
	}
	hists := make([]histSum, n)
	for i := range hists {
		flags := d.Byte()
		if flags >= histNotReset<<1 || flags&(histSet|histComp) == histComp {
			d.Fail("flags %x of a histogram", flags)
		}
		if d.Err() != nil {
			return nil
		}
		s := &hists[i]
		if flags&histSet != 0 {
			s.sum = decodeHistogram(d)
		}
		if flags&histComp != 0 {
			s.comp = decodeHistogram(d)
		}
		s.reset, s.notReset = flags&histReset != 0, flags&histNotReset != 0
	}
	return hists
}

// appendHistograms appends the histograms of a series' steps, in the form of sums
// without compensations.
func appendHistograms(dst []byte, hs []*histogram.FloatHistogram) []byte {
	if hs == nil {
		return appendHistSums(dst, nil)
	}
	sums := make([]histSum, len(hs))
	for k, h := range hs {
		sums[k].sum = h
	}
	return appendHistSums(dst, sums)
}

func decodeHistograms(d *wire.Decoder, n int) []*histogram.FloatHistogram {
	sums := decodeHistSums(d, n)
	if sums == nil {
		return nil
	}
	hs := make([]*histogram.FloatHistogram, n)
	for k := range sums {
		hs[k] = sums[k].sum
	}
	return hs
}

// appendHistogram appends a float histogram exactly.
func appendHistogram(dst []byte, h *histogram.FloatHistogram) []byte {
	dst = append(dst, byte(h.CounterResetHint))
	dst = wire.AppendVarint(dst, int64(h.Schema))
	for _, v := range []float64{h.ZeroThreshold, h.ZeroCount, h.Count, h.Sum} {
		dst = appendFloat(dst, v)
	}
	for _, spans := range [][]histogram.Span{h.PositiveSpans, h.NegativeSpans} {
		dst = wire.AppendUvarint(dst, uint64(len(spans)))
		for _, s := range spans {
			dst = wire.AppendVarint(dst, int64(s.Offset))
			dst = wire.AppendUvarint(dst, uint64(s.Length))
		}
	}
	for _, vs := range [][]float64{h.PositiveBuckets, h.NegativeBuckets, h.CustomValues} {
		dst = wire.AppendUvarint(dst, uint64(len(vs)))
		for _, v := range vs {
			dst = appendFloat(dst, v)
		}
	}
	return dst
}

// decodeHistogram reads a float histogram. Its spans name as many buckets as it
// has; a compensation may have negative counts, so no more is checked.
func decodeHistogram(d *wire.Decoder) *histogram.FloatHistogram {
	h := &histogram.FloatHistogram{CounterResetHint: histogram.CounterResetHint(d.Byte()), Schema: int32(d.Varint())}
	if h.CounterResetHint > histogram.GaugeType || (!histogram.IsCustomBucketsSchema(h.Schema) && !histogram.IsExponentialSchema(h.Schema)) {
		d.Fail("histogram of schema %d, hint %d", h.Schema, h.CounterResetHint)
	}
	for _, v := range []*float64{&h.ZeroThreshold, &h.ZeroCount, &h.Count, &h.Sum} {
		*v = d.Float64()
	}
	var buckets [2]uint64
	for i, spans := range []*[]histogram.Span{&h.PositiveSpans, &h.NegativeSpans} {
		for n := range d.Count(2) {
			s := histogram.Span{Offset: int32(d.Varint()), Length: uint32(d.Uvarint())}
			if n > 0 && s.Offset < 0 {
				d.Fail("span %d at offset %d", n, s.Offset)
			}
			buckets[i] += uint64(s.Length)
			*spans = append(*spans, s)
		}
	}
	for i, vs := range []*[]float64{&h.PositiveBuckets, &h.NegativeBuckets, &h.CustomValues} {
		n := d.Count(8)
		if i < 2 && uint64(n) != buckets[i] {
			d.Fail("%d buckets in spans of %d", n, buckets[i])
		}
		if n == 0 {
			continue
		}
		*vs = make([]float64, n)
		for k := range *vs {
			(*vs)[k] = d.Float64()
		}
	}
	return h
}
