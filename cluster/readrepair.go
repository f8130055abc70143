package cluster

import (
	"context"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/cluster/ring"
	"github.com/count-db/count/internal/model"
)

const (
	maxRepairs     = 4096                   // that wait; more are left to the next read or digest
	repairInterval = 200 * time.Millisecond // how long repairs are gathered
	repairBatch    = 200_000                // samples that are sent together
)

// repair is what a read found an owner to miss: samples of a series, or a
// delete.
type repair struct {
	node      ring.NodeID
	labels    labels.Labels
	cols      *model.Columns
	tombstone *model.Tombstone
}

func (c *Cluster) offerRepair(r repair) {
	if r.tombstone != nil && r.tombstone.Version <= c.floors.now().Quiet() {
		return // it is forgotten sooner here, later there
	}
	select {
	case c.repairs <- r:
	default:
		c.stats.repairsDropped.Inc()
	}
}

// offerSamples offers what is older than the write deadline: newer samples may
// still be on their way.
func (c *Cluster) offerSamples(id ring.NodeID, ls labels.Labels, cols *model.Columns) {
	old := model.VersionAt(time.Now().Add(-c.opts.WriteDeadline).UnixMicro())
	// What is settled differs in versions alone, while some have a new floor
	// already; what is lost of it is found by reading back.
	quiet := c.floors.now().Quiet()
	settled := &model.Columns{}
	for i, t := range cols.T {
		if cols.Ver[i] >= old || cols.Ver[i] <= quiet {
			continue
		}
		settled.T, settled.V, settled.Ver = append(settled.T, t), append(settled.V, cols.V[i]), append(settled.Ver, cols.Ver[i])
		if len(cols.ST) > 0 {
			settled.ST = append(settled.ST, cols.ST[i])
		}
	}
	for _, p := range cols.Hist {
		if p.Ver < old && p.Ver > quiet {
			settled.Hist = append(settled.Hist, p)
		}
	}
	if settled.Len() > 0 {
		c.offerRepair(repair{node: id, labels: ls, cols: settled})
	}
}

// repair sends repairs, gathered for a moment.
func (c *Cluster) repair() {
	waiting := map[ring.NodeID]*byVersion{}
	tick := time.NewTicker(repairInterval)
	defer tick.Stop()
	for {
		select {
		case <-c.ctx.Done():
			return
		case r := <-c.repairs:
			if r.tombstone != nil {
				c.repairDelete(r.node, *r.tombstone)
				continue
			}
			v := waiting[r.node]
			if v == nil {
				v = c.newByVersion()
				waiting[r.node] = v
			}
			if err := v.add(r.labels, r.cols); err != nil {
				c.warn("a repair could not be prepared", err, "node", r.node)
			}
			if v.samples >= repairBatch {
				c.sendRepairs(r.node, v)
			}
		case <-tick.C:
			for id, v := range waiting {
				c.sendRepairs(id, v)
			}
		}
	}
}

func (c *Cluster) sendRepairs(id ring.NodeID, v *byVersion) {
	n := v.samples
	if n == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(c.ctx, c.opts.WriteDeadline)
	defer cancel()
	batches := v.take()
	if err := c.sendAll(ctx, id, batches); err != nil {
		// The next read that sees the difference, or the digests, try again.
		c.warn("a repair failed", err, "node", id)
	} else {
		c.stats.repaired.Add(float64(n))
	}
	for _, b := range batches {
		c.putBatch(b)
	}
}

func (c *Cluster) repairDelete(id ring.NodeID, t model.Tombstone) {
	ctx, cancel := context.WithTimeout(c.ctx, c.opts.WriteDeadline)
	defer cancel()
	if err := c.sendDelete(ctx, id, t); err != nil && !isSettled(err) {
		// The next read that sees the difference tries again.
		c.warn("the repair of a delete failed", err, "node", id)
	}
}
