package write

import (
	"encoding/binary"
	"fmt"
	"math"
	"unicode/utf8"

	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/labels"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"

	"github.com/count-db/count/internal/admission"
	"github.com/count-db/count/internal/model"
)

// noSymbol is no index into the table of symbols.
const noSymbol = math.MaxUint32

// decodeV2 decodes an io.prometheus.write.v2.Request into the batch. What it
// refuses of it is in the report; an error ends the request.
func (d *decoder) decodeV2(b []byte) error {
	if err := d.readSymbols(b); err != nil {
		return err
	}
	r := fieldReader{b: b}
	for r.more() {
		if !r.next() {
			return fmt.Errorf("write request: %w", errMalformed)
		}
		if r.num == 5 { // timeseries
			if r.typ != wireBytes {
				return fmt.Errorf("write request: %w", errMalformed)
			}
			if err := d.seriesV2(r.bytes); err != nil {
				return err
			}
		}
	}
	return nil
}

// readSymbols gathers the table of symbols, which need not come first.
func (d *decoder) readSymbols(b []byte) error {
	d.nameSymbol = noSymbol
	r := fieldReader{b: b}
	for r.more() {
		if !r.next() {
			return fmt.Errorf("write request: %w", errMalformed)
		}
		if r.num != 4 {
			continue
		}
		if r.typ != wireBytes {
			return fmt.Errorf("symbols: %w", errMalformed)
		}
		if d.nameSymbol == noSymbol && string(r.bytes) == "__name__" {
			d.nameSymbol = uint32(len(d.symbols))
		}
		if err := d.charge(symbolCost); err != nil {
			return err
		}
		d.symbols = append(d.symbols, r.bytes)
	}
	if cap(d.told) < len(d.symbols) {
		d.told = make([]familyNote, len(d.symbols))
	}
	d.told = d.told[:len(d.symbols)]
	clear(d.told)
	return nil
}

// extrasV2 are the fields of a TimeSeries message that concern all its points.
type extrasV2 struct {
	family  uint32 // symbol of the metric name, noSymbol where there is none
	note    familyNote
	created int64 // ms, 0 = none: the created timestamp of drafts of the protocol
}

// seriesV2 decodes a TimeSeries message.
func (d *decoder) seriesV2(b []byte) error {
	r := fieldReader{b: b}
	if !r.more() {
		return d.pointsV2(b, 0, nil)
	}
	if b[0] == tagLabel && r.next() {
		// The references come first and in one piece, as all known senders write
		// them; where more follow, pointsV2 starts again.
		return d.pointsV2(b, r.i, r.bytes)
	}
	return d.scatteredV2(b)
}

// scatteredV2 decodes a TimeSeries message whose label references lie anywhere,
// packed or not.
func (d *decoder) scatteredV2(b []byte) error {
	if err := d.charge(8 * len(b)); err != nil {
		return err
	}
	d.refs = d.refs[:0]
	r := fieldReader{b: b}
	for r.more() {
		if !r.next() {
			return fmt.Errorf("time series: %w", errMalformed)
		}
		if r.num == 1 && !d.appendRefs(&r) {
			return fmt.Errorf("label references: %w", errMalformed)
		}
	}
	var packed []byte
	for _, ref := range d.refs {
		packed = binary.AppendUvarint(packed, uint64(ref))
	}
	return d.pointsV2(b, -1, packed)
}

// appendRefs appends the references of a field, packed or not, to d.refs.
func (d *decoder) appendRefs(r *fieldReader) bool {
	switch r.typ {
	case wireVarint:
		d.refs = append(d.refs, uint32(r.value))
		return true
	case wireBytes:
		packed := fieldReader{b: r.bytes}
		for packed.more() {
			ref, ok := packed.varint()
			if !ok {
				return false
			}
			d.refs = append(d.refs, uint32(ref))
		}
		return true
	default:
		return false
	}
}

