package headroom

import (
	"context"
	"sync"
	"testing"
	"time"
)

// memory is the runtime's as a test says.
type memory struct {
	mu sync.Mutex
	u  Usage
}

func (m *memory) set(u Usage) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.u = u
}

func (m *memory) usage() Usage {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.u
}

// wait fails the test if a channel stays open.
func wait(t *testing.T, c <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(30 * time.Second):
		t.Fatal(what)
	}
}

func TestOldestIsGivenUp(t *testing.T) {
	m := &memory{}
	shed := make(chan struct{}, 10)
	g := New(1000, m.usage, func() { shed <- struct{}{} })
	first, leaveFirst := g.Enter(context.Background())
	second, leaveSecond := g.Enter(context.Background())
	defer leaveSecond()
	m.set(Usage{Live: 950, Total: 990, Collections: 1})
	wait(t, first.Done(), "nothing was given up")
	if !Short(first) || Short(second) || second.Err() != nil {
		t.Fatalf("first %v, second %v", context.Cause(first), context.Cause(second))
	}
	<-shed
	leaveFirst()
	m.set(Usage{Live: 950, Total: 990, Collections: 3})
	wait(t, second.Done(), "nothing was given up though the first one's end freed nothing")
	if !Short(second) {
		t.Fatal(context.Cause(second))
	}
}

func TestWhatWasGivenUpIsWaitedFor(t *testing.T) {
	g := New(1000, nil, nil)
	low, over := Usage{Live: 100, Total: 200}, Usage{Live: 950, Total: 1000, Collections: 5}
	if g.short(low) || !g.short(over) {
		t.Fatal("the shares of the limit")
	}
	g.last, g.waiting, g.ending = over, true, 1
	over.Collections = 9
	if g.short(over) {
		t.Fatal("what ends still was not waited for")
	}
	over.Total = 1031
	if !g.short(over) {
		t.Fatal("memory grows meanwhile")
	}
	over.Total, g.ending, g.last.Collections = 1000, 0, 8
	if g.short(over) {
		t.Fatal("no whole collection since its end")
	}
	over.Collections = 10
	if !g.short(over) {
		t.Fatal("its end did not help")
	}
}

func TestNoLimitGuardsNothing(t *testing.T) {
	g := New(0, nil, nil)
	ctx, leave := g.Enter(context.Background())
	leave()
	if g != nil || ctx.Err() != nil {
		t.Fatal("a guard without a limit")
	}
}

func TestRuntimeIsAsked(t *testing.T) {
	if u := newReader().read(); u.Total == 0 || u.Total > 1<<40 {
		t.Fatalf("%+v", u)
	}
}
