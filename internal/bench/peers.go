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
	"strings"
	"syscall"
	"time"

	"github.com/count-db/count/internal/pause"
)

// Peers are the programs that Count is compared with; "" = left out.
type Peers struct {
	Count           string // the binary of Count
	Prometheus      string
	VictoriaMetrics string
	// Nodes is the size of a cluster of Count to measure too, Replication its
	// replication factor; below 2 nodes there is none.
	Nodes, Replication int
	// TLS measures a second cluster, all of whose connections are encrypted.
	TLS bool
	// Dir is where data and logs go.
	Dir string
}

// clusterBinary is the program of the cluster, "" where none is wanted.
func (p Peers) clusterBinary() string {
	if p.Nodes < 2 {
		return ""
	}
	return p.Count
}

// encryptedBinary is the program of the cluster with TLS, "" where none is wanted.
func (p Peers) encryptedBinary() string {
	if !p.TLS {
		return ""
	}
	return p.clusterBinary()
}

const (
	readyTimeout = time.Minute
	stopTimeout  = time.Minute
	// liveFlushRounds: a live node flushes each 300 s, 20 scrapes.
	liveFlushRounds = 20
)

// Process is a running server, or a cluster of them.
type Process struct {
	Target
	// ForceFlush is a path that makes it write all it has to disk before its size
	// is looked at; "" = it has none.
	ForceFlush string

	servers []*server
}

// server is one operating system process.
type server struct {
	name string
	base string // http://host:port
	cmd  *exec.Cmd
	log  *os.File
	done chan error
}

// StartCount starts a node of Count.
func (p Peers) StartCount(ctx context.Context) (*Process, error) {
	return p.StartCluster(ctx, 1, 1, nil)
}

// StartCluster starts nodes of Count that are a cluster; one node is none. by is
// whose certificates they have, nil for none.
func (p Peers) StartCluster(ctx context.Context, nodes, replication int, by *certificates) (*Process, error) {
	process := &Process{Target: Target{Name: "count", Flush: "/api/v1/admin/tsdb/flush", FlushRounds: liveFlushRounds}}
	addresses, err := freeAddresses(nodes)
	if err != nil {
		return nil, fmt.Errorf("start count: %w", err)
	}
	if nodes > 1 {
		process.Name = fmt.Sprintf("count x %d, RF %d", nodes, replication)
	}
	if by != nil {
		process.Name += ", TLS"
	}
	for i, address := range addresses {
		name := "count"
		if nodes > 1 {
			name = fmt.Sprintf("count-%d", i+1)
		}
		if by != nil {
			name += "-tls"
		}
		data := filepath.Join(p.Dir, name, "data")
		cmd := exec.Command(p.Count, "serve") //nolint:gosec // the binary that the user names
		cmd.Env = append(os.Environ(), "BIND_ADDRESS="+address, "DATA_DIR="+data, "ADMIN_API=true", "LOG_LEVEL=warn", "QUERY_CACHE_SIZE=0", fmt.Sprintf("NODE_ID=%d", i+1))
		if nodes > 1 {
			cmd.Env = append(cmd.Env, "CLUSTER_NODES="+strings.Join(addresses, ","), fmt.Sprintf("REPLICATION_FACTOR=%d", replication))
		}
		scheme := "http://"
		if by != nil {
			scheme, process.Trust = "https://", by.trust
			cmd.Env = append(cmd.Env, by.settings...)
		}
		if err := process.start(p.Dir, name, scheme+address, data, cmd); err != nil {
			return nil, errors.Join(err, process.Stop())
		}
	}
	return process.ready(ctx, "/-/ready")
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
	address, err := freeAddresses(1)
	if err != nil {
		return nil, fmt.Errorf("start prometheus: %w", err)
	}
	process := &Process{Target: Target{Name: "prometheus"}}
	if err := process.start(p.Dir, "prometheus", "http://"+address[0], data, exec.Command(p.Prometheus, //nolint:gosec // the binary that the user names
		"--config.file="+config, "--storage.tsdb.path="+data, "--web.listen-address="+address[0],
		"--web.enable-remote-write-receiver", "--storage.tsdb.retention.time=100y", "--log.level=warn")); err != nil {
		return nil, err
	}
	return process.ready(ctx, "/-/ready")
}

