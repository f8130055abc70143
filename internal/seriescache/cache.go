package seriescache

import (
	"bytes"
	"hash/maphash"
	"sync"
	"sync/atomic"

	"github.com/count-db/count/internal/model"
)

const (
	// DefaultMaxBytes holds about 200,000 series of node_exporter's size.
	DefaultMaxBytes = 64 << 20
	// segmentCount is into how many segments the memory is divided: one is
	// what an eviction looks at.
	segmentCount = 64
	// minSegmentBytes keeps the segments of a tiny cache useful.
	minSegmentBytes = 1 << 10
	// entryBytes is what an entry costs beside its key: the entry itself, its
	// number in its segment, and its place in an index that is half full.
	entryBytes = 32 + 4 + 8
)

// Options of a Cache; the zero value means the defaults.
type Options struct {
	// MaxBytes bounds keys and entries; 0 = DefaultMaxBytes.
	MaxBytes int
	// Alive is asked on every hit whether the reference still names a series;
	// a hit on a dead one is a miss. Nil: references live as long as the
	// process. It is called under the cache's lock and must be fast.
	Alive func(model.Ref) bool
}

// Cache maps label bytes to series references. It is safe for concurrent use
// through Sessions.
type Cache struct {
	seed         maphash.Seed
	alive        func(model.Ref) bool
	segmentBytes int
	maxSegments  int

	mu       sync.RWMutex // the fields below; see entry for what readers change
	entries  []entry      // [0] is none
	free     []uint32     // numbers of entries not in use
	index    []uint32     // open addressing by hash: entry numbers, 0 = empty
	used     int          // entries in use
	segments []segment
	current  int // the segment that takes new keys

	hits, misses, evicted atomic.Uint64
}

// entry is one series. It holds no pointer.
type entry struct {
	hash    uint64
	segment uint32 // where the key lies
	offset  uint32
	length  uint32
	ref     model.Ref
	// next is the entry that was asked for after this one last time, 0 = none:
	// a guess, right or wrong. Written by readers, atomically.
	next uint32
	// recent is 1 when the entry was hit since its segment was last looked at
	// for eviction. Written by readers, atomically.
	recent uint32
}

// segment is a run of keys, in order of insertion.
type segment struct {
	keys    []byte
	members []uint32 // entries whose keys lie here, in the order of their offsets
}

// New returns an empty cache.
func New(opts Options) *Cache {
	if opts.MaxBytes <= 0 {
		opts.MaxBytes = DefaultMaxBytes
	}
	c := &Cache{
		seed:         maphash.MakeSeed(),
		alive:        opts.Alive,
		segmentBytes: max(opts.MaxBytes/segmentCount, minSegmentBytes),
		entries:      make([]entry, 1),
		index:        make([]uint32, 64),
	}
	c.maxSegments = max(opts.MaxBytes/c.segmentBytes, 2)
	c.segments = append(c.segments, segment{})
	return c
}

// Stats are counts since the start, and the present size.
type Stats struct {
	Hits    uint64 // lookups answered
	Misses  uint64 // insertions
	Evicted uint64
	Entries int
	// Bytes is the memory of keys and entries.
	Bytes int
}

// Stats returns the counts. Sessions add theirs when they are closed.
func (c *Cache) Stats() Stats {
	c.mu.RLock()
	defer c.mu.RUnlock()
	s := Stats{Hits: c.hits.Load(), Misses: c.misses.Load(), Evicted: c.evicted.Load(), Entries: c.used}
	for i := range c.segments {
		s.Bytes += cap(c.segments[i].keys) + 4*cap(c.segments[i].members)
	}
	s.Bytes += 32*cap(c.entries) + 4*(cap(c.index)+cap(c.free))
	return s
}

// key returns the key of an entry. The caller holds mu.
func (c *Cache) key(e *entry) []byte {
	return c.segments[e.segment].keys[e.offset : e.offset+e.length]
}

// find returns the number of the key's entry, or 0. The caller holds mu.
func (c *Cache) find(hash uint64, key []byte) uint32 {
	mask := uint64(len(c.index) - 1)
	for i := hash & mask; ; i = (i + 1) & mask {
		n := c.index[i]
		if n == 0 {
			return 0
		}
		if e := &c.entries[n]; e.hash == hash && bytes.Equal(c.key(e), key) {
			return n
		}
	}
}

// insertLocked adds a key, or gives a known one another reference. It returns the
// entry's number, 0 when the key is too long to be kept.
func (c *Cache) insertLocked(key []byte, ref model.Ref) uint32 {
	hash := maphash.Bytes(c.seed, key)
	if n := c.find(hash, key); n != 0 {
		c.entries[n].ref = ref
		return n
	}
	if len(key)+entryBytes > c.segmentBytes {
		return 0
	}
	seg := c.roomLocked(len(key))
	n := c.takeEntryLocked()
	s := &c.segments[seg]
	c.entries[n] = entry{hash: hash, segment: uint32(seg), offset: uint32(len(s.keys)), length: uint32(len(key)), ref: ref}
	s.keys = append(s.keys, key...)
	s.members = append(s.members, n)
	c.used++
	if 2*c.used > len(c.index) {
		c.growIndexLocked()
	} else {
		c.placeLocked(n)
	}
	return n
}

func (c *Cache) takeEntryLocked() uint32 {
	if last := len(c.free) - 1; last >= 0 {
		n := c.free[last]
		c.free = c.free[:last]
		return n
	}
	c.entries = append(c.entries, entry{})
	return uint32(len(c.entries) - 1)
}

// placeLocked enters an entry into the index.
func (c *Cache) placeLocked(n uint32) {
	mask := uint64(len(c.index) - 1)
	i := c.entries[n].hash & mask
	for c.index[i] != 0 {
		i = (i + 1) & mask
	}
	c.index[i] = n
}

func (c *Cache) growIndexLocked() {
	c.index = make([]uint32, 2*len(c.index))
	for i := range c.segments {
		for _, n := range c.segments[i].members {
			c.placeLocked(n)
		}
	}
}

// unplaceLocked takes an entry out of the index and moves the entries behind it up
// (backward shift), so that no probe is cut short and no tombstone is needed.
func (c *Cache) unplaceLocked(n uint32) {
	mask := uint64(len(c.index) - 1)
	i := c.entries[n].hash & mask
	for c.index[i] != n {
		i = (i + 1) & mask
	}
	for j := (i + 1) & mask; c.index[j] != 0; j = (j + 1) & mask {
		home := c.entries[c.index[j]].hash & mask
		// The entry at j may fill the hole at i unless its home lies
		// cyclically behind the hole.
		if (j-home)&mask >= (j-i)&mask {
			c.index[i] = c.index[j]
			i = j
		}
	}
	c.index[i] = 0
}
