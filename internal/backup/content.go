package backup

import (
	"fmt"
	"math"

	commonmodel "github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"

	"github.com/count-db/count/cluster/transport"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/wire"
)

// RestorePath is where a node takes what a restore puts back: POST with a body as
// an Encoder makes it. It writes what is absent, with ?overwrite=true everything.
const RestorePath = "/cluster/restore"

// The body of a restore: magic, format, then frames of one kind each.
const (
	bodyMagic  = "CTrs"
	bodyFormat = 1

	kindSeries    = 1
	kindMetadata  = 2
	kindExemplars = 3
)

// MaxBody bounds the body of a restore, in bytes.
const MaxBody = 32 << 20

// Encoder makes the body of a request.
type Encoder struct {
	body    []byte
	Samples int
}

// NewEncoder returns an encoder of an empty body.
func NewEncoder() *Encoder {
	e := &Encoder{}
	e.Reset()
	return e
}

// Reset empties the body.
func (e *Encoder) Reset() {
	e.body, e.Samples = append(append(e.body[:0], bodyMagic...), bodyFormat), 0
}

// Body returns the body; it is valid until the next call.
func (e *Encoder) Body() []byte { return e.body }

// Empty says that nothing was added.
func (e *Encoder) Empty() bool { return len(e.body) == len(bodyMagic)+1 }

func (e *Encoder) frame(kind byte, add func([]byte) []byte) {
	start := len(e.body)
	seed := wire.Checksum([]byte(bodyMagic))
	e.body = wire.EndFrame(add(append(wire.BeginFrame(e.body), kind)), start, seed)
}

// Series adds the samples of a series with their versions.
func (e *Encoder) Series(ls labels.Labels, cols *model.Columns) {
	e.frame(kindSeries, func(b []byte) []byte {
		return transport.AppendColumns(transport.AppendLabels(b, ls), cols, 0, len(cols.T), true)
	})
	e.Samples += cols.Len()
}

// Metadata adds what metric families are.
func (e *Encoder) Metadata(all []model.Metadata) {
	e.frame(kindMetadata, func(b []byte) []byte {
		b = wire.AppendUvarint(b, uint64(len(all)))
		for _, m := range all {
			b = wire.AppendString(wire.AppendString(b, m.Family), string(m.Type))
			b = wire.AppendString(wire.AppendString(b, m.Unit), m.Help)
		}
		return b
	})
}

// Exemplars adds the exemplars of a series.
func (e *Encoder) Exemplars(ls labels.Labels, all []model.Exemplar) {
	e.frame(kindExemplars, func(b []byte) []byte {
		b = wire.AppendUvarint(transport.AppendLabels(b, ls), uint64(len(all)))
		for _, x := range all {
			b = wire.AppendUint64(wire.AppendVarint(b, x.T), math.Float64bits(x.V))
			b = transport.AppendLabels(b, x.Labels)
		}
		return b
	})
}

// Outcome is what a node answers.
type Outcome struct {
	Written int `json:"written"` // samples
	Kept    int `json:"kept"`    // samples that were there or were deleted since
}

// Receiver takes what a body holds, and keeps it as it likes.
type Receiver interface {
	// Series is called with versions for all samples.
	Series(ls labels.Labels, cols *model.Columns) error
	Metadata(all []model.Metadata) error
	// Exemplars have no Ref.
	Exemplars(ls labels.Labels, all []model.Exemplar) error
}

// DecodeBody reads a body. Errors of the body itself wrap wire.ErrCorrupt.
func DecodeBody(body []byte, r Receiver) error {
	d := wire.NewDecoder(body)
	head := d.Take(len(bodyMagic) + 1)
	if d.Err() == nil && (string(head[:len(bodyMagic)]) != bodyMagic || head[len(bodyMagic)] != bodyFormat) {
		return wire.Corruptf("the body begins with %q, not with %q and format %d", head, bodyMagic, bodyFormat)
	}
	seed := wire.Checksum([]byte(bodyMagic))
	for d.Len() > 0 && d.Err() == nil {
		frame := wire.NewDecoder(d.Frame(seed))
		if d.Err() != nil {
			break
		}
		if err := decodeFrame(&frame, r); err != nil {
			return err
		}
	}
	return d.Err()
}

func decodeFrame(d *wire.Decoder, r Receiver) error {
	kind := d.Byte()
	var deliver func() error
	switch kind {
	case kindSeries:
		ls := transport.DecodeLabels(d)
		var cols model.Columns
		transport.DecodeColumns(d, &cols)
		if len(cols.Ver) != len(cols.T) {
			d.Fail("%d samples with %d versions", len(cols.T), len(cols.Ver))
		}
		deliver = func() error { return r.Series(ls, &cols) }
	case kindMetadata:
		all := decodeMetadata(d)
		deliver = func() error { return r.Metadata(all) }
	case kindExemplars:
		ls := transport.DecodeLabels(d)
		all := decodeExemplars(d)
		deliver = func() error { return r.Exemplars(ls, all) }
	default:
		return fmt.Errorf("%w: frames of kind %d", wire.ErrCorrupt, kind)
	}
	if d.Err() == nil && d.Len() > 0 {
		d.Fail("%d bytes behind a frame of kind %d", d.Len(), kind)
	}
	if d.Err() != nil {
		return d.Err()
	}
	return deliver()
}

func decodeMetadata(d *wire.Decoder) []model.Metadata {
	out := make([]model.Metadata, 0, d.Count(4))
	for range cap(out) {
		m := model.Metadata{Family: d.String()}
		m.Metadata = metadata.Metadata{Type: commonmodel.MetricType(d.String()), Unit: d.String(), Help: d.String()}
		out = append(out, m)
	}
	return out
}

func decodeExemplars(d *wire.Decoder) []model.Exemplar {
	out := make([]model.Exemplar, 0, d.Count(10))
	for range cap(out) {
		out = append(out, model.Exemplar{T: d.Varint(), V: d.Float64(), Labels: transport.DecodeLabels(d)})
	}
	return out
}
