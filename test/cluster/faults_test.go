package cluster

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/count-db/count/test/process"
)

// underLoad runs fault while clients write through the nodes that live, checks
// that acknowledgements went on and that all is one again after heal.
func underLoad(t *testing.T, c *nodes, through func(i int) *process.Node, longest time.Duration, fault, heal func()) {
	t.Helper()
	l := newLedger()
	stop := make(chan struct{})
	running := l.load(t, c, 6, stop, through)
	l.more(c.node(1), 200) // writes go through before the fault
	fault()
	l.more(c.node(1), 600) // writes go on during the fault
	heal()
	l.more(c.node(1), 200) // writes go on after the fault
	close(stop)
	running.Wait()
	if gap := time.Duration(l.longest.Load()); gap > longest {
		t.Errorf("no write was acknowledged for %s, more than %s", gap, longest)
	}
	c.whole()
	c.node(1).Eventually(90*time.Second, "all nodes hold the same", func() error { return l.converged(c) })
	for _, n := range c.all {
		for client := range 6 {
			if !l.check(t, n, fmt.Sprintf("client.%d", client)) {
				t.Errorf("an incomplete read through %s though all is well", n.Address)
			}
		}
	}
	t.Logf("%d writes acknowledged, %d refused and sent again, %d complete reads, longest time without an acknowledgement %s",
		l.acks.Load(), l.refusals.Load(), l.complete.Load(), time.Duration(l.longest.Load()).Round(time.Millisecond))
}

// TestKill: kill -9 of one node of three under load, and its restart.
func TestKill(t *testing.T) {
	for _, rf := range []string{"2", "3"} {
		t.Run("rf"+rf, func(t *testing.T) {
			c := start(t, 3, "REPLICATION_FACTOR="+rf)
			live := func(i int) *process.Node { return c.node(1 + i%2) }
			if rf == "2" {
				converge2(t, c, live)
				return
			}
			underLoad(t, c, live, 2*time.Second, c.node(3).Kill, func() { c.node(3).Restart() })
		})
	}
}

// converge2 is for two copies, where the stand-in may hold a third: only the
// reads are compared.
func converge2(t *testing.T, c *nodes, through func(i int) *process.Node) {
	l := newLedger()
	stop := make(chan struct{})
	running := l.load(t, c, 6, stop, through)
	l.more(c.node(1), 200)
	c.node(3).Kill()
	l.more(c.node(1), 600)
	c.node(3).Restart()
	l.more(c.node(1), 200)
	close(stop)
	running.Wait()
	if gap := time.Duration(l.longest.Load()); gap > 2*time.Second {
		t.Errorf("no write was acknowledged for %s", gap)
	}
	c.whole()
	l.completeWithout(t, c, 1, 6, 2, 3) // what node 3 missed is at the others: any one may die
}

// TestPause: SIGSTOP of one node of three under load: it is noticed by its
// missing answers.
func TestPause(t *testing.T) {
	c := start(t, 3)
	underLoad(t, c, func(i int) *process.Node { return c.node(1 + i%2) }, 2*time.Second, c.node(3).Pause, c.node(3).Resume)
}

// TestWiped: a node comes back with an empty disk under load, refills and then
// counts (C5).
func TestWiped(t *testing.T) {
	c := start(t, 3)
	underLoad(t, c, func(i int) *process.Node { return c.node(1 + i%2) }, 2*time.Second, func() {
		c.node(3).Kill()
		if err := os.RemoveAll(c.data(3)); err != nil {
			t.Fatal(err)
		}
		c.node(3).Restart()
	}, c.whole)
}

// TestMinority: a node alone refuses writes at once and marks its reads (C4).
func TestMinority(t *testing.T) {
	c := start(t, 3)
	if err := c.node(1).Insert("m", 1000, 1); err != nil {
		t.Fatal(err)
	}
	c.node(2).Kill()
	c.node(3).Pause()
	c.sees(1, 1)
	began := time.Now()
	err := c.node(1).Insert("m", 2000, 2)
	if took := time.Since(began); err == nil || !strings.Contains(err.Error(), "503") || took > time.Second {
		t.Fatalf("a write in the minority: %v after %s", err, took)
	}
	got, complete, err := read(c.node(1), "m")
	if err != nil || complete || got[1000] != 1 {
		t.Fatalf("a read in the minority: %v, complete %v, %v", got, complete, err)
	}
	if h, err := healthOf(c.node(1)); err != nil || h.Status != "unhealthy" {
		t.Fatalf("%+v, %v", h, err)
	}
	c.node(2).Restart()
	c.node(3).Resume()
	c.whole()
	c.node(1).Eventually(10*time.Second, "writes go again", func() error { return c.node(1).Insert("m", 2000, 3) })
}

// TestRollingRestart: SIGTERM is a restart and no leaving; nothing is lost when
// each node is restarted in turn.
func TestRollingRestart(t *testing.T) {
	c := start(t, 3)
	for i := range 3 {
		id := i + 1
		other := c.node(id%3 + 1)
		if err := other.Insert("m", int64(id)*1000, float64(id)); err != nil {
			t.Fatal(err)
		}
		if code := c.node(id).Stop(); code != 0 {
			t.Fatalf("exit code %d", code)
		}
		if err := other.Insert("m", int64(id)*1000+1, float64(id)); err != nil {
			t.Fatal(err)
		}
		c.node(id).Restart()
		c.whole()
	}
	for _, n := range c.all {
		n.Eventually(60*time.Second, "each node holds all", func() error {
			got, err := own(n, "m")
			if err == nil && len(got) != 6 {
				err = fmt.Errorf("%v", got)
			}
			return err
		})
	}
}

// TestFailedNodeIsTold: a dead member is told as failed after FAILURE_TIMEOUT,
// and the cluster is degraded.
func TestFailedNodeIsTold(t *testing.T) {
	c := start(t, 3)
	c.node(3).Kill()
	c.node(1).Eventually(15*time.Second, "node 3 has failed", func() error {
		_, body, err := c.node(1).Get("/cluster/status")
		if err == nil && !strings.Contains(body, `"status":"Failed"`) {
			err = errors.New(body)
		}
		return err
	})
	if h, err := healthOf(c.node(1)); err != nil || h.Status != "degraded" || h.ClusterSize != 2 {
		t.Fatalf("%+v, %v", h, err)
	}
}
