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
func (c *nodes) join() *process.Node {
	c.t.Helper()
	var addresses []string
	for _, n := range c.all {
		addresses = append(addresses, n.Address)
	}
	id := len(c.all) + 1
	n := process.StartUnready(c.t, c.data(id), fmt.Sprintf("NODE_ID=%d", id), "CLUSTER_NODES="+strings.Join(addresses, ","),
		"HEARTBEAT_INTERVAL=500ms", "FAILURE_TIMEOUT=3s")
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
	more := func(acks int64) {
		goal := l.acks.Load() + acks
		c.node(2).Eventually(60*time.Second, "writes go on", func() error {
			if have := l.acks.Load(); have < goal {
				return fmt.Errorf("%d of %d writes acknowledged", have, goal)
			}
			return nil
		})
	}
	more(500)
	n := c.join()
	n.Kill()
	more(100)
	n.Restart()
	n.WaitReady()
	for _, n := range c.all {
		members(n, 4)
	}
	more(200)
	mustPost(t, c.node(1), "/cluster/leave")
	if code := c.node(1).Stop(); code != 0 {
		t.Errorf("the node that left ended with %d", code)
	}
	for _, n := range c.all[1:] {
		members(n, 3)
	}
	more(200)
	close(stop)
	running.Wait()
	if refused := l.refusals.Load(); refused > 0 {
		t.Errorf("%d writes were refused", refused)
	}
	c.node(2).Kill() // one more may vanish
	for _, id := range []int{3, 4} {
		c.sees(id, 2)
		for client := range 6 {
			if !l.check(t, c.node(id), fmt.Sprintf("client.%d", client)) {
				t.Errorf("an incomplete read through node %d", id)
			}
		}
	}
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
	c.node(3).Kill()
	for _, id := range []int{1, 2} {
		c.sees(id, 2)
		for client := range 4 {
			if !l.check(t, c.node(id), fmt.Sprintf("client.%d", client)) {
				t.Errorf("an incomplete read through node %d", id)
			}
		}
	}
}
