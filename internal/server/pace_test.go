package server

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// deadlines is a ResponseWriter that remembers the deadline for reading.
type deadlines struct {
	*httptest.ResponseRecorder
	read time.Time
}

func (d *deadlines) SetReadDeadline(t time.Time) error {
	d.read = t
	return nil
}

// stuckBody gives some bytes and then nothing in time.
type stuckBody struct{ left int }

func (b *stuckBody) Read(p []byte) (int, error) {
	n := min(len(p), b.left)
	if b.left -= n; n == 0 {
		return 0, context.DeadlineExceeded
	}
	return n, nil
}

func (b *stuckBody) Close() error { return nil }

func TestSlowBodyHasToMove(t *testing.T) {
	d := &deadlines{ResponseRecorder: httptest.NewRecorder()}
	rec := &recorder{ResponseWriter: d}
	held := &budget{most: 1 << 20}
	began := time.Now()
	b := &pacedBody{ReadCloser: &stuckBody{100 * bodyRate}, rec: rec, began: began, budget: held}
	b.setDeadline(began.Add(bodyGrace))
	for range 100 {
		if _, err := io.ReadFull(b, make([]byte, bodyRate)); err != nil {
			t.Fatal(err)
		}
	}
	if want := began.Add(bodyGrace + 100*time.Second); d.read.After(want) || want.Sub(d.read) > 2*time.Second {
		t.Errorf("after 100 s worth of bytes the deadline is %v behind the beginning", d.read.Sub(began))
	}
	if _, err := b.Read(make([]byte, 1)); !errors.Is(err, context.DeadlineExceeded) || !d.read.IsZero() {
		t.Errorf("error %v, deadline %v", err, d.read)
	}
	WriteError(rec, http.StatusBadRequest, "unreadable")
	if d.Code != http.StatusRequestTimeout {
		t.Errorf("code %d", d.Code)
	}
	if held.held.Load() != 100*bodyRate {
		t.Errorf("%d bytes are held", held.held.Load())
	}
	if b.release(); held.held.Load() != 0 {
		t.Errorf("%d bytes are held at the end", held.held.Load())
	}
}

func TestManyBodiesAtOnce(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	api := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			WriteError(w, http.StatusBadRequest, err.Error())
			return
		}
		entered <- struct{}{}
		<-leave
	})
	h := newServer(t, Handlers{API: api}, Options{MaxBodySize: 1 << 20, MaxBodiesSize: 3 << 20})
	codes := make(chan int)
	post := func() *httptest.ResponseRecorder {
		return get(t, h, http.MethodPost, "/api/v1/query", bytes.NewReader(make([]byte, 1<<20)))
	}
	for range 3 {
		go func() { codes <- post().Code }()
		<-entered
	}
	if w := post(); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("code %d, %v", w.Code, w.Header())
	}
	close(leave)
	for range 3 {
		if code := <-codes; code != 200 {
			t.Errorf("code %d", code)
		}
	}
	go func() { codes <- post().Code }()
	<-entered
	if code := <-codes; code != 200 {
		t.Errorf("code %d when the others have ended", code)
	}
}

// TestFormsAreSmall: a query's form is bounded more tightly than samples are, also
// where its length is not announced.
func TestFormsAreSmall(t *testing.T) {
	form := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			WriteError(w, http.StatusBadRequest, err.Error())
		}
	})
	s, err := New(Handlers{API: form, Insert: form, Series: SeriesHandlers{ManyRange: form}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	defer func() {
		if err := errors.Join(s.Close(), <-served); err != nil {
			t.Error(err)
		}
	}()
	for path, code := range map[string]int{"/api/v1/query": 413, "/insert": 200, "/query/range": 200, "/nowhere": 404} {
		for _, announced := range []bool{true, false} {
			body := io.Reader(strings.NewReader(strings.Repeat("a=1&", maxForm/4+1)))
			if !announced {
				body = bufio.NewReader(body)
			}
			if path == "/nowhere" && announced {
				continue // its length says enough
			}
			kind := "text/plain"
			if path == "/api/v1/query" {
				kind = "application/x-www-form-urlencoded"
			}
			resp, err := http.Post("http://"+l.Addr().String()+path, kind, body)
			if err != nil {
				t.Fatal(err)
			}
			if resp.Body.Close(); resp.StatusCode != code {
				t.Errorf("%s, announced %v: code %d", path, announced, resp.StatusCode)
			}
		}
	}
}
