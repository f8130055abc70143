package admission

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ErrOverloaded is returned when the node has as much work in flight as it
// takes. The request may be sent again, as it is, a little later.
var ErrOverloaded = errors.New("too many writes in flight")

// ErrStorage marks trouble of the storage itself. Nothing of the request is
// acknowledged, any part of it may be stored, and it may be sent again as it is.
var ErrStorage = errors.New("storage failed")

// ErrTooLarge is returned for a request that can never fit, however little
// else is in flight.
var ErrTooLarge = errors.New("request too large")

// UnavailableError says that the write could not be made durable enough for
// now: no write majority, the node is starting or shutting down. Nothing of
// the request is acknowledged; it may be sent again as it is.
type UnavailableError struct {
	// Reason is what was missing, for the reader of the answer.
	Reason string
	// RetryAfter is when a retry may be worth it; 0 = as soon as the client likes.
	RetryAfter time.Duration
}

func (e *UnavailableError) Error() string { return e.Reason }

// overloadRetryAfter is what clients are told when the node is overloaded: in
// flight means milliseconds, so the shortest time that the header can say.
const overloadRetryAfter = time.Second

// StatusOf maps an error of a write to the status code of its answer and the
// time of its Retry-After header (0 = none). It is one table for all
// entrances: what may be sent again is 5xx (senders drop what got a 4xx), what
// can never succeed is 4xx.
func StatusOf(err error) (code int, retryAfter time.Duration) {
	var unavailable *UnavailableError
	var rejection *Rejection
	switch {
	case err == nil:
		return 200, 0
	case errors.As(err, &rejection):
		return 400, 0
	case errors.Is(err, ErrTooLarge):
		return 413, 0
	case errors.As(err, &unavailable):
		return 503, max(unavailable.RetryAfter, time.Second)
	case errors.Is(err, ErrOverloaded):
		return 503, overloadRetryAfter
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return 503, overloadRetryAfter
	default:
		return 500, 0
	}
}

// RetryAfterSeconds is the text of a Retry-After header: whole seconds, rounded up.
func RetryAfterSeconds(d time.Duration) string {
	return fmt.Sprint(int64((d + time.Second - 1) / time.Second))
}

// Memory bounds what the requests being handled hold, in bytes.
type Memory interface {
	// Reserve claims memory, or says why not, at once: ErrOverloaded when there is
	// none now, ErrTooLarge when there never will be so much.
	Reserve(bytes int64) error
	// Release gives back what Reserve claimed.
	Release(bytes int64)
}

// Claim is the memory that one request holds. Not safe for concurrent use.
type Claim struct {
	memory Memory
	held   int64 // bytes
}

// NewClaim returns a claim that holds nothing.
func NewClaim(m Memory) Claim { return Claim{memory: m} }

// More claims n more bytes. A request that will never fit as a whole is told so, and
// not to try again.
func (c *Claim) More(n int64) error {
	err := c.memory.Reserve(n)
	if err == nil {
		c.held += n
	}
	if !errors.Is(err, ErrOverloaded) {
		return err
	}
	switch whole := c.memory.Reserve(c.held + n); {
	case whole == nil:
		c.memory.Release(c.held + n) // there is room again, but the answer stands
	case errors.Is(whole, ErrTooLarge):
		return whole
	}
	return err
}

// Release gives all of it back.
func (c *Claim) Release() {
	c.memory.Release(c.held)
	c.held = 0
}
