package column

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
)

// blockLen is the number of samples in a full block.
const blockLen = 128

// The ways in which a block's integers are made small, in the low two bits of
// its head byte.
const (
	modeConst = 0 // every integer equals the first
	modeRaw   = 1 // differences to the first
	modeDelta = 2 // differences to the one before
	modeDoD   = 3 // differences of the differences
	modeMask  = 3
)

// headPatched in the head byte says that exceptions follow the width.
const headPatched = 1 << 2

// xwidthSigned marks in the byte of the exceptions' width that they are two's
// complement.
const xwidthSigned = 1 << 7

// positionBits is the width of an exception's place in its block.
const positionBits = 7

// blockPlan is how a block of integers is best written: frame of reference
// base, width bits for most residuals, and the patched exceptions that need
// more.
type blockPlan struct {
	mode   int
	base   int64
	width  int
	xwidth int // of the exceptions' high bits
	exc    int // number of exceptions
	signed bool
	cost   int   // bits
	step   int64 // first difference, for modeDoD
}

// planBlock finds the cheapest way to write 1 to 128 integers, the first of
// which is written elsewhere.
func planBlock(xs []int64) blockPlan {
	if allEqual(xs) {
		return blockPlan{mode: modeConst}
	}
	var res [blockLen]int64
	best := blockPlan{cost: math.MaxInt}
	for _, mode := range [...]int{modeDelta, modeRaw, modeDoD} {
		if mode == modeDoD && best.cost < 3*len(xs) {
			break // it could save a bit at most
		}
		r := residuals(&res, xs, mode)
		p := planResiduals(r)
		p.mode = mode
		if mode == modeDoD {
			p.step = xs[1] - xs[0]
			p.cost += 16
		}
		if p.cost < best.cost {
			best = p
		}
	}
	return best
}

func allEqual(xs []int64) bool {
	for _, x := range xs {
		if x != xs[0] {
			return false
		}
	}
	return true
}

// residuals fills res with what mode leaves of xs behind the first.
func residuals(res *[blockLen]int64, xs []int64, mode int) []int64 {
	r := res[:len(xs)-1]
	switch mode {
	case modeRaw:
		for i := range r {
			r[i] = xs[i+1] - xs[0]
		}
	case modeDelta:
		for i := range r {
			r[i] = xs[i+1] - xs[i]
		}
	default:
		d := xs[1] - xs[0]
		for i := range r {
			e := xs[i+1] - xs[i]
			r[i] = e - d
			d = e
		}
	}
	return r
}

// planResiduals chooses base, width and exceptions. The base is the lowest
// residual, or one of the next few where those below are outliers, as a
// counter's reset is.
func planResiduals(r []int64) blockPlan {
	low := lowest(r)
	best := planBase(r, low[0])
	for _, base := range low[1:] {
		gap := uint64(base) - uint64(best.base)
		if best.width == 0 || gap < 1<<(best.width-1) {
			break
		}
		if p := planBase(r, base); p.cost < best.cost {
			best = p
		}
	}
	return best
}

// lowest returns the three lowest residuals, equal ones apart; the last is
// repeated where there are fewer.
func lowest(r []int64) [3]int64 {
	a, b, c := r[0], int64(math.MaxInt64), int64(math.MaxInt64)
	for _, x := range r[1:] {
		switch {
		case x > c || x == a || x == b:
		case x < a:
			a, b, c = x, a, b
		case x < b:
			b, c = x, b
		default:
			c = x
		}
	}
	return [3]int64{a, b, c}
}

// planBase chooses the width for one base.
func planBase(r []int64, base int64) blockPlan {
	var count [65]int
	neg, top, negTop := 0, 0, 0
	for _, x := range r {
		u := x - base
		if x < base {
			neg++
			negTop = max(negTop, bits.Len64(uint64(^u)))
			continue
		}
		count[bits.Len64(uint64(u))]++
	}
	for w := 64; w > 0; w-- {
		if count[w] > 0 {
			top = w
			break
		}
	}
	best := blockPlan{base: base, cost: math.MaxInt}
	exc := neg
	for w := top; w >= 0; w-- {
		p := blockPlan{base: base, width: w, exc: exc, signed: neg > 0}
		p.cost = w * len(r)
		if exc > 0 {
			p.xwidth = max(top, negTop) - w
			if p.signed {
				p.xwidth = max(p.xwidth, 0) + 1
			}
			p.cost += 16 + exc*(positionBits+p.xwidth)
		}
		if p.xwidth <= 64 && p.cost < best.cost {
			best = p
		}
		exc += count[w]
	}
	return best
}

// head returns the plan's part of the head byte.
func (p *blockPlan) head() byte {
	h := byte(p.mode)
	if p.exc > 0 {
		h |= headPatched
	}
	return h
}

// appendBody writes what follows the head byte and the caller's fields: the
// step (modeDoD), base, width, exceptions and packed residuals.
func (p *blockPlan) appendBody(dst []byte, xs []int64) []byte {
	if p.mode == modeConst {
		return dst
	}
	var res [blockLen]int64
	r := residuals(&res, xs, p.mode)
	if p.mode == modeDoD {
		dst = binary.AppendVarint(dst, p.step)
	}
	dst = binary.AppendVarint(dst, p.base)
	dst = append(dst, byte(p.width))
	var low [blockLen]uint64
	for i, x := range r {
		low[i] = uint64(x - p.base)
	}
	if p.exc > 0 {
		dst = p.appendExceptions(dst, low[:len(r)])
	}
	return packBits(dst, low[:len(r)], p.width)
}

