package wal

import (
	"encoding/binary"
	"math"
	"math/bits"
	"slices"

	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/wire"
)

// A value is a tag byte and 0 to 8 bytes, whichever of these is shortest:
//
//	tag = class<<4 | number of bytes
//	class 0        an integer, zigzag, little-endian
//	class 1 to 9   a decimal: an integer as above, divided by 10^class
//	class 15       the bits of the float, the lowest bytes left out where zero
//
// Metrics are mostly integers and short decimals; the log has no value before to
// difference with, since a record must be read by itself.
const (
	classRaw    = 15
	maxDecimals = 9

	// maxInteger bounds integers and decimals: below it the integer and its float
	// are the same number.
	maxInteger = 1 << 53
	// maxMantissa bounds a decimal's integer: beyond it the raw bits are about as
	// short.
	maxMantissa = 1 << 51
)

var powersOfTen = [maxDecimals + 1]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9}

// decimalTries are the exponents that are tried, the fewest digits last: a
// decimal of one digit is also one of three.
var decimalTries = [...]int{3, 6, 9}

func appendValues(dst []byte, fs []model.FloatSample) []byte {
	dst = slices.Grow(dst, 9*len(fs)+8)
	n := len(dst)
	buf := dst[:cap(dst)]
	misses := 0 // decimals tried in vain in a row
	for i := range fs {
		v := fs[i].V
		if k := int64(v); float64(k) == v && k < maxInteger && k > -maxInteger && (k != 0 || math.Float64bits(v) == 0) {
			n += putInteger(buf[n:], 0, k)
			continue
		}
		// Values that are no decimals come in series of their own: look at every
		// one only while it pays.
		if misses < 16 || i&7 == 0 {
			if exp, mant, ok := decimal(v); ok {
				n += putInteger(buf[n:], exp, mant)
				misses = 0
				continue
			}
			misses++
		}
		n += putRaw(buf[n:], v)
	}
	return dst[:n]
}

// putInteger writes a tag and the fewest bytes of an integer; buf has room for
// nine.
func putInteger(buf []byte, class int, k int64) int {
	z := uint64(k<<1) ^ uint64(k>>63)
	size := (bits.Len64(z) + 7) / 8
	buf[0] = byte(class<<4 | size)
	binary.LittleEndian.PutUint64(buf[1:9], z)
	return 1 + size
}

func putRaw(buf []byte, v float64) int {
	b := math.Float64bits(v)
	size := 8 - bits.TrailingZeros64(b|1<<63)/8
	if b == 0 {
		size = 0
	}
	buf[0] = byte(classRaw<<4 | size)
	binary.LittleEndian.PutUint64(buf[1:9], bits.RotateLeft64(b, 8*size)) // the top bytes, now lowest
	return 1 + size
}

// decimal returns v as mant / 10^exp, exactly as decoding computes it.
func decimal(v float64) (exp int, mant int64, ok bool) {
	for _, e := range decimalTries {
		scaled := math.RoundToEven(v * powersOfTen[e])
		if !(scaled < maxMantissa && scaled > -maxMantissa) {
			return 0, 0, false
		}
		if scaled/powersOfTen[e] != v || scaled == 0 {
			continue
		}
		mant := int64(scaled)
		for e > 1 && mant%10 == 0 && float64(mant/10)/powersOfTen[e-1] == v {
			mant /= 10
			e--
		}
		return e, mant, true
	}
	return 0, 0, false
}

// appendBits appends the bits of one value, for the rare columns.
func appendBits(dst []byte, v float64) []byte { return wire.AppendUint64(dst, math.Float64bits(v)) }

// decodeValues reads the values of fs.
func decodeValues(d *wire.Decoder, fs []model.FloatSample) {
	data := d.Rest()
	at := 0
	for i := range fs {
		if at >= len(data) {
			d.Fail("value %d of %d reaches beyond the end", i, len(fs))
			return
		}
		class, size := int(data[at]>>4), int(data[at]&15)
		at++
		if size > 8 || at+size > len(data) {
			d.Fail("value %d of %d reaches beyond the end", i, len(fs))
			return
		}
		var z uint64
		if at+8 <= len(data) {
			z = binary.LittleEndian.Uint64(data[at:]) & (1<<(8*size) - 1)
		} else {
			var b [8]byte
			copy(b[:], data[at:at+size])
			z = binary.LittleEndian.Uint64(b[:])
		}
		at += size
		switch {
		case class == 0:
			fs[i].V = float64(int64(z>>1) ^ -int64(z&1))
		case class <= maxDecimals:
			fs[i].V = float64(int64(z>>1)^-int64(z&1)) / powersOfTen[class]
		case class == classRaw:
			fs[i].V = math.Float64frombits(bits.RotateLeft64(z, -8*size))
		default:
			d.Fail("value %d of %d has class %d", i, len(fs), class)
			return
		}
	}
	d.Reset(data[at:])
}
