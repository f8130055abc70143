package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/cluster/membership"
	"github.com/count-db/count/cluster/quorum"
	"github.com/count-db/count/cluster/ring"
	"github.com/count-db/count/cluster/transport"
	"github.com/count-db/count/cluster/transport/memnet"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/vfs"
)

// hlc is a node's clock, which may be wrong.
type hlc struct {
	skew time.Duration
	last atomic.Uint64
}

func (c *hlc) Now() model.Version {
	for {
		last := c.last.Load()
		next := max(uint64(model.VersionAt(time.Now().Add(c.skew).UnixMicro())), last+1)
		if c.last.CompareAndSwap(last, next) {
			return model.Version(next)
		}
	}
}

func (c *hlc) Observe(v model.Version) {
	for {
		last := c.last.Load()
		if uint64(v) <= last || c.last.CompareAndSwap(last, uint64(v)) {
			return
		}
	}
}

// testNode is a node of a test cluster; its disk (local, fs) outlives its runs.
type testNode struct {
	*Cluster
	id    ring.NodeID
	host  string
	local *memLocal
	// shares is what computes shares of spread reads; nil: local.
	shares Reader
	fs     *vfs.MemFS
	disk   membership.Disk
	clock  *hlc
	web    *http.Server
	alter  func(*Options)
	asked  func(ctx context.Context) error // called when another node has this one compute
	made   func(c *Cluster)                // called before it is served; nil: nothing
}

// testCluster is a number of nodes on a network in memory. It must be used
// inside a synctest bubble.
type testCluster struct {
	t     *testing.T
	net   *memnet.Network
	rf    int
	hosts []string
	nodes []*testNode
	// around is what stands around a node's listener.
	around func(n *testNode, ln net.Listener) net.Listener
}

func hostOf(id int) string { return fmt.Sprintf("node%d:80", id) }

// newTestCluster makes and starts n nodes that found a cluster.
func newTestCluster(t *testing.T, n, rf int, alter ...func(*Options)) *testCluster {
	tc := &testCluster{t: t, net: memnet.New(), rf: rf, around: func(_ *testNode, ln net.Listener) net.Listener { return ln }}
	tc.found(n, alter...)
	return tc
}

// found makes and starts n nodes that found the cluster.
func (tc *testCluster) found(n int, alter ...func(*Options)) {
	t := tc.t
	for i := range n {
		tc.hosts = append(tc.hosts, hostOf(i+1))
	}
	for i := range n {
		node := tc.make(i + 1)
		for _, f := range alter {
			node.alter = f
		}
		tc.nodes = append(tc.nodes, node)
		tc.start(node)
	}
	t.Cleanup(func() {
		tc.net.Heal()
		for _, n := range tc.nodes {
			tc.net.Thaw(n.host)
			tc.stop(n)
		}
	})
}

func (tc *testCluster) make(id int) *testNode {
	return &testNode{
		id: ring.NodeID(id), host: hostOf(id), local: newMemLocal(), fs: vfs.NewMem(),
		disk: membership.Disk{ID: fmt.Sprintf("disk%d", id)}, clock: &hlc{}, alter: func(*Options) {},
	}
}

func (tc *testCluster) start(n *testNode) {
	tc.t.Helper()
	n.disk.Starts++
	o := Options{
		Node: n.id, Cluster: "test", Address: n.host, Seeds: tc.hosts, RF: tc.rf, Disk: n.disk,
		Rule: noHistograms, FS: n.fs, Dir: "data", Dial: tc.net.Dialer(n.host), NoGossip: true,
	}
	n.alter(&o)
	if err := n.fs.MkdirAll("data"); err != nil {
		tc.t.Fatal(err)
	}
	c, err := New(n.local, n.clock, o)
	if err != nil {
		tc.t.Fatal(err)
	}
	n.Cluster = c
	if n.made != nil {
		n.made(c)
	}
	n.serveShares()
	ln, err := tc.net.Listen(n.host)
	if err != nil {
		tc.t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle(transport.Path, c.Connect())
	n.web = &http.Server{Handler: mux, ErrorLog: log.New(io.Discard, "", 0)}
	go func() {
		if err := n.web.Serve(tc.around(n, ln)); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			tc.t.Errorf("serve: %v", err)
		}
	}()
	if err := c.Start(); err != nil {
		tc.t.Fatal(err)
	}
}

