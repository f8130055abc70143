package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/count-db/count/test/process"
)

func TestInsert(t *testing.T) {
	n := process.Start(t, t.TempDir())
	now := time.Now().UnixMilli()
	for _, c := range []struct {
		name, body string
		code       int
	}{
		{"one", fmt.Sprintf(`{"series":"cpu.usage.total","timestamp":%d,"value":1.5}`, now), 201},
		{"labels", fmt.Sprintf(`{"series":"cpu","labels":{"host":"a","mode":"x"},"timestamp":%d,"value":2}`, now), 201},
		{"full key", fmt.Sprintf(`{"series":"cpu{mode=\"x\",host=\"b\"}","timestamp":%d,"value":3}`, now), 201},
		{"array", fmt.Sprintf(`[{"series":"a1","timestamp":%d,"value":1},{"series":"a2","timestamp":%d,"value":2}]`, now, now), 201},
		{"lines", fmt.Sprintf("{\"series\":\"l1\",\"timestamp\":%d,\"value\":1}\n{\"series\":\"l2\",\"timestamp\":%d,\"value\":2}\n", now, now), 201},
		{"NaN", fmt.Sprintf(`{"series":"special","timestamp":%d,"value":"NaN"}`, now-3), 201},
		{"+Inf", fmt.Sprintf(`{"series":"special","timestamp":%d,"value":"+Inf"}`, now-2), 201},
		{"-Inf", fmt.Sprintf(`{"series":"special","timestamp":%d,"value":"-Inf"}`, now-1), 201},
		{"1970", `{"series":"old","timestamp":0,"value":1}`, 201},
		{"empty series", fmt.Sprintf(`{"series":"","timestamp":%d,"value":1}`, now), 400},
		{"no series", fmt.Sprintf(`{"timestamp":%d,"value":1}`, now), 400},
		{"no timestamp", `{"series":"x","value":1}`, 400},
		{"negative timestamp", `{"series":"x","timestamp":-1,"value":1}`, 400},
		{"fraction of a timestamp", `{"series":"x","timestamp":1.5,"value":1}`, 400},
		{"text as timestamp", `{"series":"x","timestamp":"now","value":1}`, 400},
		{"too far ahead", fmt.Sprintf(`{"series":"x","timestamp":%d,"value":1}`, now+11*60*1000), 400},
		{"no value", fmt.Sprintf(`{"series":"x","timestamp":%d}`, now), 400},
		{"text as value", fmt.Sprintf(`{"series":"x","timestamp":%d,"value":"one"}`, now), 400},
		{"null value", fmt.Sprintf(`{"series":"x","timestamp":%d,"value":null}`, now), 400},
		{"label twice", fmt.Sprintf(`{"series":"x{a=\"1\",a=\"2\"}","timestamp":%d,"value":1}`, now), 400},
		{"label in both places", fmt.Sprintf(`{"series":"x{a=\"1\"}","labels":{"a":"2"},"timestamp":%d,"value":1}`, now), 400},
		{"one wrong in a batch", fmt.Sprintf(`[{"series":"refused","timestamp":%d,"value":1},{"series":"","timestamp":%d,"value":2}]`, now, now), 400},
		{"not JSON", `series=x`, 400},
		{"empty body", ``, 400},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, text, err := n.Post("/insert", c.body)
			if err != nil || code != c.code {
				t.Fatalf("%d %s %v, want %d", code, text, err, c.code)
			}
			if code >= 400 {
				var e struct{ Error string }
				if json.Unmarshal([]byte(text), &e) != nil || e.Error == "" {
					t.Errorf("no error text: %s", text)
				}
			}
		})
	}
	wantRange(t, n, "cpu.usage.total", now, 1.5)
	wantRange(t, n, `cpu{host="a",mode="x"}`, now, 2)
	wantRange(t, n, `cpu{host="b",mode="x"}`, now, 3)
	wantRange(t, n, "l2", now, 2)
	wantRange(t, n, "old", 0, 1)
	if got, err := n.Range("refused", 0, now); err != nil || len(got) != 0 {
		t.Errorf("a sample of a refused batch is there: %v %v", got, err)
	}
	code, text, err := n.Get("/query/range/special?start=0&end=9999999999999")
	want := fmt.Sprintf(`[{"timestamp":%d,"value":"NaN"},{"timestamp":%d,"value":"+Inf"},{"timestamp":%d,"value":"-Inf"}]`, now-3, now-2, now-1)
	if err != nil || code != 200 || strings.TrimSpace(text) != want {
		t.Errorf("special values: %d %s %v, want %s", code, text, err, want)
	}
}

