//go:build linux

package cluster

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/count-db/count/test/process"
)

// insideEnv marks the run of this test binary that happens inside the switch's
// namespace, from where all nodes can be reached whatever is cut between them.
const insideEnv = "COUNT_TEST_NAMESPACE"

// network is a bridge in a namespace of its own, with one namespace a node: the
// nodes of these tests talk over real, separate network stacks.
type network struct {
	t    *testing.T
	name string // of the bridge's namespace; the hosts' begin with it
	n    int
}

func (w *network) host(i int) string    { return fmt.Sprintf("%sh%d", w.name, i) }
func (w *network) address(i int) string { return fmt.Sprintf("10.77.0.1%d:8080", i) }

// ip runs the command ip.
func ip(args ...string) error {
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

func (w *network) must(args ...string) {
	w.t.Helper()
	if err := ip(args...); err != nil {
		w.t.Fatal(err)
	}
}

// TestNamespaces runs all tests that cut networks. It needs the right to make
// network namespaces, iproute2 and nftables, and is skipped without them.
func TestNamespaces(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	if name := os.Getenv(insideEnv); name != "" {
		inside(t, name)
		return
	}
	for _, tool := range []string{"ip", "nft"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed: %v", tool, err)
		}
	}
	name := fmt.Sprintf("ct%d", os.Getpid())
	if err := ip("netns", "add", name); err != nil {
		t.Skipf("network namespaces are not permitted here: %v", err)
	}
	w := &network{t: t, name: name}
	t.Cleanup(func() { w.must("netns", "del", name) })
	w.must("-n", name, "link", "add", "br0", "type", "bridge")
	w.must("-n", name, "link", "set", "br0", "up")
	w.must("-n", name, "link", "set", "lo", "up")
	w.must("-n", name, "addr", "add", "10.77.0.1/24", "dev", "br0")
	cmd := exec.Command("ip", "netns", "exec", name, os.Args[0], "-test.run=^TestNamespaces$", "-test.v", "-test.timeout=5m")
	cmd.Env = append(os.Environ(), insideEnv+"="+name, "COUNT_BIN="+process.Binary(t))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "---") || strings.Contains(line, "acknowledged") {
			t.Log(strings.TrimSpace(line))
		}
	}
}

// inside runs in the bridge's namespace.
func inside(t *testing.T, name string) {
	for _, c := range []struct {
		name string
		n    int
		run  func(*testing.T, *network, *nodes)
	}{
		{"isolated", 3, isolated},
		{"one direction", 3, oneDirection},
		{"pair cut", 3, pairCut},
		{"loss", 3, lossy},
		{"three and two", 5, threeAndTwo},
		{"leave during a partition", 4, leaveDuringPartition},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := &network{t: t, name: name, n: c.n}
			w.build()
			var addresses []string
			for i := range c.n {
				addresses = append(addresses, w.address(i+1))
			}
			cluster := startAt(t, addresses, func(i int, run func()) { w.within(i+1, run) }, "WRITE_DEADLINE=3s")
			c.run(t, w, cluster)
		})
	}
}

// build makes the hosts' namespaces and their wires to the bridge.
func (w *network) build() {
	w.t.Helper()
	for i := 1; i <= w.n; i++ {
		h, wire, port := w.host(i), fmt.Sprintf("v%d", i), fmt.Sprintf("p%d", i)
		w.must("netns", "add", h)
		w.t.Cleanup(func() { w.must("netns", "del", h) })
		w.must("-n", w.name, "link", "add", wire, "netns", h, "type", "veth", "peer", "name", port)
		// By itself a wire goes some time after its namespace, and the next test
		// wants the name.
		w.t.Cleanup(func() { w.must("-n", w.name, "link", "del", port) })
		w.must("-n", w.name, "link", "set", port, "master", "br0", "up")
		w.must("-n", h, "addr", "add", fmt.Sprintf("10.77.0.1%d/24", i), "dev", wire)
		w.must("-n", h, "link", "set", wire, "up")
		w.must("-n", h, "link", "set", "lo", "up")
	}
}

// within runs f on a thread inside the namespace of host i: processes that it
// starts live there.
func (w *network) within(i int, f func()) {
	w.t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home := w.open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()))
	there := w.open("/run/netns/" + w.host(i))
	w.enter(there)
	defer w.enter(home)
	f()
}

func (w *network) open(path string) *os.File {
	w.t.Helper()
	f, err := os.Open(path)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := f.Close(); err != nil {
			w.t.Error(err)
		}
	})
	return f
}

func (w *network) enter(ns *os.File) {
	w.t.Helper()
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
		w.t.Fatal(err)
	}
}

// nft loads rules in a namespace; an empty rule set takes them away.
func (w *network) nft(namespace, rules string) {
	w.t.Helper()
	cmd := exec.Command("ip", "netns", "exec", namespace, "nft", "-f", "-")
	cmd.Stdin = strings.NewReader("flush ruleset\n" + rules)
	if out, err := cmd.CombinedOutput(); err != nil {
		w.t.Fatalf("nft: %v: %s", err, out)
	}
}

