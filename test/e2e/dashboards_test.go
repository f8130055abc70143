package e2e

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/count-db/count/dashboards"
	"github.com/count-db/count/test/process"
)

// panelQueries returns the queries of all dashboards with the panels they are
// of, as Grafana would send them.
func panelQueries(t *testing.T) map[string]string {
	t.Helper()
	names, err := fs.Glob(dashboards.Files, "grafana/*.json")
	if err != nil || len(names) == 0 {
		t.Fatalf("dashboards %v, %v", names, err)
	}
	variables := strings.NewReplacer("$__rate_interval", "10s", "$__interval", "10s", "$__range", "1m", "$instance", ".*", "$room", ".*")
	all := map[string]string{}
	for _, name := range names {
		text, err := dashboards.Files.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var board struct {
			UID    string
			Panels []struct {
				Title   string
				Targets []struct{ Expr string }
			}
		}
		if err := json.Unmarshal(text, &board); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, p := range board.Panels {
			for _, q := range p.Targets {
				all[variables.Replace(q.Expr)] = board.UID + ": " + p.Title
			}
		}
	}
	return all
}

// emptyInPeace are panels that have nothing to show while nothing is wrong, or
// that a machine may have nothing for.
var emptyInPeace = regexp.MustCompile(`^count-[a-z]+: (Errors|Refused and failed|Refused samples|REST errors)$|^node-exporter: (Disk|Fullest|Free space)`)

// nodeExporter starts a node_exporter; without one its board is left out.
func nodeExporter(t *testing.T) (address string) {
	t.Helper()
	bin, err := exec.LookPath("prometheus-node-exporter")
	if err != nil {
		return ""
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address = ln.Addr().String()
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin, "--web.listen-address="+address)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return address
}

// TestDashboards: every query of every dashboard is answered by a node that a
// Prometheus writes to and `count demo` too, and has data.
func TestDashboards(t *testing.T) {
	n := process.Start(t, t.TempDir())
	exporter := nodeExporter(t)
	process.StartPrometheus(t, func(string) string {
		config := "global: {scrape_interval: 1s}\nremote_write: [{url: \"http://COUNT/api/v1/write\"}]\nscrape_configs:\n- {job_name: count, static_configs: [{targets: [COUNT]}]}\n"
		if exporter != "" {
			config += "- {job_name: node, static_configs: [{targets: [EXPORTER]}]}\n"
		}
		return strings.NewReplacer("COUNT", n.Address, "EXPORTER", exporter).Replace(config)
	})
	demo := exec.Command(process.Binary(t), "demo", "--server", n.URL, "--every", "200ms")
	if err := demo.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = demo.Process.Kill()
		_ = demo.Wait()
	})
	waiting := panelQueries(t)
	for query, at := range waiting {
		if emptyInPeace.MatchString(at) || exporter == "" && strings.HasPrefix(at, "node-exporter:") {
			delete(waiting, query)
			if _, err := n.Query(query, time.Now()); err != nil {
				t.Errorf("%s: %s: %v", at, query, err)
			}
		}
	}
	n.Eventually(90*time.Second, "every panel has data", func() error {
		for query, at := range waiting {
			code, text, err := n.Get("/api/v1/query?" + url.Values{"query": {query}}.Encode())
			if err != nil || code != 200 {
				t.Fatalf("%s: %s: %d %s %v", at, query, code, text, err)
			}
			if strings.Contains(text, `"result":[]`) {
				return fmt.Errorf("%s: %s: nothing", at, query)
			}
			delete(waiting, query)
		}
		return nil
	})
}

// TestPromtoolTakesTheRules needs promtool (PROMTOOL_BIN).
func TestPromtoolTakesTheRules(t *testing.T) {
	promtool := os.Getenv("PROMTOOL_BIN")
	if promtool == "" {
		t.Skip("PROMTOOL_BIN is not set")
	}
	rules, err := filepath.Glob("../../dashboards/rules/*.yaml")
	if err != nil || len(rules) < 2 {
		t.Fatalf("rules %v, %v", rules, err)
	}
	for _, args := range [][]string{append([]string{"check", "rules"}, rules...), {"check", "config", "--syntax-only", "../../deploy/prometheus.yml"}} {
		if out, err := exec.Command(promtool, args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %v: %v\n%s", args, err, out)
		}
	}
}
