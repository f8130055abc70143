package buffer

import (
	"cmp"
	"slices"
	"sync"
)

// windowMillis is the length of a window, ms.
const windowMillis = 2 * 60 * 60 * 1000

// WindowOf returns the window of a timestamp: floor(t / 2 h).
func WindowOf(t int64) int64 {
	w := t / windowMillis
	if t%windowMillis < 0 {
		w--
	}
	return w
}

// groupID names a timestamp group of a buffer; 0 means none.
type groupID uint32

// group is a column of ascending timestamps of one window, as offsets from the
// window's start.
type group struct {
	window int64
	at     uint32 // address of its words
	length uint32
	class  uint8 // room for minWords << class
}

// groups are the timestamp groups of a buffer.
type groups struct {
	mu     sync.RWMutex
	list   list[group]
	words  wordSlab
	forks  []fork // made with the first group
	memory int64
}

// fork remembers where the series of one group went at a timestamp; from no
// group: where a timestamp is. The table is overwritten where hashes collide: a
// scrape that loses its entry shares less, no more.
type fork struct {
	t    int64
	to   place
	from groupID
}

const forkSlots = 1024

func forkSlot(from groupID, t int64) uint64 {
	h := (uint64(t) ^ uint64(from)<<40) * 0x9E3779B97F4A7C15
	return h >> 54 // forkSlots = 1 << 10
}

// place is where a sample's timestamp is: an index into a group.
type place struct {
	group groupID
	index uint32
}

