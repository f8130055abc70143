package partial

// boundsCache keeps the bounds of the timestamp columns that a worker has met,
// by their keys. The series of a target lie apart in the order of labels, so
// more than the last one is worth keeping; how many is bounded by memory.
type boundsCache struct {
	byKey map[uint64]*bounds
	own   bounds // of a column that is not shared
	steps int    // held in all
}

// cachedSteps bounds the cache: about 48 bytes each with rates.
const cachedSteps = 1 << 18

func (c *boundsCache) get(key uint64) *bounds {
	if key == 0 {
		return nil
	}
	return c.byKey[key]
}

// put returns bounds to fill for a key; 0 is a column of one series. drop is
// called for what leaves the cache.
func (c *boundsCache) put(key uint64, steps int, drop func(*bounds)) *bounds {
	if key == 0 {
		drop(&c.own)
		return &c.own
	}
	if c.byKey == nil {
		c.byKey = map[uint64]*bounds{}
	}
	if c.steps+steps > cachedSteps && len(c.byKey) > 0 {
		for k, b := range c.byKey {
			drop(b)
			delete(c.byKey, k)
		}
		c.steps = 0
	}
	b := &bounds{}
	c.byKey[key] = b
	c.steps += steps
	return b
}

func (c *boundsCache) each(f func(*bounds)) {
	f(&c.own)
	for _, b := range c.byKey {
		f(b)
	}
}
