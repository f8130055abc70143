package write

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"

	"github.com/count-db/count/internal/admission"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/seriescache"
)

const (
	typeV1 = "application/x-protobuf"
	typeV2 = "application/x-protobuf;proto=io.prometheus.write.v2.Request"
)

type testServer struct {
	series *fakeSeries
	sink   *fakeSink
	http.Handler
}

func newServer(t testing.TB, opts Options) *testServer {
	t.Helper()
	series := &fakeSeries{}
	s := &testServer{series: series, sink: &fakeSink{series: series}}
	h, err := New(Deps{
		Series: series, Sink: s.sink,
		Cache: seriescache.New(seriescache.Options{}), Registerer: prometheus.NewRegistry(),
	}, opts)
	if err != nil {
		t.Fatal(err)
	}
	s.Handler = h
	return s
}

func (s *testServer) post(contentType string, body []byte, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/api/v1/write", bytes.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	r.Header.Set("Content-Encoding", "snappy")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

type marshaler interface{ Marshal() ([]byte, error) }

func pack(t testing.TB, m marshaler) []byte {
	t.Helper()
	b, err := m.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return snappy.Encode(nil, b)
}

func seriesV1(name string, t int64, v float64) prompb.TimeSeries {
	return prompb.TimeSeries{
		Labels:  []prompb.Label{{Name: "__name__", Value: name}, {Name: "job", Value: "node"}},
		Samples: []prompb.Sample{{Timestamp: t, Value: v}},
	}
}

func written(w *httptest.ResponseRecorder) string {
	h := w.Header()
	return h.Get("X-Prometheus-Remote-Write-Samples-Written") + "/" +
		h.Get("X-Prometheus-Remote-Write-Histograms-Written") + "/" +
		h.Get("X-Prometheus-Remote-Write-Exemplars-Written")
}

func TestNegotiation(t *testing.T) {
	good := pack(t, &prompb.WriteRequest{Timeseries: []prompb.TimeSeries{seriesV1("m", 1, 1)}})
	goodV2 := pack(t, &writev2.Request{Symbols: []string{"", "__name__", "m"}, Timeseries: []writev2.TimeSeries{
		{LabelsRefs: []uint32{1, 2}, Samples: []writev2.Sample{{Value: 1, Timestamp: 1}}},
	}})
	for _, c := range []struct {
		name, contentType, encoding string
		body                        []byte
		code                        int
	}{
		{"v1", typeV1, "snappy", good, 204},
		{"v1 named", typeV1 + ";proto=prometheus.WriteRequest", "snappy", good, 204},
		{"v1 by default", "", "", good, 204},
		{"v2", typeV2, "snappy", goodV2, 204},
		{"v2 with a space", "application/x-protobuf; proto=io.prometheus.write.v2.Request", "Snappy", goodV2, 204},
		{"unknown message", typeV1 + ";proto=prometheus.Other", "snappy", good, 415},
		{"json", "application/json", "snappy", good, 415},
		{"nonsense", ";;", "snappy", good, 415},
		{"gzip", typeV1, "gzip", good, 415},
		{"zstd", typeV1, "zstd", good, 415},
		{"not compressed", typeV1, "snappy", []byte("\x0a\x00plain"), 400},
		{"cut off", typeV1, "snappy", good[:len(good)-3], 400},
		{"empty", typeV1, "snappy", nil, 400},
		{"empty message", typeV1, "snappy", snappy.Encode(nil, nil), 204},
		{"no protobuf", typeV1, "snappy", snappy.Encode(nil, []byte("\x0c\x0c")), 400},
		{"no protobuf v2", typeV2, "snappy", snappy.Encode(nil, []byte("\x0c\x0c")), 400},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newServer(t, Options{})
			w := s.post(c.contentType, c.body, "Content-Encoding", c.encoding)
			if w.Code != c.code {
				t.Fatalf("code %d, want %d: %s", w.Code, c.code, w.Body)
			}
			if s.sink.reserved != 0 {
				t.Fatalf("%d bytes were never released", s.sink.reserved)
			}
		})
	}
}

func TestOtherMethodsAreRefused(t *testing.T) {
	s := newServer(t, Options{})
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/v1/write", nil))
	if w.Code != 405 || w.Header().Get("Allow") != "POST" {
		t.Fatalf("code %d, Allow %q", w.Code, w.Header().Get("Allow"))
	}
}