// stop ends a node as SIGKILL would for the others: its connections end. What it
// had acknowledged is on its disk.
func (tc *testCluster) stop(n *testNode) {
	if n.Cluster == nil {
		return
	}
	tc.net.Kill(n.host)
	if err := errors.Join(n.Close(), n.web.Close()); err != nil {
		tc.t.Errorf("stop node %d: %v", n.id, err)
	}
	n.Cluster = nil
}

// wipe gives a stopped node a new, empty disk.
func (tc *testCluster) wipe(n *testNode) {
	n.local, n.fs = newMemLocal(), vfs.NewMem()
	n.disk = membership.Disk{ID: n.disk.ID + "'"}
}

// until waits, in virtual time, for a condition.
func (tc *testCluster) until(what string, within time.Duration, cond func() bool) {
	tc.t.Helper()
	for end := time.Now().Add(within); ; {
		if cond() {
			return
		}
		if time.Now().After(end) {
			for _, n := range tc.nodes {
				if n.Cluster != nil {
					tc.t.Logf("node %d: %+v", n.id, n.Status())
				}
			}
			tc.t.Fatalf("not within %s: %s", within, what)
		}
		pause(10 * time.Millisecond)
	}
}

// pause lets virtual time pass.
func pause(d time.Duration) { <-time.NewTimer(d).C }

// ready waits until all running nodes see each other.
func (tc *testCluster) ready() {
	tc.t.Helper()
	tc.until("all nodes see each other", time.Minute, func() bool {
		running := 0
		for _, n := range tc.nodes {
			if n.Cluster != nil {
				running++
			}
		}
		for _, n := range tc.nodes {
			if n.Cluster == nil {
				continue
			}
			if h := n.Health(); !h.Founded || h.Size < running || h.Refill != "" {
				return false
			}
		}
		return true
	})
}

func metric(name string) labels.Labels { return labels.FromStrings(labels.MetricName, name) }

// write writes one sample through a node and returns how many copies were
// durable.
func (n *testNode) write(name string, t int64, v float64) (copies int, err error) {
	ref, err := n.local.Intern(metric(name))
	if err != nil {
		return 0, err
	}
	b := &model.Batch{Floats: []model.FloatSample{{T: t, V: v, Ref: ref}}}
	var noted Copies
	err = n.Append(WithCopies(context.Background(), &noted), b)
	return noted.Least(), err
}

// read reads a series through a node: timestamp to value.
func (n *testNode) read(name string, level quorum.Level) (map[int64]float64, []string, error) {
	ctx, cancel := context.WithTimeout(quorum.WithLevel(context.Background(), level), 30*time.Second)
	defer cancel()
	set, err := n.Select(ctx, 0, 1<<50, labels.MustNewMatcher(labels.MatchEqual, labels.MetricName, name))
	if err != nil {
		return nil, nil, err
	}
	defer set.Close()
	out := map[int64]float64{}
	for set.Next() {
		var cols model.Columns
		if err := set.At().Read(0, 1<<50, &cols); err != nil {
			return nil, nil, err
		}
		for i, t := range cols.T {
			out[t] = cols.V[i]
		}
	}
	return out, set.Warnings(), set.Err()
}

func (tc *testCluster) mustWrite(n *testNode, name string, t int64, v float64) {
	tc.t.Helper()
	if _, err := n.write(name, t, v); err != nil {
		tc.t.Fatalf("write %s@%d=%g through node %d: %v", name, t, v, n.id, err)
	}
}

// expect reads through a node: the answer must be complete and have the value.
func (tc *testCluster) expect(n *testNode, name string, t int64, v float64) {
	tc.t.Helper()
	got, warnings, err := n.read(name, quorum.Quorum)
	if err != nil || len(warnings) > 0 || got[t] != v {
		tc.t.Fatalf("read %s@%d through node %d: %v, warnings %q, error %v; want %g", name, t, n.id, got, warnings, err, v)
	}
}

// holds says what a node itself has.
func (n *testNode) holds(name string, t int64) (float64, bool) {
	n.local.mu.Lock()
	defer n.local.mu.Unlock()
	s := n.local.series[metric(name).String()]
	if s == nil {
		return 0, false
	}
	for i, at := range s.cols.T {
		if at == t {
			return s.cols.V[i], true
		}
	}
	return 0, false
}

// bubble runs a test in virtual time.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

func tokenOf(name string) uint64 { return model.SeriesIDOf(metric(name)).Token() }
