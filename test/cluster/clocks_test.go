package cluster

import (
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/count-db/count/test/process"
)

// clockIsOff checks, by the header Date, that a node's clock is as far off as it was
// told to be.
func clockIsOff(t *testing.T, n *process.Node, skew time.Duration) {
	t.Helper()
	_, header, _, err := n.Do(http.MethodGet, "/-/healthy", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := http.ParseTime(header.Get("Date"))
	if off := time.Until(theirs); err != nil || (off-skew).Abs() > 30*time.Second {
		t.Fatalf("the clock of %s is %v off, not %v: %v", n.Address, off, skew, err)
	}
}

// TestProcessesWithClocksApart: the clocks of the processes are three minutes before and behind
// (V1, V2). Clients overwrite the same samples through all nodes in turn, so each
// write follows one of another clock: none that is acknowledged gives way to an
// earlier one, also while the node whose clock is ahead is dead, and after it is
// back the nodes converge.
func TestProcessesWithClocksApart(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	binary := process.Skewed(t)
	skews := []int{0, 180, -180}
	c := startBinary(t, binary, freeAddresses(t, 3), func(_ int, run func()) { run() }, func(i int) []string {
		return []string{process.ClockSkew(skews[i])}
	})
	for i, skew := range skews {
		clockIsOff(t, c.all[i], time.Duration(skew)*time.Second)
	}
	var dead atomic.Bool
	through := func(i int) *process.Node {
		if dead.Load() {
			return c.node(1 + 2*(i%2))
		}
		return c.node(1 + i%3)
	}
	underLoad(t, c, through, 2*time.Second, func() {
		dead.Store(true)
		c.node(2).Kill()
	}, func() {
		c.node(2).Restart()
		c.whole()
		dead.Store(false)
	})
}