// StartVictoriaMetrics starts a single-node VictoriaMetrics.
func (p Peers) StartVictoriaMetrics(ctx context.Context) (*Process, error) {
	const name = "victoria-metrics"
	address, err := freeAddresses(1)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	process := &Process{
		Target:     Target{Name: name, Params: url.Values{"nocache": {"1"}}},
		ForceFlush: "/internal/force_flush",
	}
	data := filepath.Join(p.Dir, name, "data")
	if err := process.start(p.Dir, name, "http://"+address[0], data, exec.Command(p.VictoriaMetrics, //nolint:gosec // the binary that the user names
		"-storageDataPath="+data, "-httpListenAddr="+address[0], "-retentionPeriod=100y", "-search.latencyOffset=0s", "-loggerLevel=WARN")); err != nil {
		return nil, err
	}
	return process.ready(ctx, "/health")
}

// start starts one more server of the process, whose output goes to a file.
func (p *Process) start(dir, name, base, data string, cmd *exec.Cmd) error {
	dir = filepath.Join(dir, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return errors.Join(fmt.Errorf("start %s: %w", name, err), log.Close())
	}
	s := &server{name: name, base: base, cmd: cmd, log: log, done: make(chan error, 1)}
	go func() { s.done <- cmd.Wait() }()
	p.servers = append(p.servers, s)
	p.Writes, p.Queries = append(p.Writes, s.base), append(p.Queries, s.base)
	p.PIDs, p.Data = append(p.PIDs, cmd.Process.Pid), append(p.Data, data)
	return nil
}

// ready waits until all servers answer that they are.
func (p *Process) ready(ctx context.Context, path string) (*Process, error) {
	for _, s := range p.servers {
		if err := s.awaitReady(ctx, newClient(p.Target, 1), s.base+path); err != nil {
			return nil, errors.Join(fmt.Errorf("start %s, see %s: %w", s.name, s.log.Name(), err), p.Stop())
		}
	}
	return p, nil
}

// freeAddresses returns loopback addresses whose ports nobody listens at just now.
func freeAddresses(n int) (addresses []string, err error) {
	for range n {
		l, listenErr := net.Listen("tcp", "127.0.0.1:0")
		if listenErr != nil {
			return nil, errors.Join(err, fmt.Errorf("find a free port: %w", listenErr))
		}
		// Held until all are found: they must differ.
		defer func() { err = errors.Join(err, l.Close()) }()
		addresses = append(addresses, l.Addr().String())
	}
	return addresses, nil
}

func (s *server) awaitReady(ctx context.Context, client *http.Client, url string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, readyTimeout, fmt.Errorf("not ready after %v", readyTimeout))
	defer cancel()
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
		case err := <-s.done:
			s.done <- err
			return fmt.Errorf("it ended: %w", errors.Join(err, errEnded))
		default:
		}
		if err := pause.For(ctx, 50*time.Millisecond); err != nil {
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
	client := newClient(p.Target, 1)
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

// Stop ends all its servers.
func (p *Process) Stop() error {
	var errs []error
	for _, s := range p.servers {
		if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
			errs = append(errs, fmt.Errorf("stop %s: %w", s.name, err))
		}
	}
	for _, s := range p.servers {
		errs = append(errs, s.awaitEnd())
	}
	p.servers = nil
	return errors.Join(errs...)
}

func (s *server) awaitEnd() error {
	timer := time.NewTimer(stopTimeout)
	defer timer.Stop()
	select {
	case <-s.done:
		return s.log.Close()
	case <-timer.C:
		err := s.cmd.Process.Kill()
		<-s.done
		return fmt.Errorf("stop %s: it did not end within %v: %w", s.name, stopTimeout, errors.Join(err, errEnded, s.log.Close()))
	}
}
