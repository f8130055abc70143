package cluster

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/count-db/count/test/process"
)

// seed is COUNT_SEED, 1 without it.
func seed(t *testing.T) uint64 {
	t.Helper()
	text := os.Getenv("COUNT_SEED")
	if text == "" {
		return 1
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// settled waits until all nodes have the same ring, of so many members and
// copies, and no change is under way.
func (c *nodes) settled(ids []int, factor int) {
	c.t.Helper()
	c.node(ids[0]).Eventually(120*time.Second, fmt.Sprintf("the ring has the members %v and %d copies everywhere", ids, factor), func() error {
		ring := uint64(0)
		for _, id := range ids {
			_, body, err := c.node(id).Get("/cluster/status")
			var s struct {
				ringStatus
				Factor int `json:"replication_factor"`
			}
			if err == nil {
				err = json.Unmarshal([]byte(body), &s)
			}
			have := 0
			for _, m := range s.Nodes {
				if m.Member {
					have++
				}
			}
			if err == nil && (s.Change != nil || have != len(ids) || s.Factor != factor || ring != 0 && s.Ring != ring) {
				err = fmt.Errorf("%s", body)
			}
			if err != nil {
				return err
			}
			ring = s.Ring
		}
		return nil
	})
}

// TestChangesInterrupted: a join, changes of the replication factor and of a zone,
// and a leave, and in the midst of each one a node, any one, is killed and started
// again: who proposes how it ends, who joins, who leaves, who is copied from, who
// coordinates writes. Each change comes to its end, no acknowledged write is
// missing, and none is when one more dies. COUNT_SEED draws other nodes and moments.
func TestChangesInterrupted(t *testing.T) {
	c := start(t, 3)
	rng := rand.New(rand.NewPCG(seed(t), 1))
	l := newLedger()
	stop := make(chan struct{})
	running := l.load(t, c, 6, stop, func(i int) *process.Node { return c.all[i%3] })
	l.more(c.node(1), 300)
	ids := []int{1, 2, 3}
	interrupt := func(among ...int) {
		n := c.node(among[rng.IntN(len(among))])
		<-time.After(time.Duration(rng.IntN(1200)) * time.Millisecond) // the moment is what is drawn
		n.Kill()
		n.Restart()
	}
	c.join()
	ids = append(ids, 4)
	interrupt(ids...)
	c.settled(ids, 3)
	for _, factor := range []int{2, 3} {
		mustPost(t, c.node(1+rng.IntN(4)), fmt.Sprintf("/cluster/replication-factor?factor=%d", factor))
		interrupt(ids...)
		c.settled(ids, factor)
	}
	c.node(4).Kill()
	c.node(4).Restart("ZONE=b")
	interrupt(1, 2, 3)
	c.node(2).Eventually(120*time.Second, "the zone is recorded", func() error {
		_, body, err := c.node(2).Get("/cluster/status")
		if err == nil && !strings.Contains(body, `"zone":"b"`) {
			err = fmt.Errorf("%s", body)
		}
		return err
	})
	c.settled(ids, 3)
	left := make(chan struct{})
	go func() { // it may be killed before it answers; the leave goes on, or is asked for again
		defer close(left)
		_, _, _ = c.node(4).Post("/cluster/leave", "")
	}()
	interrupt(ids...)
	<-left
	c.node(4).Eventually(120*time.Second, "it has left", func() error {
		code, body, err := c.node(4).Post("/cluster/leave", "")
		if err == nil && code != 200 {
			err = fmt.Errorf("%d %s", code, body)
		}
		return err
	})
	c.node(4).Stop()
	c.settled([]int{1, 2, 3}, 3)
	l.more(c.node(1), 200)
	close(stop)
	running.Wait()
	dead := 1 + rng.IntN(3)
	l.completeWithout(t, c, dead, 6, 1+dead%3, 1+(dead+1)%3)
	t.Logf("%d writes acknowledged, %d refused and sent again, longest time without one %s", l.acks.Load(), l.refusals.Load(), time.Duration(l.longest.Load()).Round(time.Millisecond))
}

// TestOlderDisk: under load a node comes back with a copy of its disk of some time
// ago, and with one restored from a backup (C5). It refills itself and holds then
// what the others hold.
func TestOlderDisk(t *testing.T) {
	for name, take := range map[string]func(c *nodes, aside string){
		"copy": func(c *nodes, aside string) {
			c.node(3).Kill()
			if err := os.CopyFS(aside, os.DirFS(c.data(3))); err != nil {
				t.Fatal(err)
			}
			c.node(3).Restart()
			c.whole()
		},
		"restored": func(c *nodes, aside string) {
			place := filepath.Join(c.dir, "backups")
			count(c.t, c.node(1), "backup", place)
			count(c.t, c.node(1), "restore", place, "--into", aside, "--node", "3")
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := start(t, 3, "ADMIN_API=true")
			aside := filepath.Join(c.dir, "aside")
			underLoad(t, c, func(i int) *process.Node { return c.node(1 + i%2) }, 2*time.Second, func() {
				take(c, aside)
				c.node(3).Kill()
				if err := os.RemoveAll(c.data(3)); err != nil {
					t.Fatal(err)
				}
				if err := os.Rename(aside, c.data(3)); err != nil {
					t.Fatal(err)
				}
				c.node(3).Restart()
			}, c.whole)
			if log := c.node(3).Log(); !strings.Contains(log, "refilled: this node counts again") {
				t.Errorf("it did not refill:\n%s", log)
			}
		})
	}
}
