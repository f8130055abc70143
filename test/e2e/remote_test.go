package e2e

import (
	"context"
	"math"
	"net/url"
	"testing"
	"time"

	"github.com/golang/snappy"
	remoteapi "github.com/prometheus/client_golang/exp/api/remote"
	configutil "github.com/prometheus/common/config"
	commonmodel "github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/storage/remote"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"

	"github.com/count-db/count/test/process"
)

func clientConfig(t *testing.T, n *process.Node, path string) *remote.ClientConfig {
	t.Helper()
	u, err := url.Parse(n.URL + path)
	if err != nil {
		t.Fatal(err)
	}
	return &remote.ClientConfig{
		URL: &configutil.URL{URL: u}, Timeout: commonmodel.Duration(30 * time.Second),
		HTTPClientConfig: configutil.DefaultHTTPClientConfig, ChunkedReadLimit: 5e7, WriteProtoMsg: remoteapi.WriteV1MessageType,
	}
}

// specialFloats are values whose bits must come back as they are. Negative zero
// is not among them: Prometheus's own encoder leaves it out as a zero.
func specialFloats() []float64 {
	return []float64{
		0, 1, -1.5, math.Inf(1), math.Inf(-1), math.MaxFloat64, math.SmallestNonzeroFloat64,
		math.NaN(), math.Float64frombits(value.StaleNaN), math.Float64frombits(0x7ff8000000001234), 0.1 + 0.2,
	}
}

// TestRemoteWriteV1AndReadBack writes with Prometheus's client and reads by
// remote read in both its forms, bit for bit.
func TestRemoteWriteV1AndReadBack(t *testing.T) {
	n := process.Start(t, t.TempDir())
	base := minuteAgo()
	req := prompb.WriteRequest{Timeseries: []prompb.TimeSeries{{
		Labels: []prompb.Label{{Name: "__name__", Value: "special"}, {Name: "job", Value: "e2e"}},
	}, {
		Labels:     []prompb.Label{{Name: "__name__", Value: "native"}, {Name: "job", Value: "e2e"}},
		Histograms: []prompb.Histogram{prompb.FromIntHistogram(base, tsdbutil.GenerateTestHistogram(3)), prompb.FromFloatHistogram(base+1000, tsdbutil.GenerateTestFloatHistogram(5))},
	}, {
		Labels:     []prompb.Label{{Name: "__name__", Value: "custom"}, {Name: "job", Value: "e2e"}},
		Histograms: []prompb.Histogram{prompb.FromIntHistogram(base, tsdbutil.GenerateTestCustomBucketsHistogram(2))},
	}}}
	for i, v := range specialFloats() {
		req.Timeseries[0].Samples = append(req.Timeseries[0].Samples, prompb.Sample{Timestamp: base + int64(i), Value: v})
	}
	writer, err := remote.NewWriteClient("e2e", clientConfig(t, n, "/api/v1/write"))
	if err != nil {
		t.Fatal(err)
	}
	body, err := req.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	// Twice: sending again what was stored is no error.
	for range 2 {
		if _, err := writer.Store(context.Background(), snappy.Encode(nil, body), 0); err != nil {
			t.Fatal(err)
		}
	}
	checkRead := func(when string) {
		for _, form := range []prompb.ReadRequest_ResponseType{prompb.ReadRequest_SAMPLES, prompb.ReadRequest_STREAMED_XOR_CHUNKS} {
			floats, hists := readAll(t, n, base-1, base+5000, form)
			got := floats["special"]
			for i, want := range specialFloats() {
				if i >= len(got) || math.Float64bits(got[i]) != math.Float64bits(want) {
					t.Fatalf("%s, %v: floats %x, sample %d is not %x", when, form, got, i, math.Float64bits(want))
				}
			}
			if len(hists["native"]) != 2 || !hists["native"][0].Equals(tsdbutil.GenerateTestHistogram(3).ToFloat(nil)) || !hists["native"][1].Equals(tsdbutil.GenerateTestFloatHistogram(5)) {
				t.Fatalf("%s, %v: native histograms %v", when, form, hists["native"])
			}
			if len(hists["custom"]) != 1 || !hists["custom"][0].Equals(tsdbutil.GenerateTestCustomBucketsHistogram(2).ToFloat(nil)) {
				t.Fatalf("%s, %v: custom buckets %v", when, form, hists["custom"])
			}
		}
	}
	checkRead("from memory")
	n.Kill()
	n.Restart()
	n.WaitReady()
	checkRead("after kill -9")
	if code := n.Stop(); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	n.Restart()
	n.WaitReady()
	checkRead("from files")
}

