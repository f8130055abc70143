package cluster

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/prompb"

	"github.com/count-db/count/test/process"
)

// entry is one acknowledged remote write: a series with a sample, an exemplar and
// the metadata of its family, all by its name.
type entry struct {
	name string
	t    int64
}

// everything is a ledger of entries and of what each endpoint must show of them.
type everything struct{ acked []entry }

// write writes an entry until it is acknowledged: a client retries.
func (l *everything) write(n *process.Node, name string) {
	e := entry{name, time.Now().UnixMilli()}
	req := prompb.WriteRequest{
		Timeseries: []prompb.TimeSeries{{
			Labels:    []prompb.Label{{Name: "__name__", Value: e.name}, {Name: "instance", Value: "of_" + e.name}, {Name: "job", Value: "everything"}, {Name: "only_" + e.name, Value: "x"}},
			Samples:   []prompb.Sample{{Timestamp: e.t, Value: 1}},
			Exemplars: []prompb.Exemplar{{Timestamp: e.t, Value: 2, Labels: []prompb.Label{{Name: "trace", Value: "trace_" + e.name}}}},
		}},
		Metadata: []prompb.MetricMetadata{{MetricFamilyName: e.name, Type: prompb.MetricMetadata_GAUGE, Help: "help of " + e.name}},
	}
	n.Eventually(30*time.Second, "a write is acknowledged", func() error {
		body, err := req.Marshal()
		if err != nil {
			return err
		}
		code, _, text, err := n.Do(http.MethodPost, "/api/v1/write", http.Header{"Content-Encoding": {"snappy"}, "Content-Type": {"application/x-protobuf"}}, snappy.Encode(nil, body))
		if err == nil && code != http.StatusNoContent {
			err = fmt.Errorf("%d %s", code, text)
		}
		return err
	})
	l.acked = append(l.acked, e)
}

// endpoints are what shows entries: for each its request, and the text by which
// an entry is found in its answer. All entries are in one answer.
func (l *everything) endpoints() map[string]struct {
	path string
	text func(entry) string
} {
	span := fmt.Sprintf("start=%d&end=%d", l.acked[0].t/1000-60, time.Now().Unix()+60)
	match := "match[]=" + url.QueryEscape(`{job="everything"}`)
	quoted := func(prefix string) func(entry) string {
		return func(e entry) string { return fmt.Sprintf("%q", prefix+e.name) }
	}
	return map[string]struct {
		path string
		text func(entry) string
	}{
		"labels":       {"/api/v1/labels?" + match + "&" + span, quoted("only_")},
		"label values": {"/api/v1/label/instance/values?" + match + "&" + span, quoted("of_")},
		"series":       {"/api/v1/series?" + match + "&" + span, quoted("of_")},
		"exemplars":    {"/api/v1/query_exemplars?query=" + url.QueryEscape(`{job="everything"}`) + "&" + span, quoted("trace_")},
		"metadata":     {"/api/v1/metadata?limit=1000", quoted("help of ")},
		"query":        {"/api/v1/query?query=" + url.QueryEscape(`count by (__name__) ({job="everything"})`), quoted("")},
		"federate":     {"/federate?" + match, func(e entry) string { return e.name + "{" }},
	}
}

// check asks a node everything: a complete answer has all entries. It says why
// an answer is not complete.
func (l *everything) check(t *testing.T, n *process.Node) error {
	t.Helper()
	for name, e := range l.endpoints() {
		code, header, text, err := n.Do(http.MethodGet, e.path, nil, nil)
		var answer struct{ Warnings []string }
		if err == nil && strings.HasPrefix(header.Get("Content-Type"), "application/json") {
			err = json.Unmarshal([]byte(text), &answer)
		}
		if err != nil || code != http.StatusOK || len(answer.Warnings) > 0 || header.Get("X-Count-Warning") != "" {
			return fmt.Errorf("%s: %d %v %v %.200s", name, code, err, header, text)
		}
		for _, entry := range l.acked {
			if !strings.Contains(text, e.text(entry)) {
				t.Errorf("C1: %s of %s was acknowledged, and is not in a complete answer of %s: %s", name, entry.name, n.Address, text)
			}
		}
	}
	return l.checkRemoteRead(t, n)
}

