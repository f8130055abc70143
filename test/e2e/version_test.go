package e2e

import (
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/count-db/count/test/process"
)

// TestVersionIsStamped: a binary says the same of itself in its metrics, on the
// command line and in its bill of materials, and what the linker was told.
func TestVersionIsStamped(t *testing.T) {
	n := process.Start(t, t.TempDir())
	_, line := run(t, nil, "version")
	var version, revision string
	if _, err := fmt.Sscanf(line, "count %s (revision %s", &version, &revision); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	_, metrics, err := n.Get("/metrics")
	if err != nil {
		t.Fatal(err)
	}
	for _, label := range []string{fmt.Sprintf("version=%q", version), fmt.Sprintf("revision=%q", revision)} {
		_, info, _ := strings.Cut(metrics, "\ncount_build_info{")
		if info, _, _ = strings.Cut(info, "\n"); !strings.Contains(info, label) {
			t.Errorf("count_build_info{%s has no %s", info, label)
		}
	}
	wantBody(t, n, "/version", fmt.Sprintf("%q", version))
	wantBill(t, version)
}

// wantBill compares the bill of materials with what `go version -m` shows.
func wantBill(t *testing.T, version string) {
	t.Helper()
	info, err := buildinfo.ReadFile(process.Binary(t))
	if err != nil {
		t.Fatal(err)
	}
	code, text := run(t, nil, "version", "--sbom")
	var bill struct {
		BOMFormat  string
		Metadata   struct{ Component struct{ Version string } }
		Components []struct{ Name, Version, PURL string }
	}
	if err := json.Unmarshal([]byte(text), &bill); err != nil || code != 0 {
		t.Fatalf("%d %v %s", code, err, text)
	}
	listed := map[string]string{}
	for _, c := range bill.Components {
		listed[c.Name] = c.PURL
	}
	if bill.BOMFormat != "CycloneDX" || bill.Metadata.Component.Version != version || len(listed) != len(info.Deps)+1 {
		t.Errorf("%s of %s with %d components, the binary has %d modules", bill.BOMFormat, bill.Metadata.Component.Version, len(listed), len(info.Deps))
	}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		if want := "pkg:golang/" + m.Path + "@" + m.Version; listed[m.Path] != want {
			t.Errorf("%s is listed as %q, want %q", m.Path, listed[m.Path], want)
		}
	}
}

// TestLinkedRevision: what the container's build tells the linker is shown.
func TestLinkedRevision(t *testing.T) {
	if testing.Short() {
		t.Skip("links a binary")
	}
	bin := filepath.Join(t.TempDir(), "count")
	flags := "-X github.com/count-db/count/internal/telemetry.revision=abc123 -X github.com/count-db/count/internal/telemetry.date=2026-01-02"
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-ldflags", flags, "-o", bin, "github.com/count-db/count/cmd/count").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err := exec.Command(bin, "version").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "revision abc123 of 2026-01-02") {
		t.Errorf("%s %v", out, err)
	}
}

// TestExampleConfigurations: `count check config` takes what deploy/ ships.
func TestExampleConfigurations(t *testing.T) {
	if code, out := run(t, nil, "check", "config", "--config.file", "../../deploy/count.yaml"); code != 0 || !strings.Contains(out, "configuration is good") {
		t.Errorf("deploy/count.yaml: %d %s", code, out)
	}
}