// move finds where timestamp t of a series is, whose last sample lies just
// before next (or that has no open chunk: group 0). It answers false when t is
// not behind that sample.
func (g *groups) move(next place, t int64) (place, bool) {
	if next.group != 0 {
		g.mu.RLock()
		ordered, stays := g.compare(next, t)
		g.mu.RUnlock()
		if !ordered || stays {
			return next, ordered
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if next.group != 0 {
		if _, stays := g.compare(next, t); stays {
			return next, true
		}
		if to, ok := g.goOn(next, t); ok {
			return to, true
		}
	}
	return g.branch(next.group, t), true
}

// compare says whether t is behind the sample before next, and whether it is
// the timestamp at next; the caller holds a lock.
func (g *groups) compare(next place, t int64) (ordered, stays bool) {
	gr := g.list.at(uint32(next.group))
	ts := g.words.get(gr.at, gr.length)
	offset := t - gr.window*windowMillis
	return offset > int64(ts[next.index-1]),
		next.index < gr.length && offset == int64(ts[next.index])
}

// goOn extends the group by t, or finds t further down in it.
func (g *groups) goOn(next place, t int64) (place, bool) {
	gr := g.list.at(uint32(next.group))
	offset := t - gr.window*windowMillis
	if offset < 0 || offset >= windowMillis {
		return place{}, false
	}
	if next.index == gr.length {
		g.push(gr, uint32(offset))
		// Series that begin at t are most likely of the same scrape.
		g.forks[forkSlot(0, t)] = fork{t: t, to: next}
		return next, true
	}
	ts := g.words.get(gr.at, gr.length)
	i, found := slices.BinarySearch(ts[next.index:], uint32(offset))
	if found {
		return place{next.group, next.index + uint32(i)}, true
	}
	return place{}, false
}

// branch returns where the series of from went at t, or a new group.
func (g *groups) branch(from groupID, t int64) place {
	if g.forks == nil {
		g.forks = make([]fork, forkSlots)
		g.memory += forkSlots * 24
	}
	f := &g.forks[forkSlot(from, t)]
	if f.to.group != 0 && f.from == from && f.t == t {
		return f.to
	}
	window := WindowOf(t)
	number, grown := g.list.add(group{window: window})
	if grown {
		g.memory += listBlock * 24
	}
	gr := g.list.at(number)
	var words int
	gr.at, words = g.words.alloc(0)
	g.memory += int64(words) * 4
	g.push(gr, uint32(t-window*windowMillis))
	to := place{groupID(number), 0}
	*f = fork{t: t, from: from, to: to}
	return to
}

// push appends an offset to a group.
func (g *groups) push(gr *group, offset uint32) {
	if gr.length == minWords<<gr.class {
		at, words := g.words.alloc(gr.class + 1)
		copy(g.words.get(at, gr.length), g.words.get(gr.at, gr.length))
		g.words.free(gr.at, gr.class)
		gr.at, gr.class = at, gr.class+1
		g.memory += int64(words) * 4
	}
	g.words.get(gr.at, gr.length+1)[gr.length] = offset
	gr.length++
}

// clip returns the part of the range [from, to) of a group that lies in
// [mint, maxt], and appends its timestamps to dst.
func (g *groups) clip(dst []int64, id groupID, from, to uint32, mint, maxt int64) (t []int64, lo, hi uint32) {
	gr := g.list.at(uint32(id))
	base := gr.window * windowMillis
	ts := g.words.get(gr.at, to)[from:]
	lo, hi = from, to
	if base+int64(ts[0]) < mint {
		i, _ := slices.BinarySearchFunc(ts, mint, func(o uint32, t int64) int { return cmp.Compare(base+int64(o), t) })
		lo = from + uint32(i)
	}
	if base+int64(ts[len(ts)-1]) > maxt {
		i, _ := slices.BinarySearchFunc(ts, maxt+1, func(o uint32, t int64) int { return cmp.Compare(base+int64(o), t) })
		hi = from + uint32(i)
	}
	if lo >= hi {
		return dst, lo, lo
	}
	for _, o := range ts[lo-from : hi-from] {
		dst = append(dst, base+int64(o))
	}
	return dst, lo, hi
}

// bounds returns the first and the last timestamp of a range of a group.
func (g *groups) bounds(id groupID, from, to uint32) (window, mint, maxt int64) {
	gr := g.list.at(uint32(id))
	ts := g.words.get(gr.at, to)
	base := gr.window * windowMillis
	return gr.window, base + int64(ts[from]), base + int64(ts[to-1])
}

// last returns the timestamp before next.
func (g *groups) last(next place) int64 {
	g.mu.RLock()
	defer g.mu.RUnlock()
	_, _, maxt := g.bounds(next.group, next.index-1, next.index)
	return maxt
}

// wordSlab gives out spans of uint32, of minWords << class; freed ones are
// used again.
type wordSlab struct {
	blocks [][]uint32
	next   uint32     // next free word of the last small block
	small  uint32     // number of that block
	freed  [32]uint32 // by class: the last span freed, its first word the one before
}

const (
	minWords   = 4
	blockWords = 4096
	bigClass   = 10 // spans of this class fill a block
)

// get returns the words of a span.
func (s *wordSlab) get(addr, n uint32) []uint32 {
	at := addr % blockWords
	return s.blocks[addr/blockWords][at : at+n]
}

// alloc returns a span and how many words the slab grew.
func (s *wordSlab) alloc(class uint8) (addr uint32, grown int) {
	if addr = s.freed[class]; addr != 0 {
		s.freed[class] = s.get(addr, 1)[0]
		return addr, 0
	}
	size := uint32(minWords) << class
	if class >= bigClass {
		s.blocks = append(s.blocks, make([]uint32, size))
		return uint32(len(s.blocks)-1) * blockWords, int(size)
	}
	if s.next == 0 || s.next+size > blockWords {
		s.blocks = append(s.blocks, make([]uint32, blockWords))
		s.small, s.next, grown = uint32(len(s.blocks)-1), 0, blockWords
		if s.small == 0 {
			s.next = minWords // address 0 is none
		}
	}
	addr = s.small*blockWords + s.next
	s.next += size
	return addr, grown
}

func (s *wordSlab) free(addr uint32, class uint8) {
	if class >= bigClass {
		return // rare and large: left to the end of the buffer
	}
	s.get(addr, 1)[0] = s.freed[class]
	s.freed[class] = addr
}

const (
	minTime = -1 << 63
	maxTime = 1<<63 - 2 // so that one more is still a timestamp
)

// key names a range of a group among all reads of one process, never 0.
func (p place) key(epoch, to uint32) uint64 {
	h := (uint64(epoch)<<32 | uint64(p.group)) * 0x9E3779B97F4A7C15
	h = (h ^ h>>32 ^ uint64(p.index)<<32 ^ uint64(to)) * 0xD6E8FEB86659FD93
	return h ^ h>>32 | 1
}
