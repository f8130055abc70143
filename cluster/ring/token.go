package ring

import (
	"crypto/sha256"
	"encoding/binary"
	"strconv"
)

// VirtualNodes is the number of tokens a node has on the ring.
const VirtualNodes = 150

// NodeID is a node's number, unique in the cluster and positive.
type NodeID uint64

// String returns the number in decimal.
func (id NodeID) String() string { return strconv.FormatUint(uint64(id), 10) }

// Token returns the position of one virtual node, numbered from 0.
func Token(id NodeID, virtual int) uint64 {
	var scratch [48]byte
	text := strconv.AppendUint(scratch[:0], uint64(id), 10)
	text = append(text, '-')
	text = strconv.AppendInt(text, int64(virtual), 10)
	sum := sha256.Sum256(text)
	return binary.BigEndian.Uint64(sum[:8])
}
