package ingest

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/count-db/count/internal/admission"
	"github.com/count-db/count/internal/model"
)

// stats are the metrics of the write path.
type stats struct {
	samples   prometheus.Counter
	hists     prometheus.Counter
	exemplars prometheus.Counter
	metadata  prometheus.Counter
	seconds   prometheus.Histogram
	failures  *prometheus.CounterVec
	byReason  []prometheus.Counter // by admission.Reason
}

func newStats(reg prometheus.Registerer, g *gate) (*stats, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	gauge := func(name, help string, get func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, get)
	}
	rejected := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "count_ingest_rejected_total",
		Help: "Samples, exemplars and whole requests refused for good, by reason.",
	}, []string{"reason"})
	s := &stats{
		samples:   counter("count_ingest_samples_total", "Float samples stored."),
		hists:     counter("count_ingest_histograms_total", "Native histograms stored."),
		exemplars: counter("count_ingest_exemplars_total", "Exemplars stored."),
		metadata:  counter("count_ingest_metadata_total", "Metadata of metric families stored."),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "count_ingest_append_duration_seconds",
			Help:    "Time from a decoded batch to its acknowledgement.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 15),
		}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "count_ingest_failures_total",
			Help: "Requests not acknowledged that may be sent again, by cause.",
		}, []string{"cause"}),
	}
	for _, r := range admission.Reasons() {
		s.byReason = append(s.byReason, rejected.WithLabelValues(r.String()))
	}
	for _, cause := range causes {
		s.failures.WithLabelValues(cause)
	}
	if reg == nil {
		return s, nil
	}
	for _, c := range []prometheus.Collector{
		s.samples, s.hists, s.exemplars, s.metadata, s.seconds, s.failures, rejected,
		gauge("count_ingest_in_flight_bytes", "Memory claimed by requests being handled.", func() float64 { return float64(g.used.Load()) }),
		gauge("count_ingest_in_flight_limit_bytes", "Memory that all requests together may claim.", func() float64 { return float64(g.limit) }),
	} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// The causes of failures.
const (
	causeOverload    = "overload"
	causeUnavailable = "unavailable"
	causeTimeout     = "timeout"
	causeTooLarge    = "too_large"
	causeStorage     = "storage"
)

var causes = []string{causeOverload, causeUnavailable, causeTimeout, causeTooLarge, causeStorage}

func causeOf(err error) string {
	var unavailable *admission.UnavailableError
	switch {
	case errors.Is(err, admission.ErrOverloaded):
		return causeOverload
	case errors.Is(err, admission.ErrTooLarge):
		return causeTooLarge
	case errors.As(err, &unavailable):
		return causeUnavailable
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return causeTimeout
	default:
		return causeStorage
	}
}

func (s *stats) refused(err error) { s.failures.WithLabelValues(causeOf(err)).Inc() }

func (s *stats) rejected(report *admission.Report) {
	if report.Total() == 0 {
		return
	}
	for _, r := range admission.Reasons() {
		if n := report.Count(r); n > 0 {
			s.byReason[r].Add(float64(n))
		}
	}
}

func (s *stats) appended(b *model.Batch, took time.Duration, err error) {
	s.seconds.Observe(took.Seconds())
	if err != nil {
		s.refused(err)
		return
	}
	s.samples.Add(float64(len(b.Floats)))
	s.hists.Add(float64(len(b.Hists)))
	s.exemplars.Add(float64(len(b.Exemplars)))
	s.metadata.Add(float64(len(b.Metadata)))
}
