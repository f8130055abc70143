// Package appendable is the write path in the shape that Prometheus's own code
// writes to (storage.AppendableV2): the OTLP translator and the rule manager.
//
// An appender gathers one model.Batch and hands it to the pipeline at Commit.
// As everywhere in Count a series or sample that may not be stored is left out
// and the valid rest is stored: Append does not fail for it, but Commit then
// returns an error that wraps storage.ErrOutOfBounds, which Prometheus's
// handlers answer with 400. Handler turns the errors that they answer with 500
// into what a sender needs to know.
package appendable

import (
	"context"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"

	"github.com/count-db/count/internal/admission"
	"github.com/count-db/count/internal/model"
)

// Resolver gives series their references.
type Resolver interface {
	// Intern returns the reference of a series and makes it known where it is
	// new. The labels are sorted, valid and kept. An error that is an
	// *admission.Rejection refuses the series for good. It is safe for
	// concurrent use.
	Intern(ls labels.Labels) (model.Ref, error)
}

// Sink takes the batches. It is safe for concurrent use.
type Sink interface {
	// Reserve claims memory, in bytes; Release gives it back. It does not wait.
	Reserve(bytes int64) error
	Release(bytes int64)
	// Write stores the batch durably. Samples that may not be stored are taken
	// out of it and added to the report.
	Write(ctx context.Context, batch *model.Batch, report *admission.Report) error
}

// Appendable makes appenders. It is safe for concurrent use.
type Appendable struct {
	series Resolver
	sink   Sink
	limits admission.Limits
}

var (
	_ storage.AppendableV2       = (*Appendable)(nil)
	_ storage.ExemplarAppenderV2 = (*appender)(nil)
)

// New returns an Appendable in front of a pipeline. The zero value of limits
// means admission.DefaultLimits.
func New(series Resolver, sink Sink, limits admission.Limits) (*Appendable, error) {
	if series == nil || sink == nil {
		return nil, errors.New("appendable: series and sink are needed")
	}
	if limits == (admission.Limits{}) {
		limits = admission.DefaultLimits()
	}
	if err := limits.Validate(); err != nil {
		return nil, fmt.Errorf("appendable: %w", err)
	}
	return &Appendable{series: series, sink: sink, limits: limits}, nil
}

// AppenderV2 begins a transaction.
func (a *Appendable) AppenderV2(ctx context.Context) storage.AppenderV2 {
	return &appender{Appendable: a, ctx: ctx, outcome: outcomeOf(ctx)}
}

// What a thing appended costs in memory, and how much is claimed at a time.
const (
	sampleCost    = 32
	histogramCost = 1 << 10
	exemplarCost  = 512
	creditStep    = 64 << 10
)

// appender gathers a transaction.
type appender struct {
	*Appendable
	ctx      context.Context //nolint:containedctx // the interface gives it to the transaction, not to its calls
	outcome  *outcome
	batch    model.Batch
	report   admission.Report
	families map[string]struct{} // of which the batch holds metadata
	reserved int64
	credit   int64
}

// charge accounts for memory about to be used.
func (a *appender) charge(bytes int64) error {
	if a.credit -= bytes; a.credit >= 0 {
		return nil
	}
	if err := a.sink.Reserve(creditStep); err != nil {
		a.outcome.failed(err)
		return err
	}
	a.reserved += creditStep
	a.credit += creditStep
	return nil
}

// resolve returns the reference of a series, 0 where it is refused, which is in
// the report then.
func (a *appender) resolve(ls labels.Labels) (model.Ref, error) {
	ls = ls.WithoutEmpty()
	rejection := a.limits.CheckLabels(ls)
	if rejection == nil {
		ref, err := a.series.Intern(ls)
		if err == nil {
			return ref, nil
		}
		if !errors.As(err, &rejection) {
			err = fmt.Errorf("find series %s: %w", admission.Describe(ls), err)
			a.outcome.failed(err)
			return 0, err
		}
	}
	a.report.AddRejection(rejection, 1)
	return 0, nil
}

// Append adds a sample with its exemplars and metadata. The reference given is
// not relied on: series may be forgotten between transactions.
func (a *appender) Append(_ storage.SeriesRef, ls labels.Labels, st, t int64, v float64, h *histogram.Histogram, fh *histogram.FloatHistogram, opts storage.AppendV2Options) (storage.SeriesRef, error) {
	cost := int64(sampleCost)
	if h != nil || fh != nil {
		cost = histogramCost
	}
	if err := a.charge(cost); err != nil {
		return 0, err
	}
	ref, err := a.resolve(ls)
	if ref == 0 || err != nil {
		return 0, err
	}
	switch {
	case h == nil && fh == nil:
		a.addFloat(ref, st, t, v)
	case !a.addHistogram(model.HistogramSample{Ref: ref, ST: st, T: t, H: h, FH: fh}):
		return storage.SeriesRef(ref), nil
	}
	a.addMetadata(opts)
	return storage.SeriesRef(ref), a.addExemplars(ref, opts.Exemplars)
}

