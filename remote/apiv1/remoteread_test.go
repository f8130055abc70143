package apiv1

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/golang/snappy"
	"google.golang.org/protobuf/encoding/protowire"

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
		h.ServeHTTP(w, httptest.NewRequest("POST", "/api/v1/read", bytes.NewReader(snappy.Encode(nil, nil))))
		if got := w.Header(); w.Code != c.code || got.Get("Retry-After") != c.retry || got.Get(warningHeader) != c.mark {
			t.Errorf("%s: %d %v", c.name, w.Code, got)
		}
	}
}

// TestLargeRemoteReads: a request that takes much memory when it is decoded is
// refused before it gets one of the few places.
func TestLargeRemoteReads(t *testing.T) {
	passed := false
	h := remoteRead(nil, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		passed = err == nil && len(body) > 0
	}))
	matchers := protowire.AppendBytes([]byte{10}, bytes.Repeat([]byte{3<<3 | 2, 0}, maxReadMatchers+1))
	for name, c := range map[string]struct {
		body []byte
		code int
	}{
		"empty":         {snappy.Encode(nil, nil), 200},
		"some queries":  {snappy.Encode(nil, bytes.Repeat([]byte{10, 0}, maxReadQueries)), 200},
		"many queries":  {snappy.Encode(nil, bytes.Repeat([]byte{10, 0}, maxReadQueries+1)), 413},
		"many matchers": {snappy.Encode(nil, matchers), 413},
		"bomb":          {snappy.Encode(nil, make([]byte, 64*maxReadBody)), 413},
		"long":          {bytes.Repeat([]byte{1}, 2*maxReadBody), 413},
		"no snappy":     {[]byte("hello"), 400},
	} {
		passed = false
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/api/v1/read", bytes.NewReader(c.body)))
		if w.Code != c.code || passed != (c.code == 200) {
			t.Errorf("%s: code %d, passed on: %v: %s", name, w.Code, passed, w.Body)
		}
	}
}
