package apiv1

import (
	"net/http"

	"github.com/count-db/count/internal/noted"
)

// Prometheus's handler of remote read answers every error of the storage with
// 500, after which clients do not come again, and only logs warnings. Both are
// noted in the request's context by whoever reads.

// remoteRead is Prometheus's handler with the codes and marks of ours.
func remoteRead(unavailable func(error) bool, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
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
