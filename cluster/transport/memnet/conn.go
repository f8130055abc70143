package memnet

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// maxQueued is how many bytes wait in one direction before writing blocks: the
// socket buffers.
const maxQueued = 1 << 20

var errReset = errors.New("connection reset by peer")

// half is one direction of a connection.
type half struct {
	n      *Network
	way    link
	queue  []parcel // guarded by n.mu
	queued int      // guarded by n.mu; bytes in queue
	closed bool     // guarded by n.mu; the writer has closed: end of file behind the queue
	gone   bool     // guarded by n.mu; the reader has closed
	reset  bool     // guarded by n.mu
	// changed is on n.mu: something of this direction has changed. One for all would
	// wake every connection of the network for each byte.
	changed *sync.Cond
}

// parcel is what one Write sent.
type parcel struct {
	data []byte
	at   time.Time // not readable before
}

type conn struct {
	n             *Network
	in, out       *half
	local, remote addr
	closed        bool // guarded by n.mu
	readBy        deadline
	writeBy       deadline
}

type deadline struct {
	at    time.Time   // guarded by n.mu; zero = none
	timer *time.Timer // guarded by n.mu; wakes who waits at armed or later, nil: nobody has waited
	armed time.Time   // guarded by n.mu
}

func (d *deadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

// armLocked has who is about to wait be woken at the deadline. Most operations do
// not wait, and have a deadline of their own: no timer is worth its while for those.
func (d *deadline) armLocked(h *half) {
	switch {
	case d.at.IsZero() || d.at.Equal(d.armed):
		return
	case d.timer == nil:
		d.timer = time.AfterFunc(time.Until(d.at), h.wake)
	default:
		d.timer.Reset(time.Until(d.at))
	}
	d.armed = d.at
}

func (c *conn) Read(p []byte) (int, error) {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	for {
		switch h := c.in; {
		case c.closed:
			return 0, net.ErrClosed
		case h.reset:
			return 0, errReset
		case c.readBy.passed():
			return 0, os.ErrDeadlineExceeded
		case c.n.blockedLocked(h.way):
		case len(h.queue) > 0 && !h.queue[0].at.After(time.Now()):
			n := copy(p, h.queue[0].data)
			h.queued -= n
			if h.queue[0].data = h.queue[0].data[n:]; len(h.queue[0].data) == 0 {
				h.queue = h.queue[1:]
			}
			h.changed.Broadcast()
			return n, nil
		case len(h.queue) == 0 && h.closed:
			return 0, io.EOF
		}
		c.readBy.armLocked(c.in)
		c.in.changed.Wait()
	}
}

func (c *conn) Write(p []byte) (int, error) {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	for {
		switch h := c.out; {
		case c.closed:
			return 0, net.ErrClosed
		case h.reset || (h.gone && !c.n.blockedLocked(h.way)):
			return 0, errReset
		case c.writeBy.passed():
			return 0, os.ErrDeadlineExceeded
		case h.queued < maxQueued && !c.n.frozen[h.way.from]:
			c.sendLocked(p)
			return len(p), nil
		}
		c.writeBy.armLocked(c.out)
		c.out.changed.Wait()
	}
}

func (c *conn) sendLocked(p []byte) {
	h, delay := c.out, c.n.delay[c.out.way]
	h.queue = append(h.queue, parcel{data: append([]byte(nil), p...), at: time.Now().Add(delay)})
	h.queued += len(p)
	if delay > 0 {
		time.AfterFunc(delay, h.wake)
	}
	h.changed.Broadcast()
}

func (h *half) wake() {
	h.n.mu.Lock()
	defer h.n.mu.Unlock()
	h.changed.Broadcast()
}

func (c *conn) Close() error {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	if c.closed {
		return nil
	}
	c.closed = true
	c.out.closed, c.in.gone = true, true
	delete(c.n.conns, c.out)
	c.readBy.stop()
	c.writeBy.stop()
	for _, h := range []*half{c.in, c.out} {
		h.changed.Broadcast()
		if h.closed && h.gone {
			delete(c.n.halves, h)
		}
	}
	return nil
}

func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
	}
}

func (c *conn) LocalAddr() net.Addr  { return c.local }
func (c *conn) RemoteAddr() net.Addr { return c.remote }

func (c *conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

func (c *conn) SetReadDeadline(t time.Time) error { return c.set(&c.readBy, c.in, t) }

func (c *conn) SetWriteDeadline(t time.Time) error { return c.set(&c.writeBy, c.out, t) }

func (c *conn) set(d *deadline, h *half, t time.Time) error {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	d.at = t
	h.changed.Broadcast() // who waits looks at it
	return nil
}
