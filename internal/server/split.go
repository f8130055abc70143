package server

import (
	"errors"
	"net"
	"sync"
	"time"
)

// tlsHandshake is the first byte that a client of TLS sends. No method of HTTP
// begins with it.
const tlsHandshake = 0x16

// splitter tells apart, by their first byte, the connections of a listener that
// speak TLS and those that do not. A connection that sends nothing for so long as
// wait is dropped.
type splitter struct {
	net.Listener
	wait             time.Duration
	encrypted, plain side

	done    chan struct{} // closed by close
	mu      sync.Mutex
	pending map[net.Conn]struct{} // guarded by mu; have sent nothing yet; nil when closed
	wg      sync.WaitGroup
}

// side is one of the two listeners. Its channels are unbuffered: a connection
// waits in its own goroutine.
type side struct {
	of    *splitter
	conns chan net.Conn
	errs  chan error // of the listener below; only one side is told
}

func newSplitter(l net.Listener, wait time.Duration) *splitter {
	s := &splitter{Listener: l, wait: wait, done: make(chan struct{}), pending: map[net.Conn]struct{}{}}
	s.encrypted = side{s, make(chan net.Conn), make(chan error)}
	s.plain = side{s, make(chan net.Conn), make(chan error)}
	s.wg.Go(s.take)
	return s
}

func (s *splitter) take() {
	for {
		nc, err := s.Listener.Accept()
		if err != nil {
			select {
			case s.encrypted.errs <- err: // which waits before the next one, or ends
				continue
			case <-s.done:
				return
			}
		}
		s.mu.Lock()
		if s.pending == nil {
			s.mu.Unlock()
			_ = nc.Close() // closed meanwhile
			return
		}
		s.pending[nc] = struct{}{}
		s.mu.Unlock()
		s.wg.Go(func() { s.sort(nc) })
	}
}

// sort waits for the first byte of a connection.
func (s *splitter) sort(nc net.Conn) {
	var first [1]byte
	err := nc.SetReadDeadline(time.Now().Add(s.wait))
	if err == nil {
		_, err = nc.Read(first[:])
	}
	s.mu.Lock()
	delete(s.pending, nc)
	s.mu.Unlock()
	if err == nil {
		err = nc.SetReadDeadline(time.Time{})
	}
	if err != nil {
		_ = nc.Close() // it went away, or was too slow
		return
	}
	to := s.plain.conns
	if first[0] == tlsHandshake {
		to = s.encrypted.conns
	}
	select {
	case to <- &prefixed{Conn: nc, first: first[:]}:
	case <-s.done:
		_ = nc.Close() // nobody takes it any more
	}
}

// close ends both sides and the listener.
func (s *splitter) close() error {
	s.mu.Lock()
	waiting := s.pending
	if s.pending = nil; waiting != nil {
		close(s.done)
	}
	s.mu.Unlock()
	if waiting == nil {
		return nil
	}
	err := s.Listener.Close()
	for nc := range waiting {
		err = errors.Join(err, nc.Close())
	}
	s.wg.Wait()
	return err
}

// Accept implements net.Listener.
func (s *side) Accept() (net.Conn, error) {
	select {
	case nc := <-s.conns:
		return nc, nil
	case err := <-s.errs:
		return nil, err
	case <-s.of.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener: both sides end.
func (s *side) Close() error { return s.of.close() }

// Addr implements net.Listener.
func (s *side) Addr() net.Addr { return s.of.Listener.Addr() }

// prefixed is a connection of which the first bytes were read.
type prefixed struct {
	net.Conn
	first []byte // only the reader uses it
}

// NetConn returns the connection below, as tls.Conn's does.
func (p *prefixed) NetConn() net.Conn { return p.Conn }

// Read implements net.Conn.
func (p *prefixed) Read(b []byte) (int, error) {
	if len(p.first) == 0 {
		return p.Conn.Read(b)
	}
	n := copy(b, p.first)
	p.first = p.first[n:]
	return n, nil
}
