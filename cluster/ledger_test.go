package cluster

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/count-db/count/cluster/quorum"
)

// ledger remembers every write that a client tried, and checks what is read
// against it. Each (series, timestamp) has one client, which writes ascending
// values one after the other, so that the order of values is the order of
// writes. Checked:
//
//   - a complete read shows the last write acknowledged before it began, or a
//     later one: nothing acknowledged is missing, and no earlier write shows over
//     a later acknowledged one;
//   - nothing is read that was never written.
//
// Not checked: reads that are marked as incomplete, and refused reads: those may
// show anything that was written.
type ledger struct {
	mu    sync.Mutex
	tried map[string]float64 // key to the highest value tried
	acked map[string]float64 // key to the highest value acknowledged
	acks  int
	reads int
	alone int // reads of one copy that was proved complete
	// spread counts the complete reads of one copy of each list.
	spread int
}

func newLedger() *ledger { return &ledger{tried: map[string]float64{}, acked: map[string]float64{}} }

func key(name string, t int64) string { return fmt.Sprintf("%s@%d", name, t) }

// write writes the next value of the key through the node.
func (l *ledger) write(n *testNode, name string, t int64) error {
	k := key(name, t)
	l.mu.Lock()
	l.tried[k]++
	v := l.tried[k]
	l.mu.Unlock()
	_, err := n.write(name, t, v)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		l.acked[k] = v
		l.acks++
	}
	return err
}

// read reads the key through the node and checks a complete answer. It says
// whether the answer was complete.
func (l *ledger) read(t *testing.T, n *testNode, name string, at int64) bool {
	t.Helper()
	return l.readOrWhy(t, n, name, at) == nil
}

// readOrWhy is read; it says why the answer was not complete.
func (l *ledger) readOrWhy(t *testing.T, n *testNode, name string, at int64) error {
	t.Helper()
	k := key(name, at)
	l.mu.Lock()
	least, written := l.acked[k]
	l.mu.Unlock()
	if n.SeriesIsComplete(t.Context(), metric(name)) {
		v, found := n.holds(name, at)
		l.mu.Lock()
		l.alone++
		if written && (!found || v < least) {
			t.Fatalf("C7: %s was acknowledged (%g) and is %g (%v) in the copy of node %d, which was proved complete", k, least, v, found, n.id)
		}
		l.mu.Unlock()
	}
	got, warnings, err := n.read(name, quorum.Quorum)
	if err != nil {
		return err
	}
	if len(warnings) > 0 {
		return errors.New(strings.Join(warnings, "; "))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reads++
	v, found := got[at]
	if written && !found {
		t.Fatalf("C1: %s was acknowledged (%g) and is missing in a complete read through node %d", k, least, n.id)
	}
	if found && (v < least || v > l.tried[k] || v != float64(int(v))) {
		t.Fatalf("%s is %g through node %d; acknowledged %g, tried up to %g", k, v, n.id, least, l.tried[k])
	}
	return nil
}

// readSpread reads all keys through the node by the copies of owners that are
// proved complete, and checks a complete answer.
func (l *ledger) readSpread(t *testing.T, n *testNode) {
	t.Helper()
	l.mu.Lock()
	acked := maps.Clone(l.acked)
	l.mu.Unlock()
	got, err := n.spreadRead(t, quorum.Quorum)
	if err != nil || len(got.Warnings) > 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.spread++
	for k, least := range acked {
		name, at := parseKey(t, k)
		v, found := got.Samples[name][at]
		if !found || v < least || v > l.tried[k] {
			t.Fatalf("C7: %s was acknowledged (%g), tried up to %g, and is %g (%v) in a spread read through node %d by %q", k, least, l.tried[k], v, found, n.id, got.By)
		}
	}
}

func parseKey(t *testing.T, k string) (name string, at int64) {
	t.Helper()
	if _, err := fmt.Sscanf(k, "%4s@%d", &name, &at); err != nil {
		t.Fatal(err)
	}
	return name, at
}

// readAll reads every key through the node.
func (l *ledger) readAll(t *testing.T, n *testNode) {
	t.Helper()
	for k := range l.tried {
		var name string
		var at int64
		if _, err := fmt.Sscanf(k, "%4s@%d", &name, &at); err != nil {
			t.Fatal(err)
		}
		l.read(t, n, name, at)
	}
}

// converged says whether all owners hold the same for every key.
func (tc *testCluster) converged(l *ledger) bool {
	for k := range l.tried {
		var name string
		var at int64
		if _, err := fmt.Sscanf(k, "%4s@%d", &name, &at); err != nil {
			tc.t.Fatal(err)
		}
		nodes, owners := tc.nodes[0].Candidates(metric(name))
		first, has := tc.nodes[nodes[0]-1].holds(name, at)
		for _, id := range nodes[1:owners] {
			if v, ok := tc.nodes[id-1].holds(name, at); ok != has || v != first {
				return false
			}
		}
		if acked, ok := l.acked[k]; ok && (!has || first < acked) {
			return false
		}
	}
	return true
}

// endsEqual waits until all owners hold the same and reads every key through every
// node.
func (tc *testCluster) endsEqual(l *ledger) {
	tc.t.Helper()
	tc.until("converged", 3*time.Minute, func() bool { return tc.converged(l) })
	for _, n := range tc.nodes {
		l.readAll(tc.t, n)
	}
}