func TestBodyLimits(t *testing.T) {
	body := pack(t, &prompb.WriteRequest{Timeseries: []prompb.TimeSeries{seriesV1(strings.Repeat("m", 900), 1, 1)}})
	for _, c := range []struct {
		name string
		opts Options
		size int64 // of Content-Length
		code int
	}{
		{"fits", Options{}, int64(len(body)), 204},
		{"fits exactly", Options{MaxBodyBytes: int64(len(body))}, int64(len(body)), 204},
		{"unknown length", Options{}, -1, 204},
		{"too long", Options{MaxBodyBytes: int64(len(body)) - 1}, int64(len(body)), 413},
		{"too long, unknown length", Options{MaxBodyBytes: int64(len(body)) - 1}, -1, 413},
		{"too long decompressed", Options{MaxDecodedBytes: 900}, int64(len(body)), 413},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newServer(t, c.opts)
			r := httptest.NewRequest(http.MethodPost, "/", io.NopCloser(bytes.NewReader(body)))
			r.ContentLength = c.size
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			if w.Code != c.code {
				t.Fatalf("code %d, want %d: %s", w.Code, c.code, w.Body)
			}
		})
	}
}

func TestBodyLargerThanTheFirstRead(t *testing.T) {
	const series = 8000
	var req prompb.WriteRequest
	for i := range series {
		ts := seriesV1("m", 1, 1)
		// Hard to compress, so that the body is large as sent too.
		ts.Labels[1].Value = fmt.Sprintf("%x", uint64(i)*0x9e3779b97f4a7c15)
		for j := range 16 {
			ts.Labels = append(ts.Labels, prompb.Label{Name: fmt.Sprintf("l%d", j), Value: fmt.Sprintf("%x", uint64(i*16+j)*0x9e3779b97f4a7c15)})
		}
		req.Timeseries = append(req.Timeseries, ts)
	}
	body := pack(t, &req)
	if len(body) < 2*firstRead {
		t.Fatalf("only %d bytes", len(body))
	}
	s := newServer(t, Options{})
	for _, size := range []int64{int64(len(body)), -1} {
		r := httptest.NewRequest(http.MethodPost, "/", io.NopCloser(bytes.NewReader(body)))
		r.ContentLength = size
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code != 204 || written(w) != fmt.Sprintf("%d/0/0", series) {
			t.Fatalf("code %d, written %s: %.200s", w.Code, written(w), w.Body)
		}
	}
}

func TestWrittenCounts(t *testing.T) {
	s := newServer(t, Options{})
	b := snappy.Encode(nil, seedsV2(t)[0])
	w := s.post(typeV2, b)
	if w.Code != 400 || written(w) != "3/2/1" {
		t.Fatalf("code %d, written %s: %s", w.Code, written(w), w.Body)
	}
	text := w.Body.String()
	for _, want := range []string{"odd number of label references", "only 11 symbols", "not valid UTF-8", "neither samples nor"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in %q", want, text)
		}
	}
	if strings.Count(text, "\n") != 1 {
		t.Errorf("more than one line: %q", text)
	}
	want := []string{
		"float up{job=\"node\"} st=500 t=1000 v=3ff0000000000000",
		"float up{job=\"node\"} st=0 t=2000 v=0",
		`exemplar up{job="node"} t=900 v=4008000000000000 {trace_id="abc"}`,
		`meta "up" {Type:counter Unit:seconds Help:help text}`,
	}
	for _, line := range want {
		if !slices.Contains(s.sink.lines, line) {
			t.Errorf("%q is not in %q", line, s.sink.lines)
		}
	}
}

// What a later sample of the request replaced was written as well, and a
// histogram that is refused is told of once.
func TestWrittenCountsAreWhatWasSent(t *testing.T) {
	s := newServer(t, Options{})
	s.sink.superseded = 1
	wrong := testHistogram()
	wrong.Count++
	w := s.post(typeV2, pack(t, &writev2.Request{Symbols: []string{"", "__name__", "m", "n"}, Timeseries: []writev2.TimeSeries{
		{LabelsRefs: []uint32{1, 2}, Samples: []writev2.Sample{{Value: 1, Timestamp: 1}}},
		{LabelsRefs: []uint32{1, 3}, Histograms: []writev2.Histogram{writev2.FromIntHistogram(0, 7, wrong)}},
	}}))
	if w.Code != 400 || written(w) != "2/0/0" || !strings.Contains(w.Body.String(), "1 refused (invalid_histogram: 1)") {
		t.Errorf("code %d, written %s: %s", w.Code, written(w), w.Body)
	}
}

