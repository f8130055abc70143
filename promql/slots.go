package promql

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/count-db/count/internal/admission"
)

const (
	// waitingPerSlot is how many queries may wait for each that runs.
	waitingPerSlot = 50
	// longestWait is how long a query waits for a slot before it is told to come
	// again.
	longestWait = 30 * time.Second
	// crowdedAfter is how long a query has to wait for the newest to be served
	// first: then those that have just come, among them the small ones of a
	// dashboard, are answered in time, and not all of them too late.
	crowdedAfter = time.Second
)

// slots bound how many queries run at once. Others wait, the oldest first, but the
// newest where they wait for long; where too many do, the oldest are sent away.
type slots struct {
	total int

	mu      sync.Mutex
	free    int       // guarded by mu
	waiting []*waiter // guarded by mu; the oldest first
}

// waiter is a query that waits for a slot.
type waiter struct {
	since time.Time
	given chan error // capacity 1: nil with a slot, or why there is none
}

func newSlots(total int) *slots { return &slots{total: total, free: total} }

// take waits for a slot. It is the caller's when the error is nil.
func (s *slots) take(ctx context.Context) error {
	s.mu.Lock()
	if s.free > 0 {
		s.free--
		s.mu.Unlock()
		return nil
	}
	w := &waiter{since: time.Now(), given: make(chan error, 1)}
	if len(s.waiting) >= waitingPerSlot*s.total {
		s.waiting[0].given <- s.overloaded()
		s.waiting = slices.Delete(s.waiting, 0, 1)
	}
	s.waiting = append(s.waiting, w)
	s.mu.Unlock()
	enough := time.NewTimer(longestWait)
	defer enough.Stop()
	select {
	case err := <-w.given:
		return err
	case <-ctx.Done():
		return s.leave(w, fmt.Errorf("%w: wait for one of %d slots: %w", endOf(ctx.Err(), "query execution"), s.total, ctx.Err()))
	case <-enough.C:
		return s.leave(w, s.overloaded())
	}
}

// leave takes a waiter out because of err, unless it has just been served.
func (s *slots) leave(w *waiter, err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.waiting, w); i >= 0 {
		s.waiting = slices.Delete(s.waiting, i, i+1)
		return err
	}
	return <-w.given
}

// give hands a slot on, or puts it back.
func (s *slots) give() {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.waiting)
	if n == 0 {
		s.free++
		return
	}
	next := 0
	if time.Since(s.waiting[0].since) > crowdedAfter {
		next = n - 1
	}
	s.waiting[next].given <- nil
	s.waiting = slices.Delete(s.waiting, next, next+1)
}

func (s *slots) overloaded() error {
	return &admission.UnavailableError{Reason: fmt.Sprintf("too many queries: %d run and others wait (QUERY_CONCURRENCY)", s.total)}
}
