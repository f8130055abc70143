package appendable

import (
	"errors"

	"google.golang.org/protobuf/encoding/protowire"
)

// shape says which fields of a protobuf message are messages; a nil one stands for
// packed numbers.
type shape map[protowire.Number]shape

// packedPerMessage is how many bytes of packed numbers count for one message.
const packedPerMessage = 8

// requestShape returns the shape of opentelemetry.proto.collector.metrics.v1.
// ExportMetricsServiceRequest, as far as messages may be many.
func requestShape() shape {
	value := shape{}
	value[5] = shape{1: value}             // array
	attribute := shape{2: value}           // key and value
	value[6] = shape{1: attribute}         // list of keys and values
	exemplar := shape{7: attribute}        // filtered attributes
	withAttributes := shape{3: attribute}  // of an instrumentation scope
	resource := shape{1: attribute, 3: {}} // and references to entities
	number := shape{7: attribute, 5: exemplar}
	histogram := shape{9: attribute, 8: exemplar}
	buckets := shape{2: nil}
	exponential := shape{1: attribute, 8: buckets, 9: buckets, 11: exemplar}
	summary := shape{7: attribute, 6: {}}
	points := func(point shape) shape { return shape{1: point} }
	metric := shape{5: points(number), 7: points(number), 9: points(histogram), 10: points(exponential), 11: points(summary), 12: attribute}
	return shape{1: {1: resource, 2: {1: withAttributes, 2: metric}}}
}

// maxDepth is how deep the messages of a request may be nested: values that hold
// values may be, and the decoders follow them.
const maxDepth = 64

var errDepth = errors.New("the request is nested too deep")

// countMessages counts the messages in a body, about. What is malformed is left to
// the decoder, which stops there too.
func countMessages(mediaType string, body []byte) (int64, error) {
	if mediaType == typeProtobuf {
		return countProtobuf(body, requestShape(), 0)
	}
	return countJSON(body)
}

func countProtobuf(body []byte, s shape, depth int) (int64, error) {
	if depth > maxDepth {
		return 0, errDepth
	}
	count := int64(0)
	for len(body) > 0 {
		number, kind, n := protowire.ConsumeTag(body)
		if n < 0 {
			return count, nil
		}
		body = body[n:]
		inner, is := s[number]
		if !is || kind != protowire.BytesType {
			if n = protowire.ConsumeFieldValue(number, kind, body); n < 0 {
				return count, nil
			}
			body = body[n:]
			continue
		}
		message, n := protowire.ConsumeBytes(body)
		if n < 0 {
			return count, nil
		}
		body = body[n:]
		if inner == nil {
			count += int64(len(message)) / packedPerMessage
			continue
		}
		of, err := countProtobuf(message, inner, depth+1)
		if err != nil {
			return 0, err
		}
		count += 1 + of
	}
	return count, nil
}

// countJSON counts objects and elements of arrays.
func countJSON(body []byte) (int64, error) {
	count, depth := int64(0), 0
	for i := 0; i < len(body); i++ {
		switch body[i] {
		case '"':
			for i++; i < len(body) && body[i] != '"'; i++ {
				if body[i] == '\\' {
					i++
				}
			}
		case '{', '[':
			count++
			if depth++; depth > 4*maxDepth {
				return 0, errDepth
			}
		case '}', ']':
			depth--
		case ',':
			count++
		}
	}
	return count, nil
}
