package write

import (
	"math"
	"testing"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
)

func testHistogram() *histogram.Histogram {
	return &histogram.Histogram{
		Schema: 2, Count: 9, Sum: 21.5, ZeroThreshold: 1e-128, ZeroCount: 1,
		PositiveSpans:   []histogram.Span{{Offset: -1, Length: 2}, {Offset: 3, Length: 1}},
		PositiveBuckets: []int64{2, 1, 0},
		NegativeSpans:   []histogram.Span{},
		NegativeBuckets: []int64{},
	}
}

func testFloatHistogram() *histogram.FloatHistogram { return testHistogram().ToFloat(nil) }

// rawV1 frames TimeSeries bytes as a WriteRequest.
func rawV1(series ...[]byte) []byte {
	var b []byte
	for _, s := range series {
		b = appendField(b, 1, s)
	}
	return b
}

func label(name, value string) []byte { return appendLabel(nil, []byte(name), []byte(value)) }

func sample(t int64, v float64) []byte {
	s := prompb.Sample{Timestamp: t, Value: v}
	b, err := s.Marshal()
	if err != nil {
		panic(err) // the generated code has no way to fail here
	}
	return appendField(nil, 2, b)
}

func join(parts ...[]byte) (all []byte) {
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

func seedsV1(tb testing.TB) [][]byte {
	req := prompb.WriteRequest{
		Timeseries: []prompb.TimeSeries{
			{
				Labels:  []prompb.Label{{Name: "__name__", Value: "up"}, {Name: "job", Value: "node"}},
				Samples: []prompb.Sample{{Timestamp: 1000, Value: 1}, {Timestamp: 2000, Value: 0}, {Timestamp: 3000, Value: math.NaN()}},
			},
			{Labels: []prompb.Label{{Name: "zone", Value: "b"}, {Name: "empty"}, {Name: "__name__", Value: "unsorted"}}, Samples: []prompb.Sample{{Timestamp: -5, Value: math.Inf(1)}}},
			{Labels: []prompb.Label{{Name: "a", Value: "1"}, {Name: "a", Value: "2"}, {Name: "__name__", Value: "twice"}}, Samples: []prompb.Sample{{Timestamp: 1}}},
			{Labels: []prompb.Label{{Name: "job", Value: "no name"}}, Samples: []prompb.Sample{{Timestamp: 1}}},
			{Labels: []prompb.Label{{Name: "__name__", Value: "bad\xff"}}, Samples: []prompb.Sample{{Timestamp: 1}}},
			{
				Labels:     []prompb.Label{{Name: "__name__", Value: "hist"}},
				Histograms: []prompb.Histogram{prompb.FromIntHistogram(4000, testHistogram()), prompb.FromFloatHistogram(5000, testFloatHistogram())},
				Exemplars:  []prompb.Exemplar{{Labels: []prompb.Label{{Name: "trace_id", Value: "abc"}}, Value: 2, Timestamp: 4000}},
			},
		},
		Metadata: []prompb.MetricMetadata{{Type: prompb.MetricMetadata_COUNTER, MetricFamilyName: "up", Help: "Up.", Unit: "s"}},
	}
	b, err := req.Marshal()
	if err != nil {
		tb.Fatal(err)
	}
	name := label("__name__", "m")
	return [][]byte{
		b,
		{},
		rawV1(join(name, label("a", "1"), sample(1, 2))),
		rawV1(join(name, sample(1, 2), label("a", "1"), sample(3, 4))),                // labels behind
		rawV1(join(name, sample(1, 2)), join(name, sample(1, 2), label("a", "1"))),    // behind a known prefix
		rawV1(join(name, label("a", "1"), sample(1, 2)), join(name, sample(3, 4))),    // a prefix of the one before
		rawV1(join([]byte{0x8a, 0x00, 3, 0x0a, 1, 'x'}, name, sample(1, 2))),          // a tag in two bytes
		rawV1(join(name, []byte{0x3b, 0x08, 1, 0x3c}, sample(1, 2), []byte{0x28, 9})), // a group and an unknown field
		rawV1(join(name, []byte{0x12, 3, 0x10, 0x80, 0x80})),                          // varint cut off
		rawV1(join(name, []byte{0x12, 0xff, 0xff, 0xff, 0xff, 0x7f})),                 // length beyond the end
		rawV1([]byte{0x0a, 0x7f, 0x0a}),                                               // label beyond the end
		{0x0c},
		{0x00, 0x01},
		{0x18, 0x01},
	}
}

func seedsV2(tb testing.TB) [][]byte {
	req := writev2.Request{
		Symbols: []string{"", "__name__", "up", "job", "node", "help text", "seconds", "a", "bad\xff", "trace_id", "abc"},
		Timeseries: []writev2.TimeSeries{
			{
				LabelsRefs: []uint32{1, 2, 3, 4}, Samples: []writev2.Sample{{Value: 1, Timestamp: 1000, StartTimestamp: 500}, {Timestamp: 2000}},
				Metadata:  writev2.Metadata{Type: writev2.Metadata_METRIC_TYPE_COUNTER, HelpRef: 5, UnitRef: 6},
				Exemplars: []writev2.Exemplar{{LabelsRefs: []uint32{9, 10}, Value: 3, Timestamp: 900}, {LabelsRefs: []uint32{9}, Value: 1}},
			},
			{LabelsRefs: []uint32{7, 2, 1, 4}, Samples: []writev2.Sample{{Value: math.NaN(), Timestamp: 1}}},
			{LabelsRefs: []uint32{1, 2, 3}, Samples: []writev2.Sample{{Timestamp: 1}}},
			{LabelsRefs: []uint32{1, 99}, Samples: []writev2.Sample{{Timestamp: 1}}},
			{LabelsRefs: []uint32{1, 8}, Samples: []writev2.Sample{{Timestamp: 1}}},
			{LabelsRefs: []uint32{1, 2, 7, 0}},
			{LabelsRefs: []uint32{1, 2}, Histograms: []writev2.Histogram{writev2.FromIntHistogram(7, 8, testHistogram()), writev2.FromFloatHistogram(0, 9, testFloatHistogram())}},
		},
	}
	b, err := req.Marshal()
	if err != nil {
		tb.Fatal(err)
	}
	symbols := join(appendField(nil, 4, nil), appendField(nil, 4, []byte("__name__")), appendField(nil, 4, []byte("m")))
	point := sample(1, 2)
	return [][]byte{
		b,
		{},
		join(appendField(nil, 5, join([]byte{0x0a, 2, 1, 2}, point)), symbols),                          // symbols behind
		join(symbols, appendField(nil, 5, join([]byte{0x08, 1, 0x08, 2}, point))),                       // references not packed
		join(symbols, appendField(nil, 5, join([]byte{0x0a, 1, 1}, point, []byte{0x0a, 1, 2}, point))),  // in two pieces
		join(symbols, appendField(nil, 5, join(point, []byte{0x0a, 2, 1, 2}))),                          // behind
		join(symbols, appendField(nil, 5, join([]byte{0x0a, 2, 1, 9}, point))),                          // out of range
		join(symbols, appendField(nil, 5, join([]byte{0x0a, 3, 1, 9, 0x80}, point))),                    // and malformed behind
		join(symbols, appendField(nil, 5, join([]byte{0x0a, 2, 1, 2}, []byte{0x2a, 3, 0x08, 1, 0x80}))), // metadata cut off
	}
}
