package process

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// Prometheus is a real Prometheus process.
type Prometheus struct{ Client }

// StartPrometheus runs the Prometheus that PROMETHEUS_BIN names with a
// configuration; PORT in it is replaced by the port it listens at. Without
// PROMETHEUS_BIN the test is skipped: building one takes minutes (make tools).
func StartPrometheus(t testing.TB, config func(address string) string, flags ...string) *Prometheus {
	t.Helper()
	bin := os.Getenv("PROMETHEUS_BIN")
	if bin == "" {
		t.Skip("PROMETHEUS_BIN names no Prometheus: `make tools` builds one")
	}
	address := freeAddress(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(config(address)), 0o600); err != nil {
		t.Fatal(err)
	}
	args := append([]string{"--config.file=" + file, "--storage.tsdb.path=" + filepath.Join(dir, "data"), "--web.listen-address=" + address}, flags...)
	cmd := exec.Command(bin, args...)
	tail := &logTail{}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		tail.follow(stderr, make(chan string))
		_ = cmd.Wait() // how it ended shows in its log
		close(ended)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended by itself
		<-ended
		if t.Failed() {
			t.Logf("log of Prometheus:\n%s", tail)
		}
	})
	p := &Prometheus{Client{URL: "http://" + address}}
	Eventually(t, startTimeout, "Prometheus is ready", func() error {
		code, body, err := p.Get("/-/ready")
		if err == nil && code != http.StatusOK {
			err = fmt.Errorf("%d %s", code, body)
		}
		return err
	})
	return p
}

// freeAddress returns an address of 127.0.0.1 that was free just now, for
// programs that cannot say which port they took.
func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// Eventually waits until check returns nil, or fails the test.
func Eventually(t testing.TB, limit time.Duration, what string, check func() error) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %v it is not so that %s: %v", limit, what, err)
		}
		<-time.After(50 * time.Millisecond)
	}
}
