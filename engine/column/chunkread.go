package column

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/prometheus/prometheus/model/value"
)

// Chunk reads a value chunk block by block: Next goes to a block's entry
// without touching its samples, Decode reads them. It points into the source
// and can be copied.
type Chunk struct {
	Codec Codec
	n     int    // samples of the chunk
	at    int    // samples before the next block
	rest  []byte // behind the current block
	err   error

	scale        int
	origin, step int64
	last         int64 // integer at the end of the current block
	value        float64

	block    Block
	first    int64
	body     blockBody
	specials []byte
	stream   []byte
}

// OpenChunk reads the head of the chunk that begins at src and has n samples.
func OpenChunk(src []byte, n int) (Chunk, error) {
	c := Chunk{n: n}
	if n <= 0 {
		if n < 0 {
			return c, fmt.Errorf("%w: chunk of %d samples", ErrCorrupt, n)
		}
		return c, nil
	}
	if len(src) < 2 {
		return c, fmt.Errorf("%w: chunk of %d bytes", ErrCorrupt, len(src))
	}
	c.Codec, c.rest = Codec(src[0]), src[1:]
	switch c.Codec {
	case CodecConst:
		return c, c.openConst()
	case CodecScaled:
		return c, c.openScaled()
	case CodecXOR:
		return c, nil
	}
	return c, fmt.Errorf("%w: chunk in %v", ErrCorrupt, c.Codec)
}

func (c *Chunk) openConst() error {
	k := int(c.rest[0])
	c.rest = c.rest[1:]
	if k == rawNumber {
		if len(c.rest) < 8 {
			return fmt.Errorf("%w: constant ends early", ErrCorrupt)
		}
		c.value = math.Float64frombits(binary.LittleEndian.Uint64(c.rest))
		c.rest = c.rest[8:]
		return nil
	}
	m, rest, ok := takeVarint(c.rest)
	if !ok || k > maxScale {
		return fmt.Errorf("%w: constant", ErrCorrupt)
	}
	c.scale, c.origin = k, m
	c.value, c.rest = float64(m)/powers[k], rest
	return nil
}

func (c *Chunk) openScaled() error {
	c.scale = int(c.rest[0])
	origin, rest, ok := takeVarint(c.rest[1:])
	step, rest, ok2 := takeUvarint(rest)
	if !ok || !ok2 || c.scale > maxScale {
		return fmt.Errorf("%w: head of a scaled chunk", ErrCorrupt)
	}
	c.origin, c.step, c.rest = origin, int64(step), rest
	return nil
}

// Next goes to the next block; false at the end and at an error.
func (c *Chunk) Next() bool {
	if c.err != nil || c.at >= c.n {
		return false
	}
	size := min(blockLen, c.n-c.at)
	if c.Codec == CodecConst {
		size = c.n
	}
	c.block = Block{Start: c.at, Len: size, Floats: size}
	switch c.Codec {
	case CodecConst:
		c.constEntry()
	case CodecScaled:
		c.err = c.scaledEntry()
	default:
		c.err = c.xorEntry()
	}
	c.at += size
	return c.err == nil
}

// Err returns what ended Next early, if anything did.
func (c *Chunk) Err() error { return c.err }

// Block returns the entry of the current block.
func (c *Chunk) Block() Block { return c.block }

// Rest returns the bytes behind the current block; behind the last one, those
// that follow the chunk.
func (c *Chunk) Rest() []byte { return c.rest }

func (c *Chunk) constEntry() {
	b, v := &c.block, c.value
	switch {
	case math.Float64bits(v) == value.StaleNaN:
		b.Flags, b.Floats = FlagStale, 0
	case math.IsNaN(v):
		b.Flags = FlagInexact
	default:
		b.First, b.Last, b.Min, b.Max = v, v, v, v
		if v == math.Trunc(v) && math.Abs(v)*float64(b.Len) < maxExact {
			b.Flags |= FlagSum
			b.Sum = v * float64(b.Len)
		}
	}
}

func (c *Chunk) scaledEntry() error {
	if len(c.rest) == 0 {
		return fmt.Errorf("%w: scaled chunk ends early", ErrCorrupt)
	}
	b := &c.block
	head := c.rest[0]
	in := varints{src: c.rest[1:]}
	c.first = c.last + in.next()
	c.last = c.first
	if head&modeMask != modeConst {
		c.last += in.next()
	}
	low, high := c.first, c.last
	if head&headRising == 0 {
		b.Flags |= FlagReset
		low, high = c.first-in.next(), c.first+in.next()
	}
	var sum int64
	if head&headSum != 0 {
		sum = in.next()
	}
	if in.bad {
		return fmt.Errorf("%w: entry of a scaled block", ErrCorrupt)
	}
	rest, err := c.takeSpecials(head, in.src)
	if err != nil {
		return err
	}
	if c.body, c.rest, err = parseBody(head, rest, b.Len); err != nil {
		return err
	}
	b.First, b.Last = c.float(c.first), c.float(c.last)
	b.Min, b.Max = c.float(low), c.float(high)
	constant := head&modeMask == modeConst && head&headSpecials == 0 && c.scale == 0
	switch {
	case head&headSum != 0:
		b.Flags |= FlagSum
		b.Sum = float64(int64(b.Floats)*(c.origin+c.step*c.first) + c.step*sum)
	case constant && math.Abs(b.First)*float64(b.Len) < maxExact:
		b.Flags |= FlagSum
		b.Sum = b.First * float64(b.Len)
	}
	return nil
}

