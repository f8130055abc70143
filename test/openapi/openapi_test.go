package openapi

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/count-db/count/test/process"
)

func TestMain(m *testing.M) {
	code := m.Run()
	process.Cleanup()
	os.Exit(code)
}

// exchange is a request, the place in the file that it is of, and the status
// that it is to be answered with.
type exchange struct {
	method, path string // as the file has it
	target       string // what is asked for; "" = path
	header, body string
	status       int
	early        bool // asked of a node whose cluster is not founded yet
}

func exchanges() []exchange {
	now := time.Now().UnixMilli()
	one := fmt.Sprintf(`{"series":"cpu.usage","labels":{"host":"a"},"timestamp":%d,"value":0.5}`, now)
	special := fmt.Sprintf(`[{"series":"special","timestamp":%d,"value":"NaN"},{"series":"special","timestamp":%d,"value":"-Inf"}]`, now, now+1)
	const all = "?start=0&end=9999999999999"
	const query = `{"series":["special","{__name__=\"cpu.usage\"}"],"start":0,"end":9999999999999`
	large := `{"series":["` + strings.Repeat("x", 5000) + `"],"start":0,"end":1}`
	return []exchange{
		{method: "post", path: "/insert", body: one, status: 201},
		{method: "post", path: "/insert", body: special, status: 201},
		{method: "post", path: "/insert", body: one + "\n" + one + "\n", header: "Content-Type: application/x-ndjson", status: 201},
		{method: "post", path: "/insert", body: `{"series":""}`, status: 400},
		{method: "put", path: "/insert", body: one, status: 405},
		{method: "post", path: "/insert", body: large, status: 413},
		{method: "post", path: "/insert", body: one, header: "Content-Encoding: br", status: 415},
		{method: "post", path: "/insert", body: one, status: 503, early: true},

		{method: "get", path: "/query/range/{series}", target: "/query/range/cpu.usage%7Bhost=%22a%22%7D" + all, status: 200},
		{method: "get", path: "/query/range/{series}", target: "/query/range/special" + all, status: 200},
		{method: "get", path: "/query/range/{series}", target: "/query/range/unknown" + all, status: 200},
		{method: "get", path: "/query/range/{series}", target: "/query/range/special?start=2&end=1", status: 400},
		{method: "post", path: "/query/range/{series}", target: "/query/range/special" + all, status: 405},
		{method: "get", path: "/query/range/{series}", target: "/query/range/special" + all, status: 503, early: true},

		{method: "get", path: "/query/aggregated/{series}", target: "/query/aggregated/cpu.usage%7Bhost=%22a%22%7D" + all + "&aggregation=mean", status: 200},
		{method: "get", path: "/query/aggregated/{series}", target: "/query/aggregated/special" + all + "&aggregation=sum", status: 200},
		{method: "get", path: "/query/aggregated/{series}", target: "/query/aggregated/unknown" + all + "&aggregation=max", status: 200},
		{method: "get", path: "/query/aggregated/{series}", target: fmt.Sprintf("/query/aggregated/special?start=%d&end=%d&aggregation=min&step=1000", now-5000, now+5000), status: 200},
		{method: "get", path: "/query/aggregated/{series}", target: "/query/aggregated/special" + all + "&aggregation=median", status: 400},
		{method: "post", path: "/query/aggregated/{series}", target: "/query/aggregated/special" + all, status: 405},
		{method: "get", path: "/query/aggregated/{series}", target: "/query/aggregated/special" + all + "&aggregation=sum", status: 503, early: true},

		{method: "post", path: "/query/range", body: query + `}`, status: 200},
		{method: "post", path: "/query/range", body: `{"series":[]}`, status: 400},
		{method: "post", path: "/query/range", body: large, status: 413},
		{method: "post", path: "/query/range", body: query + `}`, status: 503, early: true},
		{method: "post", path: "/query/aggregated", body: query + `,"aggregation":"max"}`, status: 200},
		{method: "post", path: "/query/aggregated", body: query + `,"aggregation":"max","step":9000000000}`, status: 200},
		{method: "post", path: "/query/aggregated", body: query + `}`, status: 400},
		{method: "post", path: "/query/aggregated", body: large, status: 413},
		{method: "post", path: "/query/aggregated", body: query + `,"aggregation":"max"}`, status: 503, early: true},

		{method: "get", path: "/health", status: 200},
		{method: "get", path: "/health", status: 503, early: true},
		{method: "get", path: "/-/healthy", status: 200},
		{method: "get", path: "/-/ready", status: 200},
		{method: "get", path: "/-/ready", status: 503, early: true},
		{method: "get", path: "/version", status: 200},
		{method: "get", path: "/cluster/status", status: 200},
		{method: "get", path: "/cluster/ring", target: "/cluster/ring?series=special", status: 200},
		{method: "get", path: "/cluster/ring", target: "/cluster/ring?join=2&zone=b", status: 200},
		{method: "get", path: "/cluster/ring", target: "/cluster/ring?join=0", status: 400},
		{method: "get", path: "/cluster/ring", target: "/cluster/ring?leave=1", status: 409},
		{method: "get", path: "/cluster/ring", status: 503, early: true},
		{method: "get", path: "/cluster/repair", status: 200},
	}
}

