package seriescache

import (
	"bytes"
	"hash/maphash"
	"sync/atomic"

	"github.com/count-db/count/internal/model"
)

const (
	// lookupsPerLock is after how many lookups a session lets writers in: a
	// fraction of a millisecond.
	lookupsPerLock = 1024
	// maxPending is how many insertions a session gathers before it makes them.
	maxPending = 256
)

// Session is a run of lookups by one request. It holds the cache's shared lock
// between lookups that hit; a miss releases it, because the caller then does
// slow work. A Session is not safe for concurrent use; it may be kept and used
// again after Close.
type Session struct {
	cache  *Cache
	locked bool
	left   int    // lookups until the lock is let go
	last   uint32 // entry of the last hit or insertion, 0 = none
	guess  uint32 // entry that Predict returned
	hits   uint64
	misses uint64

	pending     []pending
	pendingKeys []byte
}

// pending is an insertion not made yet.
type pending struct {
	ref    model.Ref
	length int
	// after is the entry that was hit before; 0 when the insertion before this
	// one comes before it in the request too.
	after uint32
}

// Open begins a session. Close must follow, whatever happens.
func (s *Session) Open(c *Cache) {
	s.cache, s.last, s.hits, s.misses = c, 0, 0, 0
}

// Close makes the insertions that are still to be made and lets the cache go.
func (s *Session) Close() {
	if s.cache == nil {
		return
	}
	s.flush()
	s.cache.hits.Add(s.hits)
	s.cache.misses.Add(s.misses)
	s.cache = nil
}

func (s *Session) lock() {
	if s.locked && s.left > 0 {
		s.left--
		return
	}
	s.unlock()
	s.cache.mu.RLock()
	s.locked, s.left = true, lookupsPerLock
}

func (s *Session) unlock() {
	if s.locked {
		s.cache.mu.RUnlock()
		s.locked = false
	}
}

// Predict compares the beginning of body with the key that followed the last
// one the time before, and returns its length and reference when it is a
// prefix of body; 0 when there is none or it differs. Whether the labels of
// body end there is for the caller to judge; Accept tells the session that
// they do.
func (s *Session) Predict(body []byte) (n int, ref model.Ref) {
	if s.last == 0 {
		return 0, 0
	}
	s.lock()
	c := s.cache
	next := atomic.LoadUint32(&c.entries[s.last].next)
	if next == 0 {
		return 0, 0
	}
	e := &c.entries[next]
	if e.length == 0 || int(e.length) > len(body) || !bytes.Equal(c.key(e), body[:e.length]) {
		return 0, 0
	}
	if c.alive != nil && !c.alive(e.ref) {
		return 0, 0
	}
	s.guess = next
	return int(e.length), e.ref
}

// Accept confirms that what Predict just returned was the series asked for. The
// lock that Predict took is still held: nothing came between.
func (s *Session) Accept() { s.hit(s.guess) }

func (s *Session) hit(n uint32) {
	e := &s.cache.entries[n]
	if atomic.LoadUint32(&e.recent) == 0 {
		atomic.StoreUint32(&e.recent, 1)
	}
	s.last = n
	s.hits++
}

// Lookup returns the reference of a key. After a miss the caller finds it
// otherwise and hands it over with Insert.
func (s *Session) Lookup(key []byte) (model.Ref, bool) {
	s.lock()
	c := s.cache
	n := c.find(maphash.Bytes(c.seed, key), key)
	if n == 0 || (c.alive != nil && !c.alive(c.entries[n].ref)) {
		s.unlock()
		return 0, false
	}
	if s.last != 0 && s.last != n {
		// s.last may meanwhile name another series or none: a wrong guess.
		atomic.StoreUint32(&c.entries[s.last].next, n)
	}
	s.hit(n)
	return c.entries[n].ref, true
}

// Insert remembers the reference of a key, soon and at the latest at Close.
func (s *Session) Insert(key []byte, ref model.Ref) {
	s.pending = append(s.pending, pending{ref: ref, length: len(key), after: s.last})
	s.pendingKeys = append(s.pendingKeys, key...)
	s.last = 0
	s.misses++
	if len(s.pending) >= maxPending {
		s.flush()
	}
}

// flush makes the gathered insertions under one exclusive lock.
func (s *Session) flush() {
	s.unlock()
	if len(s.pending) == 0 {
		return
	}
	c, keys, prev := s.cache, s.pendingKeys, uint32(0)
	c.mu.Lock()
	for _, p := range s.pending {
		if p.after != 0 {
			prev = p.after
		}
		n := c.insertLocked(keys[:p.length], p.ref)
		keys = keys[p.length:]
		if prev != 0 && prev != n {
			c.entries[prev].next = n
		}
		prev = n
	}
	c.mu.Unlock()
	if s.last == 0 {
		s.last = prev
	}
	s.pending, s.pendingKeys = s.pending[:0], s.pendingKeys[:0]
}
