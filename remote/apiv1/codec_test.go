package apiv1

import (
	"math"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	api "github.com/prometheus/prometheus/web/api/v1"
	"pgregory.net/rapid"
)

// TestResultsAreWrittenAsByPrometheus compares, byte for byte, with Prometheus's
// codec.
func TestResultsAreWrittenAsByPrometheus(t *testing.T) {
	text := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"", "node_cpu_seconds_total", "a\"b\\c\n\r\t\x00\x1f\x7f", "<&>", "\u2028", "\xff\xfe", "é"}))
	// encoding/json writes these two as \b and \f, Prometheus as \u0008 and \u000c.
	note := text.Filter(func(s string) bool { return !strings.ContainsAny(s, "\b\f") })
	value := rapid.OneOf(rapid.Float64(), rapid.SampledFrom([]float64{
		0, math.Copysign(0, -1), math.NaN(), math.Inf(1), math.Inf(-1), 1e21, 1e-6, 9.999e-7, 1e-7, 1e20, 0.1, 0.001, 0.0015, -2.5, 1e15, 999999999999.999, 1e12, math.MaxFloat64, 5e-324,
	}), rapid.Custom(func(t *rapid.T) float64 {
		return float64(rapid.Int64Range(-1e15, 1e15).Draw(t, "n")) / rapid.SampledFrom([]float64{1, 10, 1000, 1e6}).Draw(t, "d")
	}))
	metric := rapid.Custom(func(t *rapid.T) labels.Labels {
		return labels.FromMap(rapid.MapOfN(text, text.Filter(func(s string) bool { return s != "" }), 0, 4).Draw(t, "labels"))
	})
	at := rapid.OneOf(rapid.Int64Range(-5000, 5000), rapid.Int64Range(1.7e12, 1.7e12+10_000))
	rapid.Check(t, func(t *rapid.T) {
		resp := &api.Response{Status: "success", Warnings: rapid.SliceOfN(note, 0, 2).Draw(t, "warnings"), Infos: rapid.SliceOfN(note, 0, 2).Draw(t, "infos")}
		data := &api.QueryData{}
		histograms := rapid.IntRange(0, 9).Draw(t, "histograms") == 0
		if rapid.Bool().Draw(t, "vector") {
			v := promql.Vector{}
			for range rapid.IntRange(0, 5).Draw(t, "series") {
				s := promql.Sample{Metric: metric.Draw(t, "metric"), T: at.Draw(t, "t"), F: value.Draw(t, "v")}
				if histograms {
					s.H = &histogram.FloatHistogram{Count: 3, Sum: 2}
				}
				v = append(v, s)
			}
			data.ResultType, data.Result = parser.ValueTypeVector, v
		} else {
			m := promql.Matrix{}
			for range rapid.IntRange(0, 5).Draw(t, "series") {
				s := promql.Series{Metric: metric.Draw(t, "metric")}
				start := at.Draw(t, "t")
				for k := range rapid.IntRange(0, 4).Draw(t, "points") {
					s.Floats = append(s.Floats, promql.FPoint{T: start + int64(k*250), F: value.Draw(t, "v")})
				}
				if histograms {
					s.Histograms = append(s.Histograms, promql.HPoint{T: start, H: &histogram.FloatHistogram{Count: 3, Sum: 2}})
				}
				m = append(m, s)
			}
			data.ResultType, data.Result = parser.ValueTypeMatrix, m
		}
		resp.Data = data
		sameAsPrometheus(t, resp)
	})
}

// TestOtherAnswersAreLeftToPrometheus: what is no vector or matrix.
func TestOtherAnswersAreLeftToPrometheus(t *testing.T) {
	for _, data := range []any{nil, []string{"a"}, &api.QueryData{ResultType: parser.ValueTypeScalar, Result: promql.Scalar{T: 1, V: 2}}} {
		resp := &api.Response{Status: "success", Data: data}
		sameAsPrometheus(t, resp)
	}
}

// sameAsPrometheus fails unless an answer is written as Prometheus writes it.
func sameAsPrometheus(t rapid.TB, resp *api.Response) {
	t.Helper()
	want, err := api.JSONCodec{}.Encode(resp)
	if err != nil {
		t.Fatal(err)
	}
	got, err := resultCodec{}.Encode(resp)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Fatalf("\n got %s\nwant %s", got, want)
	}
}

func BenchmarkResults(b *testing.B) {
	matrix := func(value func(k int) float64) promql.Matrix {
		m := promql.Matrix{}
		for i := range 64 {
			s := promql.Series{Metric: someSeries(i)}
			for k := range 300 {
				s.Floats = append(s.Floats, promql.FPoint{T: 1.7e12 + int64(k)*60_000, F: value(k)})
			}
			m = append(m, s)
		}
		return m
	}
	vector := promql.Vector{}
	for i := range 500 {
		vector = append(vector, promql.Sample{Metric: someSeries(i), T: 1.7e12 + 1, F: float64(i)})
	}
	for name, data := range map[string]*api.QueryData{
		"rates":  {ResultType: parser.ValueTypeMatrix, Result: matrix(func(k int) float64 { return float64(k) / 7 })},
		"gauges": {ResultType: parser.ValueTypeMatrix, Result: matrix(func(k int) float64 { return float64(k) / 8 })},
		"vector": {ResultType: parser.ValueTypeVector, Result: vector},
	} {
		resp := &api.Response{Status: "success", Data: data}
		for who, codec := range map[string]api.Codec{"own": resultCodec{}, "prometheus": api.JSONCodec{}} {
			b.Run(name+"/"+who, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := codec.Encode(resp); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func someSeries(i int) labels.Labels {
	return labels.FromStrings("__name__", "node_cpu_seconds_total", "cpu", "3", "instance", "host-17:9100", "job", "node", "mode", string(rune('a'+i)))
}
