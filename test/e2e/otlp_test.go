package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/count-db/count/test/process"
)

const otlpBody = `{"resourceMetrics":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}]},"scopeMetrics":[{"metrics":[
{"name":"cart.items","unit":"1","description":"Items.","gauge":{"dataPoints":[{"timeUnixNano":"%[1]d","asDouble":4.5,"attributes":[{"key":"kind","value":{"stringValue":"x"}}]}]}},
{"name":"orders","unit":"1","sum":{"aggregationTemporality":2,"isMonotonic":true,"dataPoints":[{"startTimeUnixNano":"%[2]d","timeUnixNano":"%[1]d","asInt":"17"}]}},
{"name":"latency","unit":"s","exponentialHistogram":{"aggregationTemporality":2,"dataPoints":[{"startTimeUnixNano":"%[2]d","timeUnixNano":"%[1]d","count":"3","sum":6,"scale":0,"zeroCount":"0","positive":{"offset":0,"bucketCounts":["1","2"]}}]}}
]}]}]}`

func TestOTLP(t *testing.T) {
	n := process.Start(t, t.TempDir())
	at := minuteAgo()
	body := fmt.Sprintf(otlpBody, at*1e6, (at-60000)*1e6)
	for _, path := range []string{"/api/v1/otlp/v1/metrics", "/otlp/v1/metrics"} {
		code, _, text, err := n.Do("POST", path, http.Header{"Content-Type": {"application/json"}}, []byte(body))
		if err != nil || code != 200 {
			t.Fatalf("%s: %d %s %v", path, code, text, err)
		}
	}
	for query, want := range map[string]float64{
		`cart_items_ratio{job="shop",kind="x"}`: 4.5, `orders_total{job="shop"}`: 17, `histogram_count(latency_seconds{job="shop"})`: 3,
	} {
		got, err := n.Query(query, time.UnixMilli(at))
		if err != nil || len(got) != 1 || onlyValue(got) != want {
			_, text, _ := n.Get("/api/v1/series?match[]=%7Bjob%3D%22shop%22%7D&start=0")
			t.Errorf("%s: %v %v; there are %s", query, got, err, text)
		}
	}
	code, _, text, err := n.Do("POST", "/otlp/v1/metrics", http.Header{"Content-Type": {"application/json"}}, []byte(strings.Repeat("x", 10)))
	if err != nil || code != 400 {
		t.Errorf("garbage: %d %s %v", code, text, err)
	}
}
