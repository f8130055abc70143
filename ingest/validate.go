package ingest

import (
	"fmt"
	"math"
	"time"

	"github.com/count-db/count/internal/admission"
	"github.com/count-db/count/internal/model"
)

// bounds are the timestamps (ms, inclusive) that may be stored now.
type bounds struct{ min, max int64 }

func (p *Pipeline) bounds() bounds {
	now := p.opts.Now()
	b := bounds{min: 0, max: now.Add(p.opts.MaxFuture).UnixMilli()}
	if p.opts.Retention > 0 {
		b.min = max(0, now.Add(-p.opts.Retention).UnixMilli())
	}
	return b
}

func (b bounds) holds(t int64) bool { return t >= b.min && t <= b.max }

// rejection says why a timestamp is outside.
func (b bounds) rejection(t int64) *admission.Rejection {
	switch {
	case t < 0:
		return &admission.Rejection{Reason: admission.NegativeTimestamp, Detail: fmt.Sprintf("timestamp %d lies before 1970", t)}
	case t > b.max:
		return &admission.Rejection{Reason: admission.TooFarAhead, Detail: fmt.Sprintf(
			"timestamp %d is too far ahead: not after %d (%s)", t, b.max, timeText(b.max))}
	default:
		return &admission.Rejection{Reason: admission.TooOld, Detail: fmt.Sprintf(
			"timestamp %d is older than the retention: not before %d (%s)", t, b.min, timeText(b.min))}
	}
}

func timeText(t int64) string { return time.UnixMilli(t).UTC().Format(time.RFC3339) }

// validate takes out of the batch what may not be stored, and of samples given
// twice all but the last.
func (p *Pipeline) validate(batch *model.Batch, report *admission.Report) {
	v := validation{p: p, report: report, bounds: p.bounds()}
	if v.floats(batch) {
		given := len(batch.Floats)
		dropRepeated(batch)
		report.SupersededFloats += given - len(batch.Floats)
	}
	batch.Hists = keepIf(batch.Hists, func(s *model.HistogramSample) bool { return v.keep(s.Ref, s.T) })
	if repeatedHists(batch.Hists) {
		given := len(batch.Hists)
		dropRepeatedHists(batch)
		report.SupersededHists += given - len(batch.Hists)
	}
	batch.Exemplars = keepIf(batch.Exemplars, func(e *model.Exemplar) bool {
		// Exemplars are best effort: counted, but no reason to refuse anything.
		if e.T == 0 || v.bounds.holds(e.T) {
			return true
		}
		report.Add(admission.InvalidExemplar, 1, func() string {
			return fmt.Sprintf("exemplar of %s: %v", v.describe(e.Ref), v.bounds.rejection(e.T))
		})
		return false
	})
}

// validation is one pass over a batch.
type validation struct {
	p      *Pipeline
	report *admission.Report
	bounds bounds
}

func (v *validation) keep(ref model.Ref, t int64) bool {
	if v.bounds.holds(t) {
		return true
	}
	r := v.bounds.rejection(t)
	v.report.Add(r.Reason, 1, func() string { return v.describe(ref) + ": " + r.Detail })
	return false
}

func (v *validation) describe(ref model.Ref) string {
	if v.p.opts.Describe == nil {
		return fmt.Sprintf("series %d", ref)
	}
	return admission.Describe(v.p.opts.Describe(ref))
}

// floats takes out the floats that may not be stored, and says whether some
// (series, timestamp) may be given twice.
func (v *validation) floats(batch *model.Batch) (repeated bool) {
	set, _ := v.p.scratch.Get().(*refSet)
	defer v.p.scratch.Put(set)
	set.reset(len(batch.Floats))
	var (
		kept  int
		last  model.Ref // 0 is no reference
		lastT = int64(math.MinInt64)
	)
	for i := range batch.Floats {
		s := batch.Floats[i]
		if !v.bounds.holds(s.T) {
			v.keep(s.Ref, s.T)
			continue
		}
		// The samples of one series nearly always come together and ascending.
		if s.Ref != last {
			repeated = set.add(s.Ref) || repeated
		} else if s.T <= lastT {
			repeated = true
		}
		last, lastT = s.Ref, s.T
		if kept != i {
			batch.Floats[kept] = s
			if batch.STs != nil {
				batch.STs[kept] = batch.STs[i]
			}
		}
		kept++
	}
	batch.Floats = batch.Floats[:kept]
	if batch.STs != nil {
		batch.STs = batch.STs[:kept]
	}
	return repeated
}

// keepIf keeps the elements for which keep is true, in order.
func keepIf[T any](s []T, keep func(*T) bool) []T {
	kept := s[:0]
	for i := range s {
		if keep(&s[i]) {
			kept = append(kept, s[i])
		}
	}
	clear(s[len(kept):])
	return kept
}
