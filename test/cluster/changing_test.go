package cluster

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/count-db/count/test/process"
)

// ringStatus is what /cluster/status says of the ring.
type ringStatus struct {
	Ring   uint64          `json:"ring"`
	Change json.RawMessage `json:"change"`
	Nodes  []struct {
		ID     int    `json:"id"`
		Status string `json:"status"`
		Member bool   `json:"member"`
	} `json:"nodes"`
}

// members waits until a node has a settled ring of so many members.
func members(n *process.Node, want int) {
	n.Eventually(60*time.Second, fmt.Sprintf("the ring has %d members", want), func() error {
		_, body, err := n.Get("/cluster/status")
		var s ringStatus
		if err == nil {
			err = json.Unmarshal([]byte(body), &s)
		}
		have := 0
		for _, m := range s.Nodes {
			if m.Member {
				have++
			}
		}
		if err == nil && (have != want || s.Change != nil) {
			err = fmt.Errorf("%s", body)
		}
		return err
	})
}

// join starts one more node, which joins through the others.
func (c *nodes) join(env ...string) *process.Node {
	c.t.Helper()
	var addresses []string
	for _, n := range c.all {
		addresses = append(addresses, n.Address)
	}
	id := len(c.all) + 1
	n := process.StartUnready(c.t, c.data(id), append([]string{
		fmt.Sprintf("NODE_ID=%d", id), "CLUSTER_NODES=" + strings.Join(addresses, ","), "HEARTBEAT_INTERVAL=500ms", "FAILURE_TIMEOUT=3s",
	}, env...)...)
	c.all = append(c.all, n)
	return n
}

func mustPost(t *testing.T, n *process.Node, path string) {
	t.Helper()
	if code, body, err := n.Post(path, ""); err != nil || code != http.StatusOK {
		t.Fatalf("POST %s at %s: %d %s %v", path, n.Address, code, body, err)
	}
}

// TestJoinAndLeave: under load a fourth node joins, is killed in the middle and
// started again; then a founder leaves and is stopped. No write is refused, no
// acknowledged one is missing, and the answer of the leave means that the node
// is needed no more.
func TestJoinAndLeave(t *testing.T) {
	c := start(t, 3)
	l := newLedger()
	stop := make(chan struct{})
	running := l.load(t, c, 6, stop, func(i int) *process.Node { return c.all[1+i%2] })
	l.more(c.node(2), 500)
	n := c.join()
	n.Kill()
	l.more(c.node(2), 100)
	n.Restart()
	n.WaitReady()
	for _, n := range c.all {
		members(n, 4)
	}
	l.more(c.node(2), 200)
	mustPost(t, c.node(1), "/cluster/leave")
	if code := c.node(1).Stop(); code != 0 {
		t.Errorf("the node that left ended with %d", code)
	}
	for _, n := range c.all[1:] {
		members(n, 3)
	}
	l.more(c.node(2), 200)
	close(stop)
	running.Wait()
	l.refusedNothing(t)
	l.completeWithout(t, c, 2, 6, 3, 4) // one more may vanish
	t.Logf("%d writes acknowledged, longest time without one %s", l.acks.Load(), time.Duration(l.longest.Load()).Round(time.Millisecond))
}

// TestRemove: a dead node is taken out of the ring and the others are whole
// again: one more may die.
func TestRemove(t *testing.T) {
	c := start(t, 4)
	l := newLedger()
	stop := make(chan struct{})
	running := l.load(t, c, 4, stop, func(i int) *process.Node { return c.all[i%2] })
	c.node(1).Eventually(30*time.Second, "writes", func() error {
		if l.acks.Load() < 300 {
			return fmt.Errorf("%d", l.acks.Load())
		}
		return nil
	})
	if code, body, err := c.node(1).Post("/cluster/remove?node=2", ""); err != nil || code != http.StatusConflict {
		t.Errorf("the removal of a node that answers: %d %s %v", code, body, err)
	}
	c.node(4).Kill()
	c.sees(1, 3)
	mustPost(t, c.node(1), "/cluster/remove?node=4")
	for _, n := range c.all[:3] {
		members(n, 3)
	}
	close(stop)
	running.Wait()
	l.completeWithout(t, c, 3, 4, 1, 2)
}