func TestPartialWriteV1(t *testing.T) {
	s := newServer(t, Options{})
	s.sink.reject = func(f model.FloatSample) bool { return f.T < 10 }
	w := s.post(typeV1, pack(t, &prompb.WriteRequest{Timeseries: []prompb.TimeSeries{
		seriesV1("good", 10, 1), seriesV1("old", 9, 1),
		{Labels: []prompb.Label{{Name: "job", Value: "x"}}, Samples: []prompb.Sample{{Timestamp: 10}, {Timestamp: 11}}},
		{Labels: []prompb.Label{{Name: "__name__", Value: "m"}, {Name: "a", Value: "1"}, {Name: "a", Value: "2"}}, Samples: []prompb.Sample{{Timestamp: 10}}},
		seriesV1("also_good", 11, 1),
	}}))
	if w.Code != 400 || written(w) != "2/0/0" {
		t.Fatalf("code %d, written %s: %s", w.Code, written(w), w.Body)
	}
	for _, want := range []string{"4 refused", "missing_metric_name: 2", "too_old: 1", "invalid_labels: 1", `label "a" is given twice`} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("%q is not in %q", want, w.Body)
		}
	}
	want := []string{
		`float good{job="node"} st=0 t=10 v=3ff0000000000000`,
		`float also_good{job="node"} st=0 t=11 v=3ff0000000000000`,
	}
	if !slices.Equal(s.sink.lines, want) {
		t.Fatalf("stored %q", s.sink.lines)
	}
}

func TestRetryableErrors(t *testing.T) {
	body := pack(t, &prompb.WriteRequest{Timeseries: []prompb.TimeSeries{seriesV1("m", 1, 1)}})
	for _, c := range []struct {
		name       string
		err        error
		code       int
		retryAfter string
	}{
		{"no majority", &admission.UnavailableError{Reason: "need 2 copies, have 1", RetryAfter: 5 * time.Second}, 503, "5"},
		{"overload", admission.ErrOverloaded, 503, "1"},
		{"storage", fmt.Errorf("append: %w", admission.ErrStorage), 500, ""},
		{"unknown", errors.New("boom"), 500, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newServer(t, Options{})
			s.sink.err = c.err
			w := s.post(typeV1, body)
			if w.Code != c.code || w.Header().Get("Retry-After") != c.retryAfter || written(w) != "0/0/0" {
				t.Fatalf("code %d, Retry-After %q, written %s", w.Code, w.Header().Get("Retry-After"), written(w))
			}
			if !strings.Contains(w.Body.String(), c.err.Error()) {
				t.Fatalf("%q does not say why", w.Body)
			}
			// The same request again, as it is.
			s.sink.err = nil
			if w := s.post(typeV1, body); w.Code != 204 || len(s.sink.lines) != 1 {
				t.Fatalf("retry: code %d, stored %q", w.Code, s.sink.lines)
			}
		})
	}
}

func TestOverloadBeforeReading(t *testing.T) {
	s := newServer(t, Options{})
	s.sink.limit = 10
	w := s.post(typeV1, pack(t, &prompb.WriteRequest{Timeseries: []prompb.TimeSeries{seriesV1("m", 1, 1)}}))
	if w.Code != 503 || w.Header().Get("Retry-After") != "1" || s.sink.reserved != 0 {
		t.Fatalf("code %d, reserved %d", w.Code, s.sink.reserved)
	}
}

// TestMemoryOfSmallBytes: a few bytes on the wire that stand for much memory are
// accounted for before they are decoded.
func TestMemoryOfSmallBytes(t *testing.T) {
	empty := bytes.Repeat([]byte{0x22, 0x00}, 1<<20) // histograms of nothing
	s := newServer(t, Options{})
	s.sink.limit = 64 << 20
	w := s.post(typeV1, snappy.Encode(nil, rawV1(join(label("__name__", "m"), empty))))
	if w.Code != 503 || s.sink.reserved != 0 {
		t.Fatalf("code %d, reserved %d", w.Code, s.sink.reserved)
	}
}

