package transport

import (
	"context"
	"errors"
	"io"
	"sync"
)

// window is how many chunks of an answer may be on their way: the reader's
// back-pressure.
const window = 8

// errEndOfStream is the good end of an answer.
var errEndOfStream = errors.New("end of stream")

// Stream is an answer in parts. It belongs to one goroutine.
type Stream struct {
	c      *client
	id     uint32
	ctx    context.Context
	chunks chan []byte // capacity window, and the end: the sender has no credit for more
	taken  int         // chunks read since credit was last given
	once   sync.Once
	ended  chan struct{} // closed when err is set
	err    error
}

func (c *client) stream(ctx context.Context, op Op, payload []byte) (*Stream, error) {
	s := &Stream{c: c, ctx: ctx, chunks: make(chan []byte, window+1), ended: make(chan struct{})}
	id, err := c.add(&call{stream: s}, kindCall, false, c.callFrame(ctx, op, payload))
	s.id = id
	return s, err
}

// put is called by the connection's reader.
func (s *Stream) put(payload []byte) error {
	select {
	case s.chunks <- append([]byte(nil), payload...):
		return nil
	default:
		return errors.New("more parts of an answer than were asked for")
	}
}

func (s *Stream) fail(err error) {
	s.once.Do(func() {
		s.err = err
		close(s.ended)
	})
}

// Recv returns the next part, io.EOF at the end.
func (s *Stream) Recv() ([]byte, error) {
	select {
	case chunk := <-s.chunks:
		return s.took(chunk), nil
	default:
	}
	select {
	case chunk := <-s.chunks:
		return s.took(chunk), nil
	case <-s.ctx.Done():
		s.Close()
		return nil, s.ctx.Err()
	case <-s.ended:
	}
	// What arrived before the end comes first.
	select {
	case chunk := <-s.chunks:
		return s.took(chunk), nil
	default:
	}
	if errors.Is(s.err, errEndOfStream) {
		return nil, io.EOF
	}
	return nil, s.err
}

func (s *Stream) took(chunk []byte) []byte {
	if s.taken++; s.taken >= window/2 {
		s.c.credit(s.id, s.taken)
		s.taken = 0
	}
	return chunk
}

// Close gives up what is left of the answer. It may be called more than once.
func (s *Stream) Close() {
	s.c.cancel(s.id)
	s.fail(ErrClosed)
}
