package antientropy

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
	"math/bits"

	"github.com/count-db/count/internal/model"
)

// Hasher hashes samples to 128 bits under a key that the nodes of a cluster
// share and nobody outside knows beforehand, so that no data can be made up that
// hides a difference. Both halves are chains of 64x64-bit multiplications whose
// 128-bit products are folded, with constants of their own.
//
// All nodes must hash alike: the values are fixed by TestHashVectors.
type Hasher struct{ key [8]uint64 }

// NewHasher returns the hasher of a cluster.
func NewHasher(clusterID string) Hasher {
	var h Hasher
	a := sha256.Sum256([]byte("count digest 1:" + clusterID))
	b := sha256.Sum256([]byte("count digest 2:" + clusterID))
	for i := range 4 {
		h.key[i] = binary.LittleEndian.Uint64(a[8*i:])
		h.key[i+4] = binary.LittleEndian.Uint64(b[8*i:])
	}
	return h
}

// SeriesHasher hashes the samples of one series.
type SeriesHasher struct{ low, high lane }

// lane is one half of the hash.
type lane [3]uint64

// Series returns the hasher of a series.
func (h *Hasher) Series(id model.SeriesID) SeriesHasher {
	x, y := binary.LittleEndian.Uint64(id[:8]), binary.LittleEndian.Uint64(id[8:])
	return SeriesHasher{
		low:  lane{fold(x^h.key[0], y^h.key[1]), h.key[2] ^ x, h.key[3] ^ y},
		high: lane{fold(y^h.key[4], x^h.key[5]), h.key[6] ^ y, h.key[7] ^ x},
	}
}

// Float adds a float sample to a digest; st is its start timestamp, 0 = none.
func (s *SeriesHasher) Float(d *Digest, t, st int64, ver model.Version, v float64) {
	value := math.Float64bits(v)
	d.Add(Digest{Count: 1, Sum: [2]uint64{
		s.low.hash(uint64(t), value, uint64(ver), uint64(st)),
		s.high.hash(uint64(t), value, uint64(ver), uint64(st)),
	}})
}

// Histogram adds a histogram sample to a digest, by its canonical form.
func (s *SeriesHasher) Histogram(d *Digest, t int64, ver model.Version, form []byte) {
	// A form of its own length at the end keeps it apart from every float.
	low, high := s.low.hash(uint64(t), uint64(len(form)), uint64(ver), 1), s.high.hash(uint64(t), uint64(len(form)), uint64(ver), 1)
	for len(form) > 0 {
		var block [16]byte
		form = form[copy(block[:], form):]
		x, y := binary.LittleEndian.Uint64(block[:8]), binary.LittleEndian.Uint64(block[8:])
		low, high = s.low.hash(low, x, y, 2), s.high.hash(high, x, y, 2)
	}
	d.Add(Digest{Count: 1, Sum: [2]uint64{low, high}})
}

func (l *lane) hash(a, b, c, d uint64) uint64 {
	m := fold(a^l[0], b^l[1])
	m = fold(m^l[2], c^l[0])
	return fold(m^l[1], d^l[2])
}

// fold multiplies and folds the 128-bit product.
func fold(a, b uint64) uint64 {
	high, low := bits.Mul64(a, b)
	return high ^ low
}
