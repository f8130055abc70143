package cluster

import (
	"testing"
	"time"
)

// TestPace: both budgets hold, the tighter one decides.
func TestPace(t *testing.T) {
	for _, c := range []struct {
		share         float64
		rate          int64
		samples       int
		worked, wants time.Duration
	}{
		{0.5, 1 << 40, 1_000_000, time.Second, time.Second},
		{0.1, 1 << 40, 1_000_000, time.Second, 9 * time.Second},
		{0.5, 16_000_000, 5_000_000, time.Second, 4 * time.Second},
		{0.5, 16_000_000, 500_000, time.Second, time.Second},
		{1, 16_000_000, 500_000, time.Second, 0},
	} {
		p := pace{share: c.share, rate: c.rate, samples: c.samples}
		if got := p.due(c.worked).Round(time.Millisecond); got != c.wants {
			t.Errorf("%+v: rests %s", c, got)
		}
	}
}
