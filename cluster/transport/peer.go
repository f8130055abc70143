package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/internal/model"
)

// Times of the connections to a peer.
const (
	connectTimeout = 2 * time.Second        // for dialing and upgrading
	retryFirst     = 100 * time.Millisecond // pause after a failed attempt
	retryMost      = time.Second            // longest pause
	pingInterval   = 500 * time.Millisecond // between pings of the samples' connection
	silenceMost    = 3 * time.Second        // then a connection is given up and made anew
)

// PeerOptions are what a Peer needs. All are required but Up, Failed
// and RequestIDs.
type PeerOptions struct {
	// Address returns the peer's present host:port; empty when it is not known.
	Address func() string
	Dial    DialFunc
	Greeter Greeter
	// Met is called with the introduction of whoever answered; an error refuses
	// it (another node than the one meant, say).
	Met func(Hello) error
	// Labels returns the labels of a reference.
	Labels func(model.Ref) labels.Labels
	// RequestIDs is how ids are found; optional.
	RequestIDs RequestIDs
	// Up is called when the peer can be reached and when it no longer can. It
	// must not block.
	Up func(up bool)
	// Failed is called when an attempt to connect has failed; optional. It must
	// not block.
	Failed func(err error)
}

// Peer is another node: its connections, made anew whenever they end. One
// carries samples, one all else, so that a large answer holds up no write.
type Peer struct {
	opts PeerOptions
	ctx  context.Context
	stop context.CancelFunc
	kick chan struct{} // capacity 1: try again now
	wg   sync.WaitGroup

	mu      sync.Mutex
	samples *client       // guarded by mu; nil when there is none
	calls   *client       // guarded by mu; nil when there is none
	err     error         // guarded by mu; why there is none
	changed chan struct{} // guarded by mu; closed and replaced when the connections change
}

// ErrNotTried is wrapped by what is asked of a peer before its first attempt to
// connect has ended.
var ErrNotTried = errors.New("not connected yet")

// NewPeer returns a peer and begins to connect to it.
func NewPeer(o PeerOptions) *Peer {
	ctx, stop := context.WithCancel(context.Background())
	p := &Peer{opts: o, ctx: ctx, stop: stop, kick: make(chan struct{}, 1), changed: make(chan struct{}), err: ErrNotTried}
	p.wg.Add(1)
	go p.keep()
	return p
}

// Close ends the connections.
func (p *Peer) Close() {
	p.stop()
	p.wg.Wait()
}

// Kick makes a pause between two attempts to connect end now: something was
// heard of the peer.
func (p *Peer) Kick() {
	select {
	case p.kick <- struct{}{}:
	default:
	}
}

// keep connects again and again.
func (p *Peer) keep() {
	defer p.wg.Done()
	pause := retryFirst
	for p.ctx.Err() == nil {
		samples, calls, err := p.connect()
		if err != nil {
			p.set(nil, nil, err)
			if p.opts.Failed != nil && p.ctx.Err() == nil {
				p.opts.Failed(err)
			}
			p.pause(pause)
			pause = min(2*pause, retryMost)
			continue
		}
		pause = retryFirst
		p.attend(samples, calls)
	}
	p.set(nil, nil, ErrClosed)
}

func (p *Peer) pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-p.kick:
	case <-p.ctx.Done():
	}
}

func (p *Peer) connect() (samples, calls *client, err error) {
	address := p.opts.Address()
	if address == "" {
		return nil, nil, errors.New("its address is not known")
	}
	ctx, cancel := context.WithTimeout(p.ctx, connectTimeout)
	defer cancel()
	open := func() (*client, error) {
		nc, in, hello, err := Connect(ctx, p.opts.Dial, address, KindCalls, p.opts.Greeter)
		if err != nil {
			return nil, err
		}
		if err := p.opts.Met(hello); err != nil {
			_ = closeNow(nc) // the refusal is what matters
			return nil, err
		}
		ids := p.opts.RequestIDs
		if !hello.RequestIDs {
			ids = RequestIDs{}
		}
		return newClient(nc, in, p.opts.Labels, ids), nil
	}
	if samples, err = open(); err != nil {
		return nil, nil, err
	}
	if calls, err = open(); err != nil {
		_ = closeNow(samples.nc) // the second failure is what matters
		return nil, nil, err
	}
	return samples, calls, nil
}

