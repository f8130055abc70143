package write

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"

	"github.com/count-db/count/internal/seriescache"
)

const benchSeries = 2000

// benchRequests returns the same 2,000 series of 11 labels in both versions.
func benchRequests(tb testing.TB, from int) (v1, v2 []byte) {
	var req1 prompb.WriteRequest
	var req2 writev2.Request
	symbols := writev2.NewSymbolTable()
	for i := from; i < from+benchSeries; i++ {
		ls := []prompb.Label{
			{Name: "__name__", Value: fmt.Sprintf("node_cpu_seconds_total_%d", i%100)},
			{Name: "cluster", Value: "production-eu-1"},
			{Name: "cpu", Value: fmt.Sprint(i % 64)},
			{Name: "datacenter", Value: "eu-central-1a"},
			{Name: "env", Value: "production"},
			{Name: "instance", Value: fmt.Sprintf("host-%d.example.com:9100", i/500)},
			{Name: "job", Value: "node-exporter"},
			{Name: "mode", Value: "softirq"},
			{Name: "rack", Value: fmt.Sprintf("r%02d", i/500%40)},
			{Name: "region", Value: "eu-central"},
			{Name: "team", Value: "infrastructure"},
		}
		t, v := int64(1_700_000_000_000), float64(i)*1.5
		req1.Timeseries = append(req1.Timeseries, prompb.TimeSeries{Labels: ls, Samples: []prompb.Sample{{Timestamp: t, Value: v}}})
		var refs []uint32
		for _, l := range ls {
			refs = append(refs, symbols.Symbolize(l.Name), symbols.Symbolize(l.Value))
		}
		req2.Timeseries = append(req2.Timeseries, writev2.TimeSeries{
			LabelsRefs: refs, Samples: []writev2.Sample{{Timestamp: t, Value: v}},
			Metadata: writev2.Metadata{Type: writev2.Metadata_METRIC_TYPE_COUNTER, HelpRef: symbols.Symbolize("Seconds the CPUs spent in each mode.")},
		})
	}
	req2.Symbols = symbols.Symbols()
	v1, err := req1.Marshal()
	if err != nil {
		tb.Fatal(err)
	}
	v2, err = req2.Marshal()
	if err != nil {
		tb.Fatal(err)
	}
	return v1, v2
}

func TestKnownSeriesAllocateNothing(t *testing.T) {
	v1, v2 := benchRequests(t, 0)
	for p, b := range map[protocol][]byte{protocolV1: v1, protocolV2: v2} {
		d, cache := newTestDecoder(&fakeSeries{})
		decode := func() {
			if err := decodeBytes(d, cache, p, b); err != nil {
				t.Fatal(err)
			}
			d.families.remember(d.notes)
		}
		decode()
		if n := testing.AllocsPerRun(10, decode); n != 0 {
			t.Errorf("version %v: %v allocations for %d known series", p, n, benchSeries)
		}
		if len(d.batch.Floats) != benchSeries || d.report.Total() != 0 {
			t.Errorf("version %v: %d samples, %v", p, len(d.batch.Floats), &d.report)
		}
	}
}

// BenchmarkDecode is snappy, wire and lookup for known series, in requests of
// four senders in turn, 8,000 series in all.
func BenchmarkDecode(b *testing.B) {
	for _, p := range []protocol{protocolV1, protocolV2} {
		b.Run(p.String(), func(b *testing.B) {
			bodies := packedBodies(b, p)
			d, _ := newTestDecoder(&fakeSeries{})
			d.limits.MaxLabels = 64
			cache := seriescache.New(seriescache.Options{})
			plain := make([]byte, 4<<20)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				out, err := snappy.Decode(plain, bodies[i%len(bodies)])
				if err != nil {
					b.Fatal(err)
				}
				if err := decodeBytes(d, cache, p, out); err != nil {
					b.Fatal(err)
				}
				d.families.remember(d.notes)
			}
			perSample(b)
		})
	}
}

// BenchmarkHandler is the whole handler, without net/http's server.
func BenchmarkHandler(b *testing.B) {
	for p, contentType := range map[protocol]string{protocolV1: typeV1, protocolV2: typeV2} {
		b.Run(p.String(), func(b *testing.B) {
			bodies := packedBodies(b, p)
			s := newServer(b, Options{})
			s.sink.err = errDiscard
			r, err := http.NewRequest(http.MethodPost, "/", nil)
			if err != nil {
				b.Fatal(err)
			}
			r.Header.Set("Content-Type", contentType)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				body := bodies[i%len(bodies)]
				r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
				s.ServeHTTP(discard{}, r)
			}
			perSample(b)
		})
	}
}

// BenchmarkGenerated is the generated code on the same bytes, to compare with.
func BenchmarkGenerated(b *testing.B) {
	v1, v2 := benchRequests(b, 0)
	b.Run("1.0", func(b *testing.B) {
		var req prompb.WriteRequest
		for b.Loop() {
			req.Timeseries = req.Timeseries[:0]
			if err := req.Unmarshal(v1); err != nil {
				b.Fatal(err)
			}
		}
		perSample(b)
	})
	b.Run("2.0", func(b *testing.B) {
		var req writev2.Request
		for b.Loop() {
			req.Reset()
			if err := req.Unmarshal(v2); err != nil {
				b.Fatal(err)
			}
		}
		perSample(b)
	})
}

func packedBodies(b *testing.B, p protocol) (bodies [][]byte) {
	for i := range 4 {
		v1, v2 := benchRequests(b, i*benchSeries)
		if p == protocolV2 {
			v1 = v2
		}
		bodies = append(bodies, snappy.Encode(nil, v1))
	}
	return bodies
}

func perSample(b *testing.B) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchSeries, "ns/sample")
}

var errDiscard = fmt.Errorf("stored nowhere")

type discard struct{}

func (discard) Header() http.Header         { return http.Header{} }
func (discard) Write(b []byte) (int, error) { return len(b), nil }
func (discard) WriteHeader(int)             {}