// readAll reads the series of job e2e by remote read, by metric name.
func readAll(t *testing.T, n *process.Node, mint, maxt int64, form prompb.ReadRequest_ResponseType) (map[string][]float64, map[string][]*histogram.FloatHistogram) {
	t.Helper()
	cfg := clientConfig(t, n, "/api/v1/read")
	cfg.AcceptedResponseTypes = []prompb.ReadRequest_ResponseType{form}
	reader, err := remote.NewReadClient("e2e", cfg)
	if err != nil {
		t.Fatal(err)
	}
	query, err := remote.ToQuery(mint, maxt, []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, "job", "e2e")}, &storage.SelectHints{Start: mint, End: maxt})
	if err != nil {
		t.Fatal(err)
	}
	set, err := reader.Read(context.Background(), query, true)
	if err != nil {
		t.Fatal(err)
	}
	floats, hists := map[string][]float64{}, map[string][]*histogram.FloatHistogram{}
	for set.Next() {
		name := set.At().Labels().Get("__name__")
		it := set.At().Iterator(nil)
		for kind := it.Next(); kind != chunkenc.ValNone; kind = it.Next() {
			if kind == chunkenc.ValFloat {
				_, v := it.At()
				floats[name] = append(floats[name], v)
			} else {
				_, fh := it.AtFloatHistogram(nil)
				fh.CounterResetHint = histogram.UnknownCounterReset
				hists[name] = append(hists[name], fh)
			}
		}
		if it.Err() != nil {
			t.Fatal(it.Err())
		}
	}
	if set.Err() != nil {
		t.Fatal(set.Err())
	}
	return floats, hists
}

func TestRemoteWriteV2(t *testing.T) {
	n := process.Start(t, t.TempDir())
	base := minuteAgo()
	cfg := clientConfig(t, n, "/api/v1/write")
	cfg.WriteProtoMsg = remoteapi.WriteV2MessageType
	writer, err := remote.NewWriteClient("e2e", cfg)
	if err != nil {
		t.Fatal(err)
	}
	symbols := writev2.NewSymbolTable()
	ref := symbols.Symbolize
	series := func(name string, at int64) writev2.TimeSeries {
		return writev2.TimeSeries{
			LabelsRefs: []uint32{ref("__name__"), ref(name), ref("job"), ref("e2e")},
			Samples:    []writev2.Sample{{Value: 4.5, Timestamp: at, StartTimestamp: base - 1000}},
			Metadata:   writev2.Metadata{Type: writev2.Metadata_METRIC_TYPE_COUNTER, HelpRef: ref("Help of " + name), UnitRef: ref("seconds")},
		}
	}
	good, bad := series("good_total", base), series("future_total", base+3600*1000)
	good.Exemplars = []writev2.Exemplar{{LabelsRefs: []uint32{ref("trace_id"), ref("abc")}, Value: 4, Timestamp: base}}
	good.Histograms = []writev2.Histogram{writev2.FromIntHistogram(base-1000, base+1, tsdbutil.GenerateTestHistogram(1))}
	store := func(ts ...writev2.TimeSeries) (remote.WriteResponseStats, error) {
		body, err := (&writev2.Request{Symbols: symbols.Symbols(), Timeseries: ts}).Marshal()
		if err != nil {
			t.Fatal(err)
		}
		return writer.Store(context.Background(), snappy.Encode(nil, body), 0)
	}
	stats, err := store(good)
	if err != nil || !stats.Confirmed || stats.Samples != 1 || stats.Histograms != 1 || stats.Exemplars != 1 {
		t.Fatalf("%+v %v", stats, err)
	}
	// The rest of a partly wrong request is stored and counted.
	again := series("second_total", base)
	stats, err = store(again, bad)
	if err == nil || stats.Samples != 1 {
		t.Fatalf("partly wrong: %+v %v", stats, err)
	}
	for query, want := range map[string]float64{"second_total": 4.5, "sum(good_total{job=\"e2e\"})": 4.5} {
		at := time.UnixMilli(base)
		if got, err := n.Query(query, at); err != nil || len(got) != 1 || onlyValue(got) != want {
			t.Errorf("%s: %v %v", query, got, err)
		}
	}
	for path, want := range map[string]string{
		"/api/v1/metadata?metric=good_total": `"good_total":[{"type":"counter","help":"Help of good_total","unit":"seconds"}]`,
		"/api/v1/query_exemplars?query=good_total&start=" + seconds(base-1000) + "&end=" + seconds(base+1000): `"trace_id":"abc"`,
	} {
		wantBody(t, n, path, want)
	}
	n.Kill()
	n.Restart()
	n.WaitReady()
	wantBody(t, n, "/api/v1/metadata?metric=good_total", `"help":"Help of good_total"`)
	wantBody(t, n, "/api/v1/query_exemplars?query=good_total&start="+seconds(base-1000)+"&end="+seconds(base+1000), `"trace_id":"abc"`)
}

func TestRemoteWriteRefusals(t *testing.T) {
	n := process.Start(t, t.TempDir())
	for _, c := range []struct {
		name   string
		header map[string]string
		body   []byte
		code   int
	}{
		{"unknown message", map[string]string{"Content-Type": "application/x-protobuf;proto=io.other.Request"}, nil, 415},
		{"other encoding", map[string]string{"Content-Encoding": "zstd"}, nil, 415},
		{"not snappy", nil, []byte("garbage"), 400},
		{"not protobuf", nil, snappy.Encode(nil, []byte("garbage garbage")), 400},
		{"empty", nil, snappy.Encode(nil, nil), 204},
	} {
		t.Run(c.name, func(t *testing.T) {
			header := map[string][]string{"Content-Type": {"application/x-protobuf"}, "Content-Encoding": {"snappy"}}
			for name, v := range c.header {
				header[name] = []string{v}
			}
			code, _, text, err := n.Do("POST", "/api/v1/write", header, c.body)
			if err != nil || code != c.code {
				t.Errorf("%d %s %v, want %d", code, text, err, c.code)
			}
		})
	}
}

func onlyValue(m map[string]float64) float64 {
	for _, v := range m {
		return v
	}
	return math.NaN()
}
