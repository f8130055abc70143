package apiv1

import (
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
)

// families puts samples, sorted by metric name, into metric families. A name
// whose samples are of several kinds makes several families of one name:
// Prometheus reads that. Native histograms have no form in the text formats,
// where they are left out; those with custom buckets become classic ones.
func families(samples promql.Vector, native bool) []*dto.MetricFamily {
	var out []*dto.MetricFamily
	for _, s := range samples {
		name := s.Metric.Get(labels.MetricName)
		if name == "" || (s.H != nil && !s.H.UsesCustomBuckets() && !native) {
			continue
		}
		kind := dto.MetricType_UNTYPED
		if s.H != nil {
			kind = dto.MetricType_HISTOGRAM
			if s.H.CounterResetHint == histogram.GaugeType {
				kind = dto.MetricType_GAUGE_HISTOGRAM
			}
		}
		if n := len(out); n == 0 || out[n-1].GetName() != name || out[n-1].GetType() != kind {
			out = append(out, &dto.MetricFamily{Name: &name, Type: &kind})
		}
		family := out[len(out)-1]
		family.Metric = append(family.Metric, metricOf(s))
	}
	return out
}

func metricOf(s promql.Sample) *dto.Metric {
	m := &dto.Metric{TimestampMs: &s.T}
	hasInstance := false
	s.Metric.Range(func(l labels.Label) {
		if l.Name == labels.MetricName {
			return
		}
		hasInstance = hasInstance || l.Name == model.InstanceLabel
		m.Label = append(m.Label, &dto.LabelPair{Name: &l.Name, Value: &l.Value})
	})
	if !hasInstance {
		// An empty instance keeps the scraping Prometheus from putting ours there.
		name, empty := model.InstanceLabel, ""
		m.Label = append(m.Label, &dto.LabelPair{Name: &name, Value: &empty})
	}
	switch {
	case s.H == nil:
		m.Untyped = &dto.Untyped{Value: &s.F}
	case s.H.UsesCustomBuckets():
		m.Histogram = classicHistogram(s.H)
	default:
		m.Histogram = nativeHistogram(s.H)
	}
	return m
}

func nativeHistogram(h *histogram.FloatHistogram) *dto.Histogram {
	return &dto.Histogram{
		SampleCountFloat: &h.Count,
		SampleSum:        &h.Sum,
		Schema:           &h.Schema,
		ZeroThreshold:    &h.ZeroThreshold,
		ZeroCountFloat:   &h.ZeroCount,
		PositiveSpan:     spansOf(h.PositiveSpans),
		PositiveCount:    h.PositiveBuckets,
		NegativeSpan:     spansOf(h.NegativeSpans),
		NegativeCount:    h.NegativeBuckets,
	}
}

func spansOf(spans []histogram.Span) []*dto.BucketSpan {
	out := make([]*dto.BucketSpan, 0, len(spans))
	for i := range spans {
		out = append(out, &dto.BucketSpan{Offset: &spans[i].Offset, Length: &spans[i].Length})
	}
	return out
}

// classicHistogram writes a histogram with custom buckets as a classic one;
// the +Inf bucket is implied.
func classicHistogram(h *histogram.FloatHistogram) *dto.Histogram {
	out := &dto.Histogram{SampleCountFloat: &h.Count, SampleSum: &h.Sum}
	it := h.PositiveBucketIterator()
	more := it.Next()
	cumulative := 0.0
	for i, bound := range h.CustomValues {
		for more && int(it.At().Index) <= i {
			cumulative += it.At().Count
			more = it.Next()
		}
		count := cumulative
		out.Bucket = append(out.Bucket, &dto.Bucket{UpperBound: &bound, CumulativeCountFloat: &count})
	}
	return out
}
