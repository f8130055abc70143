package rest

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"

	"github.com/count-db/count/internal/admission"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/seriescache"
)

// keyMark begins the keys of this package in the series cache: no label bytes of
// the wire protocols begin with it, and no text.
const keyMark = 0xff

// maxKeyBytes bounds a series key: it is parsed before the limits on labels are
// looked at.
const maxKeyBytes = 4 << 20

// item is one decoded object: a reference, or the labels of a series that is not
// known yet.
type item struct {
	ref    model.Ref
	labels labels.Labels
	key    []byte // to remember the series by; nil where it had labels beside its key
	t      int64
	v      float64
}

// decoder decodes a body into items. Its memory is used again for the next one.
type decoder struct {
	parser
	limits  admission.Limits
	checkT  func(int64) *admission.Rejection
	session seriescache.Session

	items     []item
	fields    fields
	readField func(key []byte) error // d.field, bound once
}

func newDecoder(limits admission.Limits, checkT func(int64) *admission.Rejection) *decoder {
	d := &decoder{limits: limits, checkT: checkT}
	d.readField = d.field
	return d
}

// fields are the fields of the object being decoded.
type fields struct {
	seen   uint8 // bits of the fields met
	key    []byte
	t      int64
	v      float64
	labels []labels.Label
}

// The bits of fields.seen.
const (
	sawSeries = 1 << iota
	sawTimestamp
	sawValue
	sawLabels
)

// reset makes the decoder ready for another body, which it keeps until the next.
func (d *decoder) reset(body []byte) {
	d.b, d.i = body, 0
	clear(d.items)
	d.items = d.items[:0]
	clear(d.fields.labels)
	d.fields.labels = d.fields.labels[:0]
}

// decode decodes a body: an array, or one object or several on lines of their own.
func (d *decoder) decode() error {
	line := 1 + d.space()
	switch {
	case d.i == len(d.b):
		return errors.New("the body is empty")
	case d.b[d.i] == '[':
		return d.array()
	}
	for {
		start := d.i
		if err := d.object(); err != nil {
			if line == 1 && !bytes.Contains(d.b[d.i:], []byte("\n{")) {
				return err // there is one object only: its line says nothing
			}
			return fmt.Errorf("line %d: %w", line, err)
		}
		breaks := d.space()
		if d.i == len(d.b) {
			return nil
		}
		if breaks == 0 {
			return fmt.Errorf("line %d: %w", line, d.syntaxError("a new line behind the object"))
		}
		line += bytes.Count(d.b[start:d.i], []byte("\n"))
	}
}

// array decodes an array of objects.
func (d *decoder) array() error {
	d.i++ // the bracket
	if d.take(']') {
		return errors.New("the batch is empty")
	}
	for {
		if err := d.object(); err != nil {
			return fmt.Errorf("item %d: %w", len(d.items), err)
		}
		if d.take(']') {
			break
		}
		if !d.take(',') {
			return fmt.Errorf("behind item %d: %w", len(d.items)-1, d.syntaxError("',' or ']'"))
		}
	}
	if d.space(); d.i < len(d.b) {
		return d.syntaxError("nothing behind the array")
	}
	return nil
}

// object decodes one object into an item.
func (d *decoder) object() error {
	f := &d.fields
	f.seen, f.labels = 0, f.labels[:0]
	if err := d.members(d.readField); err != nil {
		return err
	}
	switch {
	case f.seen&sawSeries == 0:
		return errors.New(`"series" is missing`)
	case f.seen&sawTimestamp == 0:
		return errors.New(`"timestamp" is missing`)
	case f.seen&sawValue == 0:
		return errors.New(`"value" is missing`)
	}
	if rejection := d.checkT(f.t); rejection != nil {
		return rejection
	}
	it := item{t: f.t, v: f.v}
	if err := d.resolve(&it); err != nil {
		return err
	}
	d.items = append(d.items, it)
	return nil
}

// field decodes one field of an object.
func (d *decoder) field(key []byte) error {
	var bit uint8
	var read func() error
	switch string(key) {
	case "series":
		bit, read = sawSeries, d.readSeries
	case "timestamp":
		bit, read = sawTimestamp, d.readTimestamp
	case "value":
		bit, read = sawValue, d.readValue
	case "labels":
		bit, read = sawLabels, d.readLabels
	default:
		return d.skip(1)
	}
	if d.fields.seen&bit != 0 {
		return fmt.Errorf("%q is given twice", key)
	}
	d.fields.seen |= bit
	return read()
}

