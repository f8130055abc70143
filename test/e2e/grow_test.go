package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/count-db/count/test/process"
)

// TestNodeAloneIsJoined: a node that was told of no others takes a join, its
// data reaches the new node, and it is a node of the cluster after a restart.
func TestNodeAloneIsJoined(t *testing.T) {
	first := process.Start(t, t.TempDir(), "FAILURE_TIMEOUT=4s")
	at := minuteAgo()
	for i := range int64(20) {
		if err := first.Insert(fmt.Sprintf("alone_%d", i), at, float64(i)); err != nil {
			t.Fatal(err)
		}
	}
	// Somebody writes all the time: nothing that is acknowledged may get lost.
	book := &ledger{acked: map[string]map[int64]float64{}}
	stop, written := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(written)
		for i := int64(0); ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			series := fmt.Sprintf("busy_%d", i%5)
			if first.Insert(series, at-i, float64(i)) == nil {
				book.ack(series, at-i, float64(i))
			}
		}
	}()
	second := process.Start(t, t.TempDir(), "NODE_ID=2", "FAILURE_TIMEOUT=4s", "CLUSTER_NODES="+first.Address)
	bothInSight := func() error {
		for _, n := range []*process.Node{first, second} {
			if v, err := metric(n, "count_cluster_members_in_sight"); err != nil || v != 2 {
				return fmt.Errorf("%v in sight at %s: %v", v, n.Address, err)
			}
		}
		return nil
	}
	second.Eventually(30*time.Second, "the ring has two members", bothInSight)
	close(stop)
	<-written
	checkLedger(t, first, book)
	checkLedger(t, second, book)
	check := func(n *process.Node) {
		t.Helper()
		for i := range int64(20) {
			wantRange(t, n, fmt.Sprintf("alone_%d", i), at, float64(i))
		}
	}
	check(first)
	check(second)
	if err := second.Insert("together", at, 7); err != nil {
		t.Fatal(err)
	}
	if err := first.Insert("alone_0", at, 100); err != nil {
		t.Fatal(err)
	}
	wantRange(t, second, "alone_0", at, 100)
	if code := first.Stop(); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	first.Restart()
	first.WaitReady()
	second.Eventually(30*time.Second, "both see one another again", bothInSight)
	wantRange(t, first, "together", at, 7)
	wantRange(t, first, "alone_0", at, 100)
}

// TestStandaloneTakesNoJoin: with CLUSTER_ENABLED=false the node stays alone.
func TestStandaloneTakesNoJoin(t *testing.T) {
	first := process.Start(t, t.TempDir(), "CLUSTER_ENABLED=false")
	second := process.StartUnready(t, t.TempDir(), "NODE_ID=2", "CLUSTER_NODES="+first.Address)
	second.Eventually(20*time.Second, "the join is refused", func() error {
		if !strings.Contains(second.Log(), "takes no joins") {
			return fmt.Errorf("not yet: %s", second.Log())
		}
		return nil
	})
	if err := first.Insert("a", minuteAgo(), 1); err != nil {
		t.Error(err)
	}
}