func (l *everything) checkRemoteRead(t *testing.T, n *process.Node) error {
	t.Helper()
	req := prompb.ReadRequest{Queries: []*prompb.Query{{
		StartTimestampMs: l.acked[0].t, EndTimestampMs: time.Now().UnixMilli(),
		Matchers: []*prompb.LabelMatcher{{Type: prompb.LabelMatcher_EQ, Name: "job", Value: "everything"}},
	}}}
	body, err := req.Marshal()
	if err != nil {
		return err
	}
	code, header, text, err := n.Do(http.MethodPost, "/api/v1/read", http.Header{"Content-Encoding": {"snappy"}, "Content-Type": {"application/x-protobuf"}}, snappy.Encode(nil, body))
	if err != nil || code != http.StatusOK || header.Get("X-Count-Warning") != "" {
		return fmt.Errorf("remote read: %d %v %v %.200s", code, err, header, text)
	}
	plain, err := snappy.Decode(nil, []byte(text))
	if err != nil {
		return err
	}
	var resp prompb.ReadResponse
	if err := resp.Unmarshal(plain); err != nil {
		return err
	}
	for _, e := range l.acked {
		if !slices.ContainsFunc(resp.Results[0].Timeseries, func(ts *prompb.TimeSeries) bool {
			return len(ts.Labels) > 0 && ts.Labels[0].Value == e.name && len(ts.Samples) > 0 && ts.Samples[0].Timestamp == e.t
		}) {
			t.Errorf("C1: %s was acknowledged, and is not in a complete remote read through %s", e.name, n.Address)
		}
	}
	return nil
}

// TestEverythingThroughEveryNode: labels, series, exemplars, metadata and remote
// read show what was acknowledged as samples do: through every node, while a node
// is dead, and while another one is dead after it came back.
func TestEverythingThroughEveryNode(t *testing.T) {
	for _, rf := range []string{"2", "3"} {
		t.Run("rf"+rf, func(t *testing.T) {
			c := start(t, 3, "REPLICATION_FACTOR="+rf)
			l := &everything{}
			through := func(when string, ids ...int) {
				t.Helper()
				for round := range 4 {
					for _, id := range ids {
						l.write(c.node(id), fmt.Sprintf("%s_%d_%d", when, round, id))
					}
				}
				for _, id := range ids {
					c.node(id).Eventually(30*time.Second, when+": answers are complete", func() error { return l.check(t, c.node(id)) })
				}
			}
			through("whole", 1, 2, 3)
			c.node(3).Kill()
			through("dead", 1, 2)
			c.node(3).Restart()
			c.whole()
			through("back", 1, 2, 3)
			c.node(1).Kill()
			through("other", 2, 3)
		})
	}
}

// TestMinorityMarksEverything: a node alone marks each of its answers.
func TestMinorityMarksEverything(t *testing.T) {
	c := start(t, 3)
	l := &everything{}
	l.write(c.node(1), "before")
	c.node(2).Kill()
	c.node(3).Kill()
	c.sees(1, 1)
	for name, e := range l.endpoints() {
		code, header, text, err := c.node(1).Do(http.MethodGet, e.path, nil, nil)
		if err != nil || code != http.StatusOK || !strings.Contains(text+header.Get("X-Count-Warning"), "possibly stale") {
			t.Errorf("%s in the minority: %d %v %v %.300s", name, code, err, header, text)
		}
	}
	if err := l.checkRemoteRead(t, c.node(1)); err == nil || !strings.Contains(err.Error(), "possibly stale") {
		t.Errorf("remote read in the minority: %v", err)
	}
}

// TestRequestIDInTheOthersLog: the correlation id of a request stands in the log
// lines of the nodes that were asked for it.
func TestRequestIDInTheOthersLog(t *testing.T) {
	c := start(t, 3, "LOG_LEVEL=debug")
	code, header, text, err := c.node(1).Do(http.MethodPost, "/insert", http.Header{"X-Request-ID": {"find-me-17"}}, []byte(`{"series":"a","timestamp":1000,"value":1}`))
	if err != nil || code != http.StatusCreated || header.Get("X-Request-ID") != "find-me-17" {
		t.Fatalf("%d %v %v %s", code, err, header, text)
	}
	c.node(2).Eventually(10*time.Second, "the id is in the log of the node that stores a copy", func() error {
		if !strings.Contains(c.node(2).Log(), "find-me-17") {
			return fmt.Errorf("not there yet")
		}
		return nil
	})
}

// TestUnfoundedSaysWhyOnce: a founder that waits for the others says so in
// /health, each reason once.
func TestUnfoundedSaysWhyOnce(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a process")
	}
	addresses := freeAddresses(t, 2)
	n := process.StartUnready(t, t.TempDir(), "BIND_ADDRESS="+addresses[0], "CLUSTER_NODES="+strings.Join(addresses, ","))
	var h health
	n.Eventually(30*time.Second, "it says what it waits for", func() (err error) {
		if h, err = healthOf(n); err == nil && !strings.Contains(strings.Join(h.Reasons, " "), addresses[1]) {
			err = fmt.Errorf("%+v", h)
		}
		return err
	})
	sorted := slices.Sorted(slices.Values(h.Reasons))
	if h.Status != "unhealthy" || len(slices.Compact(sorted)) != len(h.Reasons) {
		t.Errorf("%+v", h)
	}
}
