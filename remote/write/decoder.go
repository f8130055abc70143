package write

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/internal/admission"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/seriescache"
)

// decoder decodes one request into a batch. Its memory is used again for the
// next one.
type decoder struct {
	series   Resolver
	limits   admission.Limits
	families *familyMemory
	// reserve claims memory until the request ends.
	reserve func(bytes int64) error
	credit  int // bytes claimed and not used yet

	session seriescache.Session
	batch   model.Batch
	starts  []int64 // memory for the batch's start timestamps, while it has none
	report  admission.Report

	labels  []labels.Label
	builder labels.ScratchBuilder
	scratch []byte // labels put together

	// For version 2.0 requests only.
	symbols    [][]byte
	nameSymbol uint32       // the symbol "__name__", noSymbol where there is none
	told       []familyNote // by symbol of the metric name: metadata already taken from this request
	refs       []uint32
	notes      []uint64 // metadata to remember once it is stored
}

// reset makes the decoder ready for another request. It lets go of everything
// that points into the request before.
func (d *decoder) reset() {
	d.dropStarts()
	d.batch.Reset()
	d.report.Reset()
	d.credit = 0
	clear(d.symbols)
	d.symbols = d.symbols[:0]
	clear(d.labels)
	d.labels = d.labels[:0]
	d.notes = d.notes[:0]
}

// What things of a request cost in memory, beyond the bytes of the request
// itself; a few bytes on the wire may stand for much more here.
const (
	sampleCost    = 24
	histogramCost = 512
	exemplarCost  = 256
	familyCost    = 256
	symbolCost    = 40
	seriesCost    = 256
	// creditStep is how much is claimed at a time.
	creditStep = 256 << 10
)

// charge accounts for memory about to be used.
func (d *decoder) charge(bytes int) error {
	d.credit -= bytes
	if d.credit >= 0 {
		return nil
	}
	step := max(creditStep, -d.credit)
	if err := d.reserve(int64(step)); err != nil {
		return err
	}
	d.credit += step
	return nil
}

// points is what one TimeSeries message adds to the batch.
type points struct {
	ref       model.Ref
	rejection *admission.Rejection // of the series; then nothing is added
	refused   int                  // samples and histograms not added for it
	invalid   int                  // histograms not added for what they are
	exemplars int                  // exemplars met, added or not
	lastT     int64                // timestamp of the last sample, for exemplars without one
	marks     batchMarks           // the batch's lengths before
}

// batchMarks are lengths of a batch's columns.
type batchMarks struct{ floats, sts, hists, exemplars, metadata int }

func (d *decoder) begin(ref model.Ref, rejection *admission.Rejection) points {
	return points{ref: ref, rejection: rejection, marks: batchMarks{
		floats: len(d.batch.Floats), sts: len(d.batch.STs), hists: len(d.batch.Hists),
		exemplars: len(d.batch.Exemplars), metadata: len(d.batch.Metadata),
	}}
}

// undo takes out of the batch what was added since the marks.
func (d *decoder) undo(m batchMarks) {
	d.batch.Floats = d.batch.Floats[:m.floats]
	if m.sts == 0 {
		d.dropStarts()
	} else {
		d.batch.STs = d.batch.STs[:m.sts]
	}
	d.batch.Hists = d.batch.Hists[:m.hists]
	d.batch.Exemplars = d.batch.Exemplars[:m.exemplars]
	d.batch.Metadata = d.batch.Metadata[:m.metadata]
}

// dropStarts leaves the batch without start timestamps.
func (d *decoder) dropStarts() {
	if d.batch.STs != nil {
		d.starts, d.batch.STs = d.batch.STs[:0], nil
	}
}

// end reports what a rejected series carried.
func (d *decoder) end(p *points) {
	if p.rejection != nil {
		d.report.AddRejection(p.rejection, max(p.refused, 1))
	}
}

// sampleFields are the fields of a Sample message of both versions; version
// 1.0 has no start timestamp.
type sampleFields struct {
	value     float64
	timestamp int64 // ms
	start     int64 // ms, 0 = none
}

// readSample reads a Sample message; withStart says whether field 3 is known.
func readSample(b []byte, withStart bool) (s sampleFields, ok bool) {
	// What senders write: the value unless it is 0, the timestamp, and nothing else.
	i := 0
	if len(b) >= 9 && b[0] == 1<<3|wireFixed64 {
		s.value = math.Float64frombits(binary.LittleEndian.Uint64(b[1:]))
		i = 9
	}
	if i < len(b) && b[i] == 2<<3|wireVarint {
		t, n := binary.Uvarint(b[i+1:])
		if n > 0 && i+1+n == len(b) {
			s.timestamp = int64(t)
			return s, true
		}
	}
	return readSampleFields(b, withStart)
}

// readSampleFields is readSample for any order and number of fields.
func readSampleFields(b []byte, withStart bool) (s sampleFields, ok bool) {
	r := fieldReader{b: b}
	for r.more() {
		if !r.next() {
			return s, false
		}
		want := uint8(wireVarint)
		switch {
		case r.num == 1:
			want = wireFixed64
			s.value = math.Float64frombits(r.value)
		case r.num == 2:
			s.timestamp = int64(r.value)
		case r.num == 3 && withStart:
			s.start = int64(r.value)
		default:
			continue
		}
		if r.typ != want {
			return s, false
		}
	}
	return s, true
}

// tagSample is the first byte of a sample in a TimeSeries of both versions, in
// the only form that senders write.
const tagSample = 2<<3 | wireBytes

// addSample adds a Sample message to the batch.
func (d *decoder) addSample(p *points, b []byte, withStart bool) error {
	s, ok := readSample(b, withStart)
	if !ok {
		return fmt.Errorf("sample: %w", errMalformed)
	}
	if p.rejection != nil {
		p.refused++
		return nil
	}
	if err := d.charge(sampleCost); err != nil {
		return err
	}
	d.batch.Floats = append(d.batch.Floats, model.FloatSample{T: s.timestamp, V: s.value, Ref: p.ref})
	d.setStart(s.start)
	p.lastT = s.timestamp
	return nil
}

// setStart gives the last float of the batch its start timestamp. The column
// exists only from the first sample on that has one.
func (d *decoder) setStart(start int64) {
	if start == 0 && d.batch.STs == nil {
		return
	}
	d.padStarts(len(d.batch.Floats) - 1)
	d.batch.STs = append(d.batch.STs, start)
}

// padStarts says that the first n floats of the batch have no start timestamp
// unless they have one already.
func (d *decoder) padStarts(n int) {
	if d.batch.STs == nil {
		d.batch.STs = d.starts[:0]
	}
	for len(d.batch.STs) < n {
		d.batch.STs = append(d.batch.STs, 0)
	}
}
