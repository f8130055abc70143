package model

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"

	"github.com/prometheus/prometheus/model/labels"
)

// SeriesID names a series in the whole cluster: the first 16 bytes of SHA-256
// over the canonical binary form of its labels (see AppendCanonical).
type SeriesID [16]byte

// Token is the series' position on the ring: the first 8 bytes, big-endian.
func (id SeriesID) Token() uint64 { return binary.BigEndian.Uint64(id[:8]) }

// String returns the id in hexadecimal.
func (id SeriesID) String() string { return hex.EncodeToString(id[:]) }

// AppendCanonical appends the canonical binary form of the labels: for each
// label, sorted by name, the uvarint length of the name, the name, the uvarint
// length of the value, the value. It is our own form, because the bytes of the
// labels package are free to change with its version.
func AppendCanonical(dst []byte, ls labels.Labels) []byte {
	ls.Range(func(l labels.Label) {
		dst = binary.AppendUvarint(dst, uint64(len(l.Name)))
		dst = append(dst, l.Name...)
		dst = binary.AppendUvarint(dst, uint64(len(l.Value)))
		dst = append(dst, l.Value...)
	})
	return dst
}

// SeriesIDOf returns the id of a label set (sorted, as labels.Labels are).
func SeriesIDOf(ls labels.Labels) SeriesID {
	var scratch [512]byte
	sum := sha256.Sum256(AppendCanonical(scratch[:0], ls))
	return SeriesID(sum[:16])
}