// attend runs two connections until one of them ends.
func (p *Peer) attend(samples, calls *client) {
	var running sync.WaitGroup
	running.Go(samples.run)
	running.Go(calls.run)
	p.set(samples, calls, nil)
	p.opts.Up(true)
	tick := time.NewTicker(pingInterval)
	defer tick.Stop()
	for alive := true; alive; {
		select {
		case <-tick.C:
			alive = p.check(samples) && p.check(calls)
		case <-samples.done:
			alive = false
		case <-calls.done:
			alive = false
		case <-p.ctx.Done():
			alive = false
		}
	}
	p.set(nil, nil, ErrLost)
	p.opts.Up(false)
	samples.end(ErrLost)
	calls.end(ErrLost)
	running.Wait()
}

// check pings an idle connection; false when it has been silent for too long.
func (p *Peer) check(c *client) bool {
	if s := c.silence(); s > silenceMost {
		c.end(fmt.Errorf("%w: silent for %s", ErrLost, s.Round(time.Millisecond)))
		return false
	}
	// A ping that cannot be sent is a connection that has ended: seen above.
	_ = c.ping(func(error) {})
	return true
}

func (p *Peer) set(samples, calls *client, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.samples, p.calls, p.err = samples, calls, err
	close(p.changed)
	p.changed = make(chan struct{})
}

// Connected says whether there is a connection.
func (p *Peer) Connected() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.samples != nil
}

// Encrypted says whether there is a connection, and by TLS.
func (p *Peer) Encrypted() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.samples == nil {
		return false
	}
	_, yes := p.samples.nc.(*tls.Conn)
	return yes
}

// Silence is how long the peer has owed an answer while nothing was heard of it.
// Without a connection there is nobody to be heard: ok is false.
func (p *Peer) Silence() (d time.Duration, ok bool) {
	p.mu.Lock()
	samples, calls := p.samples, p.calls
	p.mu.Unlock()
	if samples == nil {
		return 0, false
	}
	return max(samples.silence(), calls.silence()), true
}

// Untried says whether the first attempt to connect has not ended: nothing is
// known of the peer yet.
func (p *Peer) Untried() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.samples == nil && errors.Is(p.err, ErrNotTried)
}

// tried returns when the first attempt to connect has ended.
func (p *Peer) tried(ctx context.Context) {
	for {
		p.mu.Lock()
		changed, untried := p.changed, p.samples == nil && errors.Is(p.err, ErrNotTried)
		p.mu.Unlock()
		if !untried {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// Err says why there is no connection, nil when there is one.
func (p *Peer) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

func unreachable(err error) error {
	if errors.Is(err, ErrUnreachable) || errors.Is(err, ErrLost) || CodeOf(err) != CodeOther {
		return err
	}
	return fmt.Errorf("%w: %w", ErrUnreachable, err)
}

// Append sends a batch; the batches belong to the caller again at once. done is
// called exactly once if Append returned nil: from another goroutine, which it
// must not block.
func (p *Peer) Append(a *Append, done func(AppendReply, error)) error {
	p.mu.Lock()
	c, err := p.samples, p.err
	p.mu.Unlock()
	if c == nil {
		return unreachable(err)
	}
	return c.append(a, done)
}

// Call asks for an answer in one part. A peer that is only just connected to is
// waited for.
func (p *Peer) Call(ctx context.Context, op Op, payload []byte) ([]byte, error) {
	p.tried(ctx)
	c, err := p.caller()
	if err != nil {
		return nil, err
	}
	return c.call(ctx, op, payload)
}

// Stream asks for an answer in parts. The stream must be closed. A peer that is
// only just connected to is waited for.
func (p *Peer) Stream(ctx context.Context, op Op, payload []byte) (*Stream, error) {
	p.tried(ctx)
	c, err := p.caller()
	if err != nil {
		return nil, err
	}
	return c.stream(ctx, op, payload)
}

func (p *Peer) caller() (*client, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.calls == nil {
		return nil, unreachable(p.err)
	}
	return p.calls, nil
}

// WaitConnected waits until there is a connection.
func (p *Peer) WaitConnected(ctx context.Context) error {
	for {
		p.mu.Lock()
		changed, connected, err := p.changed, p.samples != nil, p.err
		p.mu.Unlock()
		if connected {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return unreachable(err)
		}
	}
}
