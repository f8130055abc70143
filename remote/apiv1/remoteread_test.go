package apiv1

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/count-db/count/internal/noted"
)

// TestRemoteReadCodes: an error that may be gone in a moment has another code
// than one that is not, and answers that may be incomplete are marked.
func TestRemoteReadCodes(t *testing.T) {
	errAway := errors.New("away")
	for _, c := range []struct {
		name     string
		err      error
		warnings []string
		code     int
		retry    string
		mark     string
	}{
		{"fine", nil, nil, 200, "", ""},
		{"marked", nil, []string{"stale"}, 200, "", "stale"},
		{"temporary", fmt.Errorf("read: %w", errAway), nil, 503, "1", ""},
		{"broken", errors.New("broken"), nil, 500, "", ""},
	} {
		h := remoteRead(func(err error) bool { return errors.Is(err, errAway) }, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			noted.Add(r.Context(), c.warnings)
			if c.err != nil {
				noted.Fail(r.Context(), c.err)
				http.Error(w, c.err.Error(), http.StatusInternalServerError)
				return
			}
			f, ok := w.(http.Flusher)
			if _, err := w.Write([]byte("x")); err != nil || !ok {
				t.Errorf("%s: %v, can be flushed: %v", c.name, err, ok)
				return
			}
			f.Flush()
		}))
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("POST", "/api/v1/read", nil))
		if got := w.Header(); w.Code != c.code || got.Get("Retry-After") != c.retry || got.Get(warningHeader) != c.mark {
			t.Errorf("%s: %d %v", c.name, w.Code, got)
		}
	}
}
