package column

import (
	"fmt"
	"math"
	"math/bits"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/value"

	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/wire"
)

// DecodeHistograms appends the n histograms of a column to dst. Those that
// follow each other in one layout share their spans and custom bounds, which
// must not be changed. Version fields are left 0.
func DecodeHistograms(dst []model.HistogramPoint, src []byte, n int) ([]model.HistogramPoint, error) {
	if n == 0 {
		return dst, nil
	}
	// Each histogram takes a tag at least.
	if n < 0 || n > len(src) {
		return dst, fmt.Errorf("%w: %d bytes for %d histograms", ErrCorrupt, len(src), n)
	}
	ts, src, err := DecodeInts(nil, src, n)
	if err != nil {
		return dst, fmt.Errorf("timestamps of histograms: %w", err)
	}
	sts, src, err := DecodeInts(nil, src, n)
	if err != nil {
		return dst, fmt.Errorf("start timestamps of histograms: %w", err)
	}
	base := len(dst)
	r := histReader{in: wire.NewDecoder(src)}
	for i := range n {
		p := model.HistogramPoint{T: ts[i], ST: sts[i]}
		r.read(&p)
		if err := r.in.Err(); err != nil {
			return dst[:base], fmt.Errorf("histogram %d of %d: %w", i, n, err)
		}
		dst = append(dst, p)
	}
	return dst, nil
}

// histReader decodes histograms one behind the other.
type histReader struct {
	in   wire.Decoder
	last layout
	prev numbers
}

func (r *histReader) read(p *model.HistogramPoint) {
	tag := r.in.Byte()
	hint := histogram.CounterResetHint(tag >> tagHint)
	if tag&^tagMask != 0 || tag&(tagStale|tagLayout) == tagStale|tagLayout {
		r.in.Fail("tag %#x of a histogram", tag)
		return
	}
	float := tag&tagFloat != 0
	switch {
	case tag&tagStale != 0:
		stale := math.Float64frombits(value.StaleNaN)
		if float {
			p.FH = &histogram.FloatHistogram{Sum: stale, CounterResetHint: hint}
		} else {
			p.H = &histogram.Histogram{Sum: stale, CounterResetHint: hint}
		}
		return
	case tag&tagLayout != 0:
		r.readLayout(float)
	case float != r.last.float:
		r.in.Fail("histogram of another kind without a layout")
	}
	if r.in.Err() != nil {
		return
	}
	if float {
		p.FH = r.readFloats(hint)
	} else {
		p.H = r.readInts(hint)
	}
}

func (r *histReader) readLayout(float bool) {
	l := layout{float: float, schema: int32(r.in.Varint()), zero: math.Float64frombits(r.bits())}
	l.pos, l.neg = r.spans(), r.spans()
	if n := r.in.Count(1); n > 0 {
		l.custom = make([]float64, n)
		for i := range l.custom {
			l.custom[i] = math.Float64frombits(r.bits())
		}
	}
	pos, neg := spanned(l.pos), spanned(l.neg)
	// Each bucket takes a byte at least.
	if pos+neg > r.in.Len() {
		r.in.Fail("layout of %d buckets before %d bytes", pos+neg, r.in.Len())
		return
	}
	r.last = l
	r.prev.reset(pos, neg)
}

func (r *histReader) spans() []histogram.Span {
	n := r.in.Count(2)
	if n == 0 {
		return nil
	}
	spans := make([]histogram.Span, n)
	for i := range spans {
		spans[i] = histogram.Span{Offset: int32(r.in.Varint()), Length: r.in.Uint32Varint()}
	}
	return spans
}

func (r *histReader) bits() uint64 { return bits.ReverseBytes64(r.in.Uvarint()) }

func (r *histReader) int(prev *uint64) uint64 {
	*prev += uint64(r.in.Varint())
	return *prev
}

func (r *histReader) float(prev *uint64) float64 {
	*prev ^= r.bits()
	return math.Float64frombits(*prev)
}

func (r *histReader) readInts(hint histogram.CounterResetHint) *histogram.Histogram {
	l := &r.last
	h := &histogram.Histogram{
		CounterResetHint: hint, Schema: l.schema, ZeroThreshold: l.zero,
		PositiveSpans: l.pos, NegativeSpans: l.neg, CustomValues: l.custom,
	}
	h.Count, h.ZeroCount, h.Sum = r.int(&r.prev.count), r.int(&r.prev.zero), r.float(&r.prev.sum)
	h.PositiveBuckets, h.NegativeBuckets = buckets[int64](r)
	for i := range h.PositiveBuckets {
		h.PositiveBuckets[i] = int64(r.int(&r.prev.pos[i]))
	}
	for i := range h.NegativeBuckets {
		h.NegativeBuckets[i] = int64(r.int(&r.prev.neg[i]))
	}
	return h
}

func (r *histReader) readFloats(hint histogram.CounterResetHint) *histogram.FloatHistogram {
	l := &r.last
	h := &histogram.FloatHistogram{
		CounterResetHint: hint, Schema: l.schema, ZeroThreshold: l.zero,
		PositiveSpans: l.pos, NegativeSpans: l.neg, CustomValues: l.custom,
	}
	h.Count, h.ZeroCount, h.Sum = r.float(&r.prev.count), r.float(&r.prev.zero), r.float(&r.prev.sum)
	h.PositiveBuckets, h.NegativeBuckets = buckets[float64](r)
	for i := range h.PositiveBuckets {
		h.PositiveBuckets[i] = r.float(&r.prev.pos[i])
	}
	for i := range h.NegativeBuckets {
		h.NegativeBuckets[i] = r.float(&r.prev.neg[i])
	}
	return h
}

// buckets makes room for the counts of the current layout; nil where there are
// none, or where the source is too short for them.
func buckets[T int64 | float64](r *histReader) (pos, neg []T) {
	n := len(r.prev.pos)
	if m := n + len(r.prev.neg); m == 0 || m > r.in.Len() {
		if m > 0 {
			r.in.Fail("%d buckets in %d bytes", m, r.in.Len())
		}
		return nil, nil
	}
	all := make([]T, n+len(r.prev.neg))
	if n > 0 {
		pos = all[:n:n]
	}
	if n < len(all) {
		neg = all[n:]
	}
	return pos, neg
}
