package promql

import (
	"container/list"
	"fmt"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/count-db/count/promql/partial"
)

// blockSteps is how many steps of a query one entry of the cache has at most. The
// blocks lie on the grid of all multiples of them, so that queries whose ranges
// moved by whole steps share them.
const blockSteps = 32

// stateKey names an entry: what is computed, and the block of steps.
type stateKey struct {
	plan  string
	block int64
}

// stateEntry is what the cache keeps of a block. It does not change.
type stateEntry struct {
	key   stateKey
	from  int64 // number of its first step among all multiples of the step
	steps *partial.Steps
	mark  uint64 // of the storage that it is good for
	// headless: the step before the first was not looked at, so that the samples
	// read for the first are not known but as those of a query that begins there.
	headless bool
}

// entryBytes is the memory of an entry beside its steps, about.
const entryBytes = 256

func (e *stateEntry) bytes() int64 {
	return entryBytes + int64(len(e.key.plan)) + e.steps.Bytes()
}

// Cache keeps partial states by blocks of steps; what was used longest ago
// goes first. What is in it need not be valid any more: see cachedRun. It belongs to
// one storage. Safe for concurrent use; nil keeps nothing.
type Cache struct {
	limit int64 // bytes
	stats cacheStats

	mu      sync.Mutex
	used    int64
	entries map[stateKey]*list.Element // of *stateEntry
	recent  list.List                  // the one used last in front
}

// NewCache returns a cache of at most limit bytes, nil for none. reg takes its
// metrics and may be nil.
func NewCache(limit int64, reg prometheus.Registerer) (*Cache, error) {
	if limit <= 0 {
		return nil, nil
	}
	c := &Cache{limit: limit, entries: map[stateKey]*list.Element{}}
	if err := c.stats.register(c, reg); err != nil {
		return nil, err
	}
	return c, nil
}

// get returns the entry of a key, or nil.
func (c *Cache) get(key stateKey) *stateEntry {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[key]
	if e == nil {
		return nil
	}
	c.recent.MoveToFront(e)
	return e.Value.(*stateEntry)
}

// put keeps an entry in the place of the one there was.
func (c *Cache) put(entry *stateEntry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.entries[entry.key]; old != nil {
		c.removeLocked(old)
	}
	if entry.bytes() > c.limit {
		return
	}
	c.entries[entry.key] = c.recent.PushFront(entry)
	c.used += entry.bytes()
	for c.used > c.limit {
		c.removeLocked(c.recent.Back())
		c.stats.evictions.Inc()
	}
}

func (c *Cache) removeLocked(e *list.Element) {
	entry := c.recent.Remove(e).(*stateEntry)
	delete(c.entries, entry.key)
	c.used -= entry.bytes()
}

// bytes returns the memory in use.
func (c *Cache) bytes() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.used
}

// cacheStats are the metrics of the cache.
type cacheStats struct {
	hits, misses, evictions prometheus.Counter
}

func (s *cacheStats) register(c *Cache, reg prometheus.Registerer) error {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	s.hits = counter("count_query_cache_hits_total", "Steps of queries whose partial states came from the cache.")
	s.misses = counter("count_query_cache_misses_total", "Steps of queries whose partial states were computed because the cache had none that were valid.")
	s.evictions = counter("count_query_cache_evictions_total", "Entries of the cache of partial states that made room for others.")
	if reg == nil {
		return nil
	}
	used := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "count_query_cache_bytes", Help: "Memory of the cache of partial states.",
	}, func() float64 { return float64(c.bytes()) })
	for _, m := range []prometheus.Collector{s.hits, s.misses, s.evictions, used} {
		if err := reg.Register(m); err != nil {
			return fmt.Errorf("register metrics: %w", err)
		}
	}
	return nil
}
