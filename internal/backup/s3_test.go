package backup

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"github.com/count-db/count/internal/transfer"
	"github.com/count-db/count/internal/vfs"
)

// unreliable stands before a server and does what a script says: 0 lets a request
// through, an HTTP status answers with it, and cut breaks the connection off in
// the middle of what goes through.
type unreliable struct {
	next http.Handler

	mu     sync.Mutex
	script func(r *http.Request) int
	seen   map[string]int // requests by method
}

const cut = -1

// smallPart is the least that S3 takes as a part.
const smallPart = 5 << 20

func (u *unreliable) set(script func(r *http.Request) int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.script, u.seen = script, map[string]int{}
}

// codes are what S3 says with a status.
var codes = map[int]string{503: "SlowDown", 403: "AccessDenied", 500: "InternalError"}

func (u *unreliable) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	u.mu.Lock()
	fault := 0
	u.seen[r.Method]++
	if u.script != nil {
		fault = u.script(r)
	}
	u.mu.Unlock()
	switch {
	case fault == 0:
		u.next.ServeHTTP(w, r)
	case fault == cut && r.Method == http.MethodGet:
		whole := httptest.NewRecorder()
		u.next.ServeHTTP(whole, r)
		w.Header().Set("Content-Length", whole.Header().Get("Content-Length"))
		for name, v := range whole.Header() {
			w.Header()[name] = v
		}
		w.WriteHeader(whole.Code)
		_, _ = w.Write(whole.Body.Bytes()[:whole.Body.Len()/2])
		panic(http.ErrAbortHandler)
	case fault == cut:
		_, _ = io.CopyN(io.Discard, r.Body, r.ContentLength/2)
		panic(http.ErrAbortHandler)
	default:
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(fault)
		fmt.Fprintf(w, `<?xml version="1.0"?><Error><Code>%s</Code><Message>as the script says</Message></Error>`, codes[fault])
	}
}

// unchunked undoes what minio-go does to bodies over plain HTTP: pieces, each with
// its length in hexadecimal and its signature in front. The fake does it for whole
// objects only.
type unchunked struct{ next http.Handler }

func (u unchunked) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.Header.Get("X-Amz-Content-Sha256"), "STREAMING-") && r.URL.Query().Has("partNumber") {
		var body bytes.Buffer
		for in := bufio.NewReader(r.Body); ; {
			head, err := in.ReadString('\n')
			size, _, _ := strings.Cut(head, ";")
			n, numErr := strconv.ParseInt(size, 16, 64)
			if err = errors.Join(err, numErr); err == nil && n > 0 {
				_, err = io.CopyN(&body, in, n)
			}
			if err == nil {
				_, err = in.Discard(2)
			}
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			if n == 0 {
				break
			}
		}
		r.Body, r.ContentLength = io.NopCloser(&body), int64(body.Len())
		r.Header.Set("Content-Length", strconv.Itoa(body.Len()))
		r.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD")
	}
	u.next.ServeHTTP(w, r)
}

// unreliableS3 is a bucket at a server that can be made to fail.
func unreliableS3(t *testing.T) (*s3Bucket, *unreliable) {
	t.Helper()
	backend := s3mem.New()
	if err := backend.CreateBucket("test"); err != nil {
		t.Fatal(err)
	}
	u := &unreliable{next: unchunked{gofakes3.New(backend).Server()}}
	u.set(nil)
	server := httptest.NewServer(u)
	t.Cleanup(server.Close)
	b, err := OpenBucket("s3://test/p", []string{"AWS_ACCESS_KEY_ID=a", "AWS_SECRET_ACCESS_KEY=b", "AWS_REGION=us-east-1", "AWS_ENDPOINT_URL=" + server.URL})
	if err != nil {
		t.Fatal(err)
	}
	s3, ok := b.(*s3Bucket)
	if !ok {
		t.Fatalf("%T", b)
	}
	s3.part = smallPart
	return s3, u
}

// onceEach fails the first request of every kind.
func onceEach(fault int) func(*http.Request) int {
	failed := map[string]bool{}
	return func(r *http.Request) int {
		what := r.Method + r.URL.Path + r.URL.Query().Get("partNumber")
		if failed[what] || r.Method == http.MethodHead {
			return 0
		}
		failed[what] = true
		return fault
	}
}

func randomBytes(n int) []byte {
	out := make([]byte, n)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(out) // never fails
	return out
}

func get(t *testing.T, b Bucket, name string) []byte {
	t.Helper()
	var out bytes.Buffer
	err := patiently(context.Background(), &Progress{}, time.Minute, "get", func() error {
		out.Reset()
		r, err := b.Get(context.Background(), name)
		if err != nil {
			return err
		}
		_, err = io.Copy(&out, r)
		return errors.Join(err, r.Close())
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestS3InParts: an object of several parts, with a server that is busy or breaks
// off each time it is asked something for the first time.
func TestS3InParts(t *testing.T) {
	ctx := context.Background()
	large, small := randomBytes(2*smallPart+smallPart/2), randomBytes(1000)
	for name, fault := range map[string]int{"slow down": 503, "cut": cut} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, u := unreliableS3(t)
			for name, data := range map[string][]byte{"large": large, "small": small} {
				u.set(onceEach(fault))
				// A stream, as what comes from a node.
				if err := b.Upload(ctx, name, struct{ io.Reader }{bytes.NewReader(data)}, int64(len(data))); err != nil {
					t.Fatal(err)
				}
				if parts := u.seen[http.MethodPut]; name == "large" && parts < 3 {
					t.Errorf("%d requests put %s", parts, name)
				}
				if got := get(t, b, name); !bytes.Equal(got, data) {
					t.Errorf("%s came back with %d bytes, not %d", name, len(got), len(data))
				}
			}
		})
	}
}

