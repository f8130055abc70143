package crash

import (
	"fmt"
	"slices"
	"sync"
)

// event is one thing that a writer did to a (series, timestamp).
type event struct {
	value   float64
	deleted bool
}

func (e event) String() string {
	if e.deleted {
		return "deleted"
	}
	return fmt.Sprint(e.value)
}

// history are the events of one (series, timestamp), in the order of the one
// client that writes the series. All up to acked were acknowledged, in this
// order; the first event is that nothing was written.
type history struct {
	events []event
	acked  int
}

// ledger remembers what was asked for and what was acknowledged.
type ledger struct {
	mu     sync.Mutex
	series map[string]map[int64]*history
	acks   int // requests that were acknowledged
}

func newLedger() *ledger { return &ledger{series: map[string]map[int64]*history{}} }

// point is what a request does to one (series, timestamp).
type point struct {
	series string
	t      int64
	event  event
}

// begin notes a request before it is sent; done notes that it was acknowledged.
func (l *ledger) begin(points []point) (done func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := make([]int, len(points))
	hs := make([]*history, len(points))
	for i, p := range points {
		of := l.series[p.series]
		if of == nil {
			of = map[int64]*history{}
			l.series[p.series] = of
		}
		h := of[p.t]
		if h == nil {
			h = &history{events: []event{{deleted: true}}}
			of[p.t] = h
		}
		h.events = append(h.events, p.event)
		hs[i], at[i] = h, len(h.events)-1
	}
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		for i, h := range hs {
			h.acked = max(h.acked, at[i])
		}
		l.acks++
	}
}

func (l *ledger) acknowledged() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.acks
}

// timestamps returns what a series was ever written at.
func (l *ledger) timestamps(series string) []int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	var ts []int64
	for t := range l.series[series] {
		ts = append(ts, t)
	}
	slices.Sort(ts)
	return ts
}

// check compares what a series answers with its histories, and takes what was
// seen as acknowledged from now on. Nobody writes the series meanwhile.
func (l *ledger) check(series string, got map[int64]float64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	of := l.series[series]
	for t := range got {
		if of[t] == nil {
			return fmt.Errorf("%s at %d: %v, which was never written", series, t, got[t])
		}
	}
	for t, h := range of {
		v, there := got[t]
		seen := event{value: v, deleted: !there}
		i := slices.Index(h.events[h.acked:], seen)
		if i < 0 {
			return fmt.Errorf("%s at %d: %v; acknowledged: %v, asked for after that: %v", series, t, seen, h.events[h.acked], h.events[h.acked+1:])
		}
		h.events, h.acked = []event{seen}, 0
	}
	return nil
}
