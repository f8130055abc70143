package cluster

import (
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/count-db/count/test/process"
)

// ledger remembers every write that was tried and the last one acknowledged of
// each key. A key has one client, whose values ascend by one.
type ledger struct {
	mu    sync.Mutex
	tried map[key]float64
	acked map[key]float64
	first string // the first refusal; guarded by mu

	acks, refusals, complete atomic.Int64
	longest                  atomic.Int64 // nanoseconds without an acknowledgement of any client
	last                     atomic.Int64 // unix nanoseconds of the last acknowledgement
}

type key struct {
	series string
	t      int64
}

func newLedger() *ledger {
	l := &ledger{tried: map[key]float64{}, acked: map[key]float64{}}
	l.last.Store(time.Now().UnixNano())
	return l
}

// write writes the next value of a key.
func (l *ledger) write(n *process.Node, k key) error {
	l.mu.Lock()
	l.tried[k]++
	v := l.tried[k]
	l.mu.Unlock()
	err := n.Insert(k.series, k.t, v)
	if err != nil {
		l.refusals.Add(1)
		l.mu.Lock()
		if l.first == "" {
			l.first = fmt.Sprintf("%s: %v", time.Now().UTC().Format(time.RFC3339Nano), err)
		}
		l.mu.Unlock()
		return err
	}
	l.acks.Add(1)
	now := time.Now().UnixNano()
	if gap := now - l.last.Swap(now); gap > l.longest.Load() {
		l.longest.Store(gap)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acked[k] = v
	return nil
}

// check reads a series and compares a complete answer with the ledger.
func (l *ledger) check(t *testing.T, n *process.Node, series string) (complete bool) {
	t.Helper()
	l.mu.Lock()
	least := maps.Clone(l.acked)
	l.mu.Unlock()
	got, complete, err := read(n, series)
	if err != nil || !complete {
		return false
	}
	l.complete.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	for k, v := range least {
		if have, ok := got[k.t]; k.series == series && (!ok || have < v) {
			t.Errorf("C1: %s at %d: acknowledged %g, a complete read through %s shows %v (%v)", series, k.t, v, n.Address, have, ok)
		}
	}
	for at, v := range got {
		if v > l.tried[key{series, at}] {
			t.Errorf("%s at %d: %g was never written", series, at, v)
		}
	}
	return true
}

// refusedNothing says so where a write was refused.
func (l *ledger) refusedNothing(t *testing.T) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if refused := l.refusals.Load(); refused > 0 {
		t.Errorf("%d writes were refused: %s", refused, l.first)
	}
}

// completeWithout kills a node and reads what so many clients of a load wrote
// through each of the others, which are all that live: the answers are complete.
func (l *ledger) completeWithout(t *testing.T, c *nodes, dead, clients int, others ...int) {
	t.Helper()
	c.node(dead).Kill()
	for _, id := range others {
		c.sees(id, len(others))
		for client := range clients {
			if !l.check(t, c.node(id), fmt.Sprintf("client.%d", client)) {
				t.Errorf("an incomplete read through node %d with node %d dead", id, dead)
			}
		}
	}
}

// converged says why the nodes do not all hold the same.
func (l *ledger) converged(c *nodes) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	series := map[string]bool{}
	for k := range l.tried {
		series[k.series] = true
	}
	for s := range series {
		first, err := own(c.all[0], s)
		if err != nil {
			return err
		}
		for _, n := range c.all[1:] {
			other, err := own(n, s)
			if err != nil {
				return err
			}
			if !maps.Equal(first, other) {
				return fmt.Errorf("%s: %v at %s, %v at %s", s, first, c.all[0].Address, other, n.Address)
			}
		}
		for k, v := range l.acked {
			if k.series == s && first[k.t] < v {
				return fmt.Errorf("%s at %d: acknowledged %g, held %g", s, k.t, v, first[k.t])
			}
		}
	}
	return nil
}

// load writes and reads through the given nodes until stop is closed: each
// client has its own series.
func (l *ledger) load(t *testing.T, c *nodes, clients int, stop <-chan struct{}, through func(i int) *process.Node) *sync.WaitGroup {
	var running sync.WaitGroup
	base := time.Now().Add(-time.Hour).UnixMilli()
	for client := range clients {
		running.Go(func() {
			series := fmt.Sprintf("client.%d", client)
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				k := key{series, base + int64(i%20)*1000}
				for l.write(through(client+i), k) != nil {
					select { // the client tries again
					case <-stop:
						return
					case <-time.After(20 * time.Millisecond):
					}
				}
				if i%10 == 0 {
					l.check(t, through(client+i+1), series)
				}
			}
		})
	}
	return &running
}

// more waits until so many more writes are acknowledged.
func (l *ledger) more(n *process.Node, acks int64) {
	goal := l.acks.Load() + acks
	n.Eventually(60*time.Second, "writes go on", func() error {
		if have := l.acks.Load(); have < goal {
			return fmt.Errorf("%d of %d writes acknowledged", have, goal)
		}
		return nil
	})
}

// snapshot returns what is acknowledged now, by series.
func (l *ledger) snapshot() map[string]map[int64]float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := map[string]map[int64]float64{}
	for k, v := range l.acked {
		if out[k.series] == nil {
			out[k.series] = map[int64]float64{}
		}
		out[k.series][k.t] = v
	}
	return out
}
