package interchange

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/prometheus/prometheus/model/value"
)

// The text of values that JSON has no numbers for, and of the bits that the
// text of a number does not carry: NaN is Prometheus's ordinary one, StaleNaN
// its stale marker, NaN(0x...) any other.
const (
	textNaN   = "NaN"
	textStale = "StaleNaN"
	textInf   = "+Inf"
	textLess  = "-Inf"
)

// appendValue appends the exact text of a value.
func appendValue(dst []byte, v float64) []byte {
	switch bits := math.Float64bits(v); {
	case bits == value.NormalNaN:
		return append(dst, textNaN...)
	case bits == value.StaleNaN:
		return append(dst, textStale...)
	case v != v:
		return append(strconv.AppendUint(append(dst, "NaN(0x"...), bits, 16), ')')
	case math.IsInf(v, 1):
		return append(dst, textInf...)
	case math.IsInf(v, -1):
		return append(dst, textLess...)
	}
	return strconv.AppendFloat(dst, v, 'g', -1, 64)
}

// appendJSONValue appends a value as JSON: a number, or its text.
func appendJSONValue(dst []byte, v float64) []byte {
	if v-v == 0 {
		return appendValue(dst, v)
	}
	return append(appendValue(append(dst, '"'), v), '"')
}

// parseValue is the inverse of appendValue; it also takes what others write.
func parseValue(text string) (float64, error) {
	if text == textStale {
		return math.Float64frombits(value.StaleNaN), nil
	}
	if hex, ok := strings.CutPrefix(text, "NaN(0x"); ok {
		bits, err := strconv.ParseUint(strings.TrimSuffix(hex, ")"), 16, 64)
		if v := math.Float64frombits(bits); err == nil && v != v && strings.HasSuffix(hex, ")") {
			return v, nil
		}
		return 0, fmt.Errorf("value %q is no NaN", text)
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0, fmt.Errorf("value %q is not a number", text)
	}
	if v != v {
		v = math.Float64frombits(value.NormalNaN)
	}
	return v, nil
}

// jsonValue is a value in a JSON line.
type jsonValue float64

// UnmarshalJSON implements json.Unmarshaler: a number, a text of appendValue,
// or null, which others write for NaN.
func (j *jsonValue) UnmarshalJSON(data []byte) error {
	text := string(data)
	switch {
	case text == "null":
		text = textNaN
	case text == "":
		return errors.New("a value is empty")
	case text[0] == '"':
		if err := json.Unmarshal(data, &text); err != nil {
			return err
		}
	}
	v, err := parseValue(text)
	*j = jsonValue(v)
	return err
}

// MarshalJSON implements json.Marshaler.
func (j jsonValue) MarshalJSON() ([]byte, error) { return appendJSONValue(nil, float64(j)), nil }

func isStale(v float64) bool { return value.IsStaleNaN(v) }