// earlyNode is a founder that waits for another one, which never comes.
func earlyNode(t *testing.T) *process.Node {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := ln.Addr().String()
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	return process.StartUnready(t, t.TempDir(), "BIND_ADDRESS="+address, "CLUSTER_NODES="+address+",127.0.0.1:1", "ADVERTISE_ADDRESS="+address)
}

func TestTheFileIsTrue(t *testing.T) {
	d := readDocument(t)
	ready, early := process.Start(t, t.TempDir(), "MAX_BODY_SIZE=4096"), earlyNode(t)
	early.Eventually(30*time.Second, "the node says that it waits", func() error {
		code, text, err := early.Get("/cluster/ring")
		if err == nil && (code != 503 || !strings.Contains(text, "error")) {
			err = fmt.Errorf("%d %s", code, text)
		}
		return err
	})
	asked := map[string]bool{}
	for _, e := range exchanges() {
		node := ready
		if e.early {
			node = early
		}
		asked[fmt.Sprintf("%s %s %d", e.method, e.path, e.status)] = true
		if err := d.try(node, e); err != nil {
			t.Errorf("%s %s%s (%d): %v", e.method, e.path, e.target, e.status, err)
		}
	}
	paths, _ := d.root["paths"].(object)
	for path, operations := range paths {
		for method, operation := range operations.(object) {
			for status, response := range operation.(object)["responses"].(object) {
				resolved, err := d.resolve(response.(object))
				if err != nil {
					t.Fatal(err)
				}
				// A wrong method is asked for under its own name.
				if what := method + " " + path + " " + status; !asked[what] && resolved["x-untested"] == nil && status != "405" {
					t.Errorf("%s stands in the file and is asked for nowhere", what)
				}
			}
		}
	}
}

// try sends a request and holds its answer against the file.
func (d *document) try(node *process.Node, e exchange) error {
	target, header := e.target, http.Header{}
	if target == "" {
		target = e.path
	}
	if name, value, ok := strings.Cut(e.header, ": "); ok {
		header.Set(name, value)
	}
	code, got, text, err := node.Do(strings.ToUpper(e.method), target, header, []byte(e.body))
	if err != nil {
		return err
	}
	if code != e.status {
		return fmt.Errorf("answered with %d %.200s", code, text)
	}
	response, err := d.response(e)
	if err != nil {
		return err
	}
	if code == http.StatusServiceUnavailable && e.path != "/health" && got.Get("Retry-After") == "" {
		return fmt.Errorf("no Retry-After")
	}
	contents, _ := response["content"].(object)
	for kind, content := range contents {
		if !strings.HasPrefix(got.Get("Content-Type"), kind) {
			return fmt.Errorf("it is %q, the file says %s", got.Get("Content-Type"), kind)
		}
		if kind == "application/json" {
			return d.checkText(content.(object)["schema"].(object), text)
		}
	}
	return nil
}

// response finds what the file says of an exchange. A wrong method stands with
// the right one.
func (d *document) response(e exchange) (object, error) {
	operations, ok := d.root["paths"].(object)[e.path].(object)
	if !ok {
		return nil, fmt.Errorf("the path is not in the file")
	}
	for method, operation := range operations {
		if method != e.method && e.status != http.StatusMethodNotAllowed {
			continue
		}
		response, ok := operation.(object)["responses"].(object)[fmt.Sprint(e.status)].(object)
		if !ok {
			return nil, fmt.Errorf("the status is not in the file")
		}
		return d.resolve(response)
	}
	return nil, fmt.Errorf("the method is not in the file")
}
