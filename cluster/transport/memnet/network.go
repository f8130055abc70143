package memnet

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"
)

// Network is a set of hosts and the state of the links between them. A host is
// named by the address it listens on.
type Network struct {
	mu        sync.Mutex
	changed   *sync.Cond           // on mu: a link or a listener changed
	listeners map[string]*listener // guarded by mu
	cut       map[link]bool        // guarded by mu
	frozen    map[string]bool      // guarded by mu
	delay     map[link]time.Duration
	conns     map[*half]struct{} // guarded by mu: the directions of open connections
	halves    map[*half]struct{} // guarded by mu: those that somebody may wait for
}

// link is one direction between two hosts.
type link struct{ from, to string }

// New returns a network without hosts.
func New() *Network {
	n := &Network{
		listeners: map[string]*listener{}, cut: map[link]bool{}, frozen: map[string]bool{},
		delay: map[link]time.Duration{}, conns: map[*half]struct{}{}, halves: map[*half]struct{}{},
	}
	n.changed = sync.NewCond(&n.mu)
	return n
}

// Cut holds back all bytes between two hosts.
func (n *Network) Cut(a, b string) {
	n.CutOneWay(a, b)
	n.CutOneWay(b, a)
}

// CutOneWay holds back the bytes that one host sends to another.
func (n *Network) CutOneWay(from, to string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut[link{from, to}] = true
}

// Isolate cuts a host off from all others.
func (n *Network) Isolate(host string, others ...string) {
	for _, o := range others {
		if o != host {
			n.Cut(host, o)
		}
	}
}

// Heal mends all links.
func (n *Network) Heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.cut)
	n.wakeAllLocked()
}

// Freeze stops everything a host would receive or send, as if its process were
// stopped; Thaw lets it go on.
func (n *Network) Freeze(host string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.frozen[host] = true
}

// Thaw ends a Freeze.
func (n *Network) Thaw(host string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.frozen, host)
	n.wakeAllLocked()
}

// Delay makes bytes between two hosts take so long in each direction.
func (n *Network) Delay(a, b string, d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.delay[link{a, b}], n.delay[link{b, a}] = d, d
}

// Kill ends all connections of a host and stops it listening, as the end of its
// process would.
func (n *Network) Kill(host string) {
	n.Reset(host)
	n.mu.Lock()
	l := n.listeners[host]
	n.mu.Unlock()
	if l != nil {
		_ = l.Close() // never fails
	}
}

// Reset ends all connections of a host, which goes on listening.
func (n *Network) Reset(host string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for h := range n.conns {
		if h.way.from == host || h.way.to == host {
			h.reset = true
			delete(n.conns, h)
			h.changed.Broadcast()
		}
	}
}

func (n *Network) wakeAllLocked() {
	n.changed.Broadcast()
	for h := range n.halves {
		h.changed.Broadcast()
	}
}

func (n *Network) blockedLocked(l link) bool {
	return n.cut[l] || n.frozen[l.from] || n.frozen[l.to]
}

// Dialer returns the dial function of a host.
func (n *Network) Dialer(from string) func(ctx context.Context, to string) (net.Conn, error) {
	return func(ctx context.Context, to string) (net.Conn, error) { return n.dial(ctx, from, to) }
}

func (n *Network) dial(ctx context.Context, from, to string) (net.Conn, error) {
	stop := context.AfterFunc(ctx, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.changed.Broadcast()
	})
	defer stop()
	n.mu.Lock()
	defer n.mu.Unlock()
	for n.blockedLocked(link{from, to}) || n.blockedLocked(link{to, from}) {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("dial %s: %w", to, ctx.Err())
		}
		n.changed.Wait()
	}
	l := n.listeners[to]
	if l == nil {
		return nil, fmt.Errorf("dial %s: connection refused", to)
	}
	there, back := n.halfLocked(link{from, to}), n.halfLocked(link{to, from})
	mine := &conn{n: n, in: back, out: there, local: addr(from), remote: addr(to)}
	theirs := &conn{n: n, in: there, out: back, local: addr(to), remote: addr(from)}
	l.waiting = append(l.waiting, theirs)
	n.changed.Broadcast()
	return mine, nil
}

func (n *Network) halfLocked(way link) *half {
	h := &half{n: n, way: way, changed: sync.NewCond(&n.mu)}
	n.conns[h], n.halves[h] = struct{}{}, struct{}{}
	return h
}

// Listen makes the host reachable under the address, which names it.
func (n *Network) Listen(host string) (net.Listener, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listeners[host] != nil {
		return nil, fmt.Errorf("listen %s: address in use", host)
	}
	l := &listener{n: n, host: host}
	n.listeners[host] = l
	return l, nil
}

type listener struct {
	n       *Network
	host    string
	waiting []*conn // guarded by n.mu
	closed  bool    // guarded by n.mu
}

func (l *listener) Accept() (net.Conn, error) {
	l.n.mu.Lock()
	defer l.n.mu.Unlock()
	for {
		if l.closed {
			return nil, net.ErrClosed
		}
		if len(l.waiting) > 0 {
			c := l.waiting[0]
			l.waiting = l.waiting[1:]
			return c, nil
		}
		l.n.changed.Wait()
	}
}

func (l *listener) Close() error {
	l.n.mu.Lock()
	defer l.n.mu.Unlock()
	if !l.closed {
		l.closed = true
		delete(l.n.listeners, l.host)
		l.n.changed.Broadcast()
	}
	return nil
}

func (l *listener) Addr() net.Addr { return addr(l.host) }

type addr string

func (a addr) Network() string { return "mem" }
func (a addr) String() string  { return string(a) }
