package bench

import (
	"math"
	"slices"
	"sync"
)

// pace keeps senders together: none is more than so many rounds ahead of the
// slowest.
type pace struct {
	ahead int

	mu      sync.Mutex
	moved   *sync.Cond
	rounds  []int // the round that each sender is in
	aborted bool
}

func newPace(senders, ahead int) *pace {
	p := &pace{ahead: ahead, rounds: make([]int, senders)}
	p.moved = sync.NewCond(&p.mu)
	return p
}

// wait blocks until the sender may enter the round; false when all is off.
func (p *pace) wait(sender, round int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.rounds[sender] != round {
		p.rounds[sender] = round
		p.moved.Broadcast()
	}
	for !p.aborted && round > slices.Min(p.rounds)+p.ahead {
		p.moved.Wait()
	}
	return !p.aborted
}

// reached blocks until all senders are in the round or behind it; false when all
// is off.
func (p *pace) reached(round int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for !p.aborted && slices.Min(p.rounds) < round {
		p.moved.Wait()
	}
	return !p.aborted
}

// done says that a sender is through.
func (p *pace) done(sender int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rounds[sender] = math.MaxInt
	p.moved.Broadcast()
}

// abort wakes everyone.
func (p *pace) abort() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.aborted = true
	p.moved.Broadcast()
}