// TestS3BrokenOff: an upload that ends in the middle leaves no object, and what
// its server kept of it goes with the next prune.
func TestS3BrokenOff(t *testing.T) {
	b, u := unreliableS3(t)
	data := randomBytes(2*smallPart + 1)
	ctx, cancel := context.WithCancel(context.Background())
	u.set(func(r *http.Request) int {
		if r.URL.Query().Get("partNumber") == "2" {
			cancel() // as a process that is killed, it cannot clean up either
		}
		if r.Method == http.MethodDelete {
			return 403
		}
		return 0
	})
	if err := b.Upload(ctx, "data/x/large", bytes.NewReader(data), int64(len(data))); err == nil {
		t.Fatal("an upload that was broken off is none")
	}
	u.set(nil)
	names, err := b.List(context.Background(), "data/x")
	if err != nil || len(names) > 0 {
		t.Fatalf("%v is there: %v", names, err)
	}
	out, err := Prune(context.Background(), b, 1, &Progress{})
	if err != nil || out.BrokenOff != 1 {
		t.Errorf("%+v %v", out, err)
	}
	if out, err := Prune(context.Background(), b, 1, &Progress{}); err != nil || out.BrokenOff != 0 {
		t.Errorf("again: %+v %v", out, err)
	}
}

// TestDirectoryBrokenOff is the same of a directory.
func TestDirectoryBrokenOff(t *testing.T) {
	b := memBucket(t)
	f, err := b.create(b.path("data/x/large") + vfs.TempSuffix)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	out, err := Prune(context.Background(), b, 1, &Progress{})
	if err != nil || out.BrokenOff != 1 {
		t.Errorf("%+v %v", out, err)
	}
	if names, err := b.fs.List(b.root + "/data"); err == nil && len(names) > 0 {
		t.Errorf("%v is left", names)
	}
}

// TestS3Refuses: what will stay wrong is said at once, with what to do about it.
func TestS3Refuses(t *testing.T) {
	b, u := unreliableS3(t)
	u.set(func(*http.Request) int { return 403 })
	n := (&node{id: 1, files: map[string]string{"MANIFEST": "m"}}).start(t)
	_, err := Take(context.Background(), b, of(n), TakeOptions{}, &Progress{})
	if err == nil || !strings.Contains(err.Error(), "AWS_SECRET_ACCESS_KEY") || u.seen[http.MethodPut] != 1 {
		t.Errorf("%v after %d tries", err, u.seen[http.MethodPut])
	}
	u.set(nil)
	b.bucket = "missing"
	_, err = Take(context.Background(), b, of(n), TakeOptions{}, &Progress{})
	if err == nil || !strings.Contains(err.Error(), "create the bucket missing") {
		t.Errorf("%v", err)
	}
	if _, err = Find(context.Background(), b, ""); err == nil || !strings.Contains(err.Error(), "create the bucket missing") {
		t.Errorf("%v", err)
	}
}

// TestDamageIsFoundFirst: an object that is short, or has other bits, ends a
// restore before anything is written.
func TestDamageIsFoundFirst(t *testing.T) {
	ctx := context.Background()
	text := strings.Repeat("a data file ", 100)
	for name, damaged := range map[string]string{
		"short": text[1:], "long": text + "!", "flipped": strings.Replace(text, "d", "e", 1),
	} {
		b, _ := unreliableS3(t)
		n := &node{id: 1, files: map[string]string{"files/1.wide": text, "MANIFEST": "m"}}
		m := take(t, b, n.start(t)).Manifest
		for _, f := range m.Nodes[0].Files {
			if f.Name == "files/1.wide" {
				if f.Sum != sha256.Sum256([]byte(text)) {
					t.Errorf("%s: the checksum is not that of the content", name)
				}
				if err := b.Upload(ctx, f.Object, strings.NewReader(damaged), int64(len(damaged))); err != nil {
					t.Fatal(err)
				}
			}
		}
		var posts int
		target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost {
				posts++
			}
			fmt.Fprint(w, `{"disk_id":"00"}`)
		}))
		err := Restore(ctx, b, m, &transfer.Node{URL: target.URL, Client: target.Client()}, RestoreOptions{FS: vfs.NewMem(), Scratch: "/scratch"}, &Progress{})
		target.Close()
		if !errors.Is(err, errDamaged) || !strings.Contains(err.Error(), "1.wide") || posts > 0 {
			t.Errorf("%s: %v, %d requests to write", name, err, posts)
		}
	}
}
