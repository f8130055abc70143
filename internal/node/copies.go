package node

import (
	"net/http"
	"strconv"

	"github.com/count-db/count/cluster"
)

// copiesHeader says in the answer to a write how many copies of each sample
// were durable when it was acknowledged: at least the write quorum.
const copiesHeader = "X-Count-Copies"

// countingCopies adds the header to the answers of an entrance. A node alone has
// one copy, and says nothing of it.
func (p *parts) countingCopies(next http.Handler) http.Handler {
	if !p.clustered {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &copiesWriter{ResponseWriter: w}
		next.ServeHTTP(c, r.WithContext(cluster.WithCopies(r.Context(), &c.copies)))
	})
}

// copiesWriter sets the header when the answer begins: the write is over then.
type copiesWriter struct {
	http.ResponseWriter
	copies cluster.Copies
	begun  bool
}

// WriteHeader implements http.ResponseWriter.
func (w *copiesWriter) WriteHeader(code int) {
	if n := w.copies.Least(); !w.begun && n > 0 && code < 300 {
		w.Header().Set(copiesHeader, strconv.Itoa(n))
	}
	w.begun = true
	w.ResponseWriter.WriteHeader(code)
}

// Write implements http.ResponseWriter.
func (w *copiesWriter) Write(b []byte) (int, error) {
	if !w.begun {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController find what lies below.
func (w *copiesWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
