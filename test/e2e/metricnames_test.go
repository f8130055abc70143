package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/count-db/count/test/process"
)

// TestMetricsOfThePagesExist: what the pages and the alerts tell an operator to look
// at a running node shows. Two want a setting: certificates TLS, secrets their file.
func TestMetricsOfThePagesExist(t *testing.T) {
	n := process.Start(t, t.TempDir())
	if err := n.Insert("up", 1000, 1); err != nil {
		t.Fatal(err)
	}
	code, text, err := n.Get("/metrics")
	if err != nil || code != 200 {
		t.Fatal(code, err)
	}
	shown := map[string]bool{"count_http_certificate_expires_timestamp_seconds": true, "count_cluster_secrets": true}
	for _, m := range regexp.MustCompile(`(?m)^(?:# TYPE )?(count_[a-z0-9_]+)`).FindAllStringSubmatch(text, -1) {
		shown[m[1]] = true
	}
	files, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	// A name with a star or a brace behind it stands for several.
	name := regexp.MustCompile(`\bcount_(?:build|cluster|engine|http|ingest|promql|query|series)_[a-z0-9_]+[a-z0-9]\b[^*]`)
	named := 0
	for _, file := range append(files, "../../README.md", "../../dashboards/rules/count-alerts.yaml") {
		page, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range name.FindAllString(string(page), -1) {
			named++
			if m = m[:len(m)-1]; !shown[m] && !shown[strings.TrimSuffix(m, "_bucket")] {
				t.Errorf("%s: a node does not show %s", file, m)
			}
		}
	}
	if named < 40 {
		t.Errorf("only %d metrics were found in the pages", named)
	}
}
