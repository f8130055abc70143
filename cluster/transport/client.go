package transport

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/cluster/frontier"
	"github.com/count-db/count/cluster/ring"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/wire"
)

// Append is a batch on its way to another node.
type Append struct {
	// Fresh marks a client's write, which must be above every version seen of
	// its series (V2).
	Fresh bool
	// Ring is the number of the ring that the samples were grouped by; 0 = any.
	Ring uint64
	// Timeout is how long the answer is of use; 0 = no bound.
	Timeout time.Duration
	// RequestID is the correlation id of the client's request, "" = none.
	RequestID string
	// Sections are the samples, all of one request.
	Sections []Section
}

// Section is one part of an Append with samples of one version.
type Section struct {
	// Batch gives the series; its samples travel as Body.
	Batch *model.Batch
	// Body is Batch by AppendBatch, made once for all nodes.
	Body []byte
	// Owed names the nodes for which the receiver keeps a hint (C6).
	Owed []ring.NodeID
	// Origins are the numbers that the batch is known by (C7).
	Origins []frontier.Origin
}

// AppendReply is the answer to an Append.
type AppendReply struct {
	// Stale is set when a fresh batch was not above the highest version of one
	// of its series; nothing of it counts.
	Stale bool
	// Highest is the highest version seen of the batch's series.
	Highest model.Version
}

// client is the calling end of one connection.
type client struct {
	*link
	labels    func(model.Ref) labels.Labels
	ids       RequestIDs       // none for a peer that takes no ids
	announced refSet           // guarded by link.mu
	pending   map[uint32]*call // guarded by link.mu
	next      uint32           // guarded by link.mu
	began     time.Time
	heard     atomic.Int64 // nanoseconds after began when the last frame came, or when the connection became busy
	busy      atomic.Bool  // something is unanswered
}

// call waits for an answer: exactly one of the two is set.
type call struct {
	done   func(payload []byte, err error) // called once, must not block; the payload is valid during the call
	stream *Stream
}

func newClient(nc net.Conn, in *bufio.Reader, ls func(model.Ref) labels.Labels, ids RequestIDs) *client {
	return &client{link: newLink(nc, in), labels: ls, ids: ids, pending: map[uint32]*call{}, began: time.Now()}
}

// run reads answers until the connection ends, then fails what is unanswered.
func (c *client) run() {
	go c.write()
	err := c.read()
	c.end(fmt.Errorf("%w: %w", ErrLost, err))
	reason := c.reason()
	c.mu.Lock()
	orphans := c.pending
	c.pending = map[uint32]*call{}
	c.mu.Unlock()
	for _, o := range orphans {
		o.fail(reason)
	}
}

func (o *call) fail(err error) {
	if o.stream != nil {
		o.stream.fail(err)
		return
	}
	o.done(nil, err)
}

func (c *client) read() error {
	var buf []byte
	for {
		k, id, payload, err := readFrame(c.in, &buf)
		if err != nil {
			return err
		}
		c.heard.Store(int64(time.Since(c.began)))
		if err := c.answer(k, id, payload); err != nil {
			return err
		}
	}
}

func (c *client) answer(k kind, id uint32, payload []byte) error {
	c.mu.Lock()
	o := c.pending[id]
	if k != kindChunk {
		delete(c.pending, id)
		c.busy.Store(len(c.pending) > 0)
	}
	c.mu.Unlock()
	if o == nil {
		return nil // cancelled meanwhile
	}
	switch k {
	case kindChunk:
		if o.stream == nil {
			return wire.Corruptf("part of an answer where one whole was asked for")
		}
		return o.stream.put(payload)
	case kindEnd:
		if o.stream == nil {
			o.done(payload, nil)
			return nil
		}
		var err error
		if len(payload) > 0 {
			err = o.stream.put(payload)
		}
		o.stream.fail(errEndOfStream)
		return err
	case kindError:
		o.fail(decodeError(payload))
	case kindPong:
		o.done(nil, nil)
	default:
		return wire.Corruptf("frame of kind %d from the called side", k)
	}
	return nil
}

// add registers a call and enqueues its frame in one step, so that frames leave
// in the order in which series are announced.
func (c *client) add(o *call, k kind, force bool, build func(dst []byte) []byte) (uint32, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next++
	id := c.next
	err := c.enqueueLocked(force, func(dst []byte) []byte {
		start := len(dst)
		return endFrame(build(beginFrame(dst, k, id)), start)
	})
	if err != nil {
		return 0, err
	}
	c.pending[id] = o
	if !c.busy.Swap(true) {
		c.heard.Store(int64(time.Since(c.began)))
	}
	return id, nil
}

// silence is how long something is unanswered while nothing at all was heard.
func (c *client) silence() time.Duration {
	if !c.busy.Load() {
		return 0
	}
	return max(time.Since(c.began)-time.Duration(c.heard.Load()), 0)
}

