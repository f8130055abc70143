package column

import "encoding/binary"

// packedLen returns the bytes that n values of the width take.
func packedLen(n, width int) int { return (n*width + 7) >> 3 }

// packBits appends the low width bits of each value, the first value in the
// lowest bits of the first byte; the last byte is padded with zeros.
func packBits(dst []byte, vals []uint64, width int) []byte {
	if width == 0 {
		return dst
	}
	base := len(dst)
	size := packedLen(len(vals), width)
	dst = grow(dst, size)
	out := dst[base:]
	clear(out)
	mask := ^uint64(0) >> (64 - width)
	at := 0
	var acc uint64
	held := 0
	for _, v := range vals {
		v &= mask
		acc |= v << held
		held += width
		if held < 64 {
			continue
		}
		binary.LittleEndian.PutUint64(out[at:], acc)
		at += 8
		held -= 64
		acc = v >> (width - held) // 0 when held is 0 and width 64
	}
	for ; held > 0; held -= 8 {
		out[at] = byte(acc)
		acc >>= 8
		at++
	}
	return dst
}

// unpackBits reads len(out) values of the width, 0 to 64, from src, which must
// hold packedLen bytes; what follows them is not used but makes reading faster
// when it is there.
func unpackBits(out []int64, src []byte, width int) {
	if width == 0 {
		clear(out)
		return
	}
	if width > 56 {
		unpackWide(out, src, width)
		return
	}
	if need := packedLen(len(out), width); len(src) < need+8 {
		var padded [blockLen*8 + 8]byte
		copy(padded[:need], src)
		src = padded[:need+8]
	}
	mask := ^uint64(0) >> (64 - width)
	if width <= 8 {
		out, src = unpackNarrow(out, src, uint(width), mask)
	}
	bit := 0
	for i := range out {
		at := bit >> 3
		out[i] = int64(binary.LittleEndian.Uint64(src[at:at+8]) >> (bit & 7) & mask)
		bit += width
	}
}

// unpackNarrow reads eight values of at most 8 bits from each load and returns
// what is left.
func unpackNarrow(out []int64, src []byte, width uint, mask uint64) ([]int64, []byte) {
	for len(out) >= 8 && len(src) >= 8 {
		w := binary.LittleEndian.Uint64(src)
		o := out[:8:8]
		o[0] = int64(w & mask)
		o[1] = int64(w >> width & mask)
		o[2] = int64(w >> (2 * width) & mask)
		o[3] = int64(w >> (3 * width) & mask)
		o[4] = int64(w >> (4 * width) & mask)
		o[5] = int64(w >> (5 * width) & mask)
		o[6] = int64(w >> (6 * width) & mask)
		o[7] = int64(w >> (7 * width) & mask)
		out, src = out[8:], src[width:]
	}
	return out, src
}

// unpackWide is for the widths that one load does not always cover.
func unpackWide(out []int64, src []byte, width int) {
	bit := 0
	for i := range out {
		var v uint64
		for got := 0; got < width; {
			b := uint64(src[(bit+got)>>3]) >> ((bit + got) & 7)
			v |= b << got
			got += 8 - (bit+got)&7
		}
		if width < 64 {
			v &= 1<<width - 1
		}
		out[i] = int64(v)
		bit += width
	}
}
