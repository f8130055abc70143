package file

import "sync"

// Cache bounds the decoded columns that the readers of a process keep. Only
// columns that several series share are kept, the ones kept longest leave
// first. Safe for concurrent use.
type Cache struct {
	limit int64

	mu    sync.Mutex
	used  int64
	order []cached // oldest first
}

// cached is a column in the cache.
type cached struct {
	r     *Reader
	n     int
	bytes int64
}

// NewCache returns a cache of at most limit bytes.
func NewCache(limit int64) *Cache { return &Cache{limit: limit} }

// Used returns the bytes of the columns kept.
func (c *Cache) Used() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.used
}

// put keeps a decoded column. Of two that raced one is dropped.
func (c *Cache) put(r *Reader, n int, xs []int64) {
	size := int64(8 * cap(xs))
	if size > c.limit {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !r.decoded[n].CompareAndSwap(nil, &xs) {
		return
	}
	c.used += size
	c.order = append(c.order, cached{r, n, size})
	drop := 0
	for c.used > c.limit {
		old := c.order[drop]
		c.used -= old.bytes
		old.r.decoded[old.n].Store(nil)
		c.order[drop] = cached{}
		drop++
	}
	c.order = c.order[drop:]
}

// forget gives back what is kept of a reader.
func (c *Cache) forget(r *Reader) {
	c.mu.Lock()
	defer c.mu.Unlock()
	kept := c.order[:0]
	for _, e := range c.order {
		if e.r == r {
			c.used -= e.bytes
			continue
		}
		kept = append(kept, e)
	}
	clear(c.order[len(kept):])
	c.order = kept
}
