package cluster

import (
	"context"
	"sync"
)

// Copies tells a request how many copies of its samples are durable. The zero
// value is ready. Safe for concurrent use.
type Copies struct {
	mu    sync.Mutex
	least int
	any   bool
}

// Least returns the smallest number of durable copies of any sample written
// under the context; 0 when nothing was acknowledged.
func (c *Copies) Least() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.least
}

func (c *Copies) note(copies int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.any || copies < c.least {
		c.least, c.any = copies, true
	}
}

type copiesKey struct{}

// WithCopies makes every Append under the context note its durable copies.
func WithCopies(ctx context.Context, c *Copies) context.Context {
	return context.WithValue(ctx, copiesKey{}, c)
}

func noteCopies(ctx context.Context, copies int) {
	if c, ok := ctx.Value(copiesKey{}).(*Copies); ok {
		c.note(copies)
	}
}
