package backup

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/count-db/count/internal/pause"
)

// paceBurst is how far a pace may run ahead, as time.
const paceBurst = 100 * time.Millisecond

// Pace bounds how much moves in a second. A nil Pace bounds nothing. Safe for
// concurrent use: all that use one share it.
type Pace struct {
	perSecond float64

	mu   sync.Mutex
	free time.Time // guarded by mu; when all that was let through is paid for
}

// NewPace returns a pace of so much in a second; 0 bounds nothing.
func NewPace(perSecond int64) *Pace {
	if perSecond <= 0 {
		return nil
	}
	return &Pace{perSecond: float64(perSecond)}
}

// Wait returns when n more may move.
func (p *Pace) Wait(ctx context.Context, n int) error {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	now := time.Now()
	if now.After(p.free) {
		p.free = now
	}
	ahead := p.free.Sub(now)
	p.free = p.free.Add(time.Duration(float64(n) / p.perSecond * float64(time.Second)))
	p.mu.Unlock()
	if ahead <= paceBurst {
		return nil
	}
	return pause.For(ctx, ahead-paceBurst)
}

// Reader returns r, no faster than the pace.
func (p *Pace) Reader(ctx context.Context, r io.Reader) io.Reader {
	if p == nil {
		return r
	}
	return &pacedReader{ctx, p, r}
}

type pacedReader struct {
	ctx  context.Context //nolint:containedctx // it lives as long as one copy
	pace *Pace
	r    io.Reader
}

// paceBytes is the most that is read at once: a slow pace is even, too.
const paceBytes = 64 << 10

// Read implements io.Reader.
func (p *pacedReader) Read(b []byte) (int, error) {
	n, err := p.r.Read(b[:min(len(b), paceBytes)])
	if waitErr := p.pace.Wait(p.ctx, n); waitErr != nil {
		return n, waitErr
	}
	return n, err
}
