package interchange

import (
	"errors"
	"fmt"

	"github.com/prometheus/prometheus/model/histogram"

	"github.com/count-db/count/internal/model"
)

// jsonHistogram is a native histogram in a JSON line: its fields as Prometheus
// names them, bucket counts absolute, spans as pairs of offset and length.
type jsonHistogram struct {
	Timestamp       int64       `json:"timestamp"`
	StartTimestamp  int64       `json:"start_timestamp,omitempty"`
	Float           bool        `json:"float,omitempty"` // counts are floats
	ResetHint       string      `json:"reset_hint,omitempty"`
	Schema          int32       `json:"schema"`
	Count           jsonCount   `json:"count"`
	Sum             jsonValue   `json:"sum"`
	ZeroThreshold   jsonValue   `json:"zero_threshold,omitempty"`
	ZeroCount       jsonCount   `json:"zero_count,omitempty"`
	PositiveSpans   [][2]int64  `json:"positive_spans,omitempty"`
	PositiveBuckets []jsonCount `json:"positive_buckets,omitempty"`
	NegativeSpans   [][2]int64  `json:"negative_spans,omitempty"`
	NegativeBuckets []jsonCount `json:"negative_buckets,omitempty"`
	CustomValues    []jsonValue `json:"custom_values,omitempty"`
}

// jsonCount is a count: the digits of an integer, or the exact text of a float.
type jsonCount string

// UnmarshalJSON implements json.Unmarshaler.
func (c *jsonCount) UnmarshalJSON(data []byte) error {
	var v jsonValue
	if err := v.UnmarshalJSON(data); err != nil {
		return err
	}
	if data[0] == '"' {
		data = data[1 : len(data)-1]
	}
	*c = jsonCount(data)
	return nil
}

// MarshalJSON implements json.Marshaler.
func (c jsonCount) MarshalJSON() ([]byte, error) {
	v, err := parseValue(string(c))
	if err != nil {
		return nil, err
	}
	if v-v != 0 {
		return []byte(`"` + string(c) + `"`), nil
	}
	return []byte(c), nil
}

// resetHints are the names of the hints; the unknown one is not written.
var resetHints = map[histogram.CounterResetHint]string{
	histogram.CounterReset: "reset", histogram.NotCounterReset: "no_reset", histogram.GaugeType: "gauge",
}

func newJSONHistogram(p *model.HistogramPoint) jsonHistogram {
	j := jsonHistogram{Timestamp: p.T, StartTimestamp: p.ST}
	if h := p.H; h != nil {
		j.ResetHint, j.Schema, j.Sum, j.ZeroThreshold = resetHints[h.CounterResetHint], h.Schema, jsonValue(h.Sum), jsonValue(h.ZeroThreshold)
		j.Count, j.ZeroCount = integerCount(h.Count), integerCount(h.ZeroCount)
		j.PositiveSpans, j.NegativeSpans = pairsOf(h.PositiveSpans), pairsOf(h.NegativeSpans)
		j.PositiveBuckets, j.NegativeBuckets = absolute(h.PositiveBuckets), absolute(h.NegativeBuckets)
		j.CustomValues = valuesOf(h.CustomValues)
		return j
	}
	h := p.FH
	j.Float = true
	j.ResetHint, j.Schema, j.Sum, j.ZeroThreshold = resetHints[h.CounterResetHint], h.Schema, jsonValue(h.Sum), jsonValue(h.ZeroThreshold)
	j.Count, j.ZeroCount = floatCount(h.Count), floatCount(h.ZeroCount)
	j.PositiveSpans, j.NegativeSpans = pairsOf(h.PositiveSpans), pairsOf(h.NegativeSpans)
	j.PositiveBuckets, j.NegativeBuckets = floatCounts(h.PositiveBuckets), floatCounts(h.NegativeBuckets)
	j.CustomValues = valuesOf(h.CustomValues)
	return j
}

// point returns the histogram as it is in memory.
func (j *jsonHistogram) point() (model.HistogramPoint, error) {
	p := model.HistogramPoint{T: j.Timestamp, ST: j.StartTimestamp}
	hint, err := parseHint(j.ResetHint)
	if err != nil {
		return p, err
	}
	positive, err := spansOf(j.PositiveSpans)
	if err != nil {
		return p, err
	}
	negative, err := spansOf(j.NegativeSpans)
	if err != nil {
		return p, err
	}
	var custom []float64
	for _, v := range j.CustomValues {
		custom = append(custom, float64(v))
	}
	var f counts
	if j.Float {
		p.FH = &histogram.FloatHistogram{
			CounterResetHint: hint, Schema: j.Schema, ZeroThreshold: float64(j.ZeroThreshold), ZeroCount: f.float(j.ZeroCount), Count: f.float(j.Count),
			Sum: float64(j.Sum), PositiveSpans: positive, NegativeSpans: negative,
			PositiveBuckets: f.floats(j.PositiveBuckets), NegativeBuckets: f.floats(j.NegativeBuckets), CustomValues: custom,
		}
		return p, errors.Join(f.err, p.FH.Validate())
	}
	p.H = &histogram.Histogram{
		CounterResetHint: hint, Schema: j.Schema, ZeroThreshold: float64(j.ZeroThreshold), ZeroCount: f.integer(j.ZeroCount), Count: f.integer(j.Count),
		Sum: float64(j.Sum), PositiveSpans: positive, NegativeSpans: negative,
		PositiveBuckets: f.deltas(j.PositiveBuckets), NegativeBuckets: f.deltas(j.NegativeBuckets), CustomValues: custom,
	}
	if f.err != nil {
		return p, f.err
	}
	// A stale marker among histograms has nothing but its sum.
	if isStale(p.H.Sum) {
		return p, nil
	}
	return p, p.H.Validate()
}

func parseHint(name string) (histogram.CounterResetHint, error) {
	if name == "" {
		return histogram.UnknownCounterReset, nil
	}
	for hint, n := range resetHints {
		if n == name {
			return hint, nil
		}
	}
	return 0, fmt.Errorf("unknown reset hint %q", name)
}

func pairsOf(spans []histogram.Span) [][2]int64 {
	var out [][2]int64
	for _, s := range spans {
		out = append(out, [2]int64{int64(s.Offset), int64(s.Length)})
	}
	return out
}

func spansOf(pairs [][2]int64) ([]histogram.Span, error) {
	var out []histogram.Span
	for _, p := range pairs {
		if int64(int32(p[0])) != p[0] || int64(uint32(p[1])) != p[1] {
			return nil, fmt.Errorf("a span of %d buckets at %d does not exist", p[1], p[0])
		}
		out = append(out, histogram.Span{Offset: int32(p[0]), Length: uint32(p[1])})
	}
	return out, nil
}

func valuesOf(vs []float64) []jsonValue {
	var out []jsonValue
	for _, v := range vs {
		out = append(out, jsonValue(v))
	}
	return out
}
