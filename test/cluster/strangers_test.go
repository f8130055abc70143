package cluster

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/count-db/count/test/process"
)

// saysApart waits until a node says, wherever somebody may look, that its disk
// belongs to another cluster than its CLUSTER_NODES name.
func saysApart(t *testing.T, n *process.Node) {
	t.Helper()
	const want = "the disk of this node belongs to another cluster than CLUSTER_NODES names"
	n.Eventually(20*time.Second, "it says that it is apart", func() error {
		h, err := healthOf(n)
		if err == nil && (h.Status != "degraded" || !h.Ready || !strings.Contains(strings.Join(h.Reasons, "; "), want)) {
			err = fmt.Errorf("%+v", h)
		}
		if err == nil && !strings.Contains(n.Log(), want) {
			err = errors.New("it is not in the log")
		}
		return err
	})
	n.Eventually(20*time.Second, "the command says so", func() error {
		cmd := exec.Command(process.Binary(t), "cluster", "status", "--server", n.URL)
		out, err := cmd.CombinedOutput()
		if err == nil && !strings.Contains(string(out), "problem: "+want) {
			err = fmt.Errorf("%s", out)
		}
		return err
	})
}

// TestStrangersDoNotJoin: nodes that must not get into a cluster are told why and
// change nothing of it: one with another secret or CLUSTER_NAME, one with the
// NODE_ID of a member, one with data of its own, and one that was the member of
// another cluster. With an empty directory the same node joins.
func TestStrangersDoNotJoin(t *testing.T) {
	c := start(t, 3, "CLUSTER_SECRET=ours")
	at := time.Now().Add(-time.Minute).UnixMilli()
	if err := c.node(1).Insert("known", at, 1); err != nil {
		t.Fatal(err)
	}
	own := t.TempDir()
	alone := process.Start(t, own, "NODE_ID=7", "CLUSTER_ENABLED=false")
	if err := alone.Insert("known", at, 666); err != nil {
		t.Fatal(err)
	}
	alone.Kill()
	other := t.TempDir()
	address := freeAddresses(t, 1)[0]
	founder := process.Start(t, other, "NODE_ID=8", "BIND_ADDRESS="+address, "CLUSTER_NODES="+address, "CLUSTER_SECRET=ours")
	if err := founder.Insert("known", at, 667); err != nil {
		t.Fatal(err)
	}
	var seeds []string
	for _, n := range c.all {
		seeds = append(seeds, n.Address)
	}
	for _, s := range []struct {
		dir  string
		env  []string
		want string
	}{
		{t.TempDir(), []string{"NODE_ID=4", "CLUSTER_SECRET=theirs"}, "the secret of CLUSTER_SECRET"},
		{t.TempDir(), []string{"NODE_ID=5", "CLUSTER_NAME=theirs"}, "CLUSTER_NAME differs"},
		{t.TempDir(), []string{"NODE_ID=2"}, "NODE_ID 2 is used twice"},
		{own, []string{"NODE_ID=7"}, "start it with an empty DATA_DIR"},
	} {
		n := process.StartUnready(t, s.dir, append([]string{"CLUSTER_NODES=" + strings.Join(seeds, ","), "CLUSTER_SECRET=ours", "FAILURE_TIMEOUT=3s"}, s.env...)...)
		n.Eventually(20*time.Second, "it says why it may not join", func() error {
			h, err := healthOf(n)
			if err == nil && (h.Status != "unhealthy" || h.Ready || !strings.Contains(strings.Join(h.Reasons, "; "), s.want)) {
				err = fmt.Errorf("%v: %+v", s.env, h)
			}
			return err
		})
		if s.dir != own { // that one is let in as far as to see the cluster, and hands on what it is given
			if err := n.Insert("known", at, 668); err == nil {
				t.Errorf("%v: it took a write", s.env)
			}
		}
		n.Kill()
	}
	// The member of another cluster stays one, and says so: CLUSTER_NODES is for
	// finding it.
	founder.Kill()
	founder.Restart("CLUSTER_NODES=" + seeds[0])
	founder.WaitReady()
	if points, complete, err := read(founder, "known"); err != nil || !complete || points[at] != 667 {
		t.Errorf("the other cluster: %v, complete %v, %v", points, complete, err)
	}
	saysApart(t, founder)
	for _, n := range c.all {
		members(n, 3)
		points, complete, err := read(n, "known")
		if err != nil || !complete || len(points) != 1 || points[at] != 1 {
			t.Errorf("through %s: %v, complete %v, %v", n.Address, points, complete, err)
		}
		if h, err := healthOf(n); err != nil || h.ClusterSize != 3 {
			t.Errorf("%s: %+v %v", n.Address, h, err)
		}
	}
	if err := os.RemoveAll(own); err != nil {
		t.Fatal(err)
	}
	n := process.StartUnready(t, own, "NODE_ID=7", "CLUSTER_NODES="+strings.Join(seeds, ","), "CLUSTER_SECRET=ours", "FAILURE_TIMEOUT=3s")
	members(n, 4)
	if points, complete, err := read(n, "known"); err != nil || !complete || points[at] != 1 {
		t.Errorf("through the new node: %v, complete %v, %v", points, complete, err)
	}
}
