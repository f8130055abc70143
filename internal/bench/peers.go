package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// Peers are the programs that Count is compared with; "" = left out.
type Peers struct {
	Count           string // the binary of Count
	Prometheus      string
	VictoriaMetrics string
	// Dir is where data and logs go.
	Dir string
}

const (
	readyTimeout = time.Minute
	stopTimeout  = time.Minute
	// liveFlushRounds: a live node flushes each 300 s, 20 scrapes.
	liveFlushRounds = 20
)

// Process is a running server.
type Process struct {
	Target
	// ForceFlush is a path that makes it write all it has to disk before its size
	// is looked at; "" = it has none.
	ForceFlush string

	cmd  *exec.Cmd
	log  *os.File
	done chan error
}

// StartCount starts a node of Count.
func (p Peers) StartCount(ctx context.Context) (*Process, error) {
	data := filepath.Join(p.Dir, "count", "data")
	return p.start(ctx, "count", "/-/ready", func(address string) *exec.Cmd {
		cmd := exec.Command(p.Count, "serve") //nolint:gosec // the binary that the user names
		cmd.Env = append(os.Environ(), "BIND_ADDRESS="+address, "DATA_DIR="+data, "ADMIN_API=true", "LOG_LEVEL=warn")
		return cmd
	}, Target{Data: []string{data}, Flush: "/api/v1/admin/tsdb/flush", FlushRounds: liveFlushRounds})
}

// StartPrometheus starts Prometheus as a receiver of remote write.
func (p Peers) StartPrometheus(ctx context.Context) (*Process, error) {
	dir := filepath.Join(p.Dir, "prometheus")
	data, config := filepath.Join(dir, "data"), filepath.Join(dir, "prometheus.yml")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("start prometheus: %w", err)
	}
	if err := os.WriteFile(config, []byte("global: {}\n"), 0o644); err != nil {
		return nil, fmt.Errorf("start prometheus: %w", err)
	}
	return p.start(ctx, "prometheus", "/-/ready", func(address string) *exec.Cmd {
		return exec.Command(p.Prometheus, //nolint:gosec // the binary that the user names
			"--config.file="+config, "--storage.tsdb.path="+data, "--web.listen-address="+address,
			"--web.enable-remote-write-receiver", "--storage.tsdb.retention.time=100y", "--log.level=warn")
	}, Target{Data: []string{data}})
}

// StartVictoriaMetrics starts a single-node VictoriaMetrics.
func (p Peers) StartVictoriaMetrics(ctx context.Context) (*Process, error) {
	data := filepath.Join(p.Dir, "victoria-metrics", "data")
	process, err := p.start(ctx, "victoria-metrics", "/health", func(address string) *exec.Cmd {
		return exec.Command(p.VictoriaMetrics, //nolint:gosec // the binary that the user names
			"-storageDataPath="+data, "-httpListenAddr="+address, "-retentionPeriod=100y", "-search.latencyOffset=0s", "-loggerLevel=WARN")
	}, Target{Data: []string{data}, Params: url.Values{"nocache": {"1"}}})
	if err == nil {
		process.ForceFlush = "/internal/force_flush"
	}
	return process, err
}

// start starts a program at a free port and waits until it is ready.
func (p Peers) start(ctx context.Context, name, ready string, command func(address string) *exec.Cmd, t Target) (*Process, error) {
	dir := filepath.Join(p.Dir, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	address, err := freeAddress()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	cmd := command(address)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", name, err), log.Close())
	}
	base := "http://" + address
	t.Name, t.Writes, t.Queries, t.PIDs = name, []string{base}, []string{base}, []int{cmd.Process.Pid}
	process := &Process{Target: t, cmd: cmd, log: log, done: make(chan error, 1)}
	go func() { process.done <- cmd.Wait() }()
	if err := process.awaitReady(ctx, base+ready); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s, see %s: %w", name, log.Name(), err), process.Stop())
	}
	return process, nil
}

// freeAddress returns a loopback address whose port nobody listens at just now.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	address := l.Addr().String()
	return address, l.Close()
}

func (p *Process) awaitReady(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, readyTimeout, fmt.Errorf("not ready after %v", readyTimeout))
	defer cancel()
	client := newClient(1)
	defer client.CloseIdleConnections()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		if code, _, err := do(client, req); err == nil && code == http.StatusOK {
			return nil
		}
		select {
		case err := <-p.done:
			p.done <- err
			return fmt.Errorf("it ended: %w", errors.Join(err, errEnded))
		default:
		}
		if err := wait(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
}

var errEnded = errors.New("process ended")

// FlushAll makes it write to disk all it has in memory, where it can.
func (p *Process) FlushAll(ctx context.Context) error {
	if p.ForceFlush == "" {
		return nil
	}
	client := newClient(1)
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.Writes[0]+p.ForceFlush, nil)
	if err != nil {
		return err
	}
	if code, text, err := do(client, req); err != nil || code/100 != 2 {
		return fmt.Errorf("flush %s: %d %s: %w", p.Name, code, text, errors.Join(err, errFlush))
	}
	return nil
}

// Disk returns the size of its data now.
func (p *Process) Disk() (Disk, error) { return diskOf(p.Data) }

// Stop ends the process.
func (p *Process) Stop() error {
	defer p.log.Close()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop %s: %w", p.Name, err)
	}
	timer := time.NewTimer(stopTimeout)
	defer timer.Stop()
	select {
	case <-p.done:
		return nil
	case <-timer.C:
		err := p.cmd.Process.Kill()
		<-p.done
		return fmt.Errorf("stop %s: it did not end within %v: %w", p.Name, stopTimeout, errors.Join(err, errEnded))
	}
}
