package column

import (
	"encoding/binary"
	"fmt"
)

// EncodeInts appends a column of integers: timestamps (ms), start timestamps
// (ms, 0 = none) or arrivals. Each block of 128 takes the cheapest of constant,
// raw, delta and delta of delta in a patched frame of reference. The number of
// integers is not written.
func EncodeInts(dst []byte, xs []int64) []byte {
	last := int64(0)
	for len(xs) > 0 {
		block := xs[:min(blockLen, len(xs))]
		xs = xs[len(block):]
		p := planBlock(block)
		dst = append(dst, p.head())
		dst = binary.AppendVarint(dst, block[0]-last)
		dst = p.appendBody(dst, block)
		last = block[len(block)-1]
	}
	return dst
}

// DecodeInts appends the n integers of a column to dst and returns the bytes
// that follow it. Bytes that hold no such column give ErrCorrupt.
func DecodeInts(dst []int64, src []byte, n int) ([]int64, []byte, error) {
	// A block takes two bytes at least.
	if n < 0 || (n+blockLen-1)/blockLen > len(src)/2 {
		return dst, nil, fmt.Errorf("%w: %d bytes for %d integers", ErrCorrupt, len(src), n)
	}
	base := len(dst)
	dst = grow(dst, n)
	last := int64(0)
	for out := dst[base:]; len(out) > 0; {
		block := out[:min(blockLen, len(out))]
		out = out[len(block):]
		if len(src) == 0 || src[0]&^(modeMask|headPatched) != 0 {
			return dst[:base], nil, fmt.Errorf("%w: head of an integer block", ErrCorrupt)
		}
		head := src[0]
		delta, rest, ok := takeVarint(src[1:])
		if !ok {
			return dst[:base], nil, fmt.Errorf("%w: first integer of a block", ErrCorrupt)
		}
		body, rest, err := parseBody(head, rest, len(block))
		if err != nil {
			return dst[:base], nil, err
		}
		if err := body.decode(block, last+delta); err != nil {
			return dst[:base], nil, err
		}
		last = block[len(block)-1]
		src = rest
	}
	return dst, src, nil
}
