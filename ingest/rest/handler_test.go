package rest

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/internal/admission"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/seriescache"
)

// maxTestTime is the latest timestamp that fakeSink takes.
const maxTestTime = 1 << 60

// fakeSink is the registry and the pipeline behind the handler.
type fakeSink struct {
	mu       sync.Mutex
	refs     map[string]model.Ref
	keys     []string
	stored   []string
	reserved int64
	err      error // of WriteWhole
	full     error // of Reserve
	internal error // of Intern
}

func (f *fakeSink) Intern(ls labels.Labels) (model.Ref, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.internal != nil {
		return 0, f.internal
	}
	key := model.SeriesKey(ls)
	if f.refs == nil {
		f.refs = map[string]model.Ref{}
	}
	if f.refs[key] == 0 {
		f.keys = append(f.keys, key)
		f.refs[key] = model.Ref(len(f.keys))
	}
	return f.refs[key], nil
}

func (f *fakeSink) Reserve(n int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.full != nil {
		return f.full
	}
	f.reserved += n
	return nil
}

func (f *fakeSink) Release(n int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reserved -= n
}

func (f *fakeSink) CheckTime(t int64) *admission.Rejection {
	switch {
	case t < 0:
		return &admission.Rejection{Reason: admission.NegativeTimestamp, Detail: "timestamp lies before 1970"}
	case t > maxTestTime:
		return &admission.Rejection{Reason: admission.TooFarAhead, Detail: "timestamp is too far ahead"}
	}
	return nil
}

func (f *fakeSink) WriteWhole(_ context.Context, b *model.Batch) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return f.err
	}
	for _, s := range b.Floats {
		f.stored = append(f.stored, fmt.Sprintf("%s %d %v", f.keys[s.Ref-1], s.T, s.V))
	}
	return nil
}

