package cluster

import (
	"context"
	"sync"
	"time"

	"github.com/count-db/count/cluster/ring"
)

// refillMeter measures how far a refill is: how many samples are merged of about
// how many, and how fast. Safe for concurrent use.
type refillMeter struct {
	mu       sync.Mutex
	expected float64       // guarded by mu; 0 = not known
	have     int64         // guarded by mu; merged samples, those of an earlier run included
	worked   int64         // guarded by mu; samples merged while time was taken
	took     time.Duration // guarded by mu
}

// RefillProgress says how far a refill is.
type RefillProgress struct {
	Done float64 `json:"done"`                   // 0 to 1
	Left int64   `json:"seconds_left,omitempty"` // about so many; 0 = not known
}

// begin begins to measure a refill of about so many samples, some of which an
// earlier run has merged.
func (m *refillMeter) begin(expected float64, have int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.expected, m.have, m.worked, m.took = expected, have, 0, 0
}

// merged counts samples and the time since the last ones.
func (m *refillMeter) merged(samples int, took time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.have += int64(samples)
	m.worked += int64(samples)
	m.took += took
}

// progress is nil where it is not known how much is to be merged.
func (m *refillMeter) progress() *RefillProgress {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.expected == 0 {
		return nil
	}
	p := &RefillProgress{Done: min(float64(m.have)/m.expected, 0.99)}
	if m.worked > 0 {
		rest := max(m.expected-float64(m.have), m.expected/100)
		p.Left = int64((time.Duration(rest/float64(m.worked)*float64(m.took)) + time.Second).Seconds())
	}
	return p
}

// measureRefill begins to measure a refill of everything from others: they say how
// many samples they hold, and the ring how much of all each of them owns.
func (c *Cluster) measureRefill(t *topology, others []ring.NodeID, resumed bool) {
	r := t.ring
	if before := r.Before(); before != nil {
		r = before // only the old candidates hold their ranges
	}
	shares := r.Shares()
	ctx, cancel := context.WithTimeout(c.ctx, reportTimeout)
	defer cancel()
	held, owned := 0.0, 0.0
	for _, id := range others {
		if report, err := c.reportOf(ctx, id); err == nil && report.Samples > 0 {
			held, owned = held+float64(report.Samples), owned+shares[id]
		}
	}
	expected, have := 0.0, int64(0)
	if owned > 0 {
		expected = shares[c.opts.Node] * held / owned
	}
	if resumed {
		have = c.opts.Samples()
	}
	c.refill.meter.begin(expected, have)
}
