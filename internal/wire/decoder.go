package wire

import (
	"encoding/binary"
	"math"
)

// Decoder reads values from a byte slice. The first value that is malformed or
// reaches beyond the end sets the error, and from then on every read returns
// zero: callers may read a whole structure and look at Err once, but must check
// lengths they allocate by (Count does).
//
// Slices it returns are parts of the input.
type Decoder struct {
	rest []byte
	size int
	err  error
}

// NewDecoder returns a decoder of data. It is a value, so that it can live on
// the stack.
func NewDecoder(data []byte) Decoder { return Decoder{rest: data, size: len(data)} }

// Err returns the first error, which wraps ErrCorrupt.
func (d *Decoder) Err() error { return d.err }

// Len returns the number of bytes not read yet.
func (d *Decoder) Len() int { return len(d.rest) }

// Offset returns the number of bytes read.
func (d *Decoder) Offset() int { return d.size - len(d.rest) }

// Rest returns all bytes not read yet and consumes them.
func (d *Decoder) Rest() []byte {
	rest := d.rest
	d.rest = nil
	return rest
}

// Reset goes on with rest, the last part of the input, which the caller has read
// by itself from what Rest returned.
func (d *Decoder) Reset(rest []byte) {
	if d.err == nil {
		d.rest = rest
	}
}

// Fail sets the error if there is none yet: for values that can be read but
// mean nothing.
func (d *Decoder) Fail(format string, args ...any) {
	if d.err == nil {
		d.err = Corruptf(format, args...)
		d.rest = nil
	}
}

func (d *Decoder) short(what string) {
	d.Fail("%s at offset %d reaches beyond the end", what, d.Offset())
}

// Byte reads one byte.
func (d *Decoder) Byte() byte {
	if len(d.rest) == 0 {
		d.short("byte")
		return 0
	}
	b := d.rest[0]
	d.rest = d.rest[1:]
	return b
}

// Uint32 reads 4 bytes, little-endian.
func (d *Decoder) Uint32() uint32 {
	if len(d.rest) < 4 {
		d.short("uint32")
		return 0
	}
	v := binary.LittleEndian.Uint32(d.rest)
	d.rest = d.rest[4:]
	return v
}

// Uint64 reads 8 bytes, little-endian.
func (d *Decoder) Uint64() uint64 {
	if len(d.rest) < 8 {
		d.short("uint64")
		return 0
	}
	v := binary.LittleEndian.Uint64(d.rest)
	d.rest = d.rest[8:]
	return v
}

// Float64 reads a bit pattern of 8 bytes, little-endian.
func (d *Decoder) Float64() float64 { return math.Float64frombits(d.Uint64()) }

// Uvarint reads a varint.
func (d *Decoder) Uvarint() uint64 {
	if len(d.rest) > 0 && d.rest[0] < 0x80 {
		v := uint64(d.rest[0])
		d.rest = d.rest[1:]
		return v
	}
	v, n := binary.Uvarint(d.rest)
	if n <= 0 {
		d.short("varint")
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

// Varint reads a zigzag-coded varint.
func (d *Decoder) Varint() int64 {
	u := d.Uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

// Take reads n bytes; negative n is an error.
func (d *Decoder) Take(n int) []byte {
	if n < 0 || n > len(d.rest) {
		d.short("byte slice")
		return nil
	}
	b := d.rest[:n:n]
	d.rest = d.rest[n:]
	return b
}

// Bytes reads a length and as many bytes.
func (d *Decoder) Bytes() []byte {
	n := d.Uvarint()
	if n > uint64(len(d.rest)) {
		d.short("byte slice")
		return nil
	}
	return d.Take(int(n))
}

// String reads a length and as many bytes, and copies them.
func (d *Decoder) String() string { return string(d.Bytes()) }

// Count reads the number of items that follow, each of which takes at least
// minBytes bytes (at least 1): a number that the rest cannot hold is an error,
// so that it is safe to allocate by.
func (d *Decoder) Count(minBytes int) int {
	n := d.Uvarint()
	if n > uint64(len(d.rest)/max(minBytes, 1)) {
		d.Fail("count %d at offset %d is more than the %d bytes left can hold", n, d.Offset(), len(d.rest))
		return 0
	}
	return int(n)
}

// Uint32Varint reads a varint that must fit 32 bits.
func (d *Decoder) Uint32Varint() uint32 {
	v := d.Uvarint()
	if v > math.MaxUint32 {
		d.Fail("value %d at offset %d is beyond 32 bits", v, d.Offset())
		return 0
	}
	return uint32(v)
}