// pointsV2 decodes a TimeSeries message with the given label references from
// offset from on; -1 means all of it, and that references there are known.
func (d *decoder) pointsV2(b []byte, from int, packed []byte) error {
	extras := extrasV2{family: noSymbol}
	rejection, err := d.assemble(packed, &extras)
	if err != nil {
		return err
	}
	ref, known := model.Ref(0), false
	if rejection == nil {
		ref, known = d.lookupV2()
	}
	if !known && from >= 0 {
		// References may also lie behind: look before a series is made of, or
		// refused for, half of them.
		return d.scatteredV2(b)
	}
	if !known && rejection == nil {
		if ref, rejection, err = d.resolve(d.scratch); err != nil {
			return err
		}
	}
	p := d.begin(ref, rejection)
	r := fieldReader{b: b, i: max(from, 0)}
	for r.more() {
		if sample, ok := r.short(tagSample); ok {
			if err := d.addSample(&p, sample, true); err != nil {
				return err
			}
			continue
		}
		if !r.next() {
			return fmt.Errorf("time series: %w", errMalformed)
		}
		if r.num == 1 && from >= 0 {
			d.undo(p.marks)
			return d.scatteredV2(b)
		}
		if err := d.fieldV2(&p, &extras, &r); err != nil {
			return err
		}
	}
	return d.endV2(&p, &extras)
}

// fieldV2 decodes one field of a TimeSeries message.
func (d *decoder) fieldV2(p *points, extras *extrasV2, r *fieldReader) error {
	if r.num >= 2 && r.num <= 5 && r.typ != wireBytes {
		return fmt.Errorf("time series: %w", errMalformed)
	}
	switch r.num {
	case 2:
		return d.addSample(p, r.bytes, true)
	case 3:
		return d.addHistogramV2(p, r.bytes)
	case 4:
		return d.addExemplarV2(p, r.bytes)
	case 5:
		return extras.note.read(r.bytes)
	case 6: // created_timestamp of the drafts; in the present protocol it is reserved
		if r.typ == wireVarint {
			extras.created = int64(r.value)
		}
	}
	return nil
}

// endV2 does what can be done only when all fields of a series were seen.
func (d *decoder) endV2(p *points, extras *extrasV2) error {
	if p.rejection != nil {
		d.end(p)
		return nil
	}
	if extras.created != 0 {
		d.startAll(p.marks, extras.created)
	}
	if !extras.note.within(len(d.symbols)) {
		d.report.Add(admission.InvalidLabels, 1, func() string {
			return fmt.Sprintf("metadata refers to symbols beyond the %d there are", len(d.symbols))
		})
		return nil
	}
	if p.exemplars == 0 && p.invalid == 0 && p.marks.floats == len(d.batch.Floats) && p.marks.hists == len(d.batch.Hists) && !extras.note.given() {
		d.report.Add(admission.NoSamples, 1, func() string { return "a series has neither samples nor histograms nor exemplars" })
	}
	return d.noteFamily(extras)
}

// startAll gives the samples added since the marks a start timestamp where they
// have none of their own.
func (d *decoder) startAll(m batchMarks, start int64) {
	if m.floats < len(d.batch.Floats) {
		d.padStarts(len(d.batch.Floats))
	}
	for i := m.floats; i < len(d.batch.Floats); i++ {
		if d.batch.STs[i] == 0 {
			d.batch.STs[i] = start
		}
	}
	for i := m.hists; i < len(d.batch.Hists); i++ {
		if d.batch.Hists[i].ST == 0 {
			d.batch.Hists[i].ST = start
		}
	}
}

// assemble puts together in d.scratch the label bytes that version 1.0 would
// have sent for packed label references.
func (d *decoder) assemble(packed []byte, extras *extrasV2) (*admission.Rejection, error) {
	key, count := d.scratch[:0], 0
	r := fieldReader{b: packed}
	for r.more() {
		name, ok := r.varint()
		if !ok {
			return nil, fmt.Errorf("label references: %w", errMalformed)
		}
		if !r.more() {
			return &admission.Rejection{Reason: admission.InvalidLabels, Detail: "a series has an odd number of label references"}, nil
		}
		value, ok := r.varint()
		if !ok {
			return nil, fmt.Errorf("label references: %w", errMalformed)
		}
		n, v := uint32(name), uint32(value)
		if int64(n) >= int64(len(d.symbols)) || int64(v) >= int64(len(d.symbols)) {
			return &admission.Rejection{Reason: admission.InvalidLabels, Detail: fmt.Sprintf(
				"label references %d and %d: there are only %d symbols", n, v, len(d.symbols))}, checkVarints(&r)
		}
		if n == d.nameSymbol {
			extras.family = v
		}
		// A reference of a byte may stand for a megabyte: refuse before copying.
		if count++; count > d.limits.MaxLabels || len(d.symbols[n]) > d.limits.MaxNameBytes || len(d.symbols[v]) > d.limits.MaxValueBytes {
			return &admission.Rejection{Reason: admission.LabelLimit, Detail: fmt.Sprintf(
				"a series has more than %d labels, or a name of more than %d or a value of more than %d bytes",
				d.limits.MaxLabels, d.limits.MaxNameBytes, d.limits.MaxValueBytes)}, checkVarints(&r)
		}
		key = appendLabel(key, d.symbols[n], d.symbols[v])
	}
	d.scratch = key
	return nil, nil
}

