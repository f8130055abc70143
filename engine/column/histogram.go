package column

import (
	"encoding/binary"
	"math"
	"math/bits"
	"slices"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/value"

	"github.com/count-db/count/internal/model"
)

// The bits of a histogram's tag byte; the two above are its hint.
const (
	tagFloat  = 1 << 0 // counts are floats
	tagLayout = 1 << 1 // a layout follows
	tagStale  = 1 << 2 // a stale marker: nothing follows
	tagHint   = 3      // shift of the hint
	tagMask   = 1<<5 - 1
)

// layout is what the histograms of a series mostly share.
type layout struct {
	float    bool
	schema   int32
	zero     float64
	pos, neg []histogram.Span
	custom   []float64
}

func (l *layout) equal(o *layout) bool {
	return l.float == o.float && l.schema == o.schema && sameBits(l.zero, o.zero) &&
		slices.Equal(l.pos, o.pos) && slices.Equal(l.neg, o.neg) && slices.EqualFunc(l.custom, o.custom, sameBits)
}

func sameBits(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) }

// numbers are a histogram's counts: as integers, or as bits of floats.
type numbers struct {
	count, zero, sum uint64
	pos, neg         []uint64
}

func (n *numbers) reset(pos, neg int) {
	n.count, n.zero, n.sum = 0, 0, 0
	n.pos, n.neg = slices.Grow(n.pos[:0], pos)[:pos], slices.Grow(n.neg[:0], neg)[:neg]
	clear(n.pos)
	clear(n.neg)
}

// EncodeHistograms appends a column of native histograms, with timestamps,
// start timestamps and the hints they came with; versions are not part of it.
// The hints other than gauge are worth nothing once neighbours change: readers
// call DeriveHints. Integer buckets that are no
// multiple of their spans' length are cut or filled with zeros.
func EncodeHistograms(dst []byte, hs []model.HistogramPoint) []byte {
	if len(hs) == 0 {
		return dst
	}
	ts := make([]int64, 2*len(hs))
	ts, sts := ts[:len(hs)], ts[len(hs):]
	for i := range hs {
		ts[i], sts[i] = hs[i].T, hs[i].ST
	}
	dst = EncodeInts(dst, ts)
	dst = EncodeInts(dst, sts)
	var last layout
	var prev numbers
	for i := range hs {
		dst = appendHistogram(dst, &hs[i], &last, &prev)
	}
	return dst
}

func appendHistogram(dst []byte, p *model.HistogramPoint, last *layout, prev *numbers) []byte {
	l, hint := layoutOf(p)
	tag := byte(hint) << tagHint
	if l.float {
		tag |= tagFloat
	}
	if isStale(p) {
		return append(dst, tag|tagStale)
	}
	if !l.equal(last) {
		tag |= tagLayout
		dst = appendLayout(append(dst, tag), &l)
		*last = l
		prev.reset(spanned(l.pos), spanned(l.neg))
	} else {
		dst = append(dst, tag)
	}
	if p.FH != nil {
		return appendFloats(dst, p.FH, prev)
	}
	return appendInts(dst, p.H, prev)
}

func layoutOf(p *model.HistogramPoint) (layout, histogram.CounterResetHint) {
	if h := p.FH; h != nil {
		return layout{true, h.Schema, h.ZeroThreshold, h.PositiveSpans, h.NegativeSpans, h.CustomValues}, h.CounterResetHint
	}
	h := p.H
	return layout{false, h.Schema, h.ZeroThreshold, h.PositiveSpans, h.NegativeSpans, h.CustomValues}, h.CounterResetHint
}

// isStale says whether a histogram is a stale marker; of one only the sum
// counts, everywhere in Prometheus.
func isStale(p *model.HistogramPoint) bool {
	if p.FH != nil {
		return value.IsStaleNaN(p.FH.Sum)
	}
	return value.IsStaleNaN(p.H.Sum)
}

// spanned returns the number of buckets that spans cover.
func spanned(spans []histogram.Span) int {
	n := 0
	for _, s := range spans {
		n += int(s.Length)
	}
	return n
}

func appendLayout(dst []byte, l *layout) []byte {
	dst = binary.AppendVarint(dst, int64(l.schema))
	dst = appendBits(dst, math.Float64bits(l.zero))
	for _, spans := range [...][]histogram.Span{l.pos, l.neg} {
		dst = binary.AppendUvarint(dst, uint64(len(spans)))
		for _, s := range spans {
			dst = binary.AppendVarint(dst, int64(s.Offset))
			dst = binary.AppendUvarint(dst, uint64(s.Length))
		}
	}
	dst = binary.AppendUvarint(dst, uint64(len(l.custom)))
	for _, v := range l.custom {
		dst = appendBits(dst, math.Float64bits(v))
	}
	return dst
}

// appendBits writes the bits of a float, or those in which two differ, so that
// few significant ones take few bytes.
func appendBits(dst []byte, b uint64) []byte {
	return binary.AppendUvarint(dst, bits.ReverseBytes64(b))
}

func appendInts(dst []byte, h *histogram.Histogram, prev *numbers) []byte {
	dst = appendIntDelta(dst, &prev.count, h.Count)
	dst = appendIntDelta(dst, &prev.zero, h.ZeroCount)
	dst = appendFloatDelta(dst, &prev.sum, h.Sum)
	for i := range prev.pos {
		dst = appendIntDelta(dst, &prev.pos[i], uint64(at(h.PositiveBuckets, i)))
	}
	for i := range prev.neg {
		dst = appendIntDelta(dst, &prev.neg[i], uint64(at(h.NegativeBuckets, i)))
	}
	return dst
}

func appendFloats(dst []byte, h *histogram.FloatHistogram, prev *numbers) []byte {
	dst = appendFloatDelta(dst, &prev.count, h.Count)
	dst = appendFloatDelta(dst, &prev.zero, h.ZeroCount)
	dst = appendFloatDelta(dst, &prev.sum, h.Sum)
	for i := range prev.pos {
		dst = appendFloatDelta(dst, &prev.pos[i], at(h.PositiveBuckets, i))
	}
	for i := range prev.neg {
		dst = appendFloatDelta(dst, &prev.neg[i], at(h.NegativeBuckets, i))
	}
	return dst
}

// at is s[i], zero behind the end.
func at[T int64 | float64](s []T, i int) T {
	if i < len(s) {
		return s[i]
	}
	return 0
}

func appendIntDelta(dst []byte, prev *uint64, v uint64) []byte {
	dst = binary.AppendVarint(dst, int64(v-*prev))
	*prev = v
	return dst
}

func appendFloatDelta(dst []byte, prev *uint64, v float64) []byte {
	b := math.Float64bits(v)
	dst = appendBits(dst, b^*prev)
	*prev = b
	return dst
}