// cutPairs drops what the bridge carries between the ports of each pair.
func (w *network) cutPairs(pairs ...[2]int) {
	w.t.Helper()
	rules := "table bridge cuts {\n chain across {\n type filter hook forward priority 0; policy accept;\n"
	for _, p := range pairs {
		rules += fmt.Sprintf(" iifname \"p%d\" oifname \"p%d\" drop\n iifname \"p%d\" oifname \"p%d\" drop\n", p[0], p[1], p[1], p[0])
	}
	w.nft(w.name, rules+" }\n}\n")
}

func (w *network) mendBridge() { w.nft(w.name, "") }

func (w *network) hostRule(i int, rule string) {
	w.t.Helper()
	w.nft(w.host(i), "table ip faults {\n chain in {\n type filter hook input priority 0; policy accept;\n "+rule+"\n }\n}\n")
}

// isolated takes one node's wire away under load: it refuses writes and marks
// reads, the others go on, and it heals by itself.
func isolated(t *testing.T, w *network, c *nodes) {
	// Its wire to the others only: the test itself still reaches it.
	underLoad(t, c, func(i int) *process.Node { return c.node(1 + i%2) }, 2*time.Second, func() {
		w.cutPairs([2]int{3, 1}, [2]int{3, 2})
		c.sees(3, 1)
		if err := c.node(3).Insert("alone", 1000, 1); err == nil || !strings.Contains(err.Error(), "503") {
			t.Errorf("C4: a write at the isolated node: %v", err)
		}
	}, w.mendBridge)
}

// oneDirection loses everything that node 1 sends to node 3, and nothing else.
func oneDirection(t *testing.T, w *network, c *nodes) {
	underLoad(t, c, func(i int) *process.Node { return c.node(1 + i%2) }, 2*time.Second,
		func() { w.hostRule(3, "ip saddr 10.77.0.11 drop") }, func() { w.nft(w.host(3), "") })
}

// pairCut cuts two nodes from each other while both see the third: writes go on
// through each of them.
func pairCut(t *testing.T, w *network, c *nodes) {
	underLoad(t, c, func(i int) *process.Node { return c.node(1 + 2*(i%2)) }, 2*time.Second,
		func() { w.cutPairs([2]int{1, 3}) }, w.mendBridge)
}

// lossy loses a tenth of all packets that reach any node.
func lossy(t *testing.T, w *network, c *nodes) {
	underLoad(t, c, func(i int) *process.Node { return c.node(1 + i%3) }, 5*time.Second, func() {
		for i := 1; i <= 3; i++ {
			w.hostRule(i, "ip saddr 10.77.0.11-10.77.0.13 numgen random mod 100 < 10 drop")
		}
	}, func() {
		for i := 1; i <= 3; i++ {
			w.nft(w.host(i), "")
		}
	})
}

// threeAndTwo splits five nodes: the two refuse writes, no complete read of
// either side misses an acknowledged write, and all is one again afterwards.
func threeAndTwo(t *testing.T, w *network, c *nodes) {
	l := newLedger()
	write := func(id int, must bool) {
		for i := range 30 {
			k := key{fmt.Sprintf("split.%d", i), 1000}
			if err := l.write(c.node(id), k); err != nil && must {
				t.Fatal(err)
			}
		}
	}
	write(1, true)
	w.cutPairs([2]int{1, 4}, [2]int{1, 5}, [2]int{2, 4}, [2]int{2, 5}, [2]int{3, 4}, [2]int{3, 5})
	c.sees(4, 2)
	c.sees(5, 2)
	c.sees(1, 3)
	acked := l.acks.Load()
	write(5, false)
	if l.acks.Load() != acked {
		t.Error("C4: the side of two acknowledged writes")
	}
	write(1, false) // where a series has its quorum among the three
	if l.acks.Load() == acked {
		t.Error("the side of three acknowledged nothing")
	}
	for _, n := range c.all {
		for i := range 30 {
			l.check(t, n, fmt.Sprintf("split.%d", i))
		}
	}
	w.mendBridge()
	c.whole()
	write(4, true)
	for _, n := range c.all {
		for i := range 30 {
			if !l.check(t, n, fmt.Sprintf("split.%d", i)) {
				t.Error("an incomplete read though all is well")
			}
		}
	}
}

// leaveDuringPartition has a node leave while another one is cut off from all: no
// write is refused, the leave comes to its end, and the node that was cut off
// learns of it when it is back.
func leaveDuringPartition(t *testing.T, w *network, c *nodes) {
	l := newLedger()
	stop := make(chan struct{})
	running := l.load(t, c, 6, stop, func(i int) *process.Node { return c.node(1 + 2*(i%2)) })
	l.more(c.node(1), 200)
	w.cutPairs([2]int{2, 1}, [2]int{2, 3}, [2]int{2, 4})
	c.sees(1, 3)
	left := make(chan string, 1)
	go func() {
		code, body, err := c.node(4).Post("/cluster/leave", "")
		left <- fmt.Sprintf("%d %s %v", code, body, err)
	}()
	l.more(c.node(1), 200)
	w.mendBridge()
	select {
	case answer := <-left:
		if !strings.HasPrefix(answer, "200 ") {
			t.Errorf("the leave was answered %s", answer)
		}
	case <-time.After(60 * time.Second):
		t.Fatal("the leave does not come to its end")
	}
	c.node(4).Stop()
	for _, n := range c.all[:3] {
		members(n, 3)
	}
	l.more(c.node(1), 100)
	close(stop)
	running.Wait()
	l.refusedNothing(t)
	l.completeWithout(t, c, 1, 6, 2, 3)
}
