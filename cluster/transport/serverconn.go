package transport

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/count-db/count/cluster/frontier"
	"github.com/count-db/count/cluster/ring"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/wire"
)

// serverConn is the called end of one connection. Its reader decodes batches in
// the order of arrival, because definitions of series come before their use; a
// second goroutine begins to store them in the same order, because the writes to
// a series come in the order of their versions; all else is done by goroutines.
type serverConn struct {
	*link
	server *Server
	from   Hello

	// Of the reader only.
	table   refTable
	refused error // why the batch being decoded cannot be stored, though its bytes are right

	appends chan struct{} // semaphore
	arrived chan *arrival // capacity maxAppends, of which appends lets no more be: sending never waits
	calls   chan struct{} // semaphore
	wg      sync.WaitGroup

	running map[uint32]*Answer // guarded by link.mu
	batches sync.Pool
}

func newServerConn(s *Server, nc net.Conn, in *bufio.Reader, from Hello) *serverConn {
	return &serverConn{
		link: newLink(nc, in), server: s, from: from,
		appends: make(chan struct{}, maxAppends), arrived: make(chan *arrival, maxAppends), calls: make(chan struct{}, MaxCalls),
		running: map[uint32]*Answer{},
		batches: sync.Pool{New: func() any { return new(model.Batch) }},
	}
}

func (c *serverConn) run() {
	go c.write()
	c.wg.Go(c.store)
	err := c.read()
	close(c.arrived)
	c.end(fmt.Errorf("%w: %w", ErrLost, err))
	c.mu.Lock()
	for _, a := range c.running {
		a.cancel()
	}
	c.mu.Unlock()
	c.wg.Wait()
}

func (c *serverConn) read() error {
	var buf []byte
	for {
		k, id, payload, err := readFrame(c.in, &buf)
		if err != nil {
			return err
		}
		switch k {
		case kindPing:
			err = c.enqueue(true, func(dst []byte) []byte { return appendFrame(dst, kindPong, id, nil) })
		case kindAppend:
			err = c.readAppend(id, payload)
		case kindCall:
			err = c.readCall(id, payload)
		case kindCredit:
			if len(payload) != 4 {
				return wire.Corruptf("credit of %d bytes", len(payload))
			}
			c.grant(id, int(binary.LittleEndian.Uint32(payload)))
		case kindCancel:
			c.mu.Lock()
			if a := c.running[id]; a != nil {
				a.cancel()
			}
			c.mu.Unlock()
		default:
			err = wire.Corruptf("frame of kind %d from the calling side", k)
		}
		if err != nil {
			return err
		}
	}
}

// arrival is a batch that is to be stored.
type arrival struct {
	id     uint32
	r      *Request
	ctx    context.Context
	cancel context.CancelFunc
}

// readAppend decodes a batch and has it stored. An error ends the connection:
// then the two ends no longer agree on the numbers of series.
func (c *serverConn) readAppend(id uint32, payload []byte) error {
	c.refused = nil
	r, timeout, err := c.decodeAppend(payload)
	if err != nil {
		return err
	}
	if refused := c.refused; refused != nil {
		c.release(r)
		return c.enqueue(true, func(dst []byte) []byte {
			return appendFrame(dst, kindError, id, appendError(nil, refused))
		})
	}
	if !c.acquire(c.appends) {
		return c.reason()
	}
	a := &arrival{id: id, r: r}
	a.ctx, a.cancel = c.bounded(timeout)
	c.arrived <- a
	return nil
}

// store begins to store the batches in the order of arrival and leaves it to
// goroutines to wait until they are durable.
func (c *serverConn) store() {
	for a := range c.arrived {
		wait := c.server.handler.Append(c.server.ids.with(a.ctx, a.r.id), a.r)
		c.wg.Go(func() { c.answerAppend(a, wait) })
	}
}

