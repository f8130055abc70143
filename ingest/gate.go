package ingest

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/count-db/count/internal/admission"
)

// restartTime is when a sender may find the node again after it was told that
// it shuts down.
const restartTime = 5 * time.Second

// gate bounds the memory of the requests in flight.
type gate struct {
	limit   int64
	used    atomic.Int64
	stopped atomic.Bool
}

func newGate(limit int64) *gate { return &gate{limit: limit} }

// reserve claims bytes or says why not, at once.
func (g *gate) reserve(bytes int64) error {
	if g.stopped.Load() {
		return &admission.UnavailableError{Reason: "the node is shutting down", RetryAfter: restartTime}
	}
	if bytes > g.limit {
		return fmt.Errorf("%w: it needs %d bytes of memory, all requests together may use %d", admission.ErrTooLarge, bytes, g.limit)
	}
	if used := g.used.Add(bytes); used > g.limit {
		g.used.Add(-bytes)
		return fmt.Errorf("%w: they use %d of %d bytes of memory", admission.ErrOverloaded, used-bytes, g.limit)
	}
	return nil
}

func (g *gate) release(bytes int64) { g.used.Add(-bytes) }

func (g *gate) stop() { g.stopped.Store(true) }
