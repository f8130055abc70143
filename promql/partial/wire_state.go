package partial

import (
	"math"

	"github.com/count-db/count/internal/wire"
)

// A column of floats is a bitmap of the steps that have a value, and their bit
// patterns. The forms of the bitmap:
const (
	stepsAll  = iota // every step
	stepsNone        // no step
	stepsSome        // a bit for each step, the lowest first
	// stepsBehindHistograms begins an average that has native histograms, before its
	// counts.
	stepsBehindHistograms
)

func appendFloat(dst []byte, v float64) []byte {
	return wire.AppendUint64(dst, math.Float64bits(v))
}

func appendSteps(dst []byte, n int, has func(k int) bool) []byte {
	count := 0
	for k := range n {
		if has(k) {
			count++
		}
	}
	switch count {
	case n:
		return append(dst, stepsAll)
	case 0:
		return append(dst, stepsNone)
	}
	dst = append(dst, stepsSome)
	for k := 0; k < n; k += 8 {
		var b byte
		for i := 0; i < 8 && k+i < n; i++ {
			if has(k + i) {
				b |= 1 << i
			}
		}
		dst = append(dst, b)
	}
	return dst
}

// decodeSteps returns which of n steps have a value; nil = all.
func decodeSteps(d *wire.Decoder, n int) []bool {
	form := d.Byte()
	if form == stepsAll {
		return nil
	}
	ok := make([]bool, n)
	switch form {
	case stepsNone:
	case stepsSome:
		for k := 0; k < n; k += 8 {
			b := d.Byte()
			for i := 0; i < 8 && k+i < n; i++ {
				ok[k+i] = b&(1<<i) != 0
			}
		}
	default:
		d.Fail("unknown form %d of steps", form)
	}
	return ok
}

// appendFloats appends the values of the steps named by ok; nil = all.
func appendFloats(dst []byte, vs []float64, ok []bool) []byte {
	has := func(k int) bool { return ok == nil || ok[k] }
	dst = appendSteps(dst, len(vs), has)
	return appendValues(dst, vs, has)
}

func appendValues(dst []byte, vs []float64, has func(k int) bool) []byte {
	for k, v := range vs {
		if has(k) {
			dst = appendFloat(dst, v)
		}
	}
	return dst
}

func decodeFloats(d *wire.Decoder, n int) (vs []float64, ok []bool) {
	ok = decodeSteps(d, n)
	vs = make([]float64, n)
	decodeValues(d, vs, ok)
	return vs, ok
}

func decodeValues(d *wire.Decoder, vs []float64, ok []bool) {
	for k := range vs {
		if ok == nil || ok[k] {
			vs[k] = d.Float64()
		}
	}
}

// fillSeen writes the steps that have a value; nil = all.
func fillSeen(seen, ok []bool) {
	for k := range seen {
		seen[k] = ok == nil || ok[k]
	}
}

func (s *sumState) encode(dst []byte) []byte {
	dst = appendFloats(dst, s.sum, s.seen)
	// Most sums of integers need no compensation.
	dst = appendSparse(dst, s.comp)
	return appendHistSums(dst, s.hists)
}

func (s *sumState) decode(d *wire.Decoder) {
	var ok []bool
	s.sum, ok = decodeFloats(d, len(s.sum))
	fillSeen(s.seen, ok)
	s.all = ok == nil
	s.comp = decodeSparse(d, len(s.comp))
	s.hists = decodeHistSums(d, len(s.sum))
}

// appendSparse appends the values that are not zero.
func appendSparse(dst []byte, vs []float64) []byte {
	has := func(k int) bool { return math.Float64bits(vs[k]) != 0 }
	dst = appendSteps(dst, len(vs), has)
	return appendValues(dst, vs, has)
}

func decodeSparse(d *wire.Decoder, n int) []float64 {
	vs, _ := decodeFloats(d, n)
	return vs
}

func (s *avgState) encode(dst []byte) []byte {
	if s.hists != nil {
		dst = append(dst, stepsBehindHistograms)
		dst = appendHistSums(dst, s.hists)
		for i := range s.hists {
			dst = wire.AppendUvarint(dst, uint64(s.hists[i].n))
		}
	}
	dst = appendSparse(dst, s.count)
	has := func(k int) bool { return s.count[k] != 0 }
	dst = appendValues(dst, s.value, has)
	dst = appendSparse(dst, s.comp)
	return appendSteps(dst, len(s.incremental), func(k int) bool { return s.incremental[k] })
}

func (s *avgState) decode(d *wire.Decoder) {
	n := len(s.count)
	rest := d.Rest()
	d.Reset(rest)
	if len(rest) > 0 && rest[0] == stepsBehindHistograms {
		d.Byte()
		s.hists = decodeHistSums(d, n)
		for i := range s.hists {
			s.hists[i].n = float64(d.Uvarint())
			if (s.hists[i].n == 0) != (s.hists[i].sum == nil) || s.hists[i].n >= 1<<53 {
				d.Fail("%v histograms in a sum", s.hists[i].n)
			}
		}
	}
	s.count = decodeCountsOf(d, n)
	for k := range n {
		if s.count[k] != 0 {
			s.value[k] = d.Float64()
		}
	}
	s.comp = decodeSparse(d, n)
	fillSeen(s.incremental, decodeSteps(d, n))
}

// decodeCountsOf reads numbers of series: whole and above zero where they stand.
func decodeCountsOf(d *wire.Decoder, n int) []float64 {
	counts := decodeSparse(d, n)
	for _, c := range counts {
		if !(c >= 0 && c < 1<<53 && c == math.Trunc(c)) {
			d.Fail("a count of %v", c)
		}
	}
	return counts
}

func (s *extremeState) encode(dst []byte) []byte { return appendFloats(dst, s.best, s.seen) }

func (s *extremeState) decode(d *wire.Decoder) {
	var ok []bool
	s.best, ok = decodeFloats(d, len(s.best))
	fillSeen(s.seen, ok)
}

func (s *countState) encode(dst []byte) []byte { return appendSparse(dst, s.count) }

func (s *countState) decode(d *wire.Decoder) { s.count = decodeCountsOf(d, len(s.count)) }

func (s *varianceState) encode(dst []byte) []byte {
	dst = appendSparse(dst, s.count)
	has := func(k int) bool { return s.count[k] != 0 }
	dst = appendValues(dst, s.mean, has)
	return appendValues(dst, s.m2, has)
}

func (s *varianceState) decode(d *wire.Decoder) {
	n := len(s.count)
	s.count = decodeCountsOf(d, n)
	for _, vs := range [][]float64{s.mean, s.m2} {
		for k := range n {
			if s.count[k] != 0 {
				vs[k] = d.Float64()
			}
		}
	}
}
