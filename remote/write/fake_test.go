package write

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/internal/admission"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/seriescache"
)

// fakeSeries is a registry: references in the order of arrival, from 1 on.
type fakeSeries struct {
	mu    sync.Mutex
	refs  map[string]model.Ref
	known []labels.Labels
	err   error // returned for every new series
}

func (f *fakeSeries) Intern(ls labels.Labels) (model.Ref, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := model.SeriesKey(ls)
	if ref, ok := f.refs[key]; ok {
		return ref, nil
	}
	if f.err != nil {
		return 0, f.err
	}
	if f.refs == nil {
		f.refs = map[string]model.Ref{}
	}
	f.known = append(f.known, ls)
	f.refs[key] = model.Ref(len(f.known))
	return f.refs[key], nil
}

func (f *fakeSeries) name(ref model.Ref) string {
	return model.SeriesKey(f.known[ref-1])
}

// fakeSink keeps what was written as text.
type fakeSink struct {
	series   *fakeSeries
	err      error // of Write
	limit    int64 // of Reserve; 0 = none
	reject   func(model.FloatSample) bool
	mu       sync.Mutex
	reserved int64
	lines    []string

	superseded int // floats told to be so of every request
}

func (f *fakeSink) Reserve(n int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.limit > 0 && f.reserved+n > f.limit {
		return admission.ErrOverloaded
	}
	f.reserved += n
	return nil
}

func (f *fakeSink) Release(n int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reserved -= n
}

func (f *fakeSink) Write(_ context.Context, b *model.Batch, report *admission.Report) error {
	if f.err != nil {
		return f.err
	}
	report.SupersededFloats += f.superseded
	if f.reject != nil {
		b.Floats = slices.DeleteFunc(b.Floats, func(s model.FloatSample) bool {
			if !f.reject(s) {
				return false
			}
			report.Add(admission.TooOld, 1, func() string { return "too old" })
			return true
		})
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lines = append(f.lines, linesOf(b, f.series)...)
	return nil
}

// linesOf tells a batch as text, a line a thing.
func linesOf(b *model.Batch, series *fakeSeries) []string {
	var lines []string
	for i, s := range b.Floats {
		st := int64(0)
		if len(b.STs) > 0 {
			st = b.STs[i]
		}
		lines = append(lines, floatLine(series.name(s.Ref), st, s.T, s.V))
	}
	for _, s := range b.Hists {
		h := fmt.Sprintf("%+v", s.H)
		if s.FH != nil {
			h = fmt.Sprintf("%+v", s.FH)
		}
		lines = append(lines, fmt.Sprintf("hist %s st=%d t=%d %s", series.name(s.Ref), s.ST, s.T, h))
	}
	for _, e := range b.Exemplars {
		lines = append(lines, fmt.Sprintf("exemplar %s t=%d v=%x %s", series.name(e.Ref), e.T, math.Float64bits(e.V), e.Labels))
	}
	for _, m := range b.Metadata {
		lines = append(lines, fmt.Sprintf("meta %q %+v", m.Family, m.Metadata))
	}
	return lines
}

func floatLine(series string, st, t int64, v float64) string {
	return fmt.Sprintf("float %s st=%d t=%d v=%x", series, st, t, math.Float64bits(v))
}

// newTestDecoder returns a decoder outside of any handler.
func newTestDecoder(series Resolver) (*decoder, *seriescache.Cache) {
	cache := seriescache.New(seriescache.Options{MaxBytes: 1 << 20})
	return &decoder{
		series: series, limits: admission.DefaultLimits(), families: newFamilyMemory(time.Now),
		reserve: func(int64) error { return nil },
	}, cache
}

// decodeBytes decodes a message as the handler does. The result is valid until
// the next call.
func decodeBytes(d *decoder, cache *seriescache.Cache, p protocol, b []byte) error {
	d.reset()
	d.session.Open(cache)
	defer d.session.Close()
	if p == protocolV2 {
		return d.decodeV2(b)
	}
	return d.decodeV1(b)
}
