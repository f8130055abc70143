package server

import (
	"errors"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// How slow a client may be. A body has to have begun within bodyGrace, and to go on
// at bodyRate on average; each piece of an answer has to be taken within
// answerStall. Whoever is slower holds up memory, or a place among the queries that
// run at once, for others.
const (
	bodyGrace   = 15 * time.Second
	bodyRate    = 4 << 10 // bytes a second
	answerStall = 15 * time.Second
)

// pacedBody is a body that has to keep moving. Only its reader uses it.
type pacedBody struct {
	io.ReadCloser
	rec      *recorder
	began    time.Time
	deadline time.Time // set for reading
	end      time.Time // of the whole request; zero = none
	got      int64     // bytes
	taken    int64     // bytes, of budget
	budget   *budget   // nil = not counted
	over     bool
}

// Read implements io.Reader.
func (b *pacedBody) Read(p []byte) (int, error) {
	if b.over {
		return b.ReadCloser.Read(p)
	}
	n, err := b.ReadCloser.Read(p)
	b.got += int64(n)
	if err != nil {
		b.over = true
		b.setDeadline(b.end) // what net/http reads meanwhile is the end of the connection, or the next request
		if slow := net.Error(nil); errors.As(err, &slow) && slow.Timeout() {
			b.rec.fault = http.StatusRequestTimeout
		}
		return n, err
	}
	if !b.budget.take(int64(n)) {
		b.over = true
		b.setDeadline(b.end)
		b.rec.fault = http.StatusServiceUnavailable
		return n, errBodies
	}
	b.taken += int64(n)
	due := b.began.Add(bodyGrace + time.Duration(b.got/bodyRate)*time.Second)
	if !b.end.IsZero() && due.After(b.end) {
		due = b.end
	}
	if due.Sub(b.deadline) > time.Second {
		b.setDeadline(due)
	}
	return n, nil
}

func (b *pacedBody) setDeadline(t time.Time) {
	b.deadline = t
	// What cannot set one (a test's recorder) has no slow client.
	_ = http.NewResponseController(b.rec.ResponseWriter).SetReadDeadline(t)
}

// release gives back what the body took of the budget.
func (b *pacedBody) release() { b.budget.give(b.taken) }

var errBodies = errors.New("too many request bodies are being read: try again")

// budget bounds bytes that are held at once. A nil one bounds nothing.
type budget struct {
	most int64
	held atomic.Int64
}

func (b *budget) take(n int64) bool {
	if b == nil {
		return true
	}
	if b.held.Add(n) > b.most {
		b.held.Add(-n)
		return false
	}
	return true
}

func (b *budget) give(n int64) {
	if b != nil {
		b.held.Add(-n)
	}
}

// limitedBody notes when a body turns out to be too large.
type limitedBody struct {
	io.ReadCloser // http.MaxBytesReader's
	rec           *recorder
}

// Read implements io.Reader.
func (b *limitedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && errors.As(err, new(*http.MaxBytesError)) {
		b.rec.fault = http.StatusRequestEntityTooLarge
	}
	return n, err
}
