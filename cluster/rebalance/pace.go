package rebalance

import "time"

// PaceStep is how long work goes on between two rests: short beside what a client's
// write takes, so that none waits for more than one step of it.
const PaceStep = 5 * time.Millisecond

// Pace divides time between work and rest, in steps of PaceStep, so that work takes
// a share of it. It is a pure account: the caller waits. Not safe for concurrent
// use.
type Pace struct {
	share float64
	since time.Time     // when work began or went on
	owed  time.Duration // of rest; below 0: more was rested than was due
}

// NewPace returns a pace for work that begins now and takes a share (0 to 1) of
// one core; 0 and 1: all of it.
func NewPace(share float64, now time.Time) *Pace { return &Pace{share: share, since: now} }

// Rest returns how long to rest now: 0 in the middle of a step.
func (p *Pace) Rest(now time.Time) time.Duration {
	worked := now.Sub(p.since)
	if p.share <= 0 || p.share >= 1 || worked < PaceStep {
		return 0
	}
	p.since = now
	p.owed += time.Duration(float64(worked) * (1/p.share - 1))
	return max(p.owed, 0)
}

// Rested notes a rest that has just ended. What a rest was longer than it was to
// be counts for the next one, but not more than one step: a node that slept does
// not make up for it by not resting.
func (p *Pace) Rested(rested time.Duration, now time.Time) {
	p.owed = max(p.owed-rested, -PaceStep)
	p.since = now
}
