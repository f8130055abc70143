package write

import (
	"fmt"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"

	"github.com/count-db/count/internal/admission"
	"github.com/count-db/count/internal/model"
)

// decodeV1 decodes a prometheus.WriteRequest into the batch. What it refuses of
// it is in the report; an error ends the request.
func (d *decoder) decodeV1(b []byte) error {
	r := fieldReader{b: b}
	for r.more() {
		if !r.next() {
			return fmt.Errorf("write request: %w", errMalformed)
		}
		switch r.num {
		case 1: // timeseries
			if r.typ != wireBytes {
				return fmt.Errorf("write request: %w", errMalformed)
			}
			if err := d.seriesV1(r.bytes); err != nil {
				return err
			}
		case 3: // metadata
			if r.typ != wireBytes {
				return fmt.Errorf("write request: %w", errMalformed)
			}
			if err := d.charge(familyCost + len(r.bytes)); err != nil {
				return err
			}
			var m prompb.MetricMetadata
			if err := m.Unmarshal(r.bytes); err != nil {
				return fmt.Errorf("metadata: %w: %w", errMalformed, err)
			}
			d.addFamily(m.MetricFamilyName, int32(m.Type), m.Help, m.Unit)
		}
	}
	return nil
}

// seriesV1 decodes a TimeSeries message whose labels come first, as all known
// senders write it.
func (d *decoder) seriesV1(b []byte) error {
	n, ref := d.session.Predict(b)
	if n > 0 && (n == len(b) || b[n] != tagLabel) {
		d.session.Accept()
		return d.pointsV1(d.begin(ref, nil), b, n)
	}
	n, err := labelsEnd(b)
	if err != nil {
		return err
	}
	ref, known := d.session.Lookup(b[:n])
	if known {
		return d.pointsV1(d.begin(ref, nil), b, n)
	}
	// Labels may also lie behind: look before a series is made of half of them.
	return d.scatteredV1(b)
}

// scatteredV1 decodes a TimeSeries message whose labels may lie anywhere.
func (d *decoder) scatteredV1(b []byte) error {
	d.scratch = d.scratch[:0]
	r := fieldReader{b: b}
	for r.more() {
		if !r.next() || (r.num == 1 && r.typ != wireBytes) {
			return fmt.Errorf("time series: %w", errMalformed)
		}
		if r.num == 1 {
			d.scratch = appendField(d.scratch, 1, r.bytes)
		}
	}
	ref, rejection, err := d.resolve(d.scratch)
	if err != nil {
		return err
	}
	return d.pointsV1(d.begin(ref, rejection), b, -1)
}

// pointsV1 decodes the fields of a TimeSeries message from offset from on; -1
// means all of them, and that labels among them are taken care of.
func (d *decoder) pointsV1(p points, b []byte, from int) error {
	r := fieldReader{b: b, i: max(from, 0)}
	for r.more() {
		if sample, ok := r.short(tagSample); ok {
			if err := d.addSample(&p, sample, false); err != nil {
				return err
			}
			continue
		}
		if !r.next() {
			return fmt.Errorf("time series: %w", errMalformed)
		}
		if r.num > 4 {
			continue
		}
		if r.typ != wireBytes {
			return fmt.Errorf("time series: %w", errMalformed)
		}
		var err error
		switch r.num {
		case 1:
			if from >= 0 {
				d.undo(p.marks)
				return d.scatteredV1(b)
			}
		case 2:
			err = d.addSample(&p, r.bytes, false)
		case 3:
			err = d.addExemplarV1(&p, r.bytes)
		case 4:
			err = d.addHistogramV1(&p, r.bytes)
		}
		if err != nil {
			return err
		}
	}
	d.end(&p)
	return nil
}

func (d *decoder) addHistogramV1(p *points, b []byte) error {
	if err := d.charge(histogramCost + 8*len(b)); err != nil {
		return err
	}
	var h prompb.Histogram
	if err := h.Unmarshal(b); err != nil {
		return fmt.Errorf("histogram: %w: %w", errMalformed, err)
	}
	sample := model.HistogramSample{T: h.Timestamp, Ref: p.ref}
	if h.IsFloatHistogram() {
		sample.FH = h.ToFloatHistogram()
	} else {
		sample.H = h.ToIntHistogram()
	}
	d.addHistogram(p, sample)
	return nil
}

func (d *decoder) addExemplarV1(p *points, b []byte) error {
	if err := d.charge(exemplarCost + 8*len(b)); err != nil {
		return err
	}
	var e prompb.Exemplar
	if err := e.Unmarshal(b); err != nil {
		return fmt.Errorf("exemplar: %w: %w", errMalformed, err)
	}
	p.exemplars++
	if p.rejection != nil {
		return nil
	}
	d.labels = d.labels[:0]
	for _, l := range e.Labels {
		d.labels = append(d.labels, labels.Label{Name: l.Name, Value: l.Value})
	}
	if rejection := d.addExemplar(p, e.Timestamp, e.Value); rejection != nil {
		d.report.AddRejection(rejection, 1)
	}
	return nil
}

// addFamily adds metadata of a family to the batch.
func (d *decoder) addFamily(family string, kind int32, help, unit string) {
	if family == "" {
		return // says nothing about anything
	}
	if rejection := d.limits.CheckLength("", family); rejection != nil {
		d.report.Add(admission.LabelLimit, 1, rejection.Error)
		return
	}
	d.batch.Metadata = append(d.batch.Metadata, metadataOf(family, kind, help, unit))
}