func (c *serverConn) answerAppend(a *arrival, wait func() (AppendReply, error)) {
	defer func() { <-c.appends }()
	defer a.cancel()
	reply, err := wait()
	c.release(a.r)
	// A link that has ended has told the caller already.
	_ = c.enqueue(true, func(dst []byte) []byte {
		if err != nil {
			return appendFrame(dst, kindError, a.id, appendError(nil, err))
		}
		payload := append(make([]byte, 0, 12), 0)
		if reply.Stale {
			payload[0] = 1
		}
		return appendFrame(dst, kindEnd, a.id, wire.AppendUvarint(payload, uint64(reply.Highest)))
	})
}

func (c *serverConn) acquire(sem chan struct{}) bool {
	select {
	case sem <- struct{}{}:
		return true
	case <-c.done:
		return false
	}
}

func (c *serverConn) bounded(timeout time.Duration) (context.Context, context.CancelFunc) {
	if timeout <= 0 {
		return context.WithCancel(c.server.ctx)
	}
	return context.WithTimeout(c.server.ctx, timeout)
}

func (c *serverConn) release(r *Request) {
	put := func(b *model.Batch) {
		if b != nil {
			b.Reset()
			c.batches.Put(b)
		}
	}
	put(r.Batch)
	for _, b := range r.Sections {
		put(b)
	}
	for _, o := range r.Owed {
		put(o.Batch)
	}
}

func (c *serverConn) batch() *model.Batch { return c.batches.Get().(*model.Batch) }

func (c *serverConn) decodeAppend(payload []byte) (*Request, time.Duration, error) {
	d := wire.NewDecoder(payload)
	flags := d.Byte()
	if flags > appendFresh|appendIdentified {
		return nil, 0, wire.Corruptf("flags of an append: %d", flags)
	}
	r := &Request{From: c.from.Node, Fresh: flags&appendFresh != 0}
	if flags&appendIdentified != 0 {
		r.id = decodeRequestID(&d)
	}
	r.Ring = d.Uvarint()
	timeout := time.Duration(min(d.Uvarint(), 1<<40)) * time.Millisecond
	if err := c.define(&d); err != nil {
		return nil, 0, err
	}
	sections := d.Count(2)
	for range sections {
		var owed []ring.NodeID
		for range d.Count(1) {
			owed = append(owed, ring.NodeID(d.Uvarint()))
		}
		first := len(r.Origins)
		r.Origins = frontier.DecodeOrigins(&d, r.Origins)
		body := d.Bytes()
		if d.Err() != nil {
			break
		}
		if len(owed) > 0 {
			b := c.batch()
			in := wire.NewDecoder(body)
			DecodeBatch(&in, b, c.known)
			r.Owed = append(r.Owed, OwedPart{Nodes: owed, Batch: b, Origins: r.Origins[first:len(r.Origins):len(r.Origins)]})
		}
		in := wire.NewDecoder(body)
		if err := c.section(r, &in, sections); err != nil {
			return nil, 0, err
		}
	}
	if len(r.Sections) == 0 && r.Batch == nil {
		r.Batch = c.batch()
	}
	return r, timeout, d.Err()
}

// section adds one section to the request: samples of one version are put
// together, so that the engine has one batch to store.
func (c *serverConn) section(r *Request, in *wire.Decoder, sections int) error {
	peek := *in
	version := model.Version(peek.Uvarint())
	switch {
	case r.Batch == nil && len(r.Sections) == 0:
		r.Batch = c.batch()
		DecodeBatch(in, r.Batch, c.known)
	case r.Batch != nil && r.Batch.Version == version:
		DecodeBatch(in, r.Batch, c.known)
	default:
		if r.Batch != nil {
			r.Sections = append(make([]*model.Batch, 0, sections), r.Batch)
			r.Batch = nil
		}
		b := c.batch()
		DecodeBatch(in, b, c.known)
		r.Sections = append(r.Sections, b)
	}
	return in.Err()
}

// known translates a sender's reference. One that is not defined (its definition
// was refused) makes the batch refused and not the connection corrupt.
func (c *serverConn) known(sender uint32) (model.Ref, bool) {
	ref, ok := c.table.get(sender)
	if !ok && c.refused == nil {
		c.refused = Errorf(CodeUnknown, "series number %d is not defined", sender)
	}
	return ref, true
}

