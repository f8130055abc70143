package promql

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// The defaults of Prometheus.
const (
	DefaultTimeout       = 2 * time.Minute
	DefaultMaxSamples    = 50_000_000
	DefaultConcurrency   = 20
	DefaultLookbackDelta = 5 * time.Minute
	// defaultSubqueryStep is the step of a subquery that names none: Prometheus's
	// default evaluation interval.
	defaultSubqueryStep = time.Minute
)

// Options of an Engine. The zero value of each is the documented default.
type Options struct {
	// Timeout of one query; 2m.
	Timeout time.Duration
	// MaxSamples is the most samples a query may hold in memory; 50,000,000.
	MaxSamples int
	// MaxQueryLength is the most bytes of one query, and of the selectors of one
	// request together; 1 MiB.
	MaxQueryLength int
	// Memory is what the process may use, bytes; unknown. Answers that together would
	// take more than a part of it are refused.
	Memory int64
	// Concurrency is the most queries that run at once, others wait; 20.
	Concurrency int
	// SlowQueries is how many of the slowest queries of the last hour are kept to
	// be shown; none.
	SlowQueries int
	// LookbackDelta is how old the sample of an instant vector may be; 5m.
	LookbackDelta time.Duration
	// DelayedNameRemoval drops metric names at the end of the evaluation; off, as
	// in Prometheus.
	DelayedNameRemoval bool
	// UseStartTimestamps lets rate and its kin see resets by start timestamps; off,
	// as in Prometheus.
	UseStartTimestamps bool
	// NoReduction runs every query whole on Prometheus's engine.
	NoReduction bool
	// Cache keeps partial states for later queries over the same steps; nil: none are
	// kept.
	Cache *Cache
	// Logger takes the engine's own messages; none.
	Logger *slog.Logger
	// Registerer takes the engine's metrics; none.
	Registerer prometheus.Registerer
}

// Validate lists every fault at once.
func (o Options) Validate() error {
	var errs []error
	if o.Timeout < 0 {
		errs = append(errs, fmt.Errorf("query timeout %v is negative", o.Timeout))
	}
	if o.MaxSamples < 0 {
		errs = append(errs, fmt.Errorf("maximum of samples %d is negative", o.MaxSamples))
	}
	if o.MaxQueryLength < 0 {
		errs = append(errs, fmt.Errorf("maximum length of a query %d is negative", o.MaxQueryLength))
	}
	if o.Concurrency < 0 {
		errs = append(errs, fmt.Errorf("query concurrency %d is negative", o.Concurrency))
	}
	if o.SlowQueries < 0 {
		errs = append(errs, fmt.Errorf("number of slow queries %d is negative", o.SlowQueries))
	}
	if o.LookbackDelta < 0 {
		errs = append(errs, fmt.Errorf("lookback delta %v is negative", o.LookbackDelta))
	}
	return errors.Join(errs...)
}

func (o Options) withDefaults() Options {
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	if o.MaxSamples == 0 {
		o.MaxSamples = DefaultMaxSamples
	}
	if o.MaxQueryLength == 0 {
		o.MaxQueryLength = DefaultMaxQueryLength
	}
	if o.Concurrency == 0 {
		o.Concurrency = DefaultConcurrency
	}
	if o.LookbackDelta == 0 {
		o.LookbackDelta = DefaultLookbackDelta
	}
	return o
}
