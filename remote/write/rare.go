package write

import (
	"fmt"
	"strings"
	"unicode/utf8"

	commonmodel "github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/metadata"

	"github.com/count-db/count/internal/admission"
	"github.com/count-db/count/internal/model"
)

// metricTypes are the metric types of both versions, by their numbers on the wire.
var metricTypes = [...]commonmodel.MetricType{
	commonmodel.MetricTypeUnknown,
	commonmodel.MetricTypeCounter,
	commonmodel.MetricTypeGauge,
	commonmodel.MetricTypeHistogram,
	commonmodel.MetricTypeGaugeHistogram,
	commonmodel.MetricTypeSummary,
	commonmodel.MetricTypeInfo,
	commonmodel.MetricTypeStateset,
}

func metadataOf(family string, kind int32, help, unit string) model.Metadata {
	m := model.Metadata{Family: strings.ToValidUTF8(family, "\uFFFD"), Metadata: metadata.Metadata{
		Type: commonmodel.MetricTypeUnknown,
		Help: strings.ToValidUTF8(help, "\uFFFD"),
		Unit: strings.ToValidUTF8(unit, "\uFFFD"),
	}}
	if kind >= 0 && int(kind) < len(metricTypes) {
		m.Type = metricTypes[kind]
	}
	return m
}

// addHistogram adds a native histogram to the batch, in its canonical form:
// with no more resolution than PromQL has, and without empty buckets.
func (d *decoder) addHistogram(p *points, s model.HistogramSample) {
	if p.rejection != nil {
		p.refused++
		return
	}
	if err := canonical(&s); err != nil {
		p.invalid++
		d.report.Add(admission.InvalidHistogram, 1, func() string {
			return fmt.Sprintf("native histogram at %d ms: %v", s.T, err)
		})
		return
	}
	d.batch.Hists = append(d.batch.Hists, s)
	p.lastT = s.T
}

// canonical checks a histogram that is ours alone and brings it into canonical form.
func canonical(s *model.HistogramSample) error {
	if s.H != nil {
		if s.H.Schema > histogram.ExponentialSchemaMax && histogram.IsExponentialSchemaReserved(s.H.Schema) {
			if err := s.H.ReduceResolution(histogram.ExponentialSchemaMax); err != nil {
				return err
			}
		}
		if err := s.H.Validate(); err != nil {
			return err
		}
		s.H = s.H.Compact(0)
		return nil
	}
	if s.FH.Schema > histogram.ExponentialSchemaMax && histogram.IsExponentialSchemaReserved(s.FH.Schema) {
		if err := s.FH.ReduceResolution(histogram.ExponentialSchemaMax); err != nil {
			return err
		}
	}
	if err := s.FH.Validate(); err != nil {
		return err
	}
	s.FH = s.FH.Compact(0)
	return nil
}

// addExemplar adds an exemplar whose labels are d.labels to the batch. One that
// has no timestamp gets that of the series' last sample.
func (d *decoder) addExemplar(p *points, t int64, v float64) *admission.Rejection {
	refusal := func(format string, args ...any) *admission.Rejection {
		return &admission.Rejection{Reason: admission.InvalidExemplar, Detail: "exemplar: " + fmt.Sprintf(format, args...)}
	}
	runes := 0 // bytes were bounded before, where they could be many
	for _, lb := range d.labels {
		if lb.Name == "" || !utf8.ValidString(lb.Name) || !utf8.ValidString(lb.Value) {
			return refusal("a label is empty or not valid UTF-8")
		}
		runes += utf8.RuneCountInString(lb.Name) + utf8.RuneCountInString(lb.Value)
		if runes > exemplar.ExemplarMaxLabelSetLength {
			return refusal("labels are longer than %d characters", exemplar.ExemplarMaxLabelSetLength)
		}
	}
	ls, rejection := d.buildLabels()
	if rejection != nil {
		return refusal("%s", rejection.Detail)
	}
	if t == 0 {
		t = p.lastT
	}
	d.batch.Exemplars = append(d.batch.Exemplars, model.Exemplar{Ref: p.ref, T: t, V: v, Labels: ls})
	return nil
}
