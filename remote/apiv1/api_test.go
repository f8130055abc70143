package apiv1

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/storage"

	"github.com/count-db/count/internal/model"
)

// fakeNode stands for the parts behind the API.
type fakeNode struct {
	deleted  []string
	flushed  int
	snapshot string
	fail     error
}

func (f *fakeNode) Delete(_ context.Context, mint, maxt int64, ms ...*labels.Matcher) error {
	f.deleted = append(f.deleted, fmt.Sprint(mint, " ", maxt, " ", ms))
	return f.fail
}
func (f *fakeNode) CleanTombstones(context.Context) error { return f.fail }
func (f *fakeNode) Snapshot(_ context.Context, dir string) error {
	f.snapshot = dir
	return f.fail
}

func (f *fakeNode) Flush(context.Context) error {
	f.flushed++
	return f.fail
}
func (f *fakeNode) Flags() map[string]string { return map[string]string{"node-id": "1"} }
func (f *fakeNode) ConfigYAML() string       { return "node_id: 1\n" }
func (f *fakeNode) Runtime() Runtime         { return Runtime{StartTime: time.Unix(1, 0), Hostname: "h"} }

func (f *fakeNode) Churn(windows, limit int) []Churn {
	return []Churn{{Start: 7200000, End: 14400000, Series: windows, New: limit, NewByMetric: []Count{{"up", 2}}}}
}

func (f *fakeNode) Cardinality(int) (Cardinality, error) {
	return Cardinality{Series: 3, SeriesByMetric: []Count{{"m", 3}}}, nil
}

func (f *fakeNode) Metadata(_ context.Context, family string, limit int) ([]model.Metadata, error) {
	all := []model.Metadata{
		{Family: "a", Metadata: metadata.Metadata{Type: "counter", Help: "A."}},
		{Family: "b", Metadata: metadata.Metadata{Unit: "seconds"}},
	}
	if family != "" {
		return all[:1], nil
	}
	if limit > 0 {
		return all[:limit], nil
	}
	return all, nil
}

func (f *fakeNode) ExemplarQuerier(context.Context) (storage.ExemplarQuerier, error) { return f, nil }

func (f *fakeNode) Select(int64, int64, ...[]*labels.Matcher) ([]exemplar.QueryResult, error) {
	return []exemplar.QueryResult{}, nil
}

const loaded = `load 1m
	up{job="a",instance="x"} 1 1 1
	http_total{code="200"} 0 60 120
	{"dotted.name"} 7 7 7
	native {{schema:0 sum:5 count:4 buckets:[1 2 1]}}x2
`

// newAPI mounts the API on data of the first three minutes of 1970.
func newAPI(t *testing.T, f *fakeNode, o Options) http.Handler {
	t.Helper()
	return newAPIWith(t, f, nil, o)
}

func newAPIWith(t *testing.T, f *fakeNode, q Queries, o Options) http.Handler {
	t.Helper()
	data := promqltest.LoadedStorage(t, loaded)
	t.Cleanup(func() { _ = data.Close() })
	o.LookbackDelta, o.QueryTimeout = 5*time.Minute, time.Minute
	o.Now = func() time.Time { return time.Unix(150, 0) }
	a, err := New(Deps{
		Engine: promqltest.NewTestEngine(t, false, 0, 1000), Parser: parser.NewParser(parser.Options{}),
		Queryable: data, Exemplars: f, Appendable: data, Metadata: f, Admin: f, Status: f, Queries: q,
		Gatherer: prometheus.NewRegistry(), Registerer: prometheus.NewRegistry(), Logger: promslog.NewNopLogger(),
	}, o)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/api/v1/", a.V1)
	mux.Handle("/api/v1/metadata", a.Metadata)
	mux.Handle("/api/v1/admin/tsdb/flush", a.Flush)
	mux.Handle("/federate", a.Federate)
	return mux
}