func (c *client) append(a *Append, done func(AppendReply, error)) error {
	o := &call{done: func(payload []byte, err error) {
		if err != nil {
			if code := CodeOf(err); code == CodeUnknown || code == CodeLimit {
				c.forget()
			}
			done(AppendReply{}, err)
			return
		}
		d := wire.NewDecoder(payload)
		reply := AppendReply{Stale: d.Byte() == 1, Highest: model.Version(d.Uvarint())}
		done(reply, d.Err())
	}}
	var fresh []uint32
	_, err := c.add(o, kindAppend, false, func(dst []byte) []byte {
		dst, fresh = appendSamples(dst, a, c.ids.Of != nil, &c.announced, c.labels)
		return dst
	})
	if err != nil && len(fresh) > 0 {
		// The frame did not leave, so its definitions did not either.
		c.mu.Lock()
		for _, ref := range fresh {
			c.announced.remove(ref)
		}
		c.mu.Unlock()
	}
	return err
}

// forget makes all series be defined again: the other side misses some.
func (c *client) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.announced = refSet{}
}

// appendSamples writes the payload of an append frame, with its id if the peer
// takes ids; it returns the series that were defined in it.
func appendSamples(dst []byte, a *Append, ids bool, known *refSet, ls func(model.Ref) labels.Labels) ([]byte, []uint32) {
	flags := byte(0)
	if a.Fresh {
		flags = appendFresh
	}
	if ids = ids && a.RequestID != "" && len(a.RequestID) <= maxRequestID; ids {
		dst = appendRequestID(append(dst, flags|appendIdentified), a.RequestID)
	} else {
		dst = append(dst, flags)
	}
	dst = wire.AppendUvarint(dst, a.Ring)
	dst = wire.AppendUvarint(dst, uint64(max(a.Timeout.Milliseconds(), 0)))
	var fresh []uint32
	note := func(ref model.Ref) {
		if known.add(uint32(ref)) {
			fresh = append(fresh, uint32(ref))
		}
	}
	for i := range a.Sections {
		eachRef(a.Sections[i].Batch, note)
	}
	dst = wire.AppendUvarint(dst, uint64(len(fresh)))
	for _, ref := range fresh {
		dst = wire.AppendUvarint(dst, uint64(ref))
		dst = AppendLabels(dst, ls(model.Ref(ref)))
	}
	dst = wire.AppendUvarint(dst, uint64(len(a.Sections)))
	for i := range a.Sections {
		s := &a.Sections[i]
		dst = wire.AppendUvarint(dst, uint64(len(s.Owed)))
		for _, id := range s.Owed {
			dst = wire.AppendUvarint(dst, uint64(id))
		}
		dst = frontier.AppendOrigins(dst, s.Origins)
		dst = wire.AppendBytes(dst, s.Body)
	}
	return dst, fresh
}

func eachRef(b *model.Batch, f func(model.Ref)) {
	for i := range b.Floats {
		f(b.Floats[i].Ref)
	}
	for i := range b.Hists {
		f(b.Hists[i].Ref)
	}
	for i := range b.Exemplars {
		f(b.Exemplars[i].Ref)
	}
}

func (c *client) call(ctx context.Context, op Op, payload []byte) ([]byte, error) {
	type answer struct {
		payload []byte
		err     error
	}
	got := make(chan answer, 1)
	o := &call{done: func(payload []byte, err error) {
		got <- answer{append([]byte(nil), payload...), err}
	}}
	id, err := c.add(o, kindCall, false, c.callFrame(ctx, op, payload))
	if err != nil {
		return nil, err
	}
	select {
	case a := <-got:
		return a.payload, a.err
	case <-ctx.Done():
		c.cancel(id)
		return nil, ctx.Err()
	}
}

// callFrame writes the head of a call: the operation, the correlation id if there
// is one, and how many milliseconds the caller will wait (0 = no bound).
func (c *client) callFrame(ctx context.Context, op Op, payload []byte) func(dst []byte) []byte {
	requestID := c.ids.of(ctx)
	wait := uint64(0)
	if deadline, ok := ctx.Deadline(); ok {
		wait = uint64(max(time.Until(deadline).Milliseconds(), 1))
	}
	return func(dst []byte) []byte {
		if requestID != "" && len(requestID) <= maxRequestID {
			dst = appendRequestID(append(dst, byte(op)|opIdentified), requestID)
		} else {
			dst = append(dst, byte(op))
		}
		dst = wire.AppendUvarint(dst, wait)
		return append(dst, payload...)
	}
}

// cancel forgets a call and tells the other side.
func (c *client) cancel(id uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.pending[id]; !ok {
		return
	}
	delete(c.pending, id)
	c.busy.Store(len(c.pending) > 0)
	// A link that has ended needs no cancelling.
	_ = c.enqueueLocked(true, func(dst []byte) []byte { return appendFrame(dst, kindCancel, id, nil) })
}

func (c *client) credit(id uint32, n int) {
	// A link that has ended fails the stream by itself.
	_ = c.enqueue(true, func(dst []byte) []byte {
		return appendFrame(dst, kindCredit, id, binary.LittleEndian.AppendUint32(nil, uint32(n)))
	})
}

func (c *client) ping(done func(error)) error {
	_, err := c.add(&call{done: func(_ []byte, err error) { done(err) }}, kindPing, true,
		func(dst []byte) []byte { return dst })
	return err
}
