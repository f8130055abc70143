package web

import (
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

func get(t *testing.T, path string) *http.Response {
	t.Helper()
	h, err := Handler("/ui/")
	if err != nil {
		t.Fatal(err)
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, path, http.NoBody))
	return rec.Result()
}

// Every file that the page names must be embedded, and nothing may come from
// another host.
func TestPageIsWhole(t *testing.T) {
	page := get(t, "/ui/")
	body, err := io.ReadAll(page.Body)
	if err != nil {
		t.Fatal(err)
	}
	if page.StatusCode != http.StatusOK || !strings.Contains(string(body), "<title>Count</title>") {
		t.Fatalf("page: %d %s", page.StatusCode, body)
	}
	names := regexp.MustCompile(`(?:src|href)="([^"]+)"`).FindAllStringSubmatch(string(body), -1)
	if len(names) < 2 {
		t.Fatalf("the page names %d files, want script and style", len(names))
	}
	for _, n := range names {
		switch {
		case strings.HasPrefix(n[1], "data:"):
		case strings.HasPrefix(n[1], "./"):
			if got := get(t, "/ui/"+n[1][2:]); got.StatusCode != http.StatusOK {
				t.Errorf("%s: status %d", n[1], got.StatusCode)
			}
		default:
			t.Errorf("the page names %q, which is not its own", n[1])
		}
	}
}

func TestHeaders(t *testing.T) {
	h := get(t, "/ui/app.js").Header
	for _, name := range []string{"Content-Security-Policy", "X-Content-Type-Options", "Cache-Control"} {
		if h.Get(name) == "" {
			t.Errorf("header %s is missing", name)
		}
	}
	if ct := h.Get("Content-Type"); !strings.Contains(ct, "javascript") {
		t.Errorf("app.js has Content-Type %q", ct)
	}
}

func TestUnknownFile(t *testing.T) {
	if got := get(t, "/ui/nothing.js"); got.StatusCode != http.StatusNotFound {
		t.Errorf("status %d, want 404", got.StatusCode)
	}
}
