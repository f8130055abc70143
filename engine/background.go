package engine

import (
	"context"
	"sync"
	"time"

	"github.com/go-kit/log/level"
)

// background is what runs without being asked: flushing, work on files, looking
// at the disk. The first two have a wake channel of capacity one: waking it again
// while it is awake changes nothing.
type background struct {
	cancel  context.CancelFunc
	done    sync.WaitGroup
	flush   chan struct{}
	mainten chan struct{}

	mu   sync.Mutex
	room chan struct{} // closed when a freeze makes room in the buffer
}

const (
	// maintainEvery is the longest time between two looks at the clock for
	// windows to seal, days to build and data to drop.
	maintainEvery = time.Minute
	// retryFlushAfter is the pause after a flush that failed.
	retryFlushAfter = 5 * time.Second
)

func (b *background) init() {
	b.flush, b.mainten = make(chan struct{}, 1), make(chan struct{}, 1)
	b.room = make(chan struct{})
	b.cancel = func() {}
}

func (b *background) stop() {
	b.cancel()
	b.done.Wait()
}

// startBackground starts the loops; Close ends them.
func (db *DB) startBackground() {
	b := &db.background
	ctx, cancel := context.WithCancel(context.Background())
	b.cancel = cancel
	loop := func(every time.Duration, woken <-chan struct{}, do func(context.Context)) {
		b.done.Go(func() { repeat(ctx, every, woken, do) })
	}
	loop(max(db.opts.FlushInterval/20, 50*time.Millisecond), b.flush, db.flushWhenWanted)
	loop(maintainEvery, b.mainten, db.maintainFiles)
	loop(spaceEvery, nil, func(context.Context) { db.lookAtSpace() })
}

// repeat does something again and again, when time has passed or it is woken,
// until ctx ends.
func repeat(ctx context.Context, every time.Duration, woken <-chan struct{}, do func(context.Context)) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-woken:
		}
		do(ctx)
	}
}

// flushWhenWanted flushes when a bound of the buffer is reached or its oldest
// sample has waited for FlushInterval.
func (db *DB) flushWhenWanted(ctx context.Context) {
	if !db.wantsFlush() || db.Failed() != nil {
		return
	}
	if err := db.flushBuffer(); err != nil {
		level.Error(db.opts.Logger).Log("msg", "flush failed, trying again", "in", retryFlushAfter, "err", err)
		pause(ctx, retryFlushAfter)
		return
	}
	wake(db.background.mainten)
}

// maintainFiles does the jobs of the plan.
func (db *DB) maintainFiles(ctx context.Context) {
	if db.Failed() != nil {
		return
	}
	if err := db.maintain(ctx, newWork()); err != nil && ctx.Err() == nil {
		level.Error(db.opts.Logger).Log("msg", "work on files failed, trying again", "err", err)
	}
}

func (db *DB) wakeFlusher() { wake(db.background.flush) }

func wake(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default: // it is awake
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// roomSignal returns a channel that the next freeze closes.
func (db *DB) roomSignal() <-chan struct{} {
	db.background.mu.Lock()
	defer db.background.mu.Unlock()
	return db.background.room
}

func (db *DB) signalRoom() {
	db.background.mu.Lock()
	defer db.background.mu.Unlock()
	close(db.background.room)
	db.background.room = make(chan struct{})
}
