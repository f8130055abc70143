package cluster

import (
	"context"
	"time"

	"github.com/count-db/count/cluster/antientropy"
	"github.com/count-db/count/cluster/rebalance"
)

// pace keeps comparing and repairing within a share of one core and a number of
// bytes a second.
type pace struct {
	share   float64 // of one core
	rate    int64   // bytes a second
	began   time.Time
	samples int
}

// paceStep is how long work goes on between two rests: short beside what a client's
// write takes, so that none waits for more than one step of it.
const paceStep = rebalance.PaceStep

func (c *Cluster) newPace() *pace {
	return &pace{share: c.opts.RepairShare, rate: c.opts.RepairRate, began: time.Now()}
}

// restart begins to count anew.
func (p *pace) restart() { p.began, p.samples = time.Now(), 0 }

// rest notes the work done and rests now and then, as long as both budgets ask for.
func (p *pace) rest(ctx context.Context, samples int) error {
	p.samples += samples
	worked := time.Since(p.began)
	if worked < paceStep && p.due(worked) < paceStep {
		return nil
	}
	t := time.NewTimer(p.due(worked))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	p.restart()
	return nil
}

// due is how long to rest after having worked so long.
func (p *pace) due(worked time.Duration) time.Duration {
	least := time.Duration(float64(p.samples) * sampleBytes / float64(p.rate) * float64(time.Second))
	return max(antientropy.Rest(worked, p.share), least-worked, 0)
}
