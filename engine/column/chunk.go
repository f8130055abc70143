package column

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/prometheus/prometheus/model/value"
)

// Codec is the first byte of a value chunk.
type Codec uint8

// The codecs of value chunks; the numbers are on disk.
const (
	CodecConst  Codec = 1 // one value for all samples
	CodecScaled Codec = 2 // decimals as integers, in blocks
	CodecXOR    Codec = 3 // XOR streams, in blocks
)

func (c Codec) String() string {
	switch c {
	case CodecConst:
		return "const"
	case CodecScaled:
		return "scaled"
	case CodecXOR:
		return "xor"
	}
	return fmt.Sprintf("codec %d", uint8(c))
}

// MaxChunkSamples is the most that a sealed chunk holds.
const MaxChunkSamples = 2048

// Flags say what a block's samples are like.
type Flags uint8

const (
	// FlagStale: stale markers are inside; First and Last may not be samples.
	FlagStale Flags = 1 << iota
	// FlagInexact: NaN or other values that the entry does not describe are
	// inside; only Start, Len and Floats hold.
	FlagInexact
	// FlagReset: some value is below the one before it.
	FlagReset
	// FlagSum: Sum holds.
	FlagSum
)

// Block describes a run of a chunk's samples without decoding them.
type Block struct {
	Start, Len int // which samples of the chunk
	Floats     int // how many are not stale markers
	Flags      Flags
	// First, Last, Min and Max are over the samples that are no stale markers;
	// they hold when neither FlagInexact is set nor Floats 0, the first two not
	// with FlagStale either.
	First, Last, Min, Max float64
	// Sum is exact: all values are integers and their absolute values add up to
	// less than 2^53. It is kept where values fall as well as rise.
	Sum float64
}

// The bits of a scaled block's head byte above those of blockPlan.
const (
	headSpecials = 1 << 3 // a list of special values follows
	headRising   = 1 << 4 // first and last are the least and the greatest
	headSum      = 1 << 5
)

// The kinds of special values.
const (
	specialStale = 0
	specialRaw   = 1 // 8 bytes follow
)

// rawNumber marks a constant written as its 8 bytes.
const rawNumber = 0xff

// ChunkEncoder writes value chunks; it keeps scratch memory between calls and
// serves one goroutine. The zero value is ready.
type ChunkEncoder struct {
	ints integers
	alt  []byte
}

// Append appends the chunk of vs in the cheapest codec. The number of values is
// not written, OpenChunk asks for it. An empty column gives no bytes.
func (e *ChunkEncoder) Append(dst []byte, vs []float64) []byte {
	if len(vs) == 0 {
		return dst
	}
	if allSame(vs) {
		return appendConst(dst, vs[0])
	}
	base := len(dst)
	if e.ints.toIntegers(vs) {
		dst = e.appendScaled(dst, vs)
		// Scaled blocks are read faster, so a near miss stays theirs.
		if size := len(dst) - base; size < 3*len(vs) {
			return dst
		}
		e.alt = appendXORChunk(e.alt[:0], vs)
		if len(e.alt)+len(e.alt)/16 >= len(dst)-base {
			return dst
		}
		return append(dst[:base], e.alt...)
	}
	return appendXORChunk(dst, vs)
}

// allSame compares bits.
func allSame(vs []float64) bool {
	first := math.Float64bits(vs[0])
	for _, v := range vs {
		if math.Float64bits(v) != first {
			return false
		}
	}
	return true
}

func appendConst(dst []byte, v float64) []byte {
	dst = append(dst, byte(CodecConst))
	for k := 0; k <= 6; k++ {
		if m, ok := scaled(v, k); ok {
			return binary.AppendVarint(append(dst, byte(k)), m)
		}
	}
	return binary.LittleEndian.AppendUint64(append(dst, rawNumber), math.Float64bits(v))
}

// appendScaled writes the chunk of e.ints; vs gives the special values.
func (e *ChunkEncoder) appendScaled(dst []byte, vs []float64) []byte {
	t := &e.ints
	dst = append(dst, byte(CodecScaled), byte(t.scale))
	dst = binary.AppendVarint(dst, t.origin)
	dst = binary.AppendUvarint(dst, uint64(t.step))
	last := int64(0)
	specials := t.specials
	for start := 0; start < len(vs); start += blockLen {
		end := min(start+blockLen, len(vs))
		n := 0
		for n < len(specials) && int(specials[n]) < end {
			n++
		}
		dst = t.appendBlock(dst, vs, start, end, specials[:n], last)
		specials = specials[n:]
		last = t.q[end-1]
	}
	return dst
}

