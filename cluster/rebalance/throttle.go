package rebalance

import "time"

// Throttle spreads work over time: so many units a second, with bursts of one
// second. It is a pure account: the caller waits. Not safe for concurrent use.
type Throttle struct {
	rate float64 // units a second; 0 = unlimited
	left float64
	last time.Time
}

// NewThrottle returns a throttle of rate units a second; 0 = unlimited.
func NewThrottle(rate float64) *Throttle { return &Throttle{rate: rate, left: rate} }

// Take notes that n units were used and returns how long to wait before more.
func (t *Throttle) Take(now time.Time, n int) time.Duration {
	if t.rate <= 0 {
		return 0
	}
	if !t.last.IsZero() {
		t.left = min(t.rate, t.left+t.rate*now.Sub(t.last).Seconds())
	}
	t.last = now
	if t.left -= float64(n); t.left >= 0 {
		return 0
	}
	return time.Duration(-t.left / t.rate * float64(time.Second))
}