// lookupV2 returns the series of the labels in d.scratch if it is known.
func (d *decoder) lookupV2() (model.Ref, bool) {
	if n, ref := d.session.Predict(d.scratch); n > 0 && n == len(d.scratch) {
		d.session.Accept()
		return ref, true
	}
	return d.session.Lookup(d.scratch)
}

// checkVarints reads the rest: a message that is malformed behind a reference
// out of range is malformed all the same.
func checkVarints(r *fieldReader) error {
	for r.more() {
		if _, ok := r.varint(); !ok {
			return fmt.Errorf("label references: %w", errMalformed)
		}
	}
	return nil
}

// appendLabel appends a label as version 1.0 writes it.
func appendLabel(dst, name, value []byte) []byte {
	if len(name)+len(value) < 0x80-4 {
		dst = append(dst, tagLabel, byte(4+len(name)+len(value)), 1<<3|wireBytes, byte(len(name)))
		dst = append(dst, name...)
		dst = append(dst, 2<<3|wireBytes, byte(len(value)))
		return append(dst, value...)
	}
	size := 2 + uvarintLen(len(name)) + len(name) + uvarintLen(len(value)) + len(value)
	dst = append(dst, tagLabel)
	dst = binary.AppendUvarint(dst, uint64(size))
	dst = appendField(dst, 1, name)
	return appendField(dst, 2, value)
}

func uvarintLen(n int) int {
	size := 1
	for ; n >= 0x80; n >>= 7 {
		size++
	}
	return size
}

func (d *decoder) addHistogramV2(p *points, b []byte) error {
	if err := d.charge(histogramCost + 8*len(b)); err != nil {
		return err
	}
	var h writev2.Histogram
	if err := h.Unmarshal(b); err != nil {
		return fmt.Errorf("histogram: %w: %w", errMalformed, err)
	}
	sample := model.HistogramSample{T: h.Timestamp, ST: h.StartTimestamp, Ref: p.ref}
	if h.IsFloatHistogram() {
		sample.FH = h.ToFloatHistogram()
	} else {
		sample.H = h.ToIntHistogram()
	}
	d.addHistogram(p, sample)
	return nil
}

func (d *decoder) addExemplarV2(p *points, b []byte) error {
	if err := d.charge(exemplarCost + 8*len(b)); err != nil {
		return err
	}
	var e writev2.Exemplar
	if err := e.Unmarshal(b); err != nil {
		return fmt.Errorf("exemplar: %w: %w", errMalformed, err)
	}
	p.exemplars++
	if p.rejection != nil {
		return nil
	}
	rejection := d.exemplarLabelsV2(e.LabelsRefs)
	if rejection == nil {
		rejection = d.addExemplar(p, e.Timestamp, e.Value)
	}
	if rejection != nil {
		d.report.AddRejection(rejection, 1)
	}
	return nil
}

// exemplarLabelsV2 puts the labels that the references stand for into d.labels.
func (d *decoder) exemplarLabelsV2(refs []uint32) *admission.Rejection {
	d.labels = d.labels[:0]
	size := 0
	for i := 0; i < len(refs); i += 2 {
		if i+1 == len(refs) || int64(max(refs[i], refs[i+1])) >= int64(len(d.symbols)) {
			return &admission.Rejection{Reason: admission.InvalidExemplar, Detail: fmt.Sprintf(
				"exemplar: bad label references among %d, with %d symbols", len(refs), len(d.symbols))}
		}
		name, value := d.symbols[refs[i]], d.symbols[refs[i+1]]
		// As with labels of series: refuse before copying.
		if size += len(name) + len(value); size > utf8.UTFMax*exemplar.ExemplarMaxLabelSetLength {
			return &admission.Rejection{Reason: admission.InvalidExemplar, Detail: fmt.Sprintf(
				"exemplar: labels are longer than %d characters", exemplar.ExemplarMaxLabelSetLength)}
		}
		d.labels = append(d.labels, labels.Label{Name: string(name), Value: string(value)})
	}
	return nil
}
