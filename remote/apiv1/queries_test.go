package apiv1

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// fakeQueries has one running query, 7, and explains by its arguments.
type fakeQueries struct{ cancelled []uint64 }

func (f *fakeQueries) Active() []ActiveQuery {
	return []ActiveQuery{{ID: 7, Query: "up", Start: 1, End: 2.5, Step: 0.5, Running: 3}}
}

func (f *fakeQueries) Slow() []SlowQuery {
	return []SlowQuery{{ID: 6, Query: "up", Start: 1, End: 2.5, Step: 0.5, Began: 100, Took: 2.5, Evaluation: "whole", Series: 3, Error: "query timed out"}}
}

func (f *fakeQueries) Cancel(id uint64) bool {
	f.cancelled = append(f.cancelled, id)
	return id == 7
}

func (f *fakeQueries) Explain(query string, start, end time.Time, step time.Duration) (string, error) {
	if query == "" {
		return "", errors.New("parse query: nothing")
	}
	return fmt.Sprint(query, " ", start.UnixMilli(), " ", end.UnixMilli(), " ", step), nil
}

func TestChurn(t *testing.T) {
	h := newAPIWith(t, &fakeNode{}, nil, Options{})
	for _, c := range []struct {
		target string
		code   int
		want   string
	}{
		{"/api/v1/status/churn", 200, `{"status":"success","data":[{"start":7200000,"end":14400000,"series":12,"new_series":10,"newSeriesCountByMetricName":[{"name":"up","value":2}]}]}`},
		{"/api/v1/status/churn?windows=3&limit=4", 200, `"series":3,"new_series":4`},
		{"/api/v1/status/churn?windows=0", 400, "bad_data"},
		{"/api/v1/status/churn?limit=x", 400, "bad_data"},
		{"/api/v1/status/churn?limit=1001", 400, "from 1 to 1000"},
	} {
		code, text := ask(t, h, "GET", c.target, nil)
		if code != c.code || !strings.Contains(text, c.want) {
			t.Errorf("%s: %d %s\nwant %d %s", c.target, code, text, c.code, c.want)
		}
	}
}

func TestQueries(t *testing.T) {
	f := &fakeQueries{}
	h := newAPIWith(t, &fakeNode{}, f, Options{})
	for _, c := range []struct {
		method, target, body string
		code                 int
		want                 string
	}{
		{"GET", "/api/v1/status/active_queries", "", 200, `{"status":"success","data":[{"id":7,"query":"up","start":1,"end":2.5,"step":0.5,"running_seconds":3}]}`},
		{"GET", "/api/v1/status/slow_queries", "", 200, `{"status":"success","data":[{"id":6,"query":"up","start":1,"end":2.5,"step":0.5,"began":100,"took_seconds":2.5,"evaluation":"whole","series":3,"error":"query timed out"}]}`},
		{"POST", "/api/v1/admin/cancel_query?id=7", "", 204, ""},
		{"POST", "/api/v1/admin/cancel_query", "id=7", 204, ""},
		{"POST", "/api/v1/admin/cancel_query?id=8", "", 404, `no query 8`},
		{"POST", "/api/v1/admin/cancel_query?id=x", "", 400, `bad_data`},
		{"GET", "/api/v1/query?query=up&explain=true&time=1.5", "", 200, `{"explain":"up 1500 1500 0s"}`},
		{"POST", "/api/v1/query", "query=up&explain=true", 200, `{"explain":"up 150000 150000 0s"}`},
		{"GET", "/api/v1/query?query=up&explain=false&time=60", "", 200, `"resultType":"vector"`},
		{"GET", "/api/v1/query?explain=true", "", 400, `parse query`},
		{"GET", "/api/v1/query?query=up&explain=true&time=x", "", 400, `\"time\"`},
		{"GET", "/api/v1/query_range?query=up&explain=true&start=1&end=1970-01-01T00:00:09Z&step=1m", "", 200, `{"explain":"up 1000 9000 1m0s"}`},
		{"GET", "/api/v1/query_range?query=up&explain=true&start=1&end=2&step=0.5", "", 200, `{"explain":"up 1000 2000 500ms"}`},
		{"GET", "/api/v1/query_range?query=up&explain=true&start=2&end=1&step=1", "", 400, `before start`},
		{"GET", "/api/v1/query_range?query=up&explain=true&start=NaN&end=1&step=1", "", 400, `\"start\"`},
		{"GET", "/api/v1/query_range?query=up&explain=true&start=1&end=1e300&step=1", "", 400, `\"end\"`},
		{"GET", "/api/v1/query_range?query=up&explain=true&start=1&end=2&step=0", "", 400, `\"step\"`},
		{"GET", "/api/v1/query_range?query=up&explain=true&start=1&end=2&step=1e300", "", 400, `\"step\"`},
	} {
		code, text := ask(t, h, c.method, c.target, strings.NewReader(c.body))
		if code != c.code || !strings.Contains(text, c.want) {
			t.Errorf("%s %s %s: %d %s\nwant %d %s", c.method, c.target, c.body, code, text, c.code, c.want)
		}
	}
	if fmt.Sprint(f.cancelled) != "[7 7 8]" {
		t.Errorf("cancelled %v", f.cancelled)
	}
}
