package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TestDemoCounters: the invented counters never fall.
func TestDemoCounters(t *testing.T) {
	last := map[string]float64{}
	for s := range int64(2000) {
		for _, p := range demoBatch(time.Unix(1_800_000_000+s, 0)) {
			if p.Series != demoOrders {
				continue
			}
			if city := p.Labels["city"]; p.Value < last[city] {
				t.Fatalf("orders of %s fall from %v to %v", city, last[city], p.Value)
			}
			last[p.Labels["city"]] = p.Value
		}
	}
	if len(last) != 4 {
		t.Errorf("counters %v", last)
	}
}

func TestDemo(t *testing.T) {
	var asked []string
	fails := true
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		asked = append(asked, r.Method+" "+r.URL.Path+" "+r.Header.Get("Content-Type"))
		if r.Method == http.MethodPost && bytes.Count(body, []byte("\n")) != len(demoBatch(time.Now())) {
			t.Errorf("body %s", body)
		}
		if fails {
			fails = false
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer s.Close()
	var stderr bytes.Buffer
	c := call{environ: []string{"COUNT_SERVER=" + s.URL}, stdout: io.Discard, stderr: &stderr}
	if code := run(context.Background(), []string{"demo", "--every", "1ms", "--times", "2"}, c); code != exitOK {
		t.Errorf("exit code %d, %s", code, &stderr)
	}
	want := "POST /insert application/x-ndjson\nPOST /insert application/x-ndjson\nGET /query/aggregated/demo.lamp "
	if got := strings.Join(asked, "\n"); got != want {
		t.Errorf("asked\n%s\nwant\n%s", got, want)
	}
	if !strings.Contains(stderr.String(), "503") {
		t.Errorf("the failure is not told: %q", stderr.String())
	}
	if code := run(context.Background(), []string{"demo", "--every", "0s"}, c); code != exitUsage {
		t.Errorf("exit code %d of a wrong call", code)
	}
}
