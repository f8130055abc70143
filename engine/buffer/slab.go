package buffer

import "encoding/binary"

// A slab gives out pieces of bytes from blocks; nothing is given back: a
// buffer goes as a whole. The address of a piece is its block and its unit of
// 16 bytes in it; 0 is none. A piece begins with the address of the next piece
// of its chain.
const (
	unitBytes  = 16
	blockUnits = 256
	blockBytes = unitBytes * blockUnits
	headBytes  = 4
	maxClass   = 4 // pieces of 16 << class bytes
)

type slab struct {
	blocks [][]byte
	unit   uint32 // next free unit of the last block
}

// chain is a sequence of bytes in pieces, each twice as long as the one before
// up to the largest.
type chain struct {
	first uint32 // address of the first piece; 0 = empty
	tail  uint32 // address of the last one
	size  uint32 // bytes in all
	used  uint16 // bytes in the last piece
	class uint8  // of the last piece
}

// pieceRoom returns how many bytes of the chain a piece holds.
func pieceRoom(class uint8) int { return unitBytes<<class - headBytes }

// piece returns the bytes of a piece, its head included.
func (s *slab) piece(addr uint32, class uint8) []byte {
	at := int(addr%blockUnits) * unitBytes
	return s.blocks[addr/blockUnits][at : at+unitBytes<<class]
}

// alloc returns the address of a new piece, and how many bytes the slab grew.
func (s *slab) alloc(class uint8) (addr uint32, grown int) {
	units := uint32(1) << class
	if len(s.blocks) == 0 || s.unit+units > blockUnits {
		s.unit = 0
		if len(s.blocks) == 0 {
			s.unit = 1 // address 0 is none
		}
		s.blocks = append(s.blocks, make([]byte, blockBytes))
		grown = blockBytes
	}
	addr = uint32(len(s.blocks)-1)*blockUnits + s.unit
	s.unit += units
	return addr, grown
}

// put appends p to a chain and returns how many bytes the slab grew.
func (s *slab) put(c *chain, p []byte) (grown int) {
	for len(p) > 0 {
		if c.first == 0 || int(c.used) == pieceRoom(c.class) {
			grown += s.extend(c)
		}
		n := copy(s.piece(c.tail, c.class)[headBytes+int(c.used):], p)
		c.used += uint16(n)
		c.size += uint32(n)
		p = p[n:]
	}
	return grown
}

// extend adds a piece to a chain.
func (s *slab) extend(c *chain) (grown int) {
	class := uint8(0)
	if c.first != 0 {
		class = min(c.class+1, maxClass)
	}
	addr, grown := s.alloc(class)
	if c.first == 0 {
		c.first = addr
	} else {
		binary.LittleEndian.PutUint32(s.piece(c.tail, c.class), addr)
	}
	c.tail, c.class, c.used = addr, class, 0
	return grown
}

// appendTo appends the bytes of a chain to dst.
func (s *slab) appendTo(dst []byte, first, size uint32) []byte {
	addr := first
	for class := uint8(0); size > 0; class = min(class+1, maxClass) {
		p := s.piece(addr, class)
		n := min(size, uint32(pieceRoom(class)))
		dst = append(dst, p[headBytes:headBytes+n]...)
		size -= n
		addr = binary.LittleEndian.Uint32(p)
	}
	return dst
}

// list is an append-only list of T in blocks, so that growing copies nothing.
// Its elements are numbered from 1, and 0 means none.
type list[T any] struct {
	blocks [][]T
	count  uint32
}

const listBlock = 64

// add appends v and returns its number, and whether a block was made.
func (l *list[T]) add(v T) (number uint32, grown bool) {
	if int(l.count) == len(l.blocks)*listBlock {
		l.blocks = append(l.blocks, make([]T, listBlock))
		grown = true
	}
	*l.at(l.count + 1) = v
	l.count++
	return l.count, grown
}

// at returns the element with that number.
func (l *list[T]) at(number uint32) *T { return &l.blocks[(number-1)/listBlock][(number-1)%listBlock] }
