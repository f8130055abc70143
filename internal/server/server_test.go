package server

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/count-db/count/internal/telemetry"
)

func echo(text string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, text+" "+r.URL.EscapedPath())
	})
}

func get(t *testing.T, h http.Handler, method, target string, body io.Reader) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, target, body))
	return w
}

func newServer(t *testing.T, h Handlers, opts Options) http.Handler {
	t.Helper()
	s, err := New(h, opts)
	if err != nil {
		t.Fatal(err)
	}
	return s.Handler()
}

func TestRoutes(t *testing.T) {
	h := newServer(t, Handlers{
		Insert: echo("insert"), Series: SeriesHandlers{Range: echo("range"), ManyRange: echo("many")}, API: echo("api"), Metadata: echo("meta"), Internal: echo("internal"),
	}, Options{})
	for _, c := range []struct {
		method, target string
		code           int
		want           string
	}{
		{"POST", "/insert", 200, "insert /insert"},
		{"GET", "/insert", 405, "method GET is not allowed"},
		{"GET", "/query/range/cpu.usage?start=1", 200, "range /query/range/cpu.usage"},
		{"HEAD", "/query/range/cpu.usage?start=1", 200, ""},
		{"GET", "/query/range/a%2Fb%20c", 200, "range /query/range/a%2Fb%20c"},
		{"GET", "/query/range/m%7Ba=%22b%22%7D", 200, "range /query/range/m%7Ba=%22b%22%7D"},
		{"GET", "/query/range/..", 200, "range /query/range/.."},
		{"GET", "/query/range/a/b", 404, "404 page not found"},
		{"POST", "/query/range", 200, "many /query/range"},
		{"GET", "/query/range", 405, "allowed: POST"},
		{"OPTIONS", "/api/v1/query", 200, "api /api/v1/query"},
		{"GET", "/api/v1/label/U__a_2e_b/values", 200, "api /api/v1/label/U__a_2e_b/values"},
		{"GET", "/api/v1/metadata", 200, "meta /api"},
		{"GET", "/api/v1/nothing", 404, "404 page not found"},
		{"GET", "/rules/test/test", 404, "404 page not found"},
		{"POST", "/api/v1/admin/tsdb/delete_series", 404, "404 page not found"},
		{"GET", "/debug/pprof/", 404, "404 page not found"},
		{"POST", "/internal/x/y", 200, "internal /internal/x/y"},
		{"GET", "/cluster/status", 404, "404 page not found"},
	} {
		w := get(t, h, c.method, c.target, nil)
		if w.Code != c.code || !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("%s %s: %d %q, want %d %q", c.method, c.target, w.Code, w.Body, c.code, c.want)
		}
		if c.code >= 400 && c.method != "HEAD" {
			var e struct{ Error string }
			if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || e.Error == "" {
				t.Errorf("%s %s: no JSON error: %q", c.method, c.target, w.Body)
			}
		}
	}
}

func TestAdminAPI(t *testing.T) {
	h := newServer(t, Handlers{API: echo("api"), Flush: echo("flush")}, Options{AdminAPI: true})
	for target, want := range map[string]string{"/api/v1/admin/tsdb/delete_series": "api", "/api/v1/admin/tsdb/flush": "flush"} {
		if w := get(t, h, "POST", target, nil); w.Code != 200 || !strings.HasPrefix(w.Body.String(), want) {
			t.Errorf("%s: %d %q", target, w.Code, w.Body)
		}
	}
	if w := get(t, h, "GET", "/debug/pprof/", nil); w.Code != 200 {
		t.Errorf("pprof: %d", w.Code)
	}
}

func TestRoutePrefix(t *testing.T) {
	h := newServer(t, Handlers{Series: SeriesHandlers{Range: echo("range")}}, Options{RoutePrefix: "/count"})
	for _, target := range []string{"/count/query/range/a%2Fb", "/query/range/a%2Fb"} {
		if w := get(t, h, "GET", target, nil); w.Body.String() != "range /query/range/a%2Fb" {
			t.Errorf("%s: %d %q", target, w.Code, w.Body)
		}
	}
	if w := get(t, h, "GET", "/counter/query/range/a", nil); w.Code != 404 {
		t.Errorf("a longer first segment: %d", w.Code)
	}
}

func TestRequestID(t *testing.T) {
	var seen string
	h := newServer(t, Handlers{Version: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = telemetry.RequestID(r.Context()) })}, Options{})
	r := httptest.NewRequest("GET", "/version", nil)
	r.Header.Set("X-Request-ID", "mine")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if seen != "mine" || w.Header().Get("X-Request-ID") != "mine" {
		t.Errorf("request id %q in, %q out", seen, w.Header().Get("X-Request-ID"))
	}
	if w := get(t, h, "GET", "/version", nil); w.Header().Get("X-Request-ID") == "" || seen == "mine" {
		t.Errorf("no id made: %q", seen)
	}
}

