package file

import (
	"math/bits"
	"math/rand/v2"

	"github.com/count-db/count/engine/column"
	"github.com/count-db/count/internal/wire"
)

// columnSet gathers the columns of a file that is being written, each content
// once.
type columnSet struct {
	known   map[columnKey]int
	seed    uint64
	list    []columnInfo
	pending []byte // encoded, not yet written
	first   int    // the column that pending begins with
}

// columnInfo is the entry of a column in the file's directory.
type columnInfo struct {
	offset   int64
	size     int // bytes, checksum not counted
	count    int
	min, max int64 // of versions: unsigned
	shared   bool  // by several chunks
}

// columnKey stands for the content of a column. The hash has a random seed, so
// that nobody can choose timestamps that collide with those of others.
type columnKey struct {
	hash        uint64
	count       int
	first, last int64
}

func newColumnSet() columnSet {
	return columnSet{known: map[columnKey]int{}, seed: rand.Uint64()}
}

// add returns the number of the column xs, which is not empty.
func (s *columnSet) add(xs []int64, unsigned bool) int {
	key := columnKey{s.hash(xs), len(xs), xs[0], xs[len(xs)-1]}
	if n, ok := s.known[key]; ok {
		s.list[n].shared = true
		return n
	}
	start := len(s.pending)
	s.pending = column.EncodeInts(s.pending, xs)
	size := len(s.pending) - start
	s.pending = wire.AppendUint32(s.pending, wire.Checksum(s.pending[start:]))
	c := columnInfo{offset: int64(start), size: size, count: len(xs), min: xs[0], max: xs[0]}
	for _, x := range xs {
		if unsigned {
			c.min, c.max = int64(min(uint64(c.min), uint64(x))), int64(max(uint64(c.max), uint64(x)))
			continue
		}
		c.min, c.max = min(c.min, x), max(c.max, x)
	}
	n := len(s.list)
	s.list = append(s.list, c)
	s.known[key] = n
	return n
}

// hash mixes a column with the seed.
func (s *columnSet) hash(xs []int64) uint64 {
	const k = 0x9e3779b97f4a7c15
	h := s.seed
	for _, x := range xs {
		hi, lo := bits.Mul64(h^uint64(x), k)
		h = hi ^ lo ^ s.seed
	}
	return h
}

// place says where pending was written: offsets count from its start until then.
func (s *columnSet) place(offset int64) {
	for i := s.first; i < len(s.list); i++ {
		s.list[i].offset += offset
	}
	s.first = len(s.list)
	s.pending = s.pending[:0]
}

// appendDirectory writes the directory of the columns, in their order.
func (s *columnSet) appendDirectory(dst []byte) []byte {
	dst = wire.AppendUvarint(dst, uint64(len(s.list)))
	var end, lastMin int64
	for _, c := range s.list {
		size := uint64(c.size) << 1
		if c.shared {
			size |= 1
		}
		dst = wire.AppendUvarint(dst, uint64(c.offset-end))
		dst = wire.AppendUvarint(dst, size)
		dst = wire.AppendUvarint(dst, uint64(c.count))
		dst = wire.AppendVarint(dst, c.min-lastMin)
		dst = wire.AppendUvarint(dst, uint64(c.max-c.min))
		end = c.offset + int64(c.size) + checksumSize
		lastMin = c.min
	}
	return dst
}

// readDirectory is the way back; dataEnd bounds where columns may lie.
func readDirectory(d *wire.Decoder, dataEnd int64) []columnInfo {
	list := make([]columnInfo, d.Count(5))
	var end, lastMin int64
	for i := range list {
		gap, size := d.Uvarint(), d.Uvarint()
		c := columnInfo{size: int(size >> 1), shared: size&1 != 0, count: int(d.Uint32Varint())}
		if gap > uint64(dataEnd) || size>>1 > uint64(dataEnd) || end+int64(gap)+int64(size>>1)+checksumSize > dataEnd {
			d.Fail("column %d reaches beyond the data", i)
			return nil
		}
		c.offset = end + int64(gap)
		c.min = lastMin + d.Varint()
		c.max = c.min + int64(d.Uvarint())
		end = c.offset + int64(c.size) + checksumSize
		lastMin = c.min
		// A block of 128 takes two bytes at least.
		if c.count == 0 || c.count > 64*c.size {
			d.Fail("column of %d integers in %d bytes", c.count, c.size)
			return nil
		}
		list[i] = c
	}
	return list
}
