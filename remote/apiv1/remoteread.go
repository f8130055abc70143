package apiv1

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/golang/snappy"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/count-db/count/internal/noted"
)

// Prometheus's handler of remote read answers every error of the storage with
// 500, after which clients do not come again, and only logs warnings. Both are
// noted in the request's context by whoever reads.

// remoteRead is Prometheus's handler with the codes and marks of ours.
func remoteRead(unavailable func(error) bool, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := readRequest(r.Body)
		if err != nil {
			code := http.StatusBadRequest
			if errors.Is(err, errReadTooLarge) {
				code = http.StatusRequestEntityTooLarge
			}
			http.Error(w, err.Error(), code)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		ctx, warnings := noted.With(r.Context())
		out := &readWriter{markedWriter{ResponseWriter: w, noted: warnings}, unavailable}
		next.ServeHTTP(out, r.WithContext(ctx))
	})
}

// readWriter is an answer to a remote read. A streamed one is marked only with
// what was known before its first frame.
type readWriter struct {
	markedWriter
	unavailable func(error) bool
}

// WriteHeader implements http.ResponseWriter.
func (w *readWriter) WriteHeader(code int) {
	if code == http.StatusInternalServerError && isUnavailable(w.unavailable, w.noted.Err()) {
		code = http.StatusServiceUnavailable
		w.Header().Set("Retry-After", "1")
	}
	w.markedWriter.WriteHeader(code)
}

// Write implements http.ResponseWriter.
func (w *readWriter) Write(p []byte) (int, error) {
	if !w.begun {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriter.Write(p)
}

// Flush implements http.Flusher, which streaming needs.
func (w *readWriter) Flush() {
	if !w.begun {
		w.WriteHeader(http.StatusOK)
	}
	// A connection that cannot be flushed fails at the next write.
	_ = http.NewResponseController(w.ResponseWriter).Flush()
}

// Bounds of a remote read's request. Prometheus's handler reads the body when it has
// taken one of the places of reads that run at once, and decodes whatever fits into
// 32 MiB: sixteen million empty queries, say.
const (
	maxReadBody     = 1 << 20 // bytes, compressed and not
	maxReadQueries  = 1000
	maxReadMatchers = 20_000 // and hints, of all queries
)

var errReadTooLarge = fmt.Errorf("the request is too large: %d bytes, %d queries and %d matchers are taken", maxReadBody, maxReadQueries, maxReadMatchers)

// readRequest reads the body of a remote read and checks its size. All else is left
// to whoever decodes it.
func readRequest(from io.Reader) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(from, maxReadBody+1))
	if err != nil {
		return nil, fmt.Errorf("read body: %w", err)
	}
	size, err := snappy.DecodedLen(body)
	if err != nil {
		return nil, fmt.Errorf("the body is not in snappy's block format: %w", err)
	}
	if len(body) > maxReadBody || size > maxReadBody {
		return nil, errReadTooLarge
	}
	plain, err := snappy.Decode(nil, body)
	if err != nil {
		return nil, fmt.Errorf("the body is not in snappy's block format: %w", err)
	}
	queries, parts := 0, 0
	forMessages(plain, 1, func(query []byte) {
		queries++
		forMessages(query, 3, func([]byte) { parts++ })
	})
	if queries > maxReadQueries || parts > maxReadMatchers {
		return nil, errReadTooLarge
	}
	return body, nil
}

// forMessages calls f for each message in a field of a protobuf message, as far as
// that is well formed.
func forMessages(b []byte, field protowire.Number, f func([]byte)) {
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return
		}
		b = b[n:]
		if n = protowire.ConsumeFieldValue(number, kind, b); n < 0 {
			return
		}
		if number == field && kind == protowire.BytesType {
			message, _ := protowire.ConsumeBytes(b)
			f(message)
		}
		b = b[n:]
	}
}
