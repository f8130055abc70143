package engine

import "github.com/count-db/count/engine/plan"

// WithLimits returns the options with other limits of merging and sealing, for
// tests that want to see much of it with little data.
func (o Options) WithLimits(change func(*plan.Limits)) Options {
	limits := plan.Default()
	change(&limits)
	o.Limits = &limits
	return o
}
