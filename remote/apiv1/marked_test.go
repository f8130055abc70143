package apiv1

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/count-db/count/internal/noted"
)

func TestMarked(t *testing.T) {
	for _, c := range []struct {
		warnings []string
		want     string
	}{
		{nil, ""},
		{[]string{"one of\ntwo", "stale", "stale"}, "one of two; stale"},
	} {
		h := marked(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			noted.Add(r.Context(), c.warnings)
			if _, err := w.Write([]byte("x")); err != nil {
				t.Error(err)
			}
		}))
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		if got := w.Header().Get("X-Count-Warning"); got != c.want || w.Body.String() != "x" {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}
