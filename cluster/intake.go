package cluster

import (
	"context"
	"math"
	"time"

	"github.com/count-db/count/cluster/rebalance"
	"github.com/count-db/count/internal/model"
)

// Bulk takes in what this node copies from others, beside what clients write; it
// belongs to one goroutine.
type Bulk interface {
	// Append adds a batch, which belongs to the caller again. ErrUnknownSeries: a
	// series was forgotten meanwhile, and nothing was added.
	Append(ctx context.Context, b *model.Batch) error
	// Bytes returns the memory of what is not committed.
	Bytes() int64
	// Commit makes what was added durable and readable, and calls between now and
	// then. It may be tried again after an error.
	Commit(ctx context.Context, between func() error) error
	// Close gives up what is not committed.
	Close() error
}

const (
	// copyBatch is how many samples are put in the order of versions together.
	copyBatch = 100_000
	// copyCommit is how much memory of copied samples is committed together: some
	// millions of samples, so that a change leaves few files to be merged.
	copyCommit = 32 << 20
)

// intake stores what is copied, in small steps with rests between them, so that all
// of it, the sources' part too, takes no more than a share of the processors and
// no client waits for a long step.
type intake struct {
	c      *Cluster
	bulk   Bulk
	sorted *byVersion
	budget *rebalance.Throttle
	pace   *rebalance.Pace
	slices map[int64]bool // of time, that are touched by what is not committed
	// change is set for a change of the ring, which can be paused; else it is a
	// refill. Both are measured: counted is when that was last.
	change  bool
	counted time.Time
}

// newIntake returns an intake for a share of one core; the caller closes it.
func (c *Cluster) newIntake(share float64, change bool) *intake {
	now := time.Now()
	return &intake{
		c: c, bulk: c.local.NewBulk(), sorted: c.newByVersion(), slices: map[int64]bool{}, change: change, counted: now,
		budget: rebalance.NewThrottle(float64(c.opts.CopyRate)), pace: rebalance.NewPace(share, now),
	}
}

// add takes a series.
func (in *intake) add(s *Series) error {
	if err := in.sorted.add(s.labels, &s.cols); err != nil {
		return err
	}
	in.touch(&s.cols)
	if in.sorted.samples < copyBatch {
		return in.rest()
	}
	if err := in.sort(); err != nil {
		return err
	}
	if in.change && in.c.paused() {
		return errPaused
	}
	return nil
}

// touch notes the slices of time that samples lie in.
func (in *intake) touch(cols *model.Columns) {
	last := int64(math.MinInt64)
	note := func(t int64) {
		if slice := t / sliceLength; slice != last {
			in.slices[slice], last = true, slice
		}
	}
	for _, t := range cols.T {
		note(t)
	}
	for i := range cols.Hist {
		note(cols.Hist[i].T)
	}
}

// sort puts what was added, in the order of versions, into the bulk.
func (in *intake) sort() error {
	n := in.sorted.samples
	var err error
	for _, b := range in.sorted.take() {
		in.c.clock.Observe(b.Version)
		if err == nil {
			err = in.bulk.Append(in.c.ctx, b)
		}
		in.c.putBatch(b)
		if err == nil {
			err = in.rest()
		}
	}
	if err != nil {
		return err
	}
	if in.bulk.Bytes() >= copyCommit {
		if err := in.commit(); err != nil {
			return err
		}
	}
	if err := in.spend(n); err != nil {
		return err
	}
	now := time.Now()
	if in.change {
		in.c.changing.copiedSome(n, now.Sub(in.counted))
	} else {
		in.c.refill.meter.merged(n, now.Sub(in.counted))
	}
	in.counted = now
	return nil
}

// spend rests for as long as so many samples are to take by the budget of bytes.
func (in *intake) spend(samples int) error {
	wait := in.budget.Take(time.Now(), samples*sampleBytes)
	if wait <= 0 {
		return nil
	}
	err := in.c.rest(wait)
	in.pace.Rested(wait, time.Now())
	return err
}

// rest rests when it is time to.
func (in *intake) rest() error {
	now := time.Now()
	wait := in.pace.Rest(now)
	if wait <= 0 {
		return nil
	}
	err := in.c.rest(wait)
	then := time.Now()
	in.pace.Rested(then.Sub(now), then)
	return err
}

// commit makes everything so far durable, and says where it lies.
func (in *intake) commit() error {
	if err := in.bulk.Commit(in.c.ctx, in.rest); err != nil {
		return err
	}
	in.pace.Rested(0, time.Now()) // its end was waiting for the disk, which is no work
	in.c.markLater()
	in.c.changes.noteSlices(in.slices, time.Now())
	for slice := range in.slices {
		w := windowOf(slice * sliceLength)
		in.c.windows.touch(w, w)
	}
	in.c.digestCache.forget()
	clear(in.slices)
	return nil
}

// end stores what is left; everything is durable when it returns nil.
func (in *intake) end() error {
	if err := in.sort(); err != nil {
		return err
	}
	return in.commit()
}

func (in *intake) close() error { return in.bulk.Close() }
