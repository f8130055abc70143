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
	slots  *slots
	memory *memoryWatch

	mu      sync.Mutex
	next    uint64
	running map[uint64]*runningQuery
	// watching says that relieve is to come.
	watching bool
}

type runningQuery struct {
	about  ActiveQuery
	cancel context.CancelFunc
	begun  time.Time // when it got a slot; zero = not yet
	ended  bool      // for want of memory
}

func newActiveQueries(concurrency int, memory *memoryWatch) *activeQueries {
	return &activeQueries{slots: newSlots(concurrency), memory: memory, running: map[uint64]*runningQuery{}}
}

// GetMaxConcurrent implements promql.QueryTracker.
func (a *activeQueries) GetMaxConcurrent() int { return a.slots.total }

// activeKey is where the context of a query that is listed has its id.
type activeKey struct{}

// Insert waits for a slot or for the end of the context, which it names as
// Prometheus's engine does.
func (a *activeQueries) Insert(ctx context.Context, _ string) (int, error) {
	if a.memory.crowded() {
		return 0, errMemory()
	}
	if err := a.slots.take(ctx); err != nil {
		return 0, err
	}
	if id, listed := ctx.Value(activeKey{}).(uint64); listed {
		a.mu.Lock()
		defer a.mu.Unlock()
		if r := a.running[id]; r != nil {
			r.begun = time.Now()
		}
	}
	return 0, nil
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
	a.running[about.ID] = &runningQuery{about: about, cancel: cancel}
	if a.memory != nil && !a.watching {
		a.watching = true
		time.AfterFunc(relieveEvery, a.relieve)
	}
	return about
}

// finish takes a query off the list and says whether it was ended for want of memory.
func (a *activeQueries) finish(id uint64) (ended bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	ended = a.running[id].ended
	delete(a.running, id)
	return ended
}

// relieve ends the newest of the queries that run where memory is short, and comes
// again while any is listed.
func (a *activeQueries) relieve() {
	crowded := a.memory.crowded()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.watching = len(a.running) > 0; !a.watching {
		return
	}
	time.AfterFunc(relieveEvery, a.relieve)
	if !crowded {
		return
	}
	var newest *runningQuery
	for _, r := range a.running {
		if r.ended {
			return // what it held is not free yet
		}
		if !r.begun.IsZero() && time.Since(r.begun) >= newQuery && (newest == nil || r.begun.After(newest.begun)) {
			newest = r
		}
	}
	if newest != nil {
		newest.ended = true
		newest.cancel()
	}
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
