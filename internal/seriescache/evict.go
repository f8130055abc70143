package seriescache

import "sync/atomic"

// size is what the segment counts against segmentBytes.
func (s *segment) size() int { return len(s.keys) + entryBytes*len(s.members) }

// roomLocked returns the number of a segment with room for a key of n bytes.
func (c *Cache) roomLocked(n int) int {
	need := n + entryBytes
	if c.segments[c.current].size()+need <= c.segmentBytes {
		return c.current
	}
	if len(c.segments) < c.maxSegments {
		c.segments = append(c.segments, segment{})
		c.current = len(c.segments) - 1
		return c.current
	}
	// Segments are filled in a circle, so the one after the current one is the oldest.
	c.current = (c.current + 1) % len(c.segments)
	c.evictLocked(c.current, min(c.segmentBytes/2, c.segmentBytes-need))
	return c.current
}

// evictLocked takes a segment's entries out of the cache, but for those that were
// hit since it was last looked at: they move to its front, as long as they
// fill no more than keep bytes. It always makes room, even where all entries
// are in use: then the cache is too small for its senders, and a miss costs
// only time.
func (c *Cache) evictLocked(number, keep int) {
	s := &c.segments[number]
	members, keys := s.members, s.keys
	s.members, s.keys = members[:0], keys[:0]
	for _, n := range members {
		e := &c.entries[n]
		recent := atomic.LoadUint32(&e.recent) != 0
		if !recent || s.size()+int(e.length)+entryBytes > keep {
			c.unplaceLocked(n)
			*e = entry{}
			c.free = append(c.free, n)
			c.used--
			c.evicted.Add(1)
			continue
		}
		// Keys move down only, in order: a move never runs over one still to come.
		from := keys[e.offset : e.offset+e.length]
		e.offset = uint32(len(s.keys))
		atomic.StoreUint32(&e.recent, 0)
		s.keys = append(s.keys, from...)
		s.members = append(s.members, n)
	}
}