func newHandler(t testing.TB, f *fakeSink, opts Options) http.Handler {
	t.Helper()
	h, err := New(Deps{Series: f, Sink: f, Cache: seriescache.New(seriescache.Options{})}, opts)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func post(h http.Handler, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/insert", strings.NewReader(body))
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func errorOf(t *testing.T, w *httptest.ResponseRecorder) string {
	t.Helper()
	var body map[string]string
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || len(body) != 1 || body["error"] == "" {
		t.Fatalf("body %q is no {\"error\": ...}: %v", w.Body, err)
	}
	if ct := w.Header().Get("Content-Type"); ct != "application/json" {
		t.Fatalf("content type %q", ct)
	}
	return body["error"]
}

func TestInserted(t *testing.T) {
	for _, c := range []struct {
		name, body string
		want       []string
	}{
		{"plain key", `{"series":"cpu.usage.total","timestamp":1700000000000,"value":0.5}`, []string{"cpu.usage.total 1700000000000 0.5"}},
		{"fields in any order", ` { "value" : 1e2 , "series":"a" ,"timestamp":0}` + "\n", []string{"a 0 100"}},
		{"full key", `{"series":"m{b=\"2\",a=\"1\"}","timestamp":1,"value":1}`, []string{`m{a="1",b="2"} 1 1`}},
		{"labels", `{"series":"m","labels":{"b":"2","a":"1","c":""},"timestamp":1,"value":1}`, []string{`m{a="1",b="2"} 1 1`}},
		{"labels join the key's", `{"series":"m{a=\"1\"}","labels":{"b":"2"},"timestamp":1,"value":1}`, []string{`m{a="1",b="2"} 1 1`}},
		{"the name by label", `{"series":"{a=\"1\"}","labels":{"__name__":"m"},"timestamp":1,"value":1}`, []string{`m{a="1"} 1 1`}},
		{"no labels", `{"series":"m","labels":null,"timestamp":1,"value":1}`, []string{`m 1 1`}},
		{"empty labels", `{"series":"m","labels":{},"timestamp":1,"value":1}`, []string{`m 1 1`}},
		{"NaN", `{"series":"m","timestamp":1,"value":"NaN"}`, []string{"m 1 NaN"}},
		{"+Inf", `{"series":"m","timestamp":1,"value":"+Inf"}`, []string{"m 1 +Inf"}},
		{"-Inf", `{"series":"m","timestamp":1,"value":"-Inf"}`, []string{"m 1 -Inf"}},
		{"minus zero", `{"series":"m","timestamp":-0,"value":-0}`, []string{"m 0 -0"}},
		{"an integer in another form", `{"series":"m","timestamp":1.5e1,"value":1}`, []string{"m 15 1"}},
		{"escapes", `{"series":"\u0063pu\/\ud83d\ude00\n","timestamp":1,"value":1}`, []string{"cpu/😀\n 1 1"}},
		{"an escaped field", `{"\u0073eries":"m","timestamp":1,"value":1}`, []string{"m 1 1"}},
		{"key with a slash", `{"series":"a/b c","timestamp":1,"value":1}`, []string{"a/b c 1 1"}},
		{"unknown fields", `{"series":"m","timestamp":1,"value":1,"host":{"a":[1,null,true,{"series":"x"}]},"Series":""}`, []string{"m 1 1"}},
		{"array", `[{"series":"a","timestamp":1,"value":1},{"series":"b","timestamp":2,"value":2}]`, []string{"a 1 1", "b 2 2"}},
		{"array of one", `[{"series":"a","timestamp":1,"value":1}] `, []string{"a 1 1"}},
		{"lines", `{"series":"a","timestamp":1,"value":1}` + "\n\r\n" + `{"series":"a","timestamp":2,"value":2}` + "\n", []string{"a 1 1", "a 2 2"}},
		{"objects over several lines", "{\"series\":\"a\",\n\"timestamp\":1,\"value\":1}\n{\"series\":\"b\",\n\"timestamp\":2,\"value\":2}", []string{"a 1 1", "b 2 2"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := &fakeSink{}
			h := newHandler(t, f, Options{})
			for round := range 2 { // new series, then known ones
				f.stored = nil
				w := post(h, c.body)
				if want := fmt.Sprintf("{\"inserted\":%d}\n", len(c.want)); w.Code != 201 || w.Body.String() != want {
					t.Fatalf("round %d: code %d: %s", round, w.Code, w.Body)
				}
				if !slices.Equal(f.stored, c.want) {
					t.Fatalf("round %d: stored %q, want %q", round, f.stored, c.want)
				}
				if f.reserved != 0 {
					t.Fatalf("%d bytes were never released", f.reserved)
				}
			}
		})
	}
}

func TestRefused(t *testing.T) {
	const good = `{"series":"m","timestamp":1,"value":1}`
	for _, c := range []struct{ name, body, want string }{
		{"empty body", "", "empty"},
		{"only space", " \n ", "empty"},
		{"empty array", "[]", "empty"},
		{"series missing", `{"timestamp":1,"value":1}`, `"series" is missing`},
		{"series empty", `{"series":"","timestamp":1,"value":1}`, `"series" is empty`},
		{"series a number", `{"series":1,"timestamp":1,"value":1}`, "series must be a string"},
		{"series null", `{"series":null,"timestamp":1,"value":1}`, "series must be a string"},
		{"series malformed", `{"series":"m{a=1}","timestamp":1,"value":1}`, "malformed series key"},
		{"series without a name", `{"series":"{a=\"1\"}","timestamp":1,"value":1}`, "no metric name"},
		{"series of the wrong case", `{"Series":"m","timestamp":1,"value":1}`, `"series" is missing`},
		{"timestamp missing", `{"series":"m","value":1}`, `"timestamp" is missing`},
		{"timestamp null", `{"series":"m","timestamp":null,"value":1}`, "timestamp must be a number"},
		{"timestamp negative", `{"series":"m","timestamp":-1,"value":1}`, "before 1970"},
		{"timestamp a fraction", `{"series":"m","timestamp":1.5,"value":1}`, "not an integer"},
		{"timestamp a small fraction", `{"series":"m","timestamp":1e-1,"value":1}`, "not an integer"},
		{"timestamp text", `{"series":"m","timestamp":"1","value":1}`, "timestamp must be a number"},
		{"timestamp bool", `{"series":"m","timestamp":true,"value":1}`, "timestamp must be a number"},
		{"timestamp too large", `{"series":"m","timestamp":9223372036854775808,"value":1}`, "out of range"},
		{"timestamp much too large", `{"series":"m","timestamp":1e999999999999999999999,"value":1}`, "out of range"},
		{"timestamp too far ahead", `{"series":"m","timestamp":9223372036854775807,"value":1}`, "too far ahead"},
		{"value missing", `{"series":"m","timestamp":1}`, `"value" is missing`},
		{"value null", `{"series":"m","timestamp":1,"value":null}`, "value must be a number"},
		{"value text", `{"series":"m","timestamp":1,"value":"1"}`, "must be a number"},
		{"value inf", `{"series":"m","timestamp":1,"value":"inf"}`, "must be a number"},
		{"value bare NaN", `{"series":"m","timestamp":1,"value":NaN}`, "invalid JSON"},
		{"value too large", `{"series":"m","timestamp":1,"value":1e400}`, "out of range"},
		{"value an object", `{"series":"m","timestamp":1,"value":{}}`, "value must be a number"},
		{"label twice", `{"series":"m","labels":{"a":"1","a":"1"},"timestamp":1,"value":1}`, "given twice"},
		{"label in both", `{"series":"m{a=\"1\"}","labels":{"a":"1"},"timestamp":1,"value":1}`, "given twice"},
		{"name in both", `{"series":"m","labels":{"__name__":"m"},"timestamp":1,"value":1}`, "given twice"},
		{"label twice in the key", `{"series":"m{a=\"1\",a=\"1\"}","timestamp":1,"value":1}`, "given twice"},
		{"label name empty", `{"series":"m","labels":{"":"1"},"timestamp":1,"value":1}`, "label name is empty"},
		{"label value a number", `{"series":"m","labels":{"a":1},"timestamp":1,"value":1}`, "must be a string"},
		{"labels an array", `{"series":"m","labels":[],"timestamp":1,"value":1}`, "labels must be an object"},
		{"label value too long", `{"series":"m","labels":{"a":"` + strings.Repeat("x", 17<<10) + `"},"timestamp":1,"value":1}`, "longer than"},
		{"metric name too long", `{"series":"` + strings.Repeat("x", 2<<10) + `","timestamp":1,"value":1}`, "longer than"},
		{"field twice", `{"series":"m","series":"m","timestamp":1,"value":1}`, `"series" is given twice`},
		{"not UTF-8", "{\"series\":\"m\xff\",\"timestamp\":1,\"value\":1}", "not valid UTF-8"},
		{"half a surrogate pair", `{"series":"m\ud800","timestamp":1,"value":1}`, "surrogate"},
		{"a number", "1", "expected an object"},
		{"cut off", `{"series":"m","timestamp":1,"val`, "end of the body"},
		{"leading zero", `{"series":"m","timestamp":01,"value":1}`, "invalid JSON"},
		{"trailing comma", `{"series":"m","timestamp":1,"value":1,}`, "expected a string"},
		{"array with a trailing comma", "[" + good + ",]", "expected an object"},
		{"garbage behind the object", good + "x", "invalid JSON"},
		{"two on one line", good + good, "new line"},
		{"garbage behind the array", "[" + good + "]" + good, "nothing behind the array"},
		{"array not closed", "[" + good, "end of the body"},
		{"null in the array", "[" + good + ",null]", "item 1: "},
		{"index of the bad one", "[" + good + "," + good + `,{"series":"m","timestamp":1}]`, `item 2: "value" is missing`},
		{"line of the bad one", good + "\n\n" + `{"series":"m","timestamp":1}` + "\n" + good, `line 3: "value" is missing`},
		{"first line bad", `{"series":"m","timestamp":1}` + "\n" + good, `line 1: "value" is missing`},
		{"nested too deep", `{"x":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + "}", "deep"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := &fakeSink{}
			w := post(newHandler(t, f, Options{}), c.body)
			if text := errorOf(t, w); w.Code != 400 || !strings.Contains(text, c.want) {
				t.Fatalf("code %d: %q, want %q in it", w.Code, text, c.want)
			}
			if len(f.stored) != 0 || len(f.keys) != 0 || f.reserved != 0 {
				t.Fatalf("stored %q, series %q, reserved %d", f.stored, f.keys, f.reserved)
			}
		})
	}
}

func TestOtherAnswers(t *testing.T) {
	const good = `{"series":"m","timestamp":1,"value":1}`
	unavailable := &admission.UnavailableError{Reason: "need 2 copies, have 1", RetryAfter: 5 * time.Second}
	for _, c := range []struct {
		name  string
		f     *fakeSink
		opts  Options
		body  string
		code  int
		after string
	}{
		{"no majority", &fakeSink{err: fmt.Errorf("append: %w", unavailable)}, Options{}, good, 503, "5"},
		{"overload", &fakeSink{full: admission.ErrOverloaded}, Options{}, good, 503, "1"},
		{"storage", &fakeSink{err: fmt.Errorf("append: %w", admission.ErrStorage)}, Options{}, good, 500, ""},
		{"series limit", &fakeSink{internal: &admission.Rejection{Reason: admission.SeriesLimit, Detail: "no more series"}}, Options{}, good, 400, ""},
		{"registry failed", &fakeSink{internal: errors.New("boom")}, Options{}, good, 500, ""},
		{"aged out meanwhile", &fakeSink{err: &admission.Rejection{Reason: admission.TooOld, Detail: "too old"}}, Options{}, good, 400, ""},
		{"too large", &fakeSink{}, Options{MaxBodyBytes: 20}, good, 413, ""},
		{"just fits", &fakeSink{}, Options{MaxBodyBytes: int64(len(good))}, good, 201, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := post(newHandler(t, c.f, c.opts), c.body)
			if w.Code != c.code || w.Header().Get("Retry-After") != c.after {
				t.Fatalf("code %d, Retry-After %q: %s", w.Code, w.Header().Get("Retry-After"), w.Body)
			}
			if c.code != 201 {
				errorOf(t, w)
			}
			if c.f.reserved != 0 {
				t.Fatalf("%d bytes were never released", c.f.reserved)
			}
		})
	}
}

func TestProtocolAnswers(t *testing.T) {
	h := newHandler(t, &fakeSink{}, Options{MaxBodyBytes: 100})
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/insert", nil))
	if errorOf(t, w); w.Code != 405 || w.Header().Get("Allow") != "POST" {
		t.Errorf("GET: code %d, Allow %q", w.Code, w.Header().Get("Allow"))
	}
	if w := post(h, "x", "Content-Encoding", "br"); w.Code != 415 {
		t.Errorf("br: code %d", w.Code)
	}
	r := httptest.NewRequest(http.MethodPost, "/insert", io.NopCloser(strings.NewReader(strings.Repeat(" ", 101))))
	r.ContentLength = -1
	w = httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if errorOf(t, w); w.Code != 413 {
		t.Errorf("long body of unknown length: code %d", w.Code)
	}
	for _, ct := range []string{"application/json", "application/x-ndjson", "application/x-www-form-urlencoded", "text/plain", ""} {
		if w := post(h, `{"series":"m","timestamp":1,"value":1}`, "Content-Type", ct); w.Code != 201 {
			t.Errorf("%q: code %d", ct, w.Code)
		}
	}
}

// A body may be compressed; the limit is for what it unpacks to as well.
func TestGzip(t *testing.T) {
	zip := func(text string) string {
		var b strings.Builder
		z := gzip.NewWriter(&b)
		if _, err := io.WriteString(z, text); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	const good = `{"series":"m","timestamp":1,"value":1}`
	f := &fakeSink{}
	h := newHandler(t, f, Options{MaxBodyBytes: 4096})
	for _, c := range []struct {
		name, body string
		code       int
	}{
		{"good", zip(good), 201},
		{"in two members", zip(good+"\n") + zip(good), 201},
		{"not gzip", good, 400},
		{"cut", zip(good)[:30], 400},
		{"changed", zip(good)[:len(zip(good))-5] + "x" + zip(good)[len(zip(good))-4:], 400},
		{"of nothing", zip(""), 400},
		{"nothing", "", 400},
		{"a bomb", zip(strings.Repeat(" ", 1<<20)), 413},
		{"large and good", zip(strings.Repeat(" ", 4000) + good), 201},
	} {
		if w := post(h, c.body, "Content-Encoding", "GZIP"); w.Code != c.code {
			t.Errorf("%s: code %d %s, want %d", c.name, w.Code, w.Body, c.code)
		} else if c.code != 201 {
			errorOf(t, w)
		}
	}
	if want := []string{"m 1 1", "m 1 1", "m 1 1", "m 1 1"}; !slices.Equal(f.stored, want) || f.reserved != 0 {
		t.Errorf("stored %v, %d bytes reserved", f.stored, f.reserved)
	}
}

func TestLargeBatch(t *testing.T) {
	var b strings.Builder
	b.WriteByte('[')
	for i := range 20000 {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"series":"m%d","timestamp":%d,"value":%d}`, i%100, i, i)
	}
	b.WriteByte(']')
	f := &fakeSink{}
	if w := post(newHandler(t, f, Options{}), b.String()); w.Code != 201 || len(f.stored) != 20000 || f.stored[19999] != "m99 19999 19999" {
		t.Fatalf("code %d, %d stored", w.Code, len(f.stored))
	}
}

func TestInteger(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "-0": 0, "-0.0e9": 0, "1": 1, "1e3": 1000, "1.5e1": 15, "100e-2": 1, "1000.000": 1000, "0.001e3": 1, "0e99999999999999999999": 0,
		"9223372036854775807": math.MaxInt64, "-9223372036854775808": math.MinInt64, "922337203685477580.7e1": math.MaxInt64, "1E+2": 100,
	} {
		if got, err := integer([]byte(text)); err != nil || got != want {
			t.Errorf("%s = %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"1.5", "1e-1", "9223372036854775808", "1e19", "-1e19", "0.1", "1e-99999999999999999999", "1e99999999999999999999"} {
		if got, err := integer([]byte(text)); err == nil {
			t.Errorf("%s = %d; want an error", text, got)
		}
	}
}