func wantRange(t *testing.T, n *process.Node, series string, at int64, value float64) {
	t.Helper()
	got, err := n.Range(series, at, at)
	if err != nil || len(got) != 1 || got[0] != (process.Point{Timestamp: at, Value: value}) {
		t.Errorf("%s: %v %v, want %v at %d", series, got, err, value, at)
	}
}

func TestInsertTooLarge(t *testing.T) {
	n := process.Start(t, t.TempDir(), "MAX_BODY_SIZE=4KiB")
	body := `{"series":"` + strings.Repeat("x", 8192) + `","timestamp":1,"value":1}`
	if code, text, err := n.Post("/insert", body); err != nil || code != 413 {
		t.Errorf("%d %s %v, want 413", code, text, err)
	}
}

func TestRangeQueries(t *testing.T) {
	n := process.Start(t, t.TempDir())
	base := minuteAgo()
	for i := range int64(10) {
		if err := n.Insert("r", base+i*1000, float64(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.Insert("a/b c", base, 7); err != nil {
		t.Fatal(err)
	}
	wantRange(t, n, "a/b c", base, 7)
	got, err := n.Range("r", base+2000, base+5000)
	if err != nil || len(got) != 4 || got[0].Value != 2 || got[3].Value != 5 {
		t.Errorf("inclusive bounds: %v %v", got, err)
	}
	if code, text, err := n.Get("/query/range/unknown?start=0&end=1"); err != nil || code != 200 || strings.TrimSpace(text) != "[]" {
		t.Errorf("unknown series: %d %q %v", code, text, err)
	}
	for _, q := range []string{"", "?start=1", "?end=1", "?start=2&end=1", "?start=x&end=1"} {
		if code, text, err := n.Get("/query/range/r" + q); err != nil || code != 400 {
			t.Errorf("bounds %q: %d %s %v, want 400", q, code, text, err)
		}
	}
	// The later write of the same timestamp wins.
	if err := n.Insert("r", base, 100); err != nil {
		t.Fatal(err)
	}
	wantRange(t, n, "r", base, 100)
}

func TestAggregatedQueries(t *testing.T) {
	n := process.Start(t, t.TempDir())
	base := minuteAgo() / 1000 * 1000
	for i := range int64(10) {
		if err := n.Insert("g", base+i*1000, float64(i)); err != nil {
			t.Fatal(err)
		}
	}
	bounds := fmt.Sprintf("?start=%d&end=%d", base, base+9000)
	for agg, want := range map[string]string{"sum": "45", "mean": "4.5", "avg": "4.5", "min": "0", "max": "9", "count": "10"} {
		code, text, err := n.Get("/query/aggregated/g" + bounds + "&aggregation=" + agg)
		if err != nil || code != 200 || strings.TrimSpace(text) != want {
			t.Errorf("%s: %d %s %v, want %s", agg, code, text, err, want)
		}
	}
	for agg, want := range map[string]string{"sum": "null", "count": "0"} {
		code, text, err := n.Get("/query/aggregated/unknown" + bounds + "&aggregation=" + agg)
		if err != nil || code != 200 || strings.TrimSpace(text) != want {
			t.Errorf("%s of nothing: %d %s %v, want %s", agg, code, text, err, want)
		}
	}
	code, text, err := n.Get("/query/aggregated/g" + bounds + "&aggregation=sum&step=5000")
	want := fmt.Sprintf(`[{"timestamp":%d,"value":10},{"timestamp":%d,"value":35}]`, base, base+5000)
	if err != nil || code != 200 || strings.TrimSpace(text) != want {
		t.Errorf("windows: %d %s %v, want %s", code, text, err, want)
	}
	for _, q := range []string{bounds, bounds + "&aggregation=median", "?aggregation=sum", bounds + "&aggregation=sum&step=0", "?start=0&end=9999999999&aggregation=sum&step=1"} {
		if code, text, err := n.Get("/query/aggregated/g" + q); err != nil || code != 400 {
			t.Errorf("%q: %d %s %v, want 400", q, code, text, err)
		}
	}
	body := fmt.Sprintf(`{"series":["g","{__name__=~\"g|h\"}"],"start":%d,"end":%d,"aggregation":"max"}`, base, base+9000)
	code, text, err = n.Post("/query/aggregated", body)
	if err != nil || code != 200 || strings.Count(text, `"value":9`) == 0 {
		t.Errorf("several series: %d %s %v", code, text, err)
	}
}

func TestOnePlainKeyIsOneSeriesEverywhere(t *testing.T) {
	n := process.Start(t, t.TempDir())
	at := minuteAgo()
	if err := n.Insert("http_requests_total{job=\"api\",code=\"200\"}", at, 17); err != nil {
		t.Fatal(err)
	}
	if err := n.Insert("cpu.usage", at, 3); err != nil {
		t.Fatal(err)
	}
	for query, want := range map[string]float64{`http_requests_total{job="api"}`: 17, `{"cpu.usage"}`: 3, `{__name__="cpu.usage"}`: 3} {
		got, err := n.Query(query, time.UnixMilli(at))
		if err != nil || len(got) != 1 {
			t.Errorf("%s: %v %v", query, got, err)
			continue
		}
		for _, v := range got {
			if v != want {
				t.Errorf("%s = %v, want %v", query, v, want)
			}
		}
	}
}

func TestHealthAndHouse(t *testing.T) {
	n := process.Start(t, t.TempDir(), "NODE_ID=7")
	code, text, err := n.Get("/health")
	var h struct {
		Status      string
		NodeID      int `json:"node_id"`
		ClusterSize int `json:"cluster_size"`
	}
	if err != nil || code != 200 || json.Unmarshal([]byte(text), &h) != nil || h.Status != "healthy" || h.NodeID != 7 || h.ClusterSize != 1 {
		t.Errorf("health: %d %s %v", code, text, err)
	}
	for _, path := range []string{"/-/healthy", "/-/ready", "/metrics", "/version"} {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			if code, _, text, err := n.Do(method, path, nil, nil); err != nil || code != 200 {
				t.Errorf("%s %s: %d %s %v", method, path, code, text, err)
			}
		}
	}
	if _, text, _ := n.Get("/metrics"); !strings.Contains(text, "count_build_info{") || !strings.Contains(text, "count_engine_series") {
		t.Error("metrics lack count_build_info or count_engine_series")
	}
	_, header, _, err := n.Do("GET", "/health", http.Header{"X-Request-Id": {"mine"}}, nil)
	if err != nil || header.Get("X-Request-ID") != "mine" {
		t.Errorf("correlation id: %v %v", header, err)
	}
	for path, code := range map[string]int{"/nothing": 404, "/insert": 405, "/api/v1/admin/tsdb/flush": 404, "/debug/pprof/": 404} {
		got, text, err := n.Get(path)
		if err != nil || got != code || !strings.Contains(text, `"error"`) {
			t.Errorf("%s: %d %s %v, want %d", path, got, text, err, code)
		}
	}
}

func TestSpecialNumbersInAggregations(t *testing.T) {
	n := process.Start(t, t.TempDir())
	at := minuteAgo()
	for i, v := range []string{`1`, `"NaN"`} {
		if code, text, err := n.Post("/insert", fmt.Sprintf(`{"series":"n","timestamp":%d,"value":%s}`, at+int64(i), v)); err != nil || code != 201 {
			t.Fatalf("%d %s %v", code, text, err)
		}
	}
	code, text, err := n.Get(fmt.Sprintf("/query/aggregated/n?start=%d&end=%d&aggregation=sum", at, at+10))
	if err != nil || code != 200 || strings.TrimSpace(text) != `"NaN"` {
		t.Errorf("sum with NaN: %d %s %v", code, text, err)
	}
	code, text, err = n.Get(fmt.Sprintf("/query/aggregated/n?start=%d&end=%d&aggregation=max", at, at+10))
	if err != nil || code != 200 || strings.TrimSpace(text) != "1" {
		t.Errorf("max with NaN: %d %s %v", code, text, err)
	}
}
