package model

import (
	"errors"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
)

func TestParseSeriesKey(t *testing.T) {
	for _, c := range []struct {
		key  string
		want string // canonical key; empty: refused
	}{
		{"cpu.usage.total", "cpu.usage.total"},
		{"a/b c", "a/b c"},
		{`http_requests_total{job="api"}`, `http_requests_total{job="api"}`},
		{`m{b="2", a="1",}`, `m{a="1",b="2"}`},
		{`m{a="x\"y\\z\n"}`, `m{a="x\"y\\z\n"}`},
		{`m{"my label"="v"}`, `m{"my label"="v"}`},
		{`{"my.name",a="b"}`, `my.name{a="b"}`},
		{`{__name__="n",a="b"}`, `n{a="b"}`},
		{`{a="b"}`, `{a="b"}`},
		{`{"a{b",c="d"}`, `{"a{b",c="d"}`},
		{`{"a{b"}`, `{"a{b"}`},
		{`m{a=""}`, "m"},
		{`m{}`, "m"},
		{`m{a="é"}`, `m{a="é"}`},
		{"", ""},
		{`m{a="1",a="1"}`, ""},
		{`m{__name__="m"}`, ""},
		{`m{a="1"`, ""},
		{`m{a=1}`, ""},
		{`m{a="1"}x`, ""},
		{`m{a="1" b="2"}`, ""},
		{`{}`, ""},
		{"a\xffb", ""},
	} {
		ls, err := ParseSeriesKey(c.key)
		if c.want == "" {
			if !errors.Is(err, ErrSeriesKey) {
				t.Errorf("ParseSeriesKey(%q) = %v, %v; want ErrSeriesKey", c.key, ls, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("ParseSeriesKey(%q): %v", c.key, err)
			continue
		}
		if got := SeriesKey(ls); got != c.want {
			t.Errorf("SeriesKey(ParseSeriesKey(%q)) = %q, want %q", c.key, got, c.want)
		}
	}
}

func FuzzParseSeriesKey(f *testing.F) {
	f.Add(`m{a="1",b="2"}`)
	f.Add("cpu.usage")
	f.Fuzz(func(t *testing.T, key string) {
		ls, err := ParseSeriesKey(key)
		if err != nil {
			return
		}
		again, err := ParseSeriesKey(SeriesKey(ls))
		if err != nil || !labels.Equal(ls, again) {
			t.Fatalf("round trip of %q: %v, %v, %v", key, ls, again, err)
		}
	})
}

func TestSeriesIDVectors(t *testing.T) {
	// Published vectors: another implementation must come to the same ids.
	for _, c := range []struct{ key, id string }{
		{"cpu.usage.total", "7e104ebaedb40df21201623bcf0614ac"},
		{`http_requests_total{code="200",job="api"}`, "efa43e5b086014702cc2324a80efc4b4"},
	} {
		ls, err := ParseSeriesKey(c.key)
		if err != nil {
			t.Fatal(err)
		}
		if got := SeriesIDOf(ls).String(); got != c.id {
			t.Errorf("SeriesIDOf(%s) = %s, want %s", c.key, got, c.id)
		}
	}
}