func (d *decoder) readSeries() error {
	if d.i < len(d.b) && d.b[d.i] != '"' {
		return d.wrongKind("series", "a string")
	}
	s, err := d.str()
	if err != nil {
		return err
	}
	if len(s) == 0 {
		return errors.New(`"series" is empty`)
	}
	d.fields.key = append(append(d.fields.key[:0], keyMark), s...)
	return nil
}

func (d *decoder) readTimestamp() error {
	text, ok := d.number()
	if !ok {
		return d.wrongKind("timestamp", "a number, ms since 1970")
	}
	t, err := integer(text)
	if err != nil {
		return fmt.Errorf("timestamp %.40s: %w", text, err)
	}
	d.fields.t = t
	return nil
}

func (d *decoder) readValue() error {
	const kinds = `a number, "NaN", "+Inf" or "-Inf"`
	if text, ok := d.number(); ok {
		v, err := strconv.ParseFloat(string(text), 64)
		if err != nil {
			return fmt.Errorf("value %.40s: %w", text, errOutOfRange)
		}
		d.fields.v = v
		return nil
	}
	if d.i >= len(d.b) || d.b[d.i] != '"' {
		return d.wrongKind("value", kinds)
	}
	s, err := d.str()
	if err != nil {
		return err
	}
	switch string(s) {
	case "NaN":
		// Prometheus's ordinary NaN; other bit patterns have meanings.
		d.fields.v = math.Float64frombits(value.NormalNaN)
	case "+Inf":
		d.fields.v = math.Inf(1)
	case "-Inf":
		d.fields.v = math.Inf(-1)
	default:
		return fmt.Errorf(`value %.40q must be %s`, s, kinds)
	}
	return nil
}

func (d *decoder) readLabels() error {
	if d.word("null") {
		return nil
	}
	if d.i >= len(d.b) || d.b[d.i] != '{' {
		return d.wrongKind("labels", "an object of strings")
	}
	return d.members(func(key []byte) error {
		name := string(key)
		if name == "" {
			return errors.New("a label name is empty")
		}
		for _, lb := range d.fields.labels {
			if lb.Name == name {
				return fmt.Errorf("label %.160q is given twice", name)
			}
		}
		if d.i >= len(d.b) || d.b[d.i] != '"' {
			return d.wrongKind("value of label "+strconv.Quote(name), "a string")
		}
		s, err := d.str()
		if err != nil {
			return err
		}
		if len(d.fields.labels) >= d.limits.MaxLabels {
			return fmt.Errorf("more than %d labels", d.limits.MaxLabels)
		}
		d.fields.labels = append(d.fields.labels, labels.Label{Name: name, Value: string(s)})
		return nil
	})
}

// wrongKind tells a value of the wrong kind from text that is no JSON at all.
func (d *decoder) wrongKind(field, want string) error {
	if err := d.skip(1); err != nil {
		return err
	}
	return fmt.Errorf("%s must be %s", field, want)
}

// resolve finds the series of the object just decoded.
func (d *decoder) resolve(it *item) error {
	f := &d.fields
	if len(f.labels) == 0 {
		if n, ref := d.session.Predict(f.key); n > 0 && n == len(f.key) {
			d.session.Accept()
			it.ref = ref
			return nil
		}
		if ref, ok := d.session.Lookup(f.key); ok {
			it.ref = ref
			return nil
		}
		it.key = append([]byte(nil), f.key...)
	}
	ls, err := d.seriesLabels()
	if err != nil {
		return err
	}
	it.labels = ls
	return nil
}

// seriesLabels merges the labels of the key and those beside it.
func (d *decoder) seriesLabels() (labels.Labels, error) {
	f := &d.fields
	key := string(f.key[1:])
	if len(key) > maxKeyBytes {
		return labels.EmptyLabels(), fmt.Errorf("series has %d bytes, more than %d", len(key), maxKeyBytes)
	}
	ls, err := model.ParseSeriesKey(key)
	if err != nil {
		return ls, fmt.Errorf("series %.160q: %w", key, err)
	}
	if len(f.labels) > 0 {
		b := labels.NewScratchBuilder(ls.Len() + len(f.labels))
		ls.Range(func(lb labels.Label) { b.Add(lb.Name, lb.Value) })
		for _, lb := range f.labels {
			if ls.Has(lb.Name) {
				return ls, fmt.Errorf("label %.160q is given twice, in series and in labels", lb.Name)
			}
			if rejection := d.limits.CheckLength(lb.Name, lb.Value); rejection != nil {
				return ls, rejection
			}
			if lb.Value != "" {
				b.Add(lb.Name, lb.Value)
			}
		}
		b.Sort()
		ls = b.Labels()
	}
	if rejection := d.limits.CheckLabels(ls); rejection != nil {
		return ls, rejection
	}
	return ls, nil
}
