package column

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
)

// MaxXORBytes is the most that one value adds to a XOR stream: 7 pending bits,
// 3 of control, 11 of window, 64 of value.
const MaxXORBytes = 10

// The control codes of the XOR stream behind the leading 1 bit; a single 0 bit
// is a repeated value.
const (
	xorDelta8    = 0 // integer difference in 8 bits
	xorDelta20   = 1 // integer difference in 20 bits
	xorSameShape = 2 // XOR bits inside the window used last
	xorNewShape  = 3 // 5 bits leading zeros, 6 bits length-1, XOR bits
)

// XORState appends float values to a Gorilla-like stream of bits: a repeated
// value costs one bit, one that differs by a small integer 11 or 23, any other
// the bits in which it differs from the one before. It holds no pointer and the
// zero value starts a stream, so it can live in a slab; the bytes that it gives
// out are final, and up to seven bits wait inside it for the next ones.
type XORState struct {
	prev    uint64 // bits of the last value
	pending uint8  // bits not given out yet, left-aligned
	held    uint8  // how many, 0 to 7
	lead    uint8  // leading zeros of the XOR window
	sig     uint8  // width of the XOR window; 0 = none yet
}

// Last returns the value appended last, 0 when there is none.
func (s *XORState) Last() float64 { return math.Float64frombits(s.prev) }

// Put adds v to the stream and returns how many bytes of dst are now final
// (0 to MaxXORBytes); what is in dst behind them is undefined. The caller
// appends these bytes to what earlier calls gave.
func (s *XORState) Put(dst *[16]byte, v float64) int {
	cur := math.Float64bits(v)
	x := cur ^ s.prev
	if x == 0 {
		return s.emit(dst, 0, 1)
	}
	prev := math.Float64frombits(s.prev)
	s.prev = cur
	if d := v - prev; d >= -1<<19 && d < 1<<19 {
		i := int64(d)
		// The decoder adds i to prev: only where this gives the very bits.
		if math.Float64bits(prev+float64(i)) == cur {
			if int64(int8(i)) == i {
				return s.emit(dst, (4|xorDelta8)<<8|uint64(uint8(i)), 11)
			}
			return s.emit(dst, (4|xorDelta20)<<20|uint64(i)&(1<<20-1), 23)
		}
	}
	return s.putXOR(dst, x)
}

// putXOR adds the bits in which a value differs, in the old window unless a new
// one is cheaper.
func (s *XORState) putXOR(dst *[16]byte, x uint64) int {
	lead, trail := uint8(bits.LeadingZeros64(x)), uint8(bits.TrailingZeros64(x))
	lead = min(lead, 31)
	sig := 64 - lead - trail
	oldTrail := 64 - s.lead - s.sig
	if s.sig != 0 && lead >= s.lead && trail >= oldTrail && s.sig <= sig+11 {
		n := s.emit(dst, 4|xorSameShape, 3)
		return n + s.emitAt(dst, n, x>>oldTrail, s.sig)
	}
	s.lead, s.sig = lead, sig
	n := s.emit(dst, (4|xorNewShape)<<11|uint64(lead)<<6|uint64(sig-1), 14)
	return n + s.emitAt(dst, n, x>>trail, sig)
}

// emit writes the n <= 56 bits of v behind the pending ones.
func (s *XORState) emit(dst *[16]byte, v uint64, n uint8) int {
	w := uint64(s.pending)<<56 | v<<((64-s.held-n)&63)
	total := s.held + n
	whole := total >> 3
	binary.BigEndian.PutUint64(dst[:8], w)
	s.pending = dst[whole&7]
	s.held = total & 7
	return int(whole)
}

// emitAt writes n <= 64 bits of v to dst from byte at (0 to 2) on.
func (s *XORState) emitAt(dst *[16]byte, at int, v uint64, n uint8) int {
	var t [16]byte
	got := 0
	if n > 32 {
		got = s.emit(&t, v>>32, n-32)
		copy(dst[at:at+8], t[:8])
		v &= math.MaxUint32
		n = 32
	}
	more := s.emit(&t, v, n)
	copy(dst[at+got:], t[:8])
	return got + more
}

// Append adds v and appends the bytes that became final to dst.
func (s *XORState) Append(dst []byte, v float64) []byte {
	var t [16]byte
	n := s.Put(&t, v)
	return append(dst, t[:n]...)
}