func TestRecovery(t *testing.T) {
	var logged bytes.Buffer
	logger, err := telemetry.NewLogger(&logged, "info", "json")
	if err != nil {
		t.Fatal(err)
	}
	reg := prometheus.NewRegistry()
	h := newServer(t, Handlers{
		Version: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("oops") }),
		Metrics: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }),
	}, Options{Logger: logger, Registerer: reg})
	if w := get(t, h, "GET", "/version", nil); w.Code != 500 || !strings.Contains(logged.String(), "oops") {
		t.Errorf("a panic: %d, log %s", w.Code, &logged)
	}
	func() {
		defer func() {
			if recover() != http.ErrAbortHandler { //nolint:errorlint // a panic value
				t.Error("http.ErrAbortHandler did not pass")
			}
		}()
		get(t, h, "GET", "/metrics", nil)
	}()
	if n := testutil.CollectAndCount(reg, "count_http_requests_total"); n != 2 {
		t.Errorf("%d request counters, want 2", n)
	}
}

func TestBodyLimit(t *testing.T) {
	h := newServer(t, Handlers{Insert: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(r.Body); err != nil {
			WriteError(w, http.StatusRequestEntityTooLarge, err.Error())
		}
	})}, Options{MaxBodySize: 10})
	if w := get(t, h, "POST", "/insert", strings.NewReader("0123456789")); w.Code != 200 {
		t.Errorf("ten bytes: %d", w.Code)
	}
	if w := get(t, h, "POST", "/insert", strings.NewReader("0123456789x")); w.Code != 413 {
		t.Errorf("eleven bytes: %d", w.Code)
	}
}

// A client that sends a body without looking at the connection meanwhile, as
// most do, gets the answer and no reset.
func TestTooLargeBodyIsAnswered(t *testing.T) {
	srv := httptest.NewServer(newServer(t, Handlers{Insert: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(r.Body); err != nil {
			WriteError(w, http.StatusRequestEntityTooLarge, err.Error())
		}
	})}, Options{MaxBodySize: 4 << 20}))
	defer srv.Close()
	const size = 16 << 20
	for name, head := range map[string]string{"of known length": fmt.Sprintf("Content-Length: %d", size), "chunked": "Transfer-Encoding: chunked"} {
		conn, err := net.Dial("tcp", srv.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		body := make([]byte, size)
		request := append([]byte("POST /insert HTTP/1.1\r\nHost: x\r\n"+head+"\r\n\r\n"), body...)
		if name == "chunked" {
			request = append([]byte("POST /insert HTTP/1.1\r\nHost: x\r\n"+head+"\r\n\r\n"+fmt.Sprintf("%x\r\n", size)), body...)
			request = append(request, "\r\n0\r\n\r\n"...)
		}
		if _, err := conn.Write(request); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || resp.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("%s: %v %v", name, resp, err)
		}
		_ = conn.Close()
	}
}

// A client that announces too large a body and waits before it sends it is told
// at once.
func TestTooLargeBodyIsRefusedUnsent(t *testing.T) {
	srv := httptest.NewServer(newServer(t, Handlers{}, Options{MaxBodySize: 10}))
	defer srv.Close()
	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "POST /insert HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || resp.StatusCode != http.StatusRequestEntityTooLarge {
		t.Fatalf("%v %v", resp, err)
	}
	if body, err := io.ReadAll(resp.Body); err != nil || !strings.Contains(string(body), "MAX_BODY_SIZE") {
		t.Errorf("answer %q %v", body, err)
	}
}

func TestHealth(t *testing.T) {
	state := Health{Status: Degraded, NodeID: 3, ClusterSize: 2}
	why := "the log is being replayed"
	slot := NewSlot(func() string { return why })
	h := newServer(t, Handlers{
		Health: HealthHandler(func() Health { return state }), Healthy: HealthyHandler(), Ready: ReadyHandler(func() string { return why }),
		Insert: slot,
	}, Options{})
	w := get(t, h, "GET", "/health", nil)
	if w.Code != 200 || !strings.Contains(w.Body.String(), `"status":"degraded","node_id":3,"cluster_size":2`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	state.Status = Unhealthy
	if w := get(t, h, "GET", "/health", nil); w.Code != 503 {
		t.Errorf("unhealthy: %d", w.Code)
	}
	for _, c := range []struct {
		method, target string
		code           int
	}{{"GET", "/-/healthy", 200}, {"HEAD", "/-/healthy", 200}, {"GET", "/-/ready", 503}, {"HEAD", "/-/ready", 503}, {"POST", "/insert", 503}} {
		if w := get(t, h, c.method, c.target, nil); w.Code != c.code {
			t.Errorf("%s %s: %d, want %d", c.method, c.target, w.Code, c.code)
		}
	}
	why = ""
	slot.Set(echo("insert"))
	if w := get(t, h, "POST", "/insert", nil); w.Code != 200 {
		t.Errorf("a filled slot: %d", w.Code)
	}
	if w := get(t, h, "GET", "/-/ready", nil); w.Code != 200 {
		t.Errorf("ready: %d", w.Code)
	}
}

func TestServeAndShutdown(t *testing.T) {
	s, err := New(Handlers{Healthy: HealthyHandler(), Internal: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Errorf("hijack: %v", err)
			return
		}
		_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\n\r\nraw")
		_ = rw.Flush()
		_ = conn.Close()
	})}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	resp, err := http.Get("http://" + l.Addr().String() + "/-/healthy")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(conn, "GET /internal/up HTTP/1.1\r\nHost: x\r\n\r\n")
	raw, err := io.ReadAll(conn)
	if err != nil || !strings.HasSuffix(string(raw), "raw") {
		t.Errorf("upgraded connection: %q, %v", raw, err)
	}
	http.DefaultClient.CloseIdleConnections()
	if err := s.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
