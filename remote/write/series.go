package write

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/internal/admission"
	"github.com/count-db/count/internal/model"
)

// tagLabel is the first byte of a label in a version 1.0 TimeSeries: field 1,
// length-delimited, in the only form that senders write.
const tagLabel = 1<<3 | wireBytes

// labelsEnd returns the length of the labels at the beginning of a version 1.0
// TimeSeries: of all fields up to the first that does not begin with tagLabel.
// Only the frames are looked at.
func labelsEnd(b []byte) (int, error) {
	i := 0
	for i < len(b) && b[i] == tagLabel {
		// The length of a label is nearly always below 128.
		if i+1 < len(b) && b[i+1] < 0x80 {
			i += 2 + int(b[i+1])
		} else {
			r := fieldReader{b: b, i: i}
			if !r.next() {
				return 0, fmt.Errorf("labels: %w", errMalformed)
			}
			i = r.i
		}
		if i > len(b) {
			return 0, fmt.Errorf("labels: %w", errMalformed)
		}
	}
	return i, nil
}

// resolve finds the series of a run of label fields. A series that may not be
// stored is a rejection; an error ends the request.
func (d *decoder) resolve(key []byte) (model.Ref, *admission.Rejection, error) {
	if ref, ok := d.session.Lookup(key); ok {
		return ref, nil, nil
	}
	if err := d.charge(seriesCost + 16*len(key)); err != nil {
		return 0, nil, err
	}
	ls, rejection, err := d.parseLabels(key)
	if rejection != nil || err != nil {
		return 0, rejection, err
	}
	if rejection := d.limits.CheckLabels(ls); rejection != nil {
		return 0, rejection, nil
	}
	ref, err := d.series.Intern(ls)
	if err != nil {
		if errors.As(err, &rejection) {
			return 0, rejection, nil
		}
		return 0, nil, fmt.Errorf("find series %s: %w", admission.Describe(ls), err)
	}
	d.session.Insert(key, ref)
	return ref, nil, nil
}

// parseLabels parses label fields, in any order: sorted by name, without those
// of empty values. Nothing that it returns shares memory with key.
func (d *decoder) parseLabels(key []byte) (labels.Labels, *admission.Rejection, error) {
	d.labels = d.labels[:0]
	var rejection *admission.Rejection
	r := fieldReader{b: key}
	for r.more() {
		if !r.next() || r.typ != wireBytes {
			return labels.EmptyLabels(), nil, fmt.Errorf("labels: %w", errMalformed)
		}
		name, value, ok := labelOf(r.bytes)
		if !ok {
			return labels.EmptyLabels(), nil, fmt.Errorf("label: %w", errMalformed)
		}
		lb := labels.Label{Name: string(name), Value: string(value)}
		if rejection == nil {
			rejection = d.limits.CheckLength(lb.Name, lb.Value)
		}
		d.labels = append(d.labels, lb)
	}
	if rejection != nil {
		return labels.EmptyLabels(), rejection, nil
	}
	ls, rejection := d.buildLabels()
	return ls, rejection, nil
}

// labelOf reads a version 1.0 Label.
func labelOf(b []byte) (name, value []byte, ok bool) {
	r := fieldReader{b: b}
	for r.more() {
		if !r.next() {
			return nil, nil, false
		}
		if r.num != 1 && r.num != 2 {
			continue
		}
		if r.typ != wireBytes {
			return nil, nil, false
		}
		if r.num == 1 {
			name = r.bytes
		} else {
			value = r.bytes
		}
	}
	return name, value, true
}

// buildLabels sorts d.labels, refuses names given twice (be it with an empty
// value) and drops empty values, which mean the same as no label.
func (d *decoder) buildLabels() (labels.Labels, *admission.Rejection) {
	slices.SortStableFunc(d.labels, func(a, b labels.Label) int { return strings.Compare(a.Name, b.Name) })
	d.builder.Reset()
	for i, lb := range d.labels {
		if i > 0 && lb.Name == d.labels[i-1].Name {
			return labels.EmptyLabels(), &admission.Rejection{
				Reason: admission.InvalidLabels,
				Detail: fmt.Sprintf("label %q is given twice in series %s", lb.Name, admission.Describe(labels.New(d.labels...))),
			}
		}
		if lb.Value != "" {
			d.builder.Add(lb.Name, lb.Value)
		}
	}
	return d.builder.Labels(), nil
}