// takeSpecials finds the list of special values and what it means for the
// entry; a raw one is not covered by it.
func (c *Chunk) takeSpecials(head byte, src []byte) ([]byte, error) {
	c.specials = nil
	if head&headSpecials == 0 {
		return src, nil
	}
	if len(src) == 0 {
		return nil, fmt.Errorf("%w: special values", ErrCorrupt)
	}
	n := int(src[0])
	src = src[1:]
	c.specials = src
	at := 0
	for range n {
		if at+2 > len(src) || int(src[at]) >= c.block.Len {
			return nil, fmt.Errorf("%w: place of a special value", ErrCorrupt)
		}
		if src[at+1] == specialStale {
			c.block.Flags |= FlagStale
			c.block.Floats--
			at += 2
			continue
		}
		c.block.Flags |= FlagInexact
		at += 10
	}
	if at > len(src) || c.block.Floats < 0 {
		return nil, fmt.Errorf("%w: special values end early", ErrCorrupt)
	}
	c.specials = src[:at]
	return src[at:], nil
}

func (c *Chunk) float(q int64) float64 {
	return float64(c.origin+c.step*q) / powers[c.scale]
}

func (c *Chunk) xorEntry() error {
	if len(c.rest) < 2 {
		return fmt.Errorf("%w: XOR chunk ends early", ErrCorrupt)
	}
	b := &c.block
	b.Flags, b.Floats = Flags(c.rest[0]), b.Len-int(c.rest[1])
	size, rest, ok := takeUvarint(c.rest[2:])
	if !ok || size > uint64(len(rest)) || b.Floats < 0 {
		return fmt.Errorf("%w: entry of a XOR block", ErrCorrupt)
	}
	c.stream, c.rest = rest[:size], rest[size:]
	var entry [4]float64
	vs, err := DecodeXOR(entry[:0], c.stream, 4)
	if err != nil {
		return err
	}
	b.Min, b.Max, b.Last, b.First = vs[0], vs[1], vs[2], vs[3]
	return nil
}

// Decode appends the current block's samples to dst.
func (c *Chunk) Decode(dst []float64) ([]float64, error) {
	base := len(dst)
	switch c.Codec {
	case CodecConst:
		dst = grow(dst, c.block.Len)
		out := dst[base:]
		for i := range out {
			out[i] = c.value
		}
		return dst, nil
	case CodecScaled:
		var q [blockLen]int64
		if err := c.body.decode(q[:c.block.Len], c.first); err != nil {
			return dst, err
		}
		dst = grow(dst, c.block.Len)
		toFloats(dst[base:], q[:c.block.Len], c.scale, c.origin, c.step)
		c.putSpecials(dst[base:])
		return dst, nil
	}
	dst, err := DecodeXOR(dst, c.stream, c.block.Len+3)
	if err != nil {
		return dst, err
	}
	copy(dst[base:], dst[base+3:])
	return dst[:len(dst)-3], nil
}

func (c *Chunk) putSpecials(out []float64) {
	for s := c.specials; len(s) >= 2; {
		if s[1] == specialStale {
			out[s[0]] = math.Float64frombits(value.StaleNaN)
			s = s[2:]
			continue
		}
		out[s[0]] = math.Float64frombits(binary.LittleEndian.Uint64(s[2:]))
		s = s[10:]
	}
}

// DecodeChunk appends all n samples of the chunk that begins at src.
func DecodeChunk(dst []float64, src []byte, n int) ([]float64, error) {
	c, err := OpenChunk(src, n)
	if err != nil {
		return dst, err
	}
	// A block takes two bytes at least; a constant chunk is the caller's count.
	if c.Codec != CodecConst && (n+blockLen-1)/blockLen > len(src)/2 {
		return dst, fmt.Errorf("%w: chunk of %d bytes for %d samples", ErrCorrupt, len(src), n)
	}
	base := len(dst)
	for c.Next() {
		if dst, err = c.Decode(dst); err != nil {
			return dst[:base], err
		}
	}
	if c.err != nil {
		return dst[:base], c.err
	}
	return dst, nil
}

// varints reads several varints and remembers whether one was bad.
type varints struct {
	src []byte
	bad bool
}

func (in *varints) next() int64 {
	v, n := binary.Varint(in.src)
	if n <= 0 {
		in.bad, in.src = true, nil
		return 0
	}
	in.src = in.src[n:]
	return v
}