// define reads the series that the batch names for the first time.
func (c *serverConn) define(d *wire.Decoder) error {
	for range d.Count(2) {
		sender := d.Uint32Varint()
		ls := DecodeLabels(d)
		if d.Err() != nil {
			return d.Err()
		}
		if ls.IsEmpty() {
			c.refused = Errorf(CodeUnknown, "the sender has forgotten series number %d", sender)
			continue
		}
		ref, err := c.server.handler.Intern(ls)
		if err != nil {
			// The sender defines its series again after this answer.
			c.refused = Errorf(CodeLimit, "series %s: %v", ls, err)
			continue
		}
		c.table.set(sender, ref)
	}
	return d.Err()
}

func (c *serverConn) readCall(id uint32, payload []byte) error {
	d := wire.NewDecoder(payload)
	op, requestID := d.Byte(), ""
	if op&opIdentified != 0 {
		op, requestID = op&^opIdentified, decodeRequestID(&d)
	}
	timeout := time.Duration(min(d.Uvarint(), 1<<40)) * time.Millisecond
	body := append([]byte(nil), d.Rest()...)
	if d.Err() != nil {
		return d.Err()
	}
	if !c.acquire(c.calls) {
		return c.reason()
	}
	ctx, cancel := c.bounded(timeout)
	ctx = c.server.ids.with(ctx, requestID)
	a := &Answer{c: c, id: id, ctx: ctx, cancel: cancel, credit: window, more: make(chan struct{}, 1)}
	c.mu.Lock()
	c.running[id] = a
	c.mu.Unlock()
	c.wg.Add(1)
	go func() {
		defer c.wg.Done()
		defer func() { <-c.calls }()
		defer cancel()
		err := c.server.handler.Call(ctx, c.from.Node, Op(op), body, a)
		c.mu.Lock()
		delete(c.running, id)
		c.mu.Unlock()
		// A link that has ended has told the caller already.
		_ = c.enqueue(true, func(dst []byte) []byte {
			if err != nil {
				return appendFrame(dst, kindError, id, appendError(nil, err))
			}
			return appendFrame(dst, kindEnd, id, a.last)
		})
	}()
	return nil
}

func (c *serverConn) grant(id uint32, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := c.running[id]
	if a == nil || n <= 0 || n > window {
		return
	}
	a.credit += n
	select {
	case a.more <- struct{}{}:
	default:
	}
}

// Answer is where a Handler's Call puts its answer. It belongs to one goroutine.
type Answer struct {
	c      *serverConn
	id     uint32
	ctx    context.Context
	cancel context.CancelFunc
	credit int           // guarded by link.mu; chunks that may be sent
	more   chan struct{} // capacity 1: credit came
	last   []byte
}

// Send sends one part of an answer that the caller reads as a stream. It waits
// while the caller has not read what was sent before.
func (a *Answer) Send(payload []byte) error {
	for {
		a.c.mu.Lock()
		if a.credit > 0 {
			a.credit--
			err := a.c.enqueueLocked(true, func(dst []byte) []byte { return appendFrame(dst, kindChunk, a.id, payload) })
			a.c.mu.Unlock()
			return err
		}
		a.c.mu.Unlock()
		select {
		case <-a.more:
		case <-a.ctx.Done():
			return a.ctx.Err()
		case <-a.c.done:
			return a.c.reason()
		}
	}
}

// End sets the whole of an answer that the caller reads at once, or the last part
// of one that it reads as a stream.
func (a *Answer) End(payload []byte) { a.last = payload }

// refTable translates a sender's references to this node's.
type refTable struct {
	pages []*[refPage]model.Ref
}

func (t *refTable) set(sender uint32, ref model.Ref) {
	page := int(sender / refPage)
	for page >= len(t.pages) {
		t.pages = append(t.pages, nil)
	}
	if t.pages[page] == nil {
		t.pages[page] = new([refPage]model.Ref)
	}
	t.pages[page][sender%refPage] = ref
}

func (t *refTable) get(sender uint32) (model.Ref, bool) {
	page := int(sender / refPage)
	if page >= len(t.pages) || t.pages[page] == nil {
		return 0, false
	}
	ref := t.pages[page][sender%refPage]
	return ref, ref != 0
}
