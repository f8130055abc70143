package transport

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// maxWaiting bounds the bytes that wait to be written to one connection.
const maxWaiting = 64 << 20

// writeTimeout bounds one write to the network. A peer that takes nothing for so
// long is as good as gone.
const writeTimeout = 15 * time.Second

// link is what both ends of a connection share: a bounded buffer of frames that
// one goroutine writes, so that whoever sends never waits for the network.
type link struct {
	nc net.Conn
	in *bufio.Reader

	mu    sync.Mutex
	out   []byte        // guarded by mu; frames not yet taken by the writer
	spare []byte        // guarded by mu; the writer's other buffer
	err   error         // guarded by mu; why the link ended
	wake  chan struct{} // capacity 1: a full one means that the writer will look
	done  chan struct{} // closed when the link has ended
}

func newLink(nc net.Conn, in *bufio.Reader) *link {
	return &link{nc: nc, in: in, wake: make(chan struct{}, 1), done: make(chan struct{})}
}

// enqueue appends a frame by build, which must append it to the slice it gets.
// force is for the small frames that keep a connection going.
func (l *link) enqueue(force bool, build func(dst []byte) []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.enqueueLocked(force, build)
}

func (l *link) enqueueLocked(force bool, build func(dst []byte) []byte) error {
	if l.err != nil {
		return l.err
	}
	if !force && len(l.out) > maxWaiting {
		return ErrBusy
	}
	before := len(l.out)
	l.out = build(l.out)
	if len(l.out)-before > MaxFrame {
		n := len(l.out) - before
		l.out = l.out[:before]
		return fmt.Errorf("request of %d bytes: %d are allowed", n, MaxFrame)
	}
	select {
	case l.wake <- struct{}{}:
	default:
	}
	return nil
}

// write runs until the link ends.
func (l *link) write() {
	for {
		select {
		case <-l.done:
			return
		case <-l.wake:
		}
		l.mu.Lock()
		batch := l.out
		l.out, l.spare = l.spare[:0], nil
		l.mu.Unlock()
		if len(batch) > 0 {
			err := l.nc.SetWriteDeadline(time.Now().Add(writeTimeout))
			if err == nil {
				_, err = l.nc.Write(batch)
			}
			if err != nil {
				l.end(fmt.Errorf("%w: %w", ErrLost, err))
				return
			}
		}
		l.mu.Lock()
		if cap(batch) <= 4<<20 {
			l.spare = batch[:0]
		}
		l.mu.Unlock()
	}
}

// end closes the link for the given reason; only the first counts.
func (l *link) end(reason error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return
	}
	l.err = reason
	l.out, l.spare = nil, nil
	close(l.done)
	// The reason is what callers see; an error of closing adds nothing to it.
	_ = closeNow(l.nc)
}

func (l *link) reason() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		return errors.New("link is alive")
	}
	return l.err
}
