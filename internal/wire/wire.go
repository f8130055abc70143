// Package wire holds what every format of Count on disk and on the network is
// written with: an append-style encoder (plain functions over a []byte), a
// bounds-checked Decoder, and frames with CRC32C checksums.
//
// Fixed-width integers are little-endian, variable ones are the varints of
// encoding/binary. A string or byte slice is its uvarint length and its bytes.
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// castagnoli is the polynomial of CRC32C, which processors compute in hardware.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Checksum returns the CRC32C of data.
func Checksum(data []byte) uint32 { return crc32.Update(0, castagnoli, data) }

// ChecksumFrom continues a CRC32C with more data. A seed that differs from
// place to place (a segment's number, say) makes bytes that belong elsewhere
// fail their check.
func ChecksumFrom(seed uint32, data []byte) uint32 { return crc32.Update(seed, castagnoli, data) }

// ErrCorrupt is wrapped by every error that means that the bytes are not what
// was written: a checksum that does not fit, a length beyond the end, a value
// that no writer writes.
var ErrCorrupt = errors.New("corrupt data")

// Corruptf returns an error that wraps ErrCorrupt.
func Corruptf(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrCorrupt, fmt.Sprintf(format, args...))
}

// AppendBytes appends the length and the bytes of b.
func AppendBytes(dst, b []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

// AppendString appends the length and the bytes of s.
func AppendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// AppendUint32 appends 4 bytes, little-endian.
func AppendUint32(dst []byte, v uint32) []byte { return binary.LittleEndian.AppendUint32(dst, v) }

// AppendUint64 appends 8 bytes, little-endian.
func AppendUint64(dst []byte, v uint64) []byte { return binary.LittleEndian.AppendUint64(dst, v) }

// AppendUvarint appends v as a varint of 1 to 10 bytes.
func AppendUvarint(dst []byte, v uint64) []byte { return binary.AppendUvarint(dst, v) }

// AppendVarint appends v zigzag-coded, as a varint of 1 to 10 bytes.
func AppendVarint(dst []byte, v int64) []byte { return binary.AppendVarint(dst, v) }
