package config

import (
	"errors"
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "write docs/configuration.md")

func TestDefaults(t *testing.T) {
	cfg, err := Load(Sources{})
	if err != nil {
		t.Fatal(err)
	}
	if cfg.NodeID != 1 || cfg.BindAddress != "127.0.0.1:8080" || cfg.FlushInterval != 300*time.Second || cfg.ReplicationFactor != 3 ||
		!cfg.MemoryBuffer.Auto() || cfg.WALSync != SyncAlways || cfg.MaxFuture != 10*time.Minute || cfg.ClusterEnabled || cfg.MaxBodySize != 32<<20 {
		t.Errorf("defaults: %+v", cfg)
	}
}

func loadWith(t *testing.T, env []string, file string, args ...string) (*Config, error) {
	t.Helper()
	src := Sources{Environ: env, Args: args}
	if file != "" {
		src.Args = append(src.Args, "--config.file", "c.yaml")
		src.ReadFile = func(string) ([]byte, error) { return []byte(file), nil }
	}
	return Load(src)
}

func TestPrecedence(t *testing.T) {
	for _, c := range []struct {
		env, file, flag string
		want            uint64
	}{
		{"", "", "", 1},
		{"", "", "4", 4},
		{"", "3", "4", 3},
		{"2", "3", "4", 2},
		{"2", "", "4", 2},
	} {
		var env, args []string
		file := ""
		if c.env != "" {
			env = []string{"NODE_ID=" + c.env}
		}
		if c.file != "" {
			file = "node_id: " + c.file
		}
		if c.flag != "" {
			args = []string{"--node-id", c.flag}
		}
		cfg, err := loadWith(t, env, file, args...)
		if err != nil {
			t.Fatal(err)
		}
		if cfg.NodeID != c.want {
			t.Errorf("env %q file %q flag %q: node id %d, want %d", c.env, c.file, c.flag, cfg.NodeID, c.want)
		}
	}
}

func TestValues(t *testing.T) {
	cfg, err := loadWith(t, []string{
		"FLUSH_INTERVAL_SECONDS=60", "MEMORY_BUFFER_SIZE=1000000", "RETENTION=15d", "RETENTION_SIZE=1.5GiB", "ZONE=",
		"CLUSTER_NODES=a:1, b:2,,a:1", "EXTERNAL_URL=https://x.example/count/", "LOG_LEVEL=TRACE", "ADMIN_API=True",
	}, "cluster_nodes: [x:1]\nwrite_deadline: 1h30m\nquery_timeout: 7\n")
	if err != nil {
		t.Fatal(err)
	}
	if cfg.FlushInterval != time.Minute || cfg.MemoryBuffer.Samples != 1e6 || cfg.Retention != 15*24*time.Hour || cfg.RetentionSize != 3<<29 {
		t.Errorf("%+v", cfg)
	}
	if strings.Join(cfg.ClusterNodes, " ") != "a:1 b:2" || !cfg.ClusterEnabled || cfg.RoutePrefix != "/count" || cfg.LogLevel != "trace" || !cfg.AdminAPI {
		t.Errorf("%+v", cfg)
	}
	if cfg.WriteDeadline != 90*time.Minute || cfg.QueryTimeout != 7*time.Second {
		t.Errorf("%+v", cfg)
	}
	cfg, err = loadWith(t, []string{"FLUSH_INTERVAL_SECONDS=60", "FLUSH_INTERVAL=30s", "MEMORY_BUFFER_SIZE=64MiB"}, "", "--admin-api", "--cluster-enabled=true")
	if err != nil {
		t.Fatal(err)
	}
	if cfg.FlushInterval != 30*time.Second || cfg.MemoryBuffer.Bytes != 64<<20 || !cfg.AdminAPI || !cfg.ClusterEnabled {
		t.Errorf("%+v", cfg)
	}
}

// TestFaults: everything wrong is listed at once, with key, source and what is
// allowed.
func TestFaults(t *testing.T) {
	_, err := loadWith(t, []string{"NODE_ID=0", "CLUSTER_SECRET=ok", "WAL_SYNC=sometimes", "HEARTBEAT_INTERVAL=5s", "FAILURE_TIMEOUT=1s"},
		"nodeid: 3\nflush_interval: soon\nzone: a\nzone: b\nretention: {a: b}\nlookback_delta: [5m]\n", "--node-id=zero", "--flush-intervall=3", "stray", "--wal-sync")
	var faults *FaultsError
	if !errors.As(err, &faults) {
		t.Fatalf("error %v", err)
	}
	for _, want := range []string{
		`NODE_ID (environment): "0" is not allowed; allowed: an integer from 1`,
		`WAL_SYNC (environment): "sometimes" is not allowed; allowed: always, interval or never`,
		`FAILURE_TIMEOUT (environment): "1s" is shorter than HEARTBEAT_INTERVAL`,
		`nodeid (file c.yaml line 1): is not a known key; allowed: perhaps node_id is meant`,
		`flush_interval (file c.yaml line 2): "soon" is not allowed; allowed: a duration`,
		`zone (file c.yaml line 4): is given twice`,
		`retention (file c.yaml line 5): is not a plain value`,
		`lookback_delta (file c.yaml line 6): is not a plain value`,
		`--node-id (flag): "zero" is not allowed`,
		`--flush-intervall (command line): is not a known flag; allowed: perhaps flush-interval is meant`,
		`--wal-sync (command line): has no value`,
		`stray (command line): is not a flag`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("missing %q in:\n%s", want, err)
		}
	}
}

