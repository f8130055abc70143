package cluster

import (
	"testing"
	"time"
)

// TestRefillSaysHowFarItIs: the status of a node that refills says how much is
// merged and about how long the rest takes.
func TestRefillSaysHowFarItIs(t *testing.T) {
	bubble(t, func(t *testing.T) {
		tc := newTestCluster(t, 3, 3)
		for _, n := range tc.nodes {
			n.alter = func(o *Options) { o.Samples = n.local.samples }
			tc.stop(n)
			tc.start(n)
		}
		tc.ready()
		days := tc.fillDays(10)
		c := tc.nodes[2]
		tc.stop(c)
		tc.wipe(c)
		c.alter = func(o *Options) { o.CopyRate, o.Samples = 64, c.local.samples } // some seconds a day of data
		tc.start(c)
		tc.until("half is merged", 10*time.Minute, func() bool { return c.refilled() > days[4] })
		s := c.Status()
		if s.Refill == nil || s.Refill.Done < 0.3 || s.Refill.Done > 0.8 || s.Refill.Left < 5 || s.Refill.Left > 600 {
			t.Fatalf("half is merged, and the status says %+v", s.Refill)
		}
		first, began := s.Refill.Left, time.Now()
		tc.until("refilled", 10*time.Minute, func() bool { return c.Health().Refill == "" })
		if took := int64(time.Since(began).Seconds()); took < first/3 || took > first*3 {
			t.Errorf("%d s were left, it took %d s", first, took)
		}
		if s := c.Status(); s.Refill != nil {
			t.Errorf("refilled, and the status says %+v", s.Refill)
		}
	})
}
