package appendable

import (
	"context"
	"errors"
	"net/http"
	"sync"

	"github.com/prometheus/prometheus/storage"

	"github.com/count-db/count/internal/admission"
)

// outcome carries the first error of a request's appenders past handlers that
// know only 400 and 500. A nil *outcome takes nothing.
type outcome struct {
	mu  sync.Mutex
	err error
}

type outcomeKey struct{}

func outcomeOf(ctx context.Context) *outcome {
	o, _ := ctx.Value(outcomeKey{}).(*outcome)
	return o
}

func (o *outcome) failed(err error) {
	if o == nil || errors.Is(err, storage.ErrOutOfBounds) {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil {
		o.err = err
	}
}

func (o *outcome) get() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}

// Handler wraps a handler that writes to an Appendable and answers its errors
// with 500 (Prometheus's OTLP handler): where the error means that the request
// may be sent again, the answer becomes 503 with Retry-After, because OTLP
// senders drop what got a 500.
func Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o := &outcome{}
		ctx := context.WithValue(r.Context(), outcomeKey{}, o)
		next.ServeHTTP(&answer{ResponseWriter: w, outcome: o}, r.WithContext(ctx))
	})
}

// answer is a ResponseWriter that knows better which status a failure has.
type answer struct {
	http.ResponseWriter
	outcome *outcome
}

// Unwrap lets http.ResponseController find what is below.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func (a *answer) WriteHeader(code int) {
	if err := a.outcome.get(); err != nil && code == http.StatusInternalServerError {
		status, retryAfter := admission.StatusOf(err)
		code = status
		if retryAfter > 0 {
			a.Header().Set("Retry-After", admission.RetryAfterSeconds(retryAfter))
		}
	}
	a.ResponseWriter.WriteHeader(code)
}
