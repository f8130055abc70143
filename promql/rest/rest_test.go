package rest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/count-db/count/promql/memstore"
	"github.com/count-db/count/promql/rest"
	"github.com/count-db/count/promql/store"
)

// newServer serves the handler as the routes of a node do.
func newServer(t *testing.T, m store.Store, opts rest.Options) *httptest.Server {
	t.Helper()
	h := rest.New(m, parser.NewParser(parser.Options{}), opts)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch path := r.URL.EscapedPath(); {
		case path == "/query/range":
			h.PostRange(w, r)
		case path == "/query/aggregated":
			h.PostAggregated(w, r)
		case strings.HasPrefix(path, "/query/range/"):
			h.GetRange(w, r)
		default:
			h.GetAggregated(w, r)
		}
	}))
	t.Cleanup(srv.Close)
	return srv
}

func do(t *testing.T, srv *httptest.Server, method, target, body string) (int, string, http.Header) {
	t.Helper()
	req, err := http.NewRequest(method, srv.URL+target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := srv.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(got), resp.Header
}

func fill() *memstore.Store {
	m := memstore.New()
	plain := labels.FromStrings("__name__", "cpu.usage")
	for i := range 10 {
		m.Append(plain, 0, int64(1000*i), float64(i))
	}
	m.Append(labels.FromStrings("__name__", "cpu.usage", "A", "x"), 0, 1000, 99)
	m.Append(labels.FromStrings("__name__", "cpu.usage", "host", "x"), 0, 1000, 98)
	api := labels.FromStrings("__name__", "http_requests_total", "job", "api", "code", "200")
	m.Append(api, 0, 1000, 1.5)
	m.Append(labels.FromStrings("__name__", "http_requests_total", "job", "web", "code", "200"), 0, 1000, 2.5)
	m.Append(labels.FromStrings("__name__", "a/b c"), 0, 1, 1e21)
	odd := labels.FromStrings("__name__", "odd")
	m.Append(odd, 0, 1, math.NaN())
	m.Append(odd, 0, 2, math.Inf(1))
	m.Append(odd, 0, 3, math.Inf(-1))
	m.Append(odd, 0, 4, math.Float64frombits(value.StaleNaN))
	m.Append(odd, 0, 5, math.Copysign(0, -1))
	m.AppendHistogram(odd, 0, 6, &histogram.Histogram{Count: 1}, nil)
	nan := labels.FromStrings("__name__", "nan")
	m.Append(nan, 0, 1, math.NaN())
	m.Append(nan, 0, 2, 3)
	m.Append(nan, 0, 3, 1)
	m.Append(labels.FromStrings("__name__", "stale"), 0, 1, math.Float64frombits(value.StaleNaN))
	return m
}

func TestGet(t *testing.T) {
	srv := newServer(t, fill(), rest.Options{})
	for _, c := range []struct {
		target string
		status int
		want   string // of errors: a part
	}{
		{"/query/range/cpu.usage?start=1000&end=3000", 200, `[{"timestamp":1000,"value":1},{"timestamp":2000,"value":2},{"timestamp":3000,"value":3}]`},
		{"/query/range/cpu.usage?start=1001&end=1999", 200, `[]`},
		{"/query/range/nothing?start=0&end=1", 200, `[]`},
		{"/query/range/a%2Fb%20c?start=0&end=1", 200, `[{"timestamp":1,"value":1e+21}]`},
		{"/query/range/http_requests_total%7Bjob%3D%22api%22%2Ccode%3D%22200%22%7D?start=0&end=9999", 200, `[{"timestamp":1000,"value":1.5}]`},
		{"/query/range/http_requests_total%7Bcode%3D%22200%22,job%3D%22api%22%7D?start=0&end=9999", 200, `[{"timestamp":1000,"value":1.5}]`},
		{"/query/range/http_requests_total%7Bjob%3D%22api%22%7D?start=0&end=9999", 200, `[]`},
		{"/query/range/cpu.usage%7Bhost%3D%22x%22%7D?start=0&end=9999", 200, `[{"timestamp":1000,"value":98}]`},
		{"/query/range/odd?start=0&end=9", 200, `[{"timestamp":1,"value":"NaN"},{"timestamp":2,"value":"+Inf"},{"timestamp":3,"value":"-Inf"},{"timestamp":5,"value":-0}]`},
		{"/query/range/m%7Ba%3D%221%22,a%3D%221%22%7D?start=0&end=9", 400, `given twice`},
		{"/query/range/cpu.usage?end=9", 400, "start is missing"},
		{"/query/range/cpu.usage?start=9", 400, "end is missing"},
		{"/query/range/cpu.usage?start=1.5&end=9", 400, "integer"},
		{"/query/range/cpu.usage?start=9&end=8", 400, "behind"},
		{"/query/range/cpu.usage?start=0&end=9&consistency=some", 400, "consistency"},
		{"/query/range/cpu.usage?start=3000&end=3000&consistency=all", 200, `[{"timestamp":3000,"value":3}]`},

		{"/query/aggregated/cpu.usage?start=0&end=9000&aggregation=sum", 200, `45`},
		{"/query/aggregated/cpu.usage?start=0&end=9000&aggregation=mean", 200, `4.5`},
		{"/query/aggregated/cpu.usage?start=0&end=9000&aggregation=avg", 200, `4.5`},
		{"/query/aggregated/cpu.usage?start=1000&end=9000&aggregation=min", 200, `1`},
		{"/query/aggregated/cpu.usage?start=1000&end=9000&aggregation=max", 200, `9`},
		{"/query/aggregated/cpu.usage?start=1000&end=9000&aggregation=count", 200, `9`},
		{"/query/aggregated/nothing?start=0&end=9000&aggregation=count", 200, `0`},
		{"/query/aggregated/nothing?start=0&end=9000&aggregation=sum", 200, `null`},
		{"/query/aggregated/nothing?start=0&end=9000&aggregation=min", 200, `null`},
		{"/query/aggregated/stale?start=0&end=9000&aggregation=count", 200, `0`},
		{"/query/aggregated/stale?start=0&end=9000&aggregation=max", 200, `null`},
		{"/query/aggregated/nan?start=0&end=9000&aggregation=sum", 200, `"NaN"`},
		{"/query/aggregated/nan?start=0&end=9000&aggregation=mean", 200, `"NaN"`},
		{"/query/aggregated/nan?start=0&end=9000&aggregation=min", 200, `1`},
		{"/query/aggregated/nan?start=0&end=9000&aggregation=max", 200, `3`},
		{"/query/aggregated/nan?start=0&end=9000&aggregation=count", 200, `3`},
		{"/query/aggregated/nan?start=0&end=1&aggregation=max", 200, `"NaN"`},
		{"/query/aggregated/cpu.usage?start=0&end=9000&aggregation=sum&step=4000", 200, `[{"timestamp":0,"value":6},{"timestamp":4000,"value":22},{"timestamp":8000,"value":17}]`},
		{"/query/aggregated/cpu.usage?start=500&end=8000&aggregation=count&step=2500", 200, `[{"timestamp":500,"value":2},{"timestamp":3000,"value":3},{"timestamp":5500,"value":2},{"timestamp":8000,"value":1}]`},
		{"/query/aggregated/cpu.usage?start=0&end=100000&aggregation=count&step=1000&x=1", 200, `[{"timestamp":0,"value":1},{"timestamp":1000,"value":1},{"timestamp":2000,"value":1},{"timestamp":3000,"value":1},{"timestamp":4000,"value":1},{"timestamp":5000,"value":1},{"timestamp":6000,"value":1},{"timestamp":7000,"value":1},{"timestamp":8000,"value":1},{"timestamp":9000,"value":1}]`},
		{"/query/aggregated/nothing?start=0&end=9000&aggregation=sum&step=1000", 200, `[]`},
		{"/query/aggregated/cpu.usage?start=0&end=10999&aggregation=count&step=1", 200, `[{"timestamp":0,"value":1},{"timestamp":1000,"value":1},{"timestamp":2000,"value":1},{"timestamp":3000,"value":1},{"timestamp":4000,"value":1},{"timestamp":5000,"value":1},{"timestamp":6000,"value":1},{"timestamp":7000,"value":1},{"timestamp":8000,"value":1},{"timestamp":9000,"value":1}]`},
		{"/query/aggregated/cpu.usage?start=0&end=11001&aggregation=count&step=1", 400, "11000 windows"},
		{"/query/aggregated/cpu.usage?start=-9000000000000000000&end=9000000000000000000&aggregation=count&step=1", 400, "11000 windows"},
		{"/query/aggregated/cpu.usage?start=-9000000000000000000&end=9000000000000000000&aggregation=count", 200, "10"},
		{"/query/aggregated/cpu.usage?start=0&end=9&aggregation=median", 400, "unknown aggregation"},
		{"/query/aggregated/cpu.usage?start=0&end=9", 400, "aggregation is missing"},
		{"/query/aggregated/cpu.usage?aggregation=sum", 400, "start is missing"},
		{"/query/aggregated/cpu.usage?start=9&end=8&aggregation=sum", 400, "behind"},
		{"/query/aggregated/cpu.usage?start=0&end=9&aggregation=sum&step=0", 400, "above 0"},
		{"/query/aggregated/cpu.usage?start=0&end=9&aggregation=sum&step=-5", 400, "above 0"},
		{"/query/aggregated/cpu.usage?start=0&end=9&aggregation=sum&step=1m", 400, "integer"},
	} {
		status, got, header := do(t, srv, "GET", c.target, "")
		check(t, c.target, c.status, c.want, status, got, header)
	}
}

func check(t *testing.T, what string, wantStatus int, want string, status int, got string, header http.Header) {
	t.Helper()
	if header.Get("Content-Type") != "application/json" {
		t.Errorf("%s: content type %q", what, header.Get("Content-Type"))
	}
	if status != wantStatus {
		t.Errorf("%s: status %d, want %d: %s", what, status, wantStatus, got)
		return
	}
	if status == 200 {
		if got != want {
			t.Errorf("%s:\n got %s\nwant %s", what, got, want)
		}
		return
	}
	var e struct {
		Error *string `json:"error"`
	}
	if err := json.Unmarshal([]byte(got), &e); err != nil || e.Error == nil || !strings.Contains(*e.Error, want) {
		t.Errorf("%s: error body %s, want one that holds %q", what, got, want)
	}
}

func TestPost(t *testing.T) {
	srv := newServer(t, fill(), rest.Options{Internal: &rest.Internal{Local: fill(), NodeID: 7}, MaxBody: 1000})
	for _, c := range []struct {
		path, body string
		status     int
		want       string
	}{
		{"range", `{"series":["cpu.usage"],"start":1000,"end":2000}`, 200, `[{"series":"cpu.usage","labels":{"__name__":"cpu.usage"},"points":[{"timestamp":1000,"value":1},{"timestamp":2000,"value":2}]}]`},
		{"range", `{"series":["{__name__=~\"http.*\"}","nothing"],"start":0,"end":2000}`, 200, `[{"series":"http_requests_total{code=\"200\",job=\"api\"}","labels":{"__name__":"http_requests_total","code":"200","job":"api"},"points":[{"timestamp":1000,"value":1.5}]},{"series":"http_requests_total{code=\"200\",job=\"web\"}","labels":{"__name__":"http_requests_total","code":"200","job":"web"},"points":[{"timestamp":1000,"value":2.5}]},{"series":"nothing","labels":{"__name__":"nothing"},"points":[]}]`},
		{"range", `{"series":["cpu.usage{host=\"x\"}","{host=\"x\"}"],"start":0,"end":2000}`, 200, `[{"series":"cpu.usage{host=\"x\"}","labels":{"__name__":"cpu.usage","host":"x"},"points":[{"timestamp":1000,"value":98}]}]`},
		{"range", `{"series":["{__name__=\"stale\"}"],"start":0,"end":2000}`, 200, `[]`},
		{"aggregated", `{"series":["cpu.usage","nothing"],"start":0,"end":9000,"aggregation":"max"}`, 200, `[{"series":"cpu.usage","labels":{"__name__":"cpu.usage"},"value":9},{"series":"nothing","labels":{"__name__":"nothing"},"value":null}]`},
		{"aggregated", `{"series":["nothing"],"start":0,"end":9000,"aggregation":"count","step":null}`, 200, `[{"series":"nothing","labels":{"__name__":"nothing"},"value":0}]`},
		{"aggregated", `{"series":["cpu.usage"],"start":0,"end":9000,"aggregation":"sum","step":5000}`, 200, `[{"series":"cpu.usage","labels":{"__name__":"cpu.usage"},"points":[{"timestamp":0,"value":10},{"timestamp":5000,"value":35}]}]`},
		{"range", `{"series":[],"start":0,"end":1}`, 400, "series is empty"},
		{"range", `{"start":0,"end":1}`, 400, "series is missing"},
		{"range", `{"series":[1],"start":0,"end":1}`, 400, "list of strings"},
		{"range", `{"series":["a"],"end":1}`, 400, "start is missing"},
		{"range", `{"series":["a"],"start":"x","end":1}`, 400, "integer"},
		{"range", `{"series":["a"],"start":1.5,"end":1}`, 400, "integer"},
		{"range", `{"series":["a"],"start":2,"end":1}`, 400, "behind"},
		{"range", `{"series":["{a="],"start":0,"end":1}`, 400, "selector"},
		{"range", `{"series":["{}"],"start":0,"end":1}`, 400, "selector"},
		{"range", `{"series":["m{a=1}"],"start":0,"end":1}`, 400, "malformed"},
		{"range", `nonsense`, 400, "JSON"},
		{"range", `{"series":["` + strings.Repeat("x", 1000) + `"],"start":0,"end":1}`, 413, "larger than 1000"},
		{"aggregated", `{"series":["a"],"start":0,"end":1}`, 400, "aggregation is missing"},
		{"aggregated", `{"series":["a"],"start":0,"end":1,"aggregation":"sum","step":0}`, 400, "above 0"},
		{"aggregated", `{"series":["a"],"start":0,"end":11001,"aggregation":"sum","step":1}`, 400, "windows"},

		{"range", `{"series":"cpu.usage","start_time":0,"end_time":1000,"aggregation":null,"request_id":"x"}`, 200, `{"success":true,"data":[{"timestamp":0,"value":0},{"timestamp":1000,"value":1}],"aggregated_value":null,"error":null,"node_id":7}`},
		{"aggregated", `{"series":"cpu.usage","start_time":0,"end_time":1000,"aggregation":"Mean","request_id":"x"}`, 200, `{"success":true,"data":null,"aggregated_value":0.5,"error":null,"node_id":7}`},
		{"aggregated", `{"series":"nothing","start_time":0,"end_time":1000,"aggregation":"Sum"}`, 200, `{"success":true,"data":null,"aggregated_value":null,"error":null,"node_id":7}`},
		{"aggregated", `{"series":"nothing","start_time":0,"aggregation":"Sum"}`, 400, "end_time is missing"},
	} {
		status, got, header := do(t, srv, "POST", "/query/"+c.path, c.body)
		check(t, c.body, c.status, c.want, status, got, header)
	}
}

func TestMethods(t *testing.T) {
	srv := newServer(t, fill(), rest.Options{})
	for _, c := range []struct{ method, target, allow string }{
		{"POST", "/query/range/x?start=0&end=1", "GET, HEAD"},
		{"DELETE", "/query/aggregated/x?start=0&end=1", "GET, HEAD"},
		{"GET", "/query/range", "POST"},
		{"PUT", "/query/aggregated", "POST"},
	} {
		status, body, header := do(t, srv, c.method, c.target, "")
		if status != 405 || header.Get("Allow") != c.allow || !strings.HasPrefix(body, `{"error":`) {
			t.Errorf("%s %s: %d %v %s", c.method, c.target, status, header, body)
		}
	}
	if status, body, _ := do(t, srv, "HEAD", "/query/range/cpu.usage?start=0&end=1", ""); status != 200 || body != "" {
		t.Errorf("HEAD: %d %q", status, body)
	}
}

func TestLimits(t *testing.T) {
	srv := newServer(t, fill(), rest.Options{MaxSamples: 5, MaxSeries: 1})
	for target, want := range map[string]string{
		"/query/range/cpu.usage?start=0&end=9000":                      "more samples",
		"/query/aggregated/cpu.usage?start=0&end=9000&aggregation=sum": "more samples",
	} {
		status, got, header := do(t, srv, "GET", target, "")
		check(t, target, 422, want, status, got, header)
	}
	body := `{"series":["{__name__=~\".+\"}"],"start":0,"end":2000}`
	status, got, header := do(t, srv, "POST", "/query/range", body)
	check(t, body, 422, "more than 1 series", status, got, header)
}

func TestLongRangeIsReadInSlabs(t *testing.T) {
	m := memstore.New()
	ls := labels.FromStrings("__name__", "long")
	const n = 50_000
	ts, vs := make([]int64, n), make([]float64, n)
	for i := range ts {
		ts[i], vs[i] = int64(i)*15_000, float64(i)
	}
	m.SetColumns(ls, ts, vs)
	srv := newServer(t, m, rest.Options{})
	status, got, _ := do(t, srv, "GET", fmt.Sprintf("/query/range/long?start=0&end=%d", ts[n-1]), "")
	var points []struct {
		Timestamp int64
		Value     float64
	}
	if err := json.Unmarshal([]byte(got), &points); err != nil || status != 200 || len(points) != n {
		t.Fatalf("status %d, %d points, %v", status, len(points), err)
	}
	for i, p := range points {
		if p.Timestamp != ts[i] || p.Value != vs[i] {
			t.Fatalf("point %d is %v", i, p)
		}
	}
}

// failing is a store whose reads fail.
type failing struct {
	store.Store
	err error
}

func (f failing) Select(context.Context, int64, int64, ...*labels.Matcher) (store.SeriesSet, error) {
	return nil, f.err
}

func TestStorageErrors(t *testing.T) {
	few := errors.New("too few copies")
	srv := newServer(t, failing{err: fmt.Errorf("select: %w", few)}, rest.Options{StatusOf: func(err error) (int, bool) {
		return 503, errors.Is(err, few)
	}})
	status, got, header := do(t, srv, "GET", "/query/range/x?start=0&end=1", "")
	check(t, "503", 503, "too few copies", status, got, header)
	if header.Get("Retry-After") == "" {
		t.Error("503 without Retry-After")
	}
	srv = newServer(t, failing{err: errors.New("disk")}, rest.Options{})
	status, got, header = do(t, srv, "GET", "/query/range/x?start=0&end=1", "")
	check(t, "500", 500, "disk", status, got, header)
}

func TestWarningHeader(t *testing.T) {
	m := fill()
	m.Warn = store.Warnings{"1 of 2 copies answered\nsecond line"}
	srv := newServer(t, m, rest.Options{})
	_, _, header := do(t, srv, "GET", "/query/range/cpu.usage?start=0&end=1", "")
	if got := header["X-Count-Warning"]; len(got) != 1 || got[0] != "1 of 2 copies answered second line" {
		t.Errorf("warnings %q", got)
	}
	_, _, header = do(t, srv, "POST", "/query/range", `{"series":["a","b"],"start":0,"end":1}`)
	if got := header["X-Count-Warning"]; len(got) != 1 {
		t.Errorf("warnings %q", got)
	}
}