func ask(t *testing.T, h http.Handler, method, target string, body io.Reader) (int, string) {
	t.Helper()
	r := httptest.NewRequest(method, target, body)
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

// TestEndpoints asks everything that Grafana and promtool ask.
func TestEndpoints(t *testing.T) {
	h := newAPI(t, &fakeNode{}, Options{})
	for _, c := range []struct {
		method, target, body string
		code                 int
		want                 string
	}{
		{"GET", "/api/v1/query?query=1%2B1&time=4", "", 200, `{"status":"success","data":{"resultType":"scalar","result":[4,"2"]}}`},
		{"POST", "/api/v1/query?query=1%2B1&time=4", "", 200, `"resultType":"scalar"`},
		{"POST", "/api/v1/query", "query=up&time=60", 200, `"resultType":"vector","result":[{"metric":{"__name__":"up"`},
		{"POST", "/api/v1/query_range", "query=http_total&start=0&end=120&step=60", 200, `"values":[[0,"0"],[60,"60"],[120,"120"]]`},
		{"GET", "/api/v1/query?query=up%7B", "", 400, `"errorType":"bad_data"`},
		{"GET", "/api/v1/labels", "", 200, `["__name__","code","instance","job"]`},
		{"POST", "/api/v1/labels", "start=0&end=100&limit=1", 200, `results truncated due to limit`},
		{"GET", "/api/v1/label/job/values?start=0&end=100", "", 200, `["a"]`},
		{"GET", "/api/v1/label/U__dotted_2e_x/values", "", 200, `"data":[]`},
		{"POST", "/api/v1/series", "match[]=up&start=0&end=100", 200, `"job":"a"`},
		{"GET", "/api/v1/query_exemplars?query=test&start=1800000000000&end=1800000000001", "", 200, `{"status":"success","data":[]}`},
		{"GET", "/api/v1/metadata", "", 200, `{"status":"success","data":{"a":[{"type":"counter","help":"A.","unit":""}],"b":[{"type":"unknown","help":"","unit":"seconds"}]}}`},
		{"GET", "/api/v1/metadata?metric=a", "", 200, `"data":{"a":`},
		{"GET", "/api/v1/metadata?limit=x", "", 400, `"errorType":"bad_data"`},
		{"GET", "/api/v1/rules", "", 200, `"groups":[]`},
		{"GET", "/api/v1/alerts", "", 200, `"alerts":[]`},
		{"GET", "/api/v1/alertmanagers", "", 200, `"activeAlertmanagers":[]`},
		{"GET", "/api/v1/targets", "", 200, `"activeTargets":[]`},
		{"GET", "/api/v1/scrape_pools", "", 200, `"scrapePools":[]`},
		{"GET", "/api/v1/targets/metadata", "", 200, `"data":[]`},
		{"GET", "/api/v1/status/buildinfo", "", 200, `"version":"3.16.0"`},
		{"GET", "/api/v1/status/config", "", 200, `node_id: 1`},
		{"GET", "/api/v1/status/flags", "", 200, `"node-id":"1"`},
		{"GET", "/api/v1/status/runtimeinfo", "", 200, `"hostname":"h"`},
		{"GET", "/api/v1/status/tsdb", "", 200, `"numSeries":3,"numLabelPairs":0,"chunkCount":3`},
		{"GET", "/api/v1/status/tsdb/blocks", "", 200, `"blocks":[]`},
		{"GET", "/api/v1/status/walreplay", "", 200, `"success"`},
		{"GET", "/api/v1/features", "", 200, `"success"`},
		{"GET", "/api/v1/notifications", "", 200, `"data":[]`},
		{"GET", "/api/v1/openapi.yaml", "", 200, `openapi`},
		{"GET", "/api/v1/format_query?query=a%2Bb", "", 200, `"a + b"`},
		{"POST", "/api/v1/parse_query", "query=a", 200, `vectorSelector`},
		{"GET", "/api/v1/nothing", "", 404, ``},
		{"POST", "/api/v1/admin/tsdb/delete_series?match[]=up", "", 500, `admin APIs disabled`},
	} {
		code, text := ask(t, h, c.method, c.target, strings.NewReader(c.body))
		if code != c.code || !strings.Contains(text, c.want) {
			t.Errorf("%s %s %s: %d %s\nwant %d %s", c.method, c.target, c.body, code, text, c.code, c.want)
		}
	}
	if _, text := ask(t, h, "GET", "/api/v1/status/buildinfo", nil); strings.Contains(text, "features") {
		t.Error("buildinfo names features: Grafana would take the node for a Mimir")
	}
}

func TestAdmin(t *testing.T) {
	f := &fakeNode{}
	h := newAPI(t, f, Options{AdminAPI: true, DataDir: t.TempDir(), Unavailable: func(err error) bool { return errors.Is(err, context.DeadlineExceeded) }})
	for target, want := range map[string]int{
		"/api/v1/admin/tsdb/delete_series?match[]=up&start=1&end=2": 204,
		"/api/v1/admin/tsdb/delete_series":                          400,
		"/api/v1/admin/tsdb/delete_series?match[]=%7B%7D":           204, // selects nothing
		"/api/v1/admin/tsdb/clean_tombstones":                       204,
		"/api/v1/admin/tsdb/snapshot":                               200,
		"/api/v1/admin/tsdb/flush":                                  204,
	} {
		if code, text := ask(t, h, "POST", target, nil); code != want {
			t.Errorf("%s: %d %s, want %d", target, code, text, want)
		}
	}
	if len(f.deleted) != 1 || !strings.HasPrefix(f.deleted[0], "1000 2000") || f.flushed != 1 || !strings.Contains(f.snapshot, "snapshots") {
		t.Errorf("%+v", f)
	}
	f.fail = fmt.Errorf("reach a majority: %w", context.DeadlineExceeded)
	for _, target := range []string{"/api/v1/admin/tsdb/delete_series?match[]=up", "/api/v1/admin/tsdb/flush"} {
		if code, text := ask(t, h, "POST", target, nil); code != 503 {
			t.Errorf("%s of an unreachable majority: %d %s, want 503", target, code, text)
		}
	}
}

func TestConsistencyParameter(t *testing.T) {
	var asked []string
	h := newAPI(t, &fakeNode{}, Options{Consistency: func(ctx context.Context, level string) (context.Context, error) {
		if level == "some" {
			return nil, errors.New("unknown consistency")
		}
		asked = append(asked, level)
		return ctx, nil
	}})
	if code, text := ask(t, h, "GET", "/api/v1/query?query=up&consistency=some", nil); code != 400 || !strings.Contains(text, "bad_data") {
		t.Errorf("%d %s", code, text)
	}
	form := url.Values{"query": {"up"}, "consistency": {"one"}}
	if code, text := ask(t, h, "POST", "/api/v1/query", strings.NewReader(form.Encode())); code != 200 || len(asked) != 1 || asked[0] != "one" {
		t.Errorf("%d %s %v", code, text, asked)
	}
}

func TestNoCacheParameter(t *testing.T) {
	var asked []string
	h := newAPI(t, &fakeNode{}, Options{NoCache: func(ctx context.Context, text string) (context.Context, error) {
		if text == "perhaps" {
			return nil, errors.New("0 and 1 are allowed")
		}
		asked = append(asked, text)
		return ctx, nil
	}})
	if code, text := ask(t, h, "GET", "/api/v1/query?query=up&nocache=perhaps", nil); code != 400 || !strings.Contains(text, "bad_data") {
		t.Errorf("%d %s", code, text)
	}
	if code, text := ask(t, h, "GET", "/api/v1/query?query=up&nocache=1", nil); code != 200 || len(asked) != 1 || asked[0] != "1" {
		t.Errorf("%d %s %v", code, text, asked)
	}
}

func TestFederate(t *testing.T) {
	h := newAPI(t, &fakeNode{}, Options{})
	if code, text := ask(t, h, "GET", "/federate", nil); code != 200 || text != "" { // as Prometheus
		t.Errorf("without match[]: %d", code)
	}
	if code, _ := ask(t, h, "GET", "/federate?match[]=%7B", nil); code != 400 {
		t.Errorf("malformed match[]: %d", code)
	}
	code, text := ask(t, h, "GET", "/federate?match[]=up&match[]=http_total", nil)
	want := "# TYPE http_total untyped\nhttp_total{code=\"200\",instance=\"\"} 120 120000\n# TYPE up untyped\nup{instance=\"x\",job=\"a\"} 1 120000\n"
	if code != 200 || text != want {
		t.Errorf("%d\n%s\nwant\n%s", code, text, want)
	}
	r := httptest.NewRequest("GET", "/federate?match[]=native", nil)
	r.Header.Set("Accept", "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != 200 || !bytes.Contains(w.Body.Bytes(), []byte("native")) || json.Valid(w.Body.Bytes()) {
		t.Errorf("native histogram: %d, %d bytes", w.Code, w.Body.Len())
	}
}
