package transfer

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/golang/snappy"
)

// The library's encoder leaves a value out that compares equal to zero, and so
// makes 0 of -0. Samples are encoded here to keep every bit.

// Tags of io.prometheus.write.v2: field number and wire type.
const (
	tagSymbol     = 4<<3 | wireBytes // Request
	tagTimeseries = 5<<3 | wireBytes

	tagLabels    = 1<<3 | wireBytes // TimeSeries
	tagSample    = 2<<3 | wireBytes
	tagHistogram = 3<<3 | wireBytes
	tagExemplar  = 4<<3 | wireBytes
	tagMetadata  = 5<<3 | wireBytes

	tagValue     = 1<<3 | wireFixed64 // Sample
	tagTimestamp = 2<<3 | wireVarint
	tagStart     = 3<<3 | wireVarint

	tagSum = 3<<3 | wireFixed64 // Histogram

	wireVarint  = 0
	wireFixed64 = 1
	wireBytes   = 2
)

// encode returns the body of the request.
func (b *batch) encode() ([]byte, error) {
	out := make([]byte, 0, b.bytes+b.bytes/2)
	for _, s := range b.symbols.Symbols() {
		out = append(binary.AppendUvarint(append(out, tagSymbol), uint64(len(s))), s...)
	}
	var series, part []byte
	for i := range b.series {
		var err error
		if series, part, err = b.series[i].append(series[:0], part); err != nil {
			return nil, fmt.Errorf("encode a request: %w", err)
		}
		out = appendMessage(out, tagTimeseries, series)
	}
	return snappy.Encode(nil, out), nil
}

func appendMessage(dst []byte, tag byte, message []byte) []byte {
	return append(binary.AppendUvarint(append(dst, tag), uint64(len(message))), message...)
}

// append appends a series as a message; part is memory to use again.
func (e *entry) append(dst, part []byte) (out, kept []byte, err error) {
	part = part[:0]
	for _, ref := range e.refs {
		part = binary.AppendUvarint(part, uint64(ref))
	}
	dst = appendMessage(dst, tagLabels, part)
	for _, f := range e.floats {
		part = binary.LittleEndian.AppendUint64(append(part[:0], tagValue), math.Float64bits(f.V))
		part = binary.AppendUvarint(append(part, tagTimestamp), uint64(f.T))
		if f.ST != 0 {
			part = binary.AppendUvarint(append(part, tagStart), uint64(f.ST))
		}
		dst = appendMessage(dst, tagSample, part)
	}
	for i := range e.hists {
		text, err := e.hists[i].Marshal()
		if err != nil {
			return dst, part, err
		}
		if sum := e.hists[i].Sum; sum == 0 && math.Signbit(sum) {
			text = binary.LittleEndian.AppendUint64(append(text, tagSum), math.Float64bits(sum))
		}
		dst = appendMessage(dst, tagHistogram, text)
	}
	for i := range e.exemplars {
		text, err := e.exemplars[i].Marshal()
		if err != nil {
			return dst, part, err
		}
		dst = appendMessage(dst, tagExemplar, text)
	}
	text, err := e.metadata.Marshal()
	if err != nil {
		return dst, part, err
	}
	return appendMessage(dst, tagMetadata, text), part, nil
}
