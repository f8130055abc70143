// Package pause waits for a time that may be cut short.
package pause

import (
	"context"
	"time"
)

// For waits for as long as d, or not at all where d is not positive. It returns why
// the context ended (context.Cause) where that came first.
func For(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
