package node

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/count-db/count/internal/headroom"
)

func TestRequestIsGivenUp(t *testing.T) {
	refuse := func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "short", http.StatusServiceUnavailable) }
	for name, answered := range map[string]string{"before the answer": "", "in the answer": "part"} {
		t.Run(name, func(t *testing.T) {
			var used atomic.Uint64
			g := headroom.New(1000, func() headroom.Usage { return headroom.Usage{Live: used.Load(), Total: used.Load()} }, nil)
			server := httptest.NewServer(withHeadroom(g, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Encoding", "snappy")
				if answered != "" {
					_, _ = w.Write([]byte(answered)) // an error shows in the answer
				}
				used.Store(2000)
				<-r.Context().Done()
				http.Error(w, "what a handler makes of it", http.StatusInternalServerError)
			}), refuse))
			defer server.Close()
			res, err := http.Get(server.URL)
			if answered != "" {
				if err == nil {
					_, err = res.Body.Read(make([]byte, 100))
					for err == nil {
						_, err = res.Body.Read(make([]byte, 100))
					}
					_ = res.Body.Close()
				}
				if err == nil || err.Error() == "EOF" {
					t.Fatal("a part passes for the whole answer")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = res.Body.Close() }()
			var text strings.Builder
			_ = res.Write(&text)
			if res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Content-Encoding") != "" || res.Header.Get("Retry-After") != "1" || !strings.Contains(text.String(), "short") {
				t.Fatal(text.String())
			}
		})
	}
}

func TestRequestThatFits(t *testing.T) {
	g := headroom.New(1000, func() headroom.Usage { return headroom.Usage{} }, nil)
	rec := httptest.NewRecorder()
	withHeadroom(g, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "mine", http.StatusTeapot) }), nil).
		ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/", nil))
	if rec.Code != http.StatusTeapot || rec.Body.String() != "mine\n" {
		t.Fatal(rec)
	}
}
