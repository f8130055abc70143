package dashboards

import (
	"encoding/json"
	"io/fs"
	"os"
	"path"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"
)

type dashboard struct {
	UID, Title, Description string
	Templating              struct{ List []struct{ Name, Type string } }
	Panels                  []panel
}

type panel struct {
	Type, Title, Description string
	Datasource               struct{ UID string }
	FieldConfig              struct{ Defaults struct{ Unit string } }
	Targets                  []struct {
		Expr, LegendFormat string
		Datasource         struct{ UID string }
	}
}

// variables are what Grafana puts in before it asks.
var variables = strings.NewReplacer("$__rate_interval", "1m", "$__interval", "1m", "$__range", "1h", "$instance", ".*", "$room", ".*")

func load(t *testing.T) map[string]dashboard {
	t.Helper()
	names, err := fs.Glob(Files, "grafana/*.json")
	if err != nil || len(names) < 6 {
		t.Fatalf("dashboards: %v, %v", names, err)
	}
	all := map[string]dashboard{}
	for _, name := range names {
		text, err := Files.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var d dashboard
		if err := json.Unmarshal(text, &d); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		all[name] = d
	}
	return all
}

func TestPanels(t *testing.T) {
	for name, d := range load(t) {
		if want := strings.TrimSuffix(path.Base(name), ".json"); d.UID != want || d.Title == "" || d.Description == "" {
			t.Errorf("%s: uid %q, title %q, description %q", name, d.UID, d.Title, d.Description)
		}
		if len(d.Templating.List) == 0 || d.Templating.List[0].Name != "datasource" {
			t.Errorf("%s: the first variable must be the data source", name)
		}
		seen := map[string]bool{}
		for _, p := range d.Panels {
			if p.Type == "row" {
				continue
			}
			at := name + ": " + p.Title
			if seen[p.Title] {
				t.Errorf("%s: stands twice", at)
			}
			seen[p.Title] = true
			if p.Title == "" || p.Description == "" || p.FieldConfig.Defaults.Unit == "" || p.Datasource.UID != "${datasource}" || len(p.Targets) == 0 {
				t.Errorf("%s: title, description, unit, data source and queries must be there", at)
			}
			for _, q := range p.Targets {
				if q.Datasource.UID != "${datasource}" || q.LegendFormat == "" {
					t.Errorf("%s: query %q needs the data source and a legend", at, q.Expr)
				}
			}
		}
	}
}

// queries returns every query of dashboards and alerts with the place it is at.
func queries(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for name, d := range load(t) {
		for _, p := range d.Panels {
			for _, q := range p.Targets {
				all[variables.Replace(q.Expr)] = name + ": " + p.Title
			}
		}
	}
	for _, a := range rules(t, "count-alerts") {
		all[a.Expr] = "alert " + a.Alert
	}
	for _, r := range rules(t, "count-recording") {
		all[r.Expr] = "rule " + r.Record
	}
	return all
}

// rule is an alert or, with Record set, a recording rule.
type rule struct {
	Alert, Record, Expr string
	Labels              map[string]string
	Annotations         map[string]string
}

