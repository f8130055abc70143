package ingest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/internal/admission"
	"github.com/count-db/count/internal/model"
)

// Appender stores batches durably.
type Appender interface {
	// Append returns nil when all of the batch is as durable as the node's
	// settings promise. Any error means that nothing is acknowledged and any
	// part may be stored: an *admission.UnavailableError where it can't be made
	// durable for now, admission.ErrOverloaded where there is no room, anything
	// else (wrapped admission.ErrStorage) where the storage itself failed. The
	// batch is the caller's again when it returns. It is safe for concurrent
	// use.
	Append(ctx context.Context, batch *model.Batch) error
}

// Options of a Pipeline; the zero value of each means the default.
type Options struct {
	// MaxFuture is how far ahead of now a sample may lie; 0 = 10 minutes.
	MaxFuture time.Duration
	// Retention is how old a sample may be; 0 = of any age.
	Retention time.Duration
	// MaxInFlightBytes bounds the memory of all requests being handled; 0 = 256 MiB.
	MaxInFlightBytes int64
	// Describe names a series for messages; nil = they name references.
	Describe func(model.Ref) labels.Labels
	// Now is the clock; nil = time.Now.
	Now func() time.Time
	// Registerer gets the metrics; nil = none are registered.
	Registerer prometheus.Registerer
}

const (
	defaultMaxFuture        = 10 * time.Minute
	defaultMaxInFlightBytes = 256 << 20
)

// Pipeline is the write path behind the entrances. It is safe for concurrent use.
type Pipeline struct {
	next    Appender
	opts    Options
	stats   *stats
	gate    *gate
	scratch sync.Pool // of *refSet
}

// New returns a pipeline in front of an appender.
func New(next Appender, opts Options) (*Pipeline, error) {
	if next == nil {
		return nil, errors.New("ingest: an appender is needed")
	}
	if opts.MaxFuture < 0 || opts.Retention < 0 || opts.MaxInFlightBytes < 0 {
		return nil, fmt.Errorf("ingest: negative limit in MaxFuture %v, Retention %v, MaxInFlightBytes %d",
			opts.MaxFuture, opts.Retention, opts.MaxInFlightBytes)
	}
	if opts.MaxFuture == 0 {
		opts.MaxFuture = defaultMaxFuture
	}
	if opts.MaxInFlightBytes == 0 {
		opts.MaxInFlightBytes = defaultMaxInFlightBytes
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	p := &Pipeline{next: next, opts: opts, gate: newGate(opts.MaxInFlightBytes)}
	p.scratch.New = func() any { return new(refSet) }
	var err error
	if p.stats, err = newStats(opts.Registerer, p.gate); err != nil {
		return nil, fmt.Errorf("ingest: register metrics: %w", err)
	}
	return p, nil
}

// Reserve claims memory for a request, in bytes, before it is allocated; Release
// gives it back. It does not wait. Errors: admission.ErrOverloaded when there
// is no room now, admission.ErrTooLarge when there never will be, an
// *admission.UnavailableError after Stop.
func (p *Pipeline) Reserve(bytes int64) error {
	err := p.gate.reserve(bytes)
	if err != nil {
		p.stats.refused(err)
	}
	return err
}

// Release gives back what Reserve claimed.
func (p *Pipeline) Release(bytes int64) { p.gate.release(bytes) }

// Stop refuses all requests from now on; those that hold a reservation go on.
func (p *Pipeline) Stop() { p.gate.stop() }

// Write stores the batch and returns when it is durable. Samples that may not be
// stored are taken out of it and added to the report, which may hold refusals
// of the decoder already; all of them are counted. What is left in the batch
// when Write returns nil is stored.
func (p *Pipeline) Write(ctx context.Context, batch *model.Batch, report *admission.Report) error {
	p.validate(batch, report)
	p.stats.rejected(report)
	return p.append(ctx, batch)
}

// WriteWhole stores all of the batch or nothing: where any sample may not be
// stored the error is an *admission.Rejection.
func (p *Pipeline) WriteWhole(ctx context.Context, batch *model.Batch) error {
	var report admission.Report
	p.validate(batch, &report)
	if report.Total() > 0 {
		p.stats.rejected(&report)
		return &admission.Rejection{Reason: report.First(), Detail: report.String()}
	}
	return p.append(ctx, batch)
}

// CheckTime says whether a sample of this timestamp (ms) may be stored: nil or
// the fault.
func (p *Pipeline) CheckTime(t int64) *admission.Rejection {
	b := p.bounds()
	if b.holds(t) {
		return nil
	}
	return b.rejection(t)
}

func (p *Pipeline) append(ctx context.Context, batch *model.Batch) error {
	if batch.Samples() == 0 && len(batch.Exemplars) == 0 && len(batch.Metadata) == 0 {
		return nil
	}
	start := time.Now()
	err := p.next.Append(ctx, batch)
	p.stats.appended(batch, time.Since(start), err)
	return err
}