// appendBlock writes samples start to end, whose specials are given; last is
// the integer before them.
func (t *integers) appendBlock(dst []byte, vs []float64, start, end int, specials []int32, last int64) []byte {
	q := t.q[start:end]
	p := planBlock(q)
	s := t.stats(q, start, specials)
	head := p.head()
	if len(specials) > 0 {
		head |= headSpecials
	}
	if s.rising {
		head |= headRising
	}
	if s.hasSum && !s.rising {
		head |= headSum
	}
	dst = append(dst, head)
	dst = binary.AppendVarint(dst, q[0]-last)
	if p.mode != modeConst {
		dst = binary.AppendVarint(dst, q[len(q)-1]-q[0])
	}
	if !s.rising {
		dst = binary.AppendVarint(dst, q[0]-s.min)
		dst = binary.AppendVarint(dst, s.max-q[0])
	}
	if head&headSum != 0 {
		dst = binary.AppendVarint(dst, s.sum-int64(s.count)*q[0])
	}
	if len(specials) > 0 {
		dst = append(dst, byte(len(specials)))
		for _, at := range specials {
			dst = append(dst, byte(int(at)-start))
			if b := math.Float64bits(vs[at]); b == value.StaleNaN {
				dst = append(dst, specialStale)
			} else {
				dst = binary.LittleEndian.AppendUint64(append(dst, specialRaw), b)
			}
		}
	}
	return p.appendBody(dst, q)
}

// blockStats is what a block entry says, in the integers' terms.
type blockStats struct {
	min, max, sum int64
	count         int
	rising        bool // no fall, and no special values
	hasSum        bool
}

func (t *integers) stats(q []int64, start int, specials []int32) blockStats {
	s := blockStats{min: math.MaxInt64, max: math.MinInt64, rising: len(specials) == 0}
	var abs float64
	prev := q[0]
	for i, x := range q {
		if len(specials) > 0 && int(specials[0]) == start+i {
			specials = specials[1:]
			continue
		}
		s.count++
		s.min, s.max = min(s.min, x), max(s.max, x)
		s.sum += x
		s.rising = s.rising && x >= prev
		prev = x
		abs += math.Abs(float64(t.origin + t.step*x))
	}
	if s.count == 0 {
		s.min, s.max = q[0], q[0]
	}
	// Each term is an integer below 2^53, so abs is exact while it is below.
	s.hasSum = t.scale == 0 && abs < maxExact
	return s
}

// appendXORChunk writes blocks of XOR streams, the entry's numbers first in
// each stream.
func appendXORChunk(dst []byte, vs []float64) []byte {
	dst = append(dst, byte(CodecXOR))
	var stream [(blockLen + 3) * MaxXORBytes]byte
	for len(vs) > 0 {
		block := vs[:min(blockLen, len(vs))]
		vs = vs[len(block):]
		e := describe(block)
		var s XORState
		b := s.Append(stream[:0], e.Min)
		b = s.Append(b, e.Max)
		b = s.Append(b, e.Last)
		for _, v := range block {
			b = s.Append(b, v)
		}
		b = s.Finish(b)
		dst = append(dst, byte(e.Flags), byte(len(block)-e.Floats))
		dst = binary.AppendUvarint(dst, uint64(len(b)))
		dst = append(dst, b...)
	}
	return dst
}

// describe returns the entry of a block by looking at its values.
func describe(vs []float64) Block {
	e := Block{Len: len(vs), Min: math.Inf(1), Max: math.Inf(-1)}
	var prev float64
	for _, v := range vs {
		if math.Float64bits(v) == value.StaleNaN {
			e.Flags |= FlagStale
			continue
		}
		if e.Floats == 0 {
			e.First = v
		} else if v < prev {
			e.Flags |= FlagReset
		}
		e.Floats++
		if math.IsNaN(v) {
			e.Flags |= FlagInexact
		}
		e.Min, e.Max = math.Min(e.Min, v), math.Max(e.Max, v)
		prev, e.Last = v, v
	}
	if e.Floats == 0 || e.Flags&FlagInexact != 0 {
		e.Min, e.Max, e.Last = 0, 0, 0
	}
	return e
}