func TestSeriesLimitIsPermanentForNewSeriesOnly(t *testing.T) {
	s := newServer(t, Options{})
	known := seriesV1("known", 1, 1)
	s.post(typeV1, pack(t, &prompb.WriteRequest{Timeseries: []prompb.TimeSeries{known}}))
	s.series.err = &admission.Rejection{Reason: admission.SeriesLimit, Detail: "no more than 1 series"}
	w := s.post(typeV1, pack(t, &prompb.WriteRequest{Timeseries: []prompb.TimeSeries{known, seriesV1("new", 1, 1)}}))
	if w.Code != 400 || written(w) != "1/0/0" || !strings.Contains(w.Body.String(), "series_limit: 1") {
		t.Fatalf("code %d, written %s: %s", w.Code, written(w), w.Body)
	}
	s.series.err = errors.New("disk gone")
	if w := s.post(typeV1, pack(t, &prompb.WriteRequest{Timeseries: []prompb.TimeSeries{seriesV1("new", 1, 1)}})); w.Code != 500 {
		t.Fatalf("code %d", w.Code)
	}
}

func TestMetadataV2IsTakenOnce(t *testing.T) {
	now := time.Unix(1000, 0)
	s := newServer(t, Options{Now: func() time.Time { return now }})
	body := func(help string) []byte {
		req := writev2.Request{Symbols: []string{"", "__name__", "h_bucket", "h_sum", help, "le", "1", "2"}}
		for _, refs := range [][]uint32{{1, 2, 5, 6}, {1, 2, 5, 7}, {1, 3}} {
			req.Timeseries = append(req.Timeseries, writev2.TimeSeries{
				LabelsRefs: refs, Samples: []writev2.Sample{{Timestamp: 1}},
				Metadata: writev2.Metadata{Type: writev2.Metadata_METRIC_TYPE_HISTOGRAM, HelpRef: 4},
			})
		}
		return pack(t, &req)
	}
	metas := func() int { return len(linesWith(s.sink.lines, `meta "h" `)) }
	s.sink.err = errors.New("not stored")
	s.post(typeV2, body("Help."))
	s.sink.err = nil
	for i, c := range []struct {
		help string
		want int
		wait time.Duration
	}{
		{"Help.", 2, 0}, // one for each name of a series
		{"Help.", 2, 0},
		{"Other help.", 4, 0},
		{"Help.", 4, 0},
		{"Other help.", 4, familiesFor}, // forgotten with the next that is new
		{"Third help.", 6, 0},
		{"Help.", 8, 0},
	} {
		now = now.Add(c.wait)
		if w := s.post(typeV2, body(c.help)); w.Code != 204 {
			t.Fatalf("code %d: %s", w.Code, w.Body)
		}
		if metas() != c.want {
			t.Fatalf("request %d: %d families, want %d: %q", i, metas(), c.want, s.sink.lines)
		}
	}
}

func TestCreatedTimestampOfDrafts(t *testing.T) {
	symbols := join(appendField(nil, 4, nil), appendField(nil, 4, []byte("__name__")), appendField(nil, 4, []byte("m")))
	own := appendField(nil, 2, []byte{0x10, 9, 0x18, 3})
	created := []byte{0x30, 5}
	s := newServer(t, Options{})
	w := s.post(typeV2, snappy.Encode(nil, join(symbols,
		appendField(nil, 5, join([]byte{0x0a, 2, 1, 2}, sample(1, 0), own)),
		appendField(nil, 5, join([]byte{0x0a, 2, 1, 2}, sample(2, 0), own, created)),
		appendField(nil, 5, join([]byte{0x0a, 2, 1, 2}, sample(3, 0))))))
	want := []string{
		"float m st=0 t=1 v=0", "float m st=3 t=9 v=0",
		"float m st=5 t=2 v=0", "float m st=3 t=9 v=0",
		"float m st=0 t=3 v=0",
	}
	if w.Code != 204 || !slices.Equal(s.sink.lines, want) {
		t.Fatalf("code %d, stored %q", w.Code, s.sink.lines)
	}
}
