package headroom

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"time"
)

// ErrShort is the cause of the end of a context whose work was given up.
var ErrShort = errors.New("the node is short of memory (MEMORY_LIMIT): the query that had run for longest was given up")

const (
	// lookEvery is how often the memory is looked at while there is work. Two
	// processors allocate some 2 GB/s at most, 40 MB in this time.
	lookEvery = 20 * time.Millisecond
	// The runtime's limit is soft: it works ever harder for it and then passes it,
	// when the live part of the heap hardly fits. Mostly there is a tenth between
	// that limit and the end (cmd/count), and work that was given up takes more until
	// it notices.
	liveShare  = 0.85
	totalShare = 1.02
	// growthShare of the limit is what memory may grow by after work was given up,
	// before more is.
	growthShare = 0.03
	// collections must end after work was given up, before memory tells anew: one
	// may have been under way.
	collections = 2
)

// Usage is what the Go runtime says of its memory.
type Usage struct {
	Live        uint64 // bytes that the last collection left
	Total       uint64 // bytes that count against the runtime's limit
	Collections uint64 // so far
}

// Guard knows the work under way and gives up some of it when memory runs short:
// that which has run for longest, because it mostly holds the most. A nil one
// guards nothing. Safe for concurrent use.
type Guard struct {
	limit  uint64
	usage  func() Usage
	onShed func()

	mu      sync.Mutex
	running []*work // oldest first
	timer   *time.Timer
	armed   bool  // the timer will fire
	last    Usage // when work that was given up began to end, or had ended
	ending  int   // given up and not ended yet
	waiting bool  // for what the end of some frees
}

type work struct {
	end  context.CancelCauseFunc
	shed bool
}

// New returns a guard of a limit of the runtime in bytes; nil where there is none.
// Nil usage asks the runtime; onShed, if any, is called for all work given up.
func New(limit int64, usage func() Usage, onShed func()) *Guard {
	if limit <= 0 || limit == math.MaxInt64 {
		return nil
	}
	if usage == nil {
		usage = newReader().read
	}
	if onShed == nil {
		onShed = func() {}
	}
	return &Guard{limit: uint64(limit), usage: usage, onShed: onShed}
}

// Enter notes that work begins. The context returned ends with the cause ErrShort
// when the work must be given up; the function says that it has ended.
func (g *Guard) Enter(ctx context.Context) (context.Context, func()) {
	if g == nil {
		return ctx, func() {}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	w := &work{end: cancel}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.running = append(g.running, w)
	switch {
	case g.timer == nil:
		g.timer, g.armed = time.AfterFunc(lookEvery, g.look), true
	case !g.armed:
		g.armed = true
		g.timer.Reset(lookEvery)
	}
	return ctx, func() { g.leave(w) }
}

// Short says whether the work of a context was given up.
func Short(ctx context.Context) bool { return errors.Is(context.Cause(ctx), ErrShort) }

func (g *Guard) leave(w *work) {
	w.end(nil)
	g.mu.Lock()
	defer g.mu.Unlock()
	if w.shed {
		g.ending--
		g.last.Collections = g.usage().Collections
		return
	}
	if i := slices.Index(g.running, w); i >= 0 {
		g.running = slices.Delete(g.running, i, i+1)
	}
}

// look gives up the oldest work if memory is short, and comes again while there
// is work.
func (g *Guard) look() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.running) == 0 {
		g.armed = false
		return
	}
	g.timer.Reset(lookEvery)
	if u := g.usage(); g.short(u) {
		oldest := g.running[0]
		g.running = slices.Delete(g.running, 0, 1)
		oldest.shed = true
		oldest.end(ErrShort)
		g.last, g.waiting = u, true
		g.ending++
		g.onShed()
	}
}

// short says whether work must be given up now: memory is short, and what was
// given up before does not help, or not in time.
func (g *Guard) short(u Usage) bool {
	limit := float64(g.limit)
	switch {
	case float64(u.Live) < liveShare*limit && float64(u.Total) < totalShare*limit:
		return false
	case !g.waiting, float64(u.Total) > float64(g.last.Total)+growthShare*limit:
		return true
	}
	return g.ending == 0 && u.Collections >= g.last.Collections+collections
}
