package grafana

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/prompb"

	"github.com/count-db/count/test/process"
)

func TestMain(m *testing.M) {
	code := m.Run()
	process.Cleanup()
	os.Exit(code)
}

// exchange is a request of the file and what is expected of its answer.
type exchange struct {
	name, wire string
	status     int
	want       []string // "!" in front: must not be there
}

// exchanges reads the file and fills its places.
func exchanges(t *testing.T, host string, now time.Time) []exchange {
	t.Helper()
	text, err := os.ReadFile("testdata/requests.txt")
	if err != nil {
		t.Fatal(err)
	}
	unix := now.Unix()
	fill := strings.NewReplacer(
		"HOST", host, "STARTMS", fmt.Sprint((unix-600)*1000), "ENDMS", fmt.Sprint((unix+60)*1000),
		"NOWF", fmt.Sprintf("%d.25", unix), "NOW", fmt.Sprint(unix), "START", fmt.Sprint((unix-600)/15*15), "END", fmt.Sprint(unix/15*15),
	)
	var all []exchange
	for _, part := range strings.Split(string(text), "\n=== ")[1:] {
		name, rest, _ := strings.Cut(part, "\n")
		request, expected, ok := strings.Cut(rest, "\n--- ")
		lines := strings.Split(strings.TrimSpace(fill.Replace(expected)), "\n")
		status, err := strconv.Atoi(lines[0])
		if !ok || err != nil {
			t.Fatalf("%s: no status", name)
		}
		head, body, _ := strings.Cut(fill.Replace(request), "\n\n")
		head = strings.Replace(head, "LENGTH", fmt.Sprint(len(body)), 1)
		wire := strings.ReplaceAll(strings.TrimRight(head, "\n"), "\n", "\r\n") + "\r\n\r\n" + body
		all = append(all, exchange{name, wire, status, lines[1:]})
	}
	if len(all) < 30 {
		t.Fatalf("only %d requests", len(all))
	}
	return all
}

// replay sends the bytes and reads one answer, in the encoding that it says.
func replay(address, wire string) (status int, text string, err error) {
	conn, err := net.DialTimeout("tcp", address, 10*time.Second)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return 0, "", err
	}
	if _, err := io.WriteString(conn, wire); err != nil {
		return 0, "", err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0, "", err
	}
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, "", fmt.Errorf("the body is not as long as it says: %w", err)
	}
	switch encoding := resp.Header.Get("Content-Encoding"); {
	case encoding == "":
		return resp.StatusCode, string(raw), nil
	case encoding != "gzip" || !strings.Contains(wire, "gzip"):
		return 0, "", fmt.Errorf("encoded as %q, which was not asked for", encoding)
	}
	plain, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		return 0, "", err
	}
	decoded, err := io.ReadAll(plain)
	return resp.StatusCode, string(decoded), err
}

func (e exchange) check(address string) error {
	status, text, err := replay(address, e.wire)
	if err != nil {
		return err
	}
	if status != e.status {
		return fmt.Errorf("%d %.500s, want %d", status, text, e.status)
	}
	for _, want := range e.want {
		word, unwanted := strings.CutPrefix(want, "!")
		if strings.Contains(text, word) == unwanted {
			return fmt.Errorf("want %s in\n%.1000s", want, text)
		}
	}
	var envelope struct{ Status string }
	if status == http.StatusOK && (json.Unmarshal([]byte(text), &envelope) != nil || envelope.Status != "success") {
		return fmt.Errorf("no envelope: %.500s", text)
	}
	return nil
}

// load writes ten minutes of samples by remote write, with an exemplar and
// metadata.
func load(t *testing.T, n *process.Node, now time.Time) {
	t.Helper()
	series := func(labels ...string) *prompb.TimeSeries {
		ts := &prompb.TimeSeries{}
		for i := 0; i < len(labels); i += 2 {
			ts.Labels = append(ts.Labels, prompb.Label{Name: labels[i], Value: labels[i+1]})
		}
		return ts
	}
	var all []prompb.TimeSeries
	for job, instance := range map[string]string{"a": "127.0.0.1:9390", "b": "x"} {
		up, requests := series("__name__", "up", "instance", instance, "job", job), series("__name__", "http_requests_total", "instance", instance, "job", job)
		for at := now.Add(-10 * time.Minute); !at.After(now); at = at.Add(15 * time.Second) {
			up.Samples = append(up.Samples, prompb.Sample{Timestamp: at.UnixMilli(), Value: 1})
			requests.Samples = append(requests.Samples, prompb.Sample{Timestamp: at.UnixMilli(), Value: float64(at.Unix() % 100000)})
		}
		requests.Exemplars = []prompb.Exemplar{{Labels: []prompb.Label{{Name: "trace_id", Value: "abc"}}, Value: 7, Timestamp: now.Add(-time.Minute).UnixMilli()}}
		all = append(all, *up, *requests)
	}
	odd := series("__name__", "my lovely_http.status:sum", "my.label", "x y")
	odd.Samples = []prompb.Sample{{Timestamp: now.Add(-time.Minute).UnixMilli(), Value: 1}}
	request := &prompb.WriteRequest{
		Timeseries: append(all, *odd),
		Metadata:   []prompb.MetricMetadata{{Type: prompb.MetricMetadata_COUNTER, MetricFamilyName: "http_requests_total", Help: "Requests."}},
	}
	raw, err := request.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	header := http.Header{"Content-Type": {"application/x-protobuf"}, "Content-Encoding": {"snappy"}, "X-Prometheus-Remote-Write-Version": {"0.1.0"}}
	code, _, text, err := n.Do(http.MethodPost, "/api/v1/write", header, snappy.Encode(nil, raw))
	if err != nil || code != http.StatusNoContent {
		t.Fatalf("remote write: %d %s %v", code, text, err)
	}
}

// three starts three nodes with two copies of everything: whichever is asked
// lacks a third of it.
func three(t *testing.T) []*process.Node {
	t.Helper()
	var addresses []string
	var free []net.Listener
	for range 3 {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		free, addresses = append(free, ln), append(addresses, ln.Addr().String())
	}
	for _, ln := range free {
		if err := ln.Close(); err != nil {
			t.Fatal(err)
		}
	}
	var all []*process.Node
	for i, address := range addresses {
		all = append(all, process.StartUnready(t, t.TempDir(), "BIND_ADDRESS="+address, "NODE_ID="+fmt.Sprint(i+1), "REPLICATION_FACTOR=2", "CLUSTER_NODES="+strings.Join(addresses, ",")))
	}
	for _, n := range all {
		n.WaitReady()
	}
	return all
}

func TestReplay(t *testing.T) {
	for name, start := range map[string]func(*testing.T) []*process.Node{
		"one node":    func(t *testing.T) []*process.Node { return []*process.Node{process.Start(t, t.TempDir())} },
		"three nodes": three,
	} {
		t.Run(name, func(t *testing.T) {
			if testing.Short() && name != "one node" {
				t.Skip("starts processes")
			}
			nodes, now := start(t), time.Now()
			load(t, nodes[0], now)
			for i, n := range nodes {
				for _, e := range exchanges(t, n.Address, now) {
					if err := e.check(n.Address); err != nil {
						t.Errorf("node %d: %s: %v\nsent:\n%s", i+1, e.name, err, e.wire)
					}
				}
			}
		})
	}
}
