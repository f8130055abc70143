package e2e

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/count-db/count/test/process"
)

// seconds writes ms as the API's seconds.
func seconds(ms int64) string { return strconv.FormatFloat(float64(ms)/1000, 'f', 3, 64) }

func wantBody(t *testing.T, n *process.Node, path, want string) {
	t.Helper()
	code, text, err := n.Get(path)
	if err != nil || code != 200 || !strings.Contains(text, want) {
		t.Errorf("GET %s: %d %s %v\nwant %s", path, code, text, err, want)
	}
}

// TestGrafana sends what Grafana's Prometheus data source sends, in the forms
// in which it does.
func TestGrafana(t *testing.T) {
	n := process.Start(t, t.TempDir())
	at := minuteAgo()
	for _, key := range []string{`up{job="a",instance="127.0.0.1:9390"}`, `up{job="b",instance="x"}`, `{"my lovely_http.status:sum",job="a"}`} {
		if err := n.Insert(key, at, 1); err != nil {
			t.Fatal(err)
		}
	}
	start, end := seconds(at-60000), seconds(at+60000)
	form := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	for _, c := range []struct {
		name, method, path string
		form               url.Values
		want               string
	}{
		{"save and test", "POST", "/api/v1/query", url.Values{"query": {"1+1"}, "time": {"4"}}, `{"resultType":"scalar","result":[4,"2"]}`},
		{"save and test, older", "POST", "/api/v1/query?query=1%2B1&time=4", nil, `"resultType":"scalar"`},
		{"buildinfo", "GET", "/api/v1/status/buildinfo", nil, `"version":"3.`},
		{"flags", "GET", "/api/v1/status/flags", nil, `"success"`},
		{"rules", "GET", "/api/v1/rules", nil, `"groups":[]`},
		{"alerts", "GET", "/api/v1/alerts", nil, `"alerts":[]`},
		{"exemplar probe in milliseconds", "GET", "/api/v1/query_exemplars?query=test&start=" + strconv.FormatInt(at, 10) + "&end=" + strconv.FormatInt(at+1, 10), nil, `{"status":"success","data":[]}`},
		{"exemplar probe, older", "POST", "/api/v1/query_exemplars", url.Values{"query": {"test"}, "start": {strconv.FormatInt(at, 10)}, "end": {strconv.FormatInt(at+1, 10)}}, `"data":[]`},
		{"metric names", "GET", "/api/v1/label/__name__/values?start=" + start + "&end=" + end + "&limit=40000", nil, `"up"`},
		{"labels", "POST", "/api/v1/labels", url.Values{"start": {start}, "end": {end}, "limit": {"40000"}}, `"instance"`},
		{"label values", "GET", "/api/v1/label/job/values?match[]=up&start=" + start + "&end=" + end, nil, `["a","b"]`},
		{"values of another time", "GET", "/api/v1/label/job/values?start=1000&end=2000", nil, `"data":[]`},
		{"limit", "GET", "/api/v1/label/job/values?limit=1", nil, `results truncated due to limit`},
		{"UTF-8 name escaped", "POST", "/api/v1/query", url.Values{"query": {`{"my lovely_http.status:sum"}`}, "time": {seconds(at)}}, `"result":[{"metric":{"__name__":"my lovely_http.status:sum"`},
		{"series", "POST", "/api/v1/series", url.Values{"match[]": {`{__name__!=""}`}, "start": {start}, "end": {end}}, `"instance":"x"`},
		{"metadata", "GET", "/api/v1/metadata?limit=40000", nil, `"data":{}`},
		{"panel", "POST", "/api/v1/query_range?query=up%7Binstance%3D~%22127%5C%5C.0%5C%5C.0%5C%5C.1%3A9390%22%7D&start=" + start + "&end=" + end + "&step=15", nil, `"resultType":"matrix","result":[{"metric":`},
		{"statistics", "POST", "/api/v1/query", url.Values{"query": {"up"}, "stats": {"all"}}, `"stats":`},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, _, text, err := n.Do(c.method, c.path, form, []byte(c.form.Encode()))
			if err != nil || code != 200 || !strings.Contains(text, c.want) {
				t.Errorf("%d %s %v\nwant %s", code, text, err, c.want)
			}
		})
	}
	if code, text, err := n.Get("/rules/test/test"); err != nil || code != 404 || !strings.Contains(text, "page not found") {
		t.Errorf("ruler probe: %d %s %v", code, text, err)
	}
	if code, text, err := n.Get("/api/v1/query?query=up%7B"); err != nil || code != 400 || !strings.Contains(text, "bad_data") {
		t.Errorf("bad query: %d %s %v", code, text, err)
	}
	wantBody(t, n, "/federate?match[]=up", "# TYPE up untyped")
}
