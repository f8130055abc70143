package write

import (
	"encoding/binary"
	"errors"
)

// errMalformed is returned for bytes that are not a protobuf message of the
// expected kind.
var errMalformed = errors.New("malformed protobuf message")

// The wire types of protobuf.
const (
	wireVarint     = 0
	wireFixed64    = 1
	wireBytes      = 2
	wireGroupStart = 3
	wireGroupEnd   = 4
	wireFixed32    = 5
)

// fieldReader walks over the fields of a message. It accepts exactly what the
// generated code accepts (a fuzz test compares them), unknown fields included.
type fieldReader struct {
	b []byte
	i int // the next byte to read

	num   int32  // field number of the last field read
	typ   uint8  // its wire type
	value uint64 // of a varint, fixed64 or fixed32 field
	bytes []byte // of a length-delimited field, part of b
}

func (r *fieldReader) more() bool { return r.i < len(r.b) }

// varint reads a base 128 varint. As in the generated code the bits above the
// 64th are dropped, but an eleventh byte is an error.
func (r *fieldReader) varint() (uint64, bool) {
	var v uint64
	for shift := uint(0); shift < 64; shift += 7 {
		if r.i >= len(r.b) {
			return 0, false
		}
		c := r.b[r.i]
		r.i++
		v |= uint64(c&0x7f) << shift
		if c < 0x80 {
			return v, true
		}
	}
	return 0, false
}

// next reads one field. It returns false when the bytes are malformed.
func (r *fieldReader) next() bool {
	tag, ok := r.varint()
	if !ok {
		return false
	}
	r.num, r.typ = int32(tag>>3), uint8(tag&7)
	if r.num <= 0 {
		return false
	}
	if r.typ == wireGroupStart {
		return r.skipGroup()
	}
	return r.content()
}

// short reads a length-delimited field of the given tag and less than 128 bytes,
// if that is what comes next; otherwise it reads nothing.
func (r *fieldReader) short(tag byte) ([]byte, bool) {
	if len(r.b)-r.i < 2 || r.b[r.i] != tag {
		return nil, false
	}
	n := int(r.b[r.i+1])
	if n >= 0x80 || len(r.b)-r.i-2 < n {
		return nil, false
	}
	r.i += 2 + n
	return r.b[r.i-n : r.i], true
}

// content reads what follows the tag of a field that is no group.
func (r *fieldReader) content() bool {
	switch r.typ {
	case wireVarint:
		v, ok := r.varint()
		r.value = v
		return ok
	case wireFixed64:
		if len(r.b)-r.i < 8 {
			return false
		}
		r.value = binary.LittleEndian.Uint64(r.b[r.i:])
		r.i += 8
		return true
	case wireFixed32:
		if len(r.b)-r.i < 4 {
			return false
		}
		r.value = uint64(binary.LittleEndian.Uint32(r.b[r.i:]))
		r.i += 4
		return true
	case wireBytes:
		n, ok := r.varint()
		if !ok || n > uint64(len(r.b)-r.i) {
			return false
		}
		r.bytes = r.b[r.i : r.i+int(n)]
		r.i += int(n)
		return true
	default: // the end of a group that never began, or no wire type at all
		return false
	}
}

// skipGroup skips an unknown field of the obsolete group type, with all groups in it.
func (r *fieldReader) skipGroup() bool {
	for depth := 1; depth > 0; {
		tag, ok := r.varint()
		if !ok {
			return false
		}
		typ := uint8(tag & 7)
		switch typ {
		case wireGroupStart:
			depth++
		case wireGroupEnd:
			depth--
		default:
			r.typ = typ
			if !r.content() {
				return false
			}
		}
	}
	r.typ = wireGroupStart
	return true
}

// appendField appends a length-delimited field.
func appendField(dst []byte, num byte, content []byte) []byte {
	dst = append(dst, num<<3|wireBytes)
	dst = binary.AppendUvarint(dst, uint64(len(content)))
	return append(dst, content...)
}
