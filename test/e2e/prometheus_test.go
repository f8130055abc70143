package e2e

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/count-db/count/test/process"
)

const prometheusConfig = `
global:
  scrape_interval: 1s
  scrape_native_histograms: true
scrape_configs:
  - job_name: prometheus
    static_configs: [{targets: ["PROMETHEUS"]}]
  - job_name: count
    static_configs: [{targets: ["COUNT"]}]
remote_write:
  - url: http://COUNT/api/v1/write
    name: version1
    protobuf_message: prometheus.WriteRequest
    send_exemplars: true
    send_native_histograms: true
    queue_config: {batch_send_deadline: 500ms}
    metadata_config: {send: true, send_interval: 2s}
  - url: http://SECOND/api/v1/write
    name: version2
    protobuf_message: io.prometheus.write.v2.Request
    send_exemplars: true
    send_native_histograms: true
    queue_config: {batch_send_deadline: 500ms}
`

// comparedQueries must answer the same on Prometheus and on Count.
func comparedQueries() []string {
	return []string{
		`up`,
		`count({__name__=~".+"})`,
		`count by (__name__) ({job="prometheus"})`,
		`sum by (handler) (rate(prometheus_http_requests_total[4s]))`,
		`rate(go_gc_duration_seconds_count[4s])`,
		`avg_over_time(go_goroutines[4s])`,
		`max_over_time(process_resident_memory_bytes[4s])`,
		`histogram_quantile(0.9, sum(rate(prometheus_http_request_duration_seconds[4s])))`,
		`histogram_count(prometheus_http_request_duration_seconds)`,
		`sum(scrape_samples_scraped) by (job)`,
		`topk(3, go_memstats_alloc_bytes)`,
		`absent(nothing_here)`,
		`count_values("v", up)`,
		`label_replace(up, "j", "$1", "job", "(.*)")`,
		`go_goroutines offset 2s`,
		`max_over_time((sum(up))[4s:1s])`,
		`timestamp(up)`,
		`changes(process_start_time_seconds[4s]) == 0`,
	}
}

// TestPrometheusWritesAndAgrees: a real Prometheus scrapes itself and Count,
// writes to two nodes by the two versions of remote write, and all three answer
// the same.
func TestPrometheusWritesAndAgrees(t *testing.T) {
	first, second := process.Start(t, t.TempDir()), process.Start(t, t.TempDir())
	prom := process.StartPrometheus(t, func(address string) string {
		return strings.NewReplacer("PROMETHEUS", address, "COUNT", first.Address, "SECOND", second.Address).Replace(prometheusConfig)
	}, "--enable-feature=exemplar-storage,metadata-wal-records")
	nodes := map[string]*process.Node{"remote write 1.0": first, "remote write 2.0": second}
	// The first scrapes may be older than the beginning of remote write: compare
	// at a time that has enough of them behind it in each node.
	const warmUp = 8 * time.Second
	var at time.Time
	for name, n := range nodes {
		n.Eventually(2*time.Minute, "the first samples have come by "+name, func() error {
			got, err := n.Query(`max(min_over_time(timestamp(up)[10m:500ms])) and count(up) > 1`, time.Now())
			if err != nil {
				return err
			}
			first := onlyValue(got)
			if math.IsNaN(first) {
				return errors.New("not yet")
			}
			if t := time.UnixMilli(int64(first * 1000)).Add(warmUp); t.After(at) {
				at = t
			}
			return nil
		})
	}
	for name, n := range nodes {
		n.Eventually(60*time.Second, "samples behind the compared time have come by "+name, func() error {
			got, err := n.Query(`min(timestamp(up))`, at.Add(2*time.Second))
			if err != nil {
				return err
			}
			if newest := onlyValue(got); !(newest > float64(at.UnixMilli())/1000) {
				return fmt.Errorf("newest sample at %v", newest)
			}
			return nil
		})
	}
	for _, query := range comparedQueries() {
		want, err := prom.Query(query, at)
		if err != nil {
			t.Fatal(err)
		}
		for name, n := range nodes {
			// Prometheus may write through several queues at once: what one of them
			// has brought says little of the others.
			n.Eventually(60*time.Second, "the same answer by "+name+" to "+query, func() error {
				got, err := n.Query(query, at)
				if err == nil && !sameValues(got, want) {
					err = fmt.Errorf("%v\nPrometheus: %v", got, want)
				}
				return err
			})
		}
	}
	for name, n := range nodes {
		n.Eventually(20*time.Second, "metadata has come by "+name, func() error {
			_, text, err := n.Get("/api/v1/metadata?metric=prometheus_http_requests_total")
			if err == nil && !strings.Contains(text, `"type":"counter"`) {
				err = fmt.Errorf("metadata: %s", text)
			}
			return err
		})
	}
}

func sameValues(a, b map[string]float64) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		w, ok := b[k]
		if !ok || (v != w && math.Abs(v-w) > 1e-9*math.Max(math.Abs(v), math.Abs(w)) && !(math.IsNaN(v) && math.IsNaN(w))) {
			return false
		}
	}
	return true
}
