package promql

import (
	"context"
	"slices"
	"sync"
	"time"
)

// ActiveQuery is a query that runs now.
type ActiveQuery struct {
	ID         uint64
	Query      string
	Start, End time.Time
	Step       time.Duration // 0 for an instant query
	Since      time.Time
}

// activeQueries lists the running queries and bounds how many run at once. It
// implements promql.QueryTracker.
type activeQueries struct {
	slots *slots

	mu      sync.Mutex
	next    uint64
	running map[uint64]runningQuery
}

type runningQuery struct {
	about  ActiveQuery
	cancel context.CancelFunc
}

func newActiveQueries(concurrency int) *activeQueries {
	return &activeQueries{slots: newSlots(concurrency), running: map[uint64]runningQuery{}}
}

// GetMaxConcurrent implements promql.QueryTracker.
func (a *activeQueries) GetMaxConcurrent() int { return a.slots.total }

// Insert waits for a slot or for the end of the context, which it names as
// Prometheus's engine does.
func (a *activeQueries) Insert(ctx context.Context, _ string) (int, error) {
	return 0, a.slots.take(ctx)
}

// Delete gives a slot back.
func (a *activeQueries) Delete(int) { a.slots.give() }

// Close implements promql.QueryTracker.
func (a *activeQueries) Close() error { return nil }

// start lists a query, and returns it with its id and the present time.
func (a *activeQueries) start(about ActiveQuery, cancel context.CancelFunc) ActiveQuery {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.next++
	about.ID, about.Since = a.next, time.Now()
	a.running[about.ID] = runningQuery{about: about, cancel: cancel}
	return about
}

func (a *activeQueries) finish(id uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.running, id)
}

func (a *activeQueries) list() []ActiveQuery {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := make([]ActiveQuery, 0, len(a.running))
	for _, r := range a.running {
		out = append(out, r.about)
	}
	slices.SortFunc(out, func(x, y ActiveQuery) int { return int(int64(x.ID) - int64(y.ID)) })
	return out
}

func (a *activeQueries) cancel(id uint64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	r, ok := a.running[id]
	if ok {
		r.cancel()
	}
	return ok
}