func rules(t *testing.T, file string) []rule {
	t.Helper()
	text, err := Files.ReadFile("rules/" + file + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	var groups struct{ Groups []struct{ Rules []rule } }
	if err := yaml.Unmarshal(text, &groups); err != nil {
		t.Fatal(err)
	}
	var all []rule
	for _, g := range groups.Groups {
		all = append(all, g.Rules...)
	}
	if len(all) < 5 {
		t.Fatalf("%s: only %d rules", file, len(all))
	}
	return all
}

func TestAlerts(t *testing.T) {
	text, err := os.ReadFile("../docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	anchors := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllStringSubmatch(string(text), -1) {
		anchors[strings.ToLower(strings.ReplaceAll(regexp.MustCompile(`[^\w\- ]`).ReplaceAllString(m[1], ""), " ", "-"))] = true
	}
	for _, a := range rules(t, "count-alerts") {
		if a.Alert == "" || a.Labels["severity"] == "" || a.Annotations["summary"] == "" {
			t.Errorf("alert %q needs a severity and a summary", a.Alert)
		}
		page, anchor, _ := strings.Cut(a.Annotations["runbook_url"], "#")
		if !strings.HasSuffix(page, "/docs/operating.md") || !anchors[anchor] {
			t.Errorf("alert %s: docs/operating.md has no part %q", a.Alert, anchor)
		}
	}
}

func TestQueriesParse(t *testing.T) {
	p := parser.NewParser(parser.Options{})
	for query, at := range queries(t) {
		if _, err := p.ParseExpr(query); err != nil {
			t.Errorf("%s: %q: %v", at, query, err)
		}
	}
}

// TestProvisioning: what Grafana is provisioned with fits the compose file's
// mounts and asks as the tests of test/grafana do.
func TestProvisioning(t *testing.T) {
	file := func(name string, to any) {
		text, err := os.ReadFile("grafana/provisioning/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.Unmarshal(text, to); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	var sources struct {
		Datasources []struct {
			Type, URL, UID string
			IsDefault      bool              `yaml:"isDefault"`
			JSONData       map[string]string `yaml:"jsonData"`
		}
	}
	file("datasources/count.yml", &sources)
	var boards struct {
		Providers []struct {
			Type    string
			Options struct{ Path string }
		}
	}
	file("dashboards/count.yml", &boards)
	if len(sources.Datasources) != 1 || len(boards.Providers) != 1 {
		t.Fatalf("%+v %+v", sources, boards)
	}
	compose, err := os.ReadFile("../docker-compose.yml")
	if err != nil {
		t.Fatal(err)
	}
	s := sources.Datasources[0]
	if s.Type != "prometheus" || s.URL != "http://lb:8080" || !s.IsDefault || s.JSONData["httpMethod"] != "POST" || s.JSONData["prometheusType"] != "Prometheus" || s.JSONData["timeInterval"] != "5s" {
		t.Errorf("data source %+v", s)
	}
	p := boards.Providers[0]
	for _, mount := range []string{"./dashboards/grafana:" + p.Options.Path + ":ro", "./dashboards/grafana/provisioning:/etc/grafana/provisioning:ro"} {
		if p.Type != "file" || !strings.Contains(string(compose), mount) {
			t.Errorf("provider %+v: the compose file does not mount %s", p, mount)
		}
	}
}

// TestRecordingRules: the names are LEVEL:METRIC:OPERATIONS, as usual.
func TestRecordingRules(t *testing.T) {
	name := regexp.MustCompile(`^[a-z_]+:count_[a-z_]+:[a-z0-9_]+$`)
	for _, r := range rules(t, "count-recording") {
		if !name.MatchString(r.Record) || r.Expr == "" {
			t.Errorf("rule %q: %q", r.Record, r.Expr)
		}
	}
}

// notOurs are metrics of others: Prometheus's own, the client library's and
// node_exporter's. test/e2e finds out whether they are there.
var notOurs = regexp.MustCompile(`^(up|process_.*|go_.*|node_.*)$`)

// Every metric that a query names must stand in the code: a misspelt one draws
// an empty panel for ever. That a running node shows them is test/e2e's part.
func TestMetricsExist(t *testing.T) {
	declared := sources(t)
	p := parser.NewParser(parser.Options{})
	for query, at := range queries(t) {
		expr, err := p.ParseExpr(query)
		if err != nil {
			continue // TestQueriesParse tells
		}
		for _, ms := range parser.ExtractSelectors(expr) {
			for _, m := range ms {
				if m.Name != labels.MetricName || m.Type != labels.MatchEqual || notOurs.MatchString(m.Value) {
					continue
				}
				if name := regexp.MustCompile(`_(bucket|count)$`).ReplaceAllString(m.Value, ""); !declared.has(name) && !declared.has(m.Value) {
					t.Errorf("%s: no metric %s", at, name)
				}
			}
		}
	}
}

// words are the names in quotes in the code.
type words map[string]bool

// has says whether the code names a metric: as a whole, or as a part that the
// folder's stats.go puts a prefix before and, for counters, _total behind.
func (w words) has(metric string) bool {
	if w[metric] {
		return true
	}
	for _, prefix := range []string{"count_engine_", "count_cluster_"} {
		if part, ok := strings.CutPrefix(metric, prefix); ok && (w[part] || w[strings.TrimSuffix(part, "_total")]) {
			return true
		}
	}
	return false
}

func sources(t *testing.T) words {
	t.Helper()
	quoted := regexp.MustCompile(`"([a-z][a-z0-9_.]+)"`)
	names := words{}
	root := os.DirFS("..")
	err := fs.WalkDir(root, ".", func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return err
		}
		text, err := fs.ReadFile(root, file)
		if err != nil {
			return err
		}
		for _, m := range quoted.FindAllStringSubmatch(string(text), -1) {
			names[m[1]] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}