// TestClusterTLS: certificate and key go together, and the ways are named.
func TestClusterTLS(t *testing.T) {
	for _, wrong := range []struct{ env, want string }{
		{"CLUSTER_TLS_CERT_FILE=/etc/node.pem", `CLUSTER_TLS_CERT_FILE (environment): "/etc/node.pem" goes with CLUSTER_TLS_KEY_FILE only`},
		{"CLUSTER_TLS_KEY_FILE=/etc/node.key", `CLUSTER_TLS_KEY_FILE (environment): "/etc/node.key" goes with CLUSTER_TLS_CERT_FILE only`},
		{"CLUSTER_TLS=always", `CLUSTER_TLS (environment): "always" is not allowed; allowed: auto, off, prefer or require`},
	} {
		if _, err := loadWith(t, []string{wrong.env}, ""); err == nil || !strings.Contains(err.Error(), wrong.want) {
			t.Errorf("%s: %v, want %s", wrong.env, err, wrong.want)
		}
	}
	cfg, err := loadWith(t, []string{"WEB_CONFIG_FILE=/etc/web.yml", "CLUSTER_NODES=a:1,b:2", "CLUSTER_TLS_CERT_FILE=c", "CLUSTER_TLS_KEY_FILE=k"}, "")
	if err != nil || cfg.WebConfigFile == "" || cfg.ClusterTLS != TLSAuto {
		t.Errorf("%+v %v", cfg, err)
	}
}

func TestFileFaults(t *testing.T) {
	for _, text := range []string{"- a\n", "a: [", "node_id: [[1]]", "just text"} {
		if _, err := loadWith(t, nil, text); err == nil {
			t.Errorf("file %q loads", text)
		}
	}
	for _, text := range []string{"\n", "# only a remark\n", "node_id:\n", "{}"} {
		if _, err := loadWith(t, nil, text); err != nil {
			t.Errorf("file %q: %v", text, err)
		}
	}
	if _, err := Load(Sources{Environ: []string{"CONFIG_FILE=/does/not/exist"}}); err == nil {
		t.Error("a missing file loads")
	}
}

func TestSecretsAreMasked(t *testing.T) {
	cfg, err := loadWith(t, []string{"CLUSTER_SECRET=hush"}, "")
	if err != nil {
		t.Fatal(err)
	}
	if y := cfg.YAML(); strings.Contains(y, "hush") || !strings.Contains(y, "<secret>") {
		t.Errorf("settings show the secret:\n%s", y)
	}
}

// TestYAMLRoundTrip: what the node shows as its configuration can be loaded.
func TestYAMLRoundTrip(t *testing.T) {
	cfg, err := loadWith(t, []string{"RETENTION=3d", "MEMORY_BUFFER_SIZE=2GiB", "CLUSTER_NODES=a:1,b:2", "CORS_ORIGIN=https?://.*\\.x", "ROUTE_PREFIX=/p"}, "")
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := yaml.Unmarshal([]byte(cfg.YAML()), &m); err != nil {
		t.Fatal(err)
	}
	again, err := loadWith(t, nil, cfg.YAML())
	if err != nil {
		t.Fatal(err)
	}
	if again.YAML() != cfg.YAML() {
		t.Errorf("got\n%s\nwant\n%s", again.YAML(), cfg.YAML())
	}
}

func TestParseSize(t *testing.T) {
	for s, want := range map[string]int64{"0": 0, "17": 17, "17B": 17, "1k": 1024, "256MiB": 256 << 20, "256 MB": 256 << 20, "0.5KiB": 512, "7EiB": 7 << 60} {
		if got, err := ParseSize(s); err != nil || got != want {
			t.Errorf("ParseSize(%q) = %d, %v; want %d", s, got, err, want)
		}
	}
	for _, s := range []string{"", "MiB", "-1", "1XB", "8EiB", "1.5", "1e3", "0x10", "1MiBs", "99999999999999999999", "NaN", "1.2.3KiB"} {
		if n, err := ParseSize(s); err == nil {
			t.Errorf("ParseSize(%q) = %d", s, n)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64Min(0).Draw(t, "n")
		if got, err := ParseSize(FormatSize(n)); err != nil || got != n {
			t.Fatalf("ParseSize(FormatSize(%d)) = %d, %v", n, got, err)
		}
	})
}

func TestParseDuration(t *testing.T) {
	for s, want := range map[string]time.Duration{"0": 0, "300": 5 * time.Minute, "1h30m": 90 * time.Minute, "15d": 360 * time.Hour, "500ms": 500 * time.Millisecond} {
		if got, err := ParseDuration(s); err != nil || got != want {
			t.Errorf("ParseDuration(%q) = %v, %v; want %v", s, got, err, want)
		}
	}
	for _, s := range []string{"", "-1", "1.5", "1.5h", "99999999999999999999", "soon", "9223372036854775807"} {
		if d, err := ParseDuration(s); err == nil {
			t.Errorf("ParseDuration(%q) = %v", s, d)
		}
	}
}

// TestReference: the committed page is what the table says.
func TestReference(t *testing.T) {
	const page = "../../docs/configuration.md"
	if *update {
		if err := os.WriteFile(page, []byte(Reference()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != Reference() {
		t.Error("docs/configuration.md is not what internal/config/fields.go says: run `make docs`")
	}
}

func FuzzLoad(f *testing.F) {
	f.Add("node_id: 1\n", "--zone=a")
	f.Fuzz(func(t *testing.T, file, arg string) {
		cfg, err := Load(Sources{Args: []string{"--config.file=x", arg}, ReadFile: func(string) ([]byte, error) { return []byte(file), nil }})
		if (cfg == nil) == (err == nil) {
			t.Fatalf("config %v and error %v", cfg, err)
		}
	})
}
