package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/count-db/count/test/process"
)

// owed returns the bytes of hints that a node keeps, by the node that is owed.
func owed(n *process.Node) (map[int]int64, error) {
	_, body, err := n.Get("/cluster/status")
	if err != nil {
		return nil, err
	}
	var s struct {
		Nodes []struct {
			ID    int   `json:"id"`
			Bytes int64 `json:"owed_bytes"`
		} `json:"nodes"`
	}
	err = json.Unmarshal([]byte(body), &s)
	out := map[int]int64{}
	for _, m := range s.Nodes {
		out[m.ID] = m.Bytes
	}
	return out, err
}

// TestRemoveWhileHintsArePending: of five nodes one is dead and one hangs, and
// both are owed hints when the dead one is removed under load. The one that comes
// back gets what it is owed, nobody keeps anything for the one that is gone, and
// nothing that was acknowledged is missing when one more dies.
func TestRemoveWhileHintsArePending(t *testing.T) {
	c := start(t, 5, "WRITE_DEADLINE=1s")
	l := newLedger()
	stop := make(chan struct{})
	running := l.load(t, c, 12, stop, func(i int) *process.Node { return c.node(1 + i%3) })
	l.more(c.node(1), 200)
	c.node(5).Kill()
	c.node(4).Pause()
	pending := func(id int) error {
		total := int64(0)
		for _, n := range c.all[:3] {
			have, err := owed(n)
			if err != nil {
				return err
			}
			total += have[id]
		}
		if total == 0 {
			return fmt.Errorf("node %d is owed nothing", id)
		}
		return nil
	}
	for _, id := range []int{4, 5} {
		c.node(1).Eventually(30*time.Second, "hints are pending", func() error { return pending(id) })
	}
	c.sees(1, 3)
	mustPost(t, c.node(1), "/cluster/remove?node=5")
	if err := pending(4); err != nil {
		t.Error(err) // else nothing is tested
	}
	c.node(4).Resume()
	for _, n := range c.all[:4] {
		members(n, 4)
	}
	l.more(c.node(1), 100)
	close(stop)
	running.Wait()
	c.node(1).Eventually(60*time.Second, "nobody owes anything", func() error {
		for id := range 5 {
			if pending(id+1) == nil {
				return fmt.Errorf("node %d is owed something", id+1)
			}
		}
		return nil
	})
	l.completeWithout(t, c, 2, 12, 1, 3, 4)
	t.Logf("%d writes acknowledged, %d refused while two of five were away", l.acks.Load(), l.refusals.Load())
}

// TestTwoLeaveWhileOneIsDead: two of five nodes are asked to leave at once, under
// load, while a third one is dead that is to get copies: they wait for it. No write
// is refused, and when it is back both leaves are answered with 200 and mean it.
func TestTwoLeaveWhileOneIsDead(t *testing.T) {
	c := start(t, 5)
	l := newLedger()
	stop := make(chan struct{})
	running := l.load(t, c, 6, stop, func(i int) *process.Node { return c.node(1 + i%2) })
	l.more(c.node(1), 200)
	c.node(3).Kill()
	c.sees(1, 4)
	left := make(chan error, 2)
	for _, id := range []int{4, 5} {
		go func() {
			code, body, err := c.node(id).Post("/cluster/leave", "")
			if err == nil && code != http.StatusOK {
				err = fmt.Errorf("%d %s", code, body)
			}
			left <- err
		}()
	}
	c.node(1).Eventually(20*time.Second, "a leave waits for the dead node", func() error {
		_, body, err := c.node(1).Get("/cluster/status")
		if err == nil && !strings.Contains(body, `"copying":[3]`) {
			err = errors.New(body)
		}
		return err
	})
	l.more(c.node(1), 100)
	c.node(3).Restart()
	for range 2 {
		if err := <-left; err != nil {
			t.Fatalf("a leave: %v", err)
		}
	}
	for _, id := range []int{4, 5} {
		if code := c.node(id).Stop(); code != 0 {
			t.Errorf("node %d ended with %d", id, code)
		}
	}
	for _, n := range c.all[:3] {
		members(n, 3)
	}
	l.more(c.node(1), 100)
	close(stop)
	running.Wait()
	l.refusedNothing(t)
	l.completeWithout(t, c, 2, 6, 1, 3)
}
