package cluster

import (
	"errors"
	"time"

	"github.com/count-db/count/internal/admission"
)

// Reasons why a request cannot be served now.
var (
	// ErrNotFounded means that there is no ring yet.
	ErrNotFounded = errors.New("the cluster is not founded yet")
	// ErrMinority means that too few members of the ring are in sight (C4).
	ErrMinority = errors.New("no majority of the cluster in sight")
	// ErrNoAnswer means that nobody who holds a needed range answered a read.
	ErrNoAnswer = errors.New("no node that holds the data answered")
	// ErrRefilling means that the node merges back what it lost (C5).
	ErrRefilling = errors.New("this node is refilling")
	// ErrStale means that a write could not be stamped above what its replicas
	// have seen before its deadline.
	ErrStale = errors.New("a newer write of the same series came between")
	// ErrGivenUp means that the client of a write did not wait for its answer: it
	// may have written something newer since.
	ErrGivenUp = errors.New("the client has given the request up")
	// ErrTooManySamples means that a query passed its limit.
	ErrTooManySamples = errors.New("query would load too many samples into memory")
	// ErrClosed means that the node is shutting down.
	ErrClosed = errors.New("the node is shutting down")
)

// UnavailableError is a request that may be sent again, as it is, a little
// later: it is answered with 503. Its chain has the cause, quorum.Error among
// them.
type UnavailableError struct {
	Cause error
}

// Error returns the cause's text.
func (e *UnavailableError) Error() string { return e.Cause.Error() }

// Unwrap returns the cause.
func (e *UnavailableError) Unwrap() error { return e.Cause }

// As lets the entrances see their own kind of the error.
func (e *UnavailableError) As(target any) bool {
	if t, ok := target.(**admission.UnavailableError); ok {
		*t = &admission.UnavailableError{Reason: e.Error(), RetryAfter: time.Second}
		return true
	}
	return false
}

func unavailable(cause error) error { return &UnavailableError{Cause: cause} }
