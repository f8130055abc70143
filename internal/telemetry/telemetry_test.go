package telemetry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/go-kit/log/level"
)

func TestLevels(t *testing.T) {
	for _, c := range []struct {
		least string
		want  int
	}{{"trace", 5}, {"debug", 4}, {"info", 3}, {"warn", 2}, {"error", 1}} {
		var out bytes.Buffer
		l, err := NewLogger(&out, c.least, "json")
		if err != nil {
			t.Fatal(err)
		}
		for _, err := range []error{
			Trace(l).Log("msg", "t"), level.Debug(l).Log("msg", "d"), level.Info(l).Log("msg", "i"), level.Warn(l).Log("msg", "w"), level.Error(l).Log("msg", "e"),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		if got := strings.Count(out.String(), "\n"); got != c.want {
			t.Errorf("%s: %d lines, want %d:\n%s", c.least, got, c.want, &out)
		}
		for line := range strings.Lines(out.String()) {
			var m map[string]any
			if err := json.Unmarshal([]byte(line), &m); err != nil || m["level"] == nil || m["ts"] == nil {
				t.Errorf("line %q: %v", line, err)
			}
		}
	}
	if _, err := NewLogger(&bytes.Buffer{}, "loud", "json"); err == nil {
		t.Error("an unknown level is taken")
	}
	if _, err := NewLogger(&bytes.Buffer{}, "info", "xml"); err == nil {
		t.Error("an unknown format is taken")
	}
}

func TestSlogBridge(t *testing.T) {
	var out bytes.Buffer
	l, err := NewLogger(&out, "info", "json")
	if err != nil {
		t.Fatal(err)
	}
	s := Slog(l, "info")
	s.Debug("unseen")
	ctx := WithRequestID(context.Background(), "abc")
	s.With("part", "x").WithGroup("g").ErrorContext(ctx, "boom", "err", errors.New("bad"), slog.Group("h", "n", 1))
	var m map[string]any
	if err := json.Unmarshal(out.Bytes(), &m); err != nil {
		t.Fatalf("%v in %s", err, &out)
	}
	for k, want := range map[string]any{"level": "error", "msg": "boom", "part": "x", "g.err": "bad", "g.h.n": 1.0, "request_id": "abc"} {
		if m[k] != want {
			t.Errorf("%s = %v, want %v", k, m[k], want)
		}
	}
}

func TestCleanRequestID(t *testing.T) {
	if got := CleanRequestID("client-17"); got != "client-17" {
		t.Errorf("got %q", got)
	}
	for _, bad := range []string{"", "a\nb", "a b", `a"b`, "ä", strings.Repeat("x", 200)} {
		if got := CleanRequestID(bad); got == bad || len(got) != 16 {
			t.Errorf("CleanRequestID(%q) = %q", bad, got)
		}
	}
}

func TestRegistryHasBuildInfo(t *testing.T) {
	families, err := NewRegistry(ReadBuild()).Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "count_build_info" {
			return
		}
	}
	t.Error("count_build_info is missing")
}
