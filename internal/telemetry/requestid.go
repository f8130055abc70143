package telemetry

import (
	"context"
	"crypto/rand"
	"encoding/hex"

	"github.com/go-kit/log"
)

// RequestIDHeader carries the correlation id of a request in, out, and between
// nodes.
const RequestIDHeader = "X-Request-ID"

const maxRequestID = 128 // bytes of an id that a client may choose

type requestIDKey struct{}

// WithRequestID returns a context that carries the correlation id.
func WithRequestID(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, requestIDKey{}, id)
}

// RequestID returns the correlation id that the context carries, or "".
func RequestID(ctx context.Context) string {
	id, _ := ctx.Value(requestIDKey{}).(string)
	return id
}

// Logger returns l with the correlation id of the context on each line.
func Logger(ctx context.Context, l log.Logger) log.Logger {
	if id := RequestID(ctx); id != "" {
		return log.With(l, "request_id", id)
	}
	return l
}

// CleanRequestID returns the id that a client sent, or a new one when it sent
// none, or one that could forge log lines or headers.
func CleanRequestID(id string) string {
	if id == "" || len(id) > maxRequestID {
		return newRequestID()
	}
	for i := range len(id) {
		if c := id[i]; c <= ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' {
			return newRequestID()
		}
	}
	return id
}

func newRequestID() string {
	var b [8]byte
	// crypto/rand.Read never fails: it ends the program where the system has
	// no random numbers.
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}
