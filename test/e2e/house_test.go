package e2e

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/count-db/count/test/process"
)

// run runs a command of the binary and returns its exit code and output.
func run(t *testing.T, env []string, args ...string) (int, string) {
	t.Helper()
	cmd := exec.Command(process.Binary(t), args...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

func TestWrongSettingsStopTheStart(t *testing.T) {
	file := filepath.Join(t.TempDir(), "count.yaml")
	if err := os.WriteFile(file, []byte("retention: soon\nunknown_key: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out := run(t, []string{"CONFIG_FILE=" + file, "NODE_ID=0", "DATA_DIR=" + t.TempDir()}, "--unknown-flag=1")
	for _, want := range []string{"NODE_ID (environment)", "retention (file " + file + " line 1)", "unknown_key", "--unknown-flag", "allowed:"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in:\n%s", want, out)
		}
	}
	if code == 0 {
		t.Error("exit code 0")
	}
}

func TestSecondProcessOnTheSameDataIsRefused(t *testing.T) {
	dir := t.TempDir()
	n := process.Start(t, dir)
	code, out := run(t, []string{"DATA_DIR=" + dir, "BIND_ADDRESS=127.0.0.1:0"})
	if code != 1 || !strings.Contains(out, dir) {
		t.Errorf("exit code %d, output %s", code, out)
	}
	code, out = run(t, []string{"DATA_DIR=" + t.TempDir(), "BIND_ADDRESS=" + n.Address})
	if code != 1 || !strings.Contains(out, "BIND_ADDRESS") {
		t.Errorf("port in use: exit code %d, output %s", code, out)
	}
}

// TestStopLetsRequestsEnd: at SIGTERM readiness goes, and a request whose body
// is still coming is answered.
func TestStopLetsRequestsEnd(t *testing.T) {
	n := process.Start(t, t.TempDir())
	conn, err := net.Dial("tcp", n.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	body := fmt.Sprintf(`{"series":"late","timestamp":%d,"value":1}`, minuteAgo())
	head := fmt.Sprintf("POST /insert HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\nConnection: close\r\n\r\n", len(body))
	if _, err := io.WriteString(conn, head+body[:10]); err != nil {
		t.Fatal(err)
	}
	// The request has begun once the node counts it.
	n.Eventually(10*time.Second, "the request runs", func() error {
		_, text, err := n.Get("/metrics")
		if err == nil && !strings.Contains(text, "count_http_requests_in_flight 2") {
			err = fmt.Errorf("not yet")
		}
		return err
	})
	stopped := make(chan int, 1)
	go func() { stopped <- n.Stop() }()
	process.Eventually(t, 10*time.Second, "the node is stopping", func() error {
		if !strings.Contains(n.Log(), `"msg":"stopping"`) {
			return fmt.Errorf("not yet")
		}
		return nil
	})
	if _, err := io.WriteString(conn, body[10:]); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 201") {
		t.Errorf("answer %q, %v", answer, err)
	}
	if code := <-stopped; code != 0 {
		t.Errorf("exit code %d", code)
	}
	n.Restart()
	n.WaitReady()
	if got, err := n.Range("late", 0, time.Now().UnixMilli()); err != nil || len(got) != 1 {
		t.Errorf("%v %v", got, err)
	}
}

// TestHangup: SIGHUP is told in the log and ends nothing.
func TestHangup(t *testing.T) {
	n := process.Start(t, t.TempDir())
	for range 2 {
		n.Hangup()
	}
	n.Eventually(10*time.Second, "the node tells of SIGHUP", func() error {
		if !strings.Contains(n.Log(), "SIGHUP") {
			return errors.New("not yet")
		}
		return nil
	})
	if code, text, err := n.Get("/health"); err != nil || code != 200 {
		t.Errorf("%d %s %v", code, text, err)
	}
	if code := n.Stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestRoutePrefix(t *testing.T) {
	n := process.Start(t, t.TempDir(), "EXTERNAL_URL=https://metrics.example/count/")
	for _, path := range []string{"/count/-/ready", "/-/ready", "/count/api/v1/query?query=1", "/count/query/range/x?start=0&end=1", "/count/metrics"} {
		if code, text, err := n.Get(path); err != nil || code != 200 {
			t.Errorf("%s: %d %s %v", path, code, text, err)
		}
	}
}

func TestBasicAuth(t *testing.T) {
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "web.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, "basic_auth_users:\n  ann: %s\n", hash), 0o600); err != nil {
		t.Fatal(err)
	}
	n := process.StartUnready(t, t.TempDir(), "WEB_CONFIG_FILE="+file)
	password := "Basic " + base64.StdEncoding.EncodeToString([]byte("ann:secret"))
	for _, c := range []struct {
		header http.Header
		code   int
	}{{nil, 401}, {http.Header{"Authorization": {password}}, 200}} {
		code, _, text, err := n.Do(http.MethodGet, "/-/healthy", c.header, nil)
		if err != nil || code != c.code {
			t.Errorf("header %v: %d %s %v, want %d", c.header, code, text, err, c.code)
		}
	}
}

func TestNodeSaysWhatItRunsWith(t *testing.T) {
	n := process.Start(t, t.TempDir(), "CLUSTER_SECRET=hush", "NODE_ID=3")
	for _, path := range []string{"/api/v1/status/config", "/api/v1/status/flags"} {
		_, text, err := n.Get(path)
		if err != nil || strings.Contains(text, "hush") || !strings.Contains(text, "node") {
			t.Errorf("%s: %s %v", path, text, err)
		}
	}
	code, out := run(t, []string{"COUNT_SERVER=" + n.URL}, "health")
	if code != 0 || !strings.Contains(out, `"node_id":3`) {
		t.Errorf("count health: %d %s", code, out)
	}
}