// Finish appends the pending bits, padded with zeros, which completes a copy
// of the stream for DecodeXOR. The state is not changed: the stream can go on
// from the bytes without this last one.
func (s *XORState) Finish(dst []byte) []byte {
	if s.held == 0 {
		return dst
	}
	return append(dst, s.pending)
}

// EncodeXOR appends the XOR stream of vs to dst.
func EncodeXOR(dst []byte, vs []float64) []byte {
	var s XORState
	for _, v := range vs {
		dst = s.Append(dst, v)
	}
	return s.Finish(dst)
}

// DecodeXOR appends the n values of a XOR stream to dst. A stream too short for
// n values gives ErrCorrupt.
func DecodeXOR(dst []float64, src []byte, n int) ([]float64, error) {
	if n < 0 || n > 8*len(src) {
		return dst, fmt.Errorf("%w: XOR stream of %d bytes for %d values", ErrCorrupt, len(src), n)
	}
	base := len(dst)
	dst = grow(dst, n)
	out := dst[base : base+n]
	end := uint(len(src)) * 8
	var pos, sig, trail uint
	var prev uint64
	for i := 0; i < len(out); {
		w := loadBits(src, pos) // 57 bits are valid
		if w>>63 == 0 {
			run := min(bits.LeadingZeros64(w|1<<7), len(out)-i)
			v := math.Float64frombits(prev)
			for j := range out[i : i+run] {
				out[i+j] = v
			}
			i += run
			pos += uint(run)
			continue
		}
		switch w >> 61 & 3 {
		case xorDelta8:
			prev = math.Float64bits(math.Float64frombits(prev) + float64(int64(w<<3)>>56))
			pos += 11
		case xorDelta20:
			prev = math.Float64bits(math.Float64frombits(prev) + float64(int64(w<<3)>>44))
			pos += 23
		case xorNewShape:
			lead := uint(w>>56) & 31
			sig = uint(w>>50)&63 + 1
			if lead+sig > 64 {
				return dst[:base], fmt.Errorf("%w: XOR window of %d+%d bits", ErrCorrupt, lead, sig)
			}
			trail = 64 - lead - sig
			pos += 14
			prev ^= readWide(src, pos, sig) << trail
			pos += sig
		default:
			if sig == 0 {
				return dst[:base], fmt.Errorf("%w: XOR window used before it is set", ErrCorrupt)
			}
			prev ^= loadOrWide(src, w<<3, pos+3, sig) << trail
			pos += 3 + sig
		}
		out[i] = math.Float64frombits(prev)
		i++
	}
	if pos > end {
		return dst[:base], fmt.Errorf("%w: XOR stream ends early", ErrCorrupt)
	}
	return dst, nil
}

// loadOrWide returns sig bits that begin at pos: from w, the bits already
// loaded from there, when they are among its 54 valid ones.
func loadOrWide(src []byte, w uint64, pos, sig uint) uint64 {
	if sig <= 54 {
		return w >> (64 - sig)
	}
	return readWide(src, pos, sig)
}

// loadBits returns the bits from pos on, left-aligned, at least 57 of them
// valid; zeros behind the end of src.
func loadBits(src []byte, pos uint) uint64 {
	at := pos >> 3
	if at+8 <= uint(len(src)) {
		return binary.BigEndian.Uint64(src[at:at+8]) << (pos & 7)
	}
	return loadTail(src, at) << (pos & 7)
}

// loadTail is loadBits within 8 bytes of the end, from byte at on.
func loadTail(src []byte, at uint) uint64 {
	var w uint64
	for i := range uint(8) {
		w <<= 8
		if at+i < uint(len(src)) {
			w |= uint64(src[at+i])
		}
	}
	return w
}

// readWide returns n bits, 1 to 64, from pos on.
func readWide(src []byte, pos, n uint) uint64 {
	if n <= 57 {
		return loadBits(src, pos) >> (64 - n)
	}
	return loadBits(src, pos)>>32<<(n-32) | loadBits(src, pos+32)>>(96-n)
}

// grow returns s with room for n more elements and its length raised by n.
func grow[T any](s []T, n int) []T {
	if cap(s)-len(s) >= n {
		return s[:len(s)+n]
	}
	t := make([]T, len(s)+n, max(2*cap(s), len(s)+n))
	copy(t, s)
	return t
}