// appendExceptions writes the number, width, places and high bits of the
// residuals that do not fit the width.
func (p *blockPlan) appendExceptions(dst []byte, low []uint64) []byte {
	var places, high [blockLen]uint64
	n := 0
	for i, u := range low {
		// A negative residual has high bits too, all ones at least.
		if p.width == 64 || u>>p.width == 0 {
			continue
		}
		places[n] = uint64(i)
		high[n] = uint64(int64(u) >> p.width)
		n++
	}
	xwidth := byte(p.xwidth)
	if p.signed {
		xwidth |= xwidthSigned
	} else {
		for i := range high[:n] {
			high[i] &= ^uint64(0) >> p.width
		}
	}
	dst = append(dst, byte(n), xwidth)
	dst = packBits(dst, places[:n], positionBits)
	return packBits(dst, high[:n], p.xwidth)
}

// blockBody is a parsed block: its packed parts point into the source.
type blockBody struct {
	mode       int
	base, step int64
	width      int
	xwidth     int
	exc        int
	signed     bool
	patch      []byte // places, then high bits
	packed     []byte // residuals, with all that follows them in the source
}

// parseBody reads a body of n integers behind its head byte and returns what
// follows it.
func parseBody(head byte, src []byte, n int) (blockBody, []byte, error) {
	b := blockBody{mode: int(head & modeMask)}
	if b.mode == modeConst {
		return b, src, nil
	}
	if n < 2 {
		return b, nil, fmt.Errorf("%w: block of %d integers is not constant", ErrCorrupt, n)
	}
	var ok bool
	if b.mode == modeDoD {
		if b.step, src, ok = takeVarint(src); !ok {
			return b, nil, fmt.Errorf("%w: block step", ErrCorrupt)
		}
	}
	if b.base, src, ok = takeVarint(src); !ok || len(src) == 0 || src[0] > 64 {
		return b, nil, fmt.Errorf("%w: block base or width", ErrCorrupt)
	}
	b.width, src = int(src[0]), src[1:]
	if head&headPatched != 0 {
		if len(src) < 2 || src[0] > blockLen || src[1]&^xwidthSigned > 64 {
			return b, nil, fmt.Errorf("%w: block exceptions", ErrCorrupt)
		}
		b.exc, b.xwidth, b.signed = int(src[0]), int(src[1]&^xwidthSigned), src[1]&xwidthSigned != 0
		size := packedLen(b.exc, positionBits) + packedLen(b.exc, b.xwidth)
		if len(src) < 2+size {
			return b, nil, fmt.Errorf("%w: block exceptions end early", ErrCorrupt)
		}
		b.patch, src = src[2:], src[2+size:]
	}
	size := packedLen(n-1, b.width)
	if len(src) < size {
		return b, nil, fmt.Errorf("%w: block ends early", ErrCorrupt)
	}
	b.packed = src
	return b, src[size:], nil
}

// decode fills out, 1 to 128 integers, beginning with first.
func (b *blockBody) decode(out []int64, first int64) error {
	out[0] = first
	if b.mode == modeConst {
		for i := range out {
			out[i] = first
		}
		return nil
	}
	r := out[1:]
	unpackBits(r, b.packed, b.width)
	if b.exc > 0 {
		if err := b.applyPatch(r); err != nil {
			return err
		}
	}
	switch b.mode {
	case modeRaw:
		base := b.base + first
		for i := range r {
			r[i] += base
		}
	case modeDelta:
		acc, base := first, b.base
		for i, d := range r {
			acc += d + base
			r[i] = acc
		}
	default:
		acc, step, base := first, b.step, b.base
		for i, d := range r {
			step += d + base
			acc += step
			r[i] = acc
		}
	}
	return nil
}

// applyPatch puts the high bits of the exceptions above their residuals.
func (b *blockBody) applyPatch(r []int64) error {
	var places, high [blockLen]int64
	unpackBits(places[:b.exc], b.patch, positionBits)
	unpackBits(high[:b.exc], b.patch[packedLen(b.exc, positionBits):], b.xwidth)
	for i, at := range places[:b.exc] {
		if at >= int64(len(r)) {
			return fmt.Errorf("%w: exception at %d of %d", ErrCorrupt, at, len(r))
		}
		h := high[i]
		if b.signed && b.xwidth < 64 {
			h = h << (64 - b.xwidth) >> (64 - b.xwidth)
		}
		r[at] |= h << b.width
	}
	return nil
}

// takeVarint reads a zigzag varint and returns what follows it.
func takeVarint(src []byte) (int64, []byte, bool) {
	v, n := binary.Varint(src)
	if n <= 0 {
		return 0, nil, false
	}
	return v, src[n:], true
}

// takeUvarint reads a varint and returns what follows it.
func takeUvarint(src []byte) (uint64, []byte, bool) {
	v, n := binary.Uvarint(src)
	if n <= 0 {
		return 0, nil, false
	}
	return v, src[n:], true
}