func (a *appender) addFloat(ref model.Ref, st, t int64, v float64) {
	a.batch.Floats = append(a.batch.Floats, model.FloatSample{Ref: ref, T: t, V: v})
	if st == 0 && a.batch.STs == nil {
		return
	}
	for len(a.batch.STs) < len(a.batch.Floats)-1 {
		a.batch.STs = append(a.batch.STs, 0)
	}
	a.batch.STs = append(a.batch.STs, st)
}

// addHistogram adds a copy of a histogram in canonical form, and says whether it
// may be stored.
func (a *appender) addHistogram(s model.HistogramSample) bool {
	var err error
	if s.H != nil {
		if err = s.H.Validate(); err == nil {
			s.H = s.H.Copy().Compact(0)
		}
	} else if err = s.FH.Validate(); err == nil {
		s.FH = s.FH.Copy().Compact(0)
	}
	if err != nil {
		a.report.Add(admission.InvalidHistogram, 1, func() string { return fmt.Sprintf("native histogram at %d ms: %v", s.T, err) })
		return false
	}
	a.batch.Hists = append(a.batch.Hists, s)
	return true
}

func (a *appender) addMetadata(opts storage.AppendV2Options) {
	if opts.MetricFamilyName == "" || opts.Metadata.IsEmpty() {
		return
	}
	if _, ok := a.families[opts.MetricFamilyName]; ok {
		return
	}
	if a.families == nil {
		a.families = map[string]struct{}{}
	}
	// The bytes of the name are the caller's.
	family := string([]byte(opts.MetricFamilyName))
	a.families[family] = struct{}{}
	a.batch.Metadata = append(a.batch.Metadata, model.Metadata{Family: family, Metadata: opts.Metadata})
}

// AppendExemplars adds exemplars of a series. It is not asked whether the series
// has samples: one of exemplars alone is seen by nobody.
func (a *appender) AppendExemplars(_ storage.SeriesRef, ls labels.Labels, exemplars []exemplar.Exemplar) (storage.SeriesRef, error) {
	ref, err := a.resolve(ls)
	if ref == 0 || err != nil {
		return 0, err
	}
	return storage.SeriesRef(ref), a.addExemplars(ref, exemplars)
}

func (a *appender) addExemplars(ref model.Ref, exemplars []exemplar.Exemplar) error {
	for _, e := range exemplars {
		if err := a.charge(exemplarCost); err != nil {
			return err
		}
		if !validExemplar(e.Labels) {
			a.report.Add(admission.InvalidExemplar, 1, func() string { return "exemplar: its labels are malformed or too long" })
			continue
		}
		a.batch.Exemplars = append(a.batch.Exemplars, model.Exemplar{Ref: ref, T: e.Ts, V: e.Value, Labels: e.Labels})
	}
	return nil
}

func validExemplar(ls labels.Labels) bool {
	runes, valid := 0, true
	ls.Range(func(l labels.Label) {
		valid = valid && l.Name != "" && utf8.ValidString(l.Name) && utf8.ValidString(l.Value)
		runes += utf8.RuneCountInString(l.Name) + utf8.RuneCountInString(l.Value)
	})
	return valid && runes <= exemplar.ExemplarMaxLabelSetLength
}

// Commit stores what was appended. An error that wraps storage.ErrOutOfBounds
// says that some of it was refused and the rest is stored; any other that
// nothing is acknowledged.
func (a *appender) Commit() error {
	defer a.release()
	err := a.sink.Write(a.ctx, &a.batch, &a.report)
	if err == nil && a.report.Refused() {
		err = fmt.Errorf("%w: the rest was stored, %s", storage.ErrOutOfBounds, a.report.String())
	}
	if err != nil {
		a.outcome.failed(err)
		return err
	}
	return nil
}

// Rollback forgets what was appended.
func (a *appender) Rollback() error {
	a.release()
	return nil
}

func (a *appender) release() {
	a.sink.Release(a.reserved)
	a.reserved, a.credit = 0, 0
	a.batch = model.Batch{}
	a.families = nil
	a.report = admission.Report{}
}