// factor waits until all nodes have a settled ring of the replication factor.
func (c *nodes) factor(want int) {
	c.t.Helper()
	for _, n := range c.all {
		n.Eventually(60*time.Second, fmt.Sprintf("the replication factor is %d", want), func() error {
			_, body, err := n.Get("/cluster/status")
			var s struct {
				Factor int             `json:"replication_factor"`
				Change json.RawMessage `json:"change"`
			}
			if err == nil {
				err = json.Unmarshal([]byte(body), &s)
			}
			if err == nil && (s.Factor != want || s.Change != nil) {
				err = fmt.Errorf("%s", body)
			}
			return err
		})
	}
}

// TestReplicationFactor: under load two copies become three and three two; no
// write is refused, no acknowledged one is missing, and when two have become
// three every node has its full copy.
func TestReplicationFactor(t *testing.T) {
	c := start(t, 3, "REPLICATION_FACTOR=2")
	l := newLedger()
	stop := make(chan struct{})
	running := l.load(t, c, 6, stop, func(i int) *process.Node { return c.all[i%3] })
	l.more(c.node(2), 300)
	before := l.snapshot()
	if code, body, err := c.node(1).Post("/cluster/replication-factor?factor=0", ""); err != nil || code != http.StatusBadRequest {
		t.Errorf("no copies at all: %d %s %v", code, body, err)
	}
	mustPost(t, c.node(1), "/cluster/replication-factor?factor=3")
	c.factor(3)
	for id := 1; id <= 3; id++ {
		for series, want := range before {
			have, err := own(c.node(id), series)
			if err != nil {
				t.Fatal(err)
			}
			for at, v := range want {
				if got, ok := have[at]; !ok || got < v {
					t.Fatalf("node %d has %g (%v) of %s at %d, acknowledged was %g", id, got, ok, series, at, v)
				}
			}
		}
	}
	if code, body, err := c.node(2).Post("/cluster/replication-factor?factor=3", ""); err != nil || code != http.StatusConflict {
		t.Errorf("three copies again: %d %s %v", code, body, err)
	}
	l.more(c.node(2), 200)
	mustPost(t, c.node(3), "/cluster/replication-factor?factor=2")
	c.factor(2)
	l.more(c.node(2), 200)
	close(stop)
	running.Wait()
	l.refusedNothing(t)
	l.completeWithout(t, c, 1, 6, 2, 3)
	// REPLICATION_FACTOR=2 is what it was founded with; one that starts anew with
	// another value is taken as it is.
	c.node(1).Restart("REPLICATION_FACTOR=5")
	c.node(1).WaitReady()
	c.factor(2)
}

// TestTwoJoinsDuringAKill: two nodes join three at once, under load, and the first
// of the three, which proposes how changes end, is killed in the middle and comes
// back when both are in.
func TestTwoJoinsDuringAKill(t *testing.T) {
	c := start(t, 3)
	l := newLedger()
	stop := make(chan struct{})
	running := l.load(t, c, 6, stop, func(i int) *process.Node { return c.all[1+i%2] })
	l.more(c.node(2), 300)
	c.join()
	c.join()
	c.node(1).Kill()
	l.more(c.node(2), 100)
	for _, id := range []int{2, 3, 4, 5} {
		members(c.node(id), 5)
	}
	c.node(1).Restart()
	members(c.node(1), 5)
	c.whole()
	l.more(c.node(2), 200)
	close(stop)
	running.Wait()
	l.refusedNothing(t)
	l.completeWithout(t, c, 2, 6, 1, 3, 4, 5)
}
