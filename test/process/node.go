package process

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	startTimeout = 30 * time.Second
	stopTimeout  = 60 * time.Second
)

// Node is a process of the binary under test.
type Node struct {
	Client
	// Address is the host:port it listens at.
	Address string

	t       testing.TB
	as      Client // how it is talked to; of the URL only the scheme
	binary  string
	env     []string
	dataDir string
	cmd     *exec.Cmd
	log     *logTail
	exited  chan struct{} // closed when the process has ended
	err     error         // of the process; read after exited
}

// Start starts a node on a free port with its data in dataDir and waits until
// it is ready. env are further settings, such as "NODE_ID=2". The node is
// killed at the end of the test.
func Start(t testing.TB, dataDir string, env ...string) *Node {
	t.Helper()
	n := StartUnready(t, dataDir, env...)
	n.WaitReady()
	return n
}

// StartUnready is Start without waiting for readiness: a node of a cluster is
// ready only when others are there.
func StartUnready(t testing.TB, dataDir string, env ...string) *Node {
	t.Helper()
	return StartBinary(t, Binary(t), dataDir, env...)
}

// StartBinary is StartUnready of another binary.
func StartBinary(t testing.TB, binary, dataDir string, env ...string) *Node {
	t.Helper()
	return StartSecured(t, binary, dataDir, Client{URL: "http://"}, env...)
}

// StartSecured is StartBinary of a node that is talked to as the client says: of
// its URL only the scheme counts.
func StartSecured(t testing.TB, binary, dataDir string, as Client, env ...string) *Node {
	t.Helper()
	n := &Node{t: t, as: as, binary: binary, env: env, dataDir: dataDir, log: &logTail{}}
	t.Cleanup(func() {
		n.Kill()
		if t.Failed() {
			t.Logf("log of the node at %s:\n%s", n.Address, n.log)
		}
	})
	n.start("127.0.0.1:0")
	return n
}

func (n *Node) start(bind string) {
	n.t.Helper()
	cmd := exec.Command(n.binary, "serve")
	cmd.Env = append(append(os.Environ(), "BIND_ADDRESS="+bind, "DATA_DIR="+n.dataDir), n.env...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		n.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	exited := make(chan struct{})
	n.cmd, n.exited = cmd, exited
	address := make(chan string, 1)
	go func() {
		n.log.follow(stderr, address)
		n.err = cmd.Wait()
		close(exited)
	}()
	select {
	case n.Address = <-address:
		n.talk()
	case <-exited:
		n.t.Fatalf("the node ended while starting: %v\n%s", n.err, n.log)
	case <-time.After(startTimeout):
		n.t.Fatalf("the node does not say where it listens\n%s", n.log)
	}
}

func (n *Node) talk() {
	scheme, _, _ := strings.Cut(n.as.URL, "://")
	n.Client = n.as
	n.URL = scheme + "://" + n.Address
}

// TalkAs changes how the node is talked to.
func (n *Node) TalkAs(as Client) {
	n.as = as
	n.talk()
}

// WaitReady waits until /-/ready answers 200.
func (n *Node) WaitReady() {
	n.t.Helper()
	n.Eventually(startTimeout, "the node is ready", func() error {
		code, body, err := n.Get("/-/ready")
		if err == nil && code != 200 {
			err = errors.New(body)
		}
		return err
	})
}

// Eventually waits until check returns nil, or fails the test.
func (n *Node) Eventually(limit time.Duration, what string, check func() error) {
	n.t.Helper()
	deadline := time.Now().Add(limit)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			n.t.Fatalf("after %v it is not so that %s: %v", limit, what, err)
		}
		select {
		case <-n.exited:
			n.t.Fatalf("the node ended: %v\n%s", n.err, n.log)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Kill ends the process as a power cut would: kill -9.
func (n *Node) Kill() {
	if n.cmd == nil {
		return // it never started
	}
	select {
	case <-n.exited:
		return
	default:
	}
	_ = n.cmd.Process.Kill() // it may have ended by itself
	<-n.exited
}

// Stop sends SIGTERM and returns the exit code.
func (n *Node) Stop() int {
	n.t.Helper()
	if err := n.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		n.t.Fatal(err)
	}
	select {
	case <-n.exited:
	case <-time.After(stopTimeout):
		n.t.Fatalf("the node does not stop\n%s", n.log)
	}
	return n.cmd.ProcessState.ExitCode()
}

// Hangup sends SIGHUP, as a terminal that closes or a script that wants settings
// read again.
func (n *Node) Hangup() { _ = n.cmd.Process.Signal(syscall.SIGHUP) }

// Pause and Resume stop and continue the process, as a machine that hangs.
func (n *Node) Pause() { _ = n.cmd.Process.Signal(syscall.SIGSTOP) }

// Resume continues a paused process.
func (n *Node) Resume() { _ = n.cmd.Process.Signal(syscall.SIGCONT) }

// Restart starts the ended process again, at the same address and with the
// same data. It does not wait for readiness.
func (n *Node) Restart(env ...string) {
	n.t.Helper()
	n.env = append(n.env, env...)
	n.start(n.Address)
}

// Log returns the log so far.
func (n *Node) Log() string { return n.log.String() }

// logTail keeps the end of a node's log.
type logTail struct {
	mu    sync.Mutex
	lines []string
}

const maxLogLines = 400

func (l *logTail) follow(r io.Reader, address chan<- string) {
	in := bufio.NewScanner(r)
	in.Buffer(nil, 4<<20)
	for in.Scan() {
		l.mu.Lock()
		l.lines = append(l.lines, in.Text())
		if len(l.lines) > maxLogLines {
			l.lines = l.lines[len(l.lines)-maxLogLines:]
		}
		l.mu.Unlock()
		var line struct{ Msg, Address string }
		if json.Unmarshal(in.Bytes(), &line) == nil && line.Msg == "listening" {
			select {
			case address <- line.Address:
			default:
			}
		}
	}
}

// String returns the lines kept.
func (l *logTail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return fmt.Sprint(strings.Join(l.lines, "\n"))
}
