package apiv1

import (
	"net/http"
	"strings"

	"github.com/count-db/count/internal/noted"
)

// warningHeader marks an answer that has no place for warnings as one that may
// be incomplete.
const warningHeader = "X-Count-Warning"

// marked puts the warnings of a request's reads into a header, for handlers
// whose answers have no place for them. The answers are not streamed.
func marked(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, warnings := noted.With(r.Context())
		next.ServeHTTP(&markedWriter{ResponseWriter: w, noted: warnings}, r.WithContext(ctx))
	})
}

type markedWriter struct {
	http.ResponseWriter
	noted *noted.Warnings
	begun bool
}

// WriteHeader implements http.ResponseWriter.
func (w *markedWriter) WriteHeader(code int) {
	if !w.begun {
		w.begun = true
		if texts := w.noted.Texts(); len(texts) > 0 {
			w.Header().Set(warningHeader, strings.NewReplacer("\r", " ", "\n", " ").Replace(strings.Join(texts, "; ")))
		}
	}
	w.ResponseWriter.WriteHeader(code)
}

// Write implements http.ResponseWriter.
func (w *markedWriter) Write(p []byte) (int, error) {
	if !w.begun {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (w *markedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
