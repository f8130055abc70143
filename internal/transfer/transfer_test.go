package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	write "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"
	"go.uber.org/goleak"

	"github.com/count-db/count/internal/interchange"
	"github.com/count-db/count/internal/model"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestEncode: what is encoded here is what the library decodes, with every bit.
func TestEncode(t *testing.T) {
	b := newBatch()
	ls := labels.FromStrings(labels.MetricName, "a", "b", "c")
	negativeZero := math.Copysign(0, -1)
	h := tsdbutil.GenerateTestHistogram(3)
	h.Sum = negativeZero
	b.add(&interchange.Series{
		Labels: ls, Floats: []interchange.Float{{T: 1, V: negativeZero}, {T: 2, ST: 1, V: math.Float64frombits(0x7ff0000000000009)}, {T: -3, V: 0}},
		Hists:     []model.HistogramPoint{{T: 4, ST: 3, H: h}, {T: 5, FH: tsdbutil.GenerateTestFloatHistogram(2)}},
		Exemplars: []interchange.Exemplar{{T: 6, V: 7, Labels: labels.FromStrings("t", "x")}}, Metadata: &metadata.Metadata{Type: "counter", Help: "h", Unit: "s"},
	})
	b.add(&interchange.Series{Labels: labels.FromStrings(labels.MetricName, "z"), Floats: []interchange.Float{{T: 9, V: 9}}})
	b.add(&interchange.Series{Labels: ls, Floats: []interchange.Float{{T: 10, V: 10}}})
	body, err := b.encode()
	if err != nil {
		t.Fatal(err)
	}
	plain, err := snappy.Decode(nil, body)
	if err != nil {
		t.Fatal(err)
	}
	var req write.Request
	if err := req.Unmarshal(plain); err != nil {
		t.Fatal(err)
	}
	ts := req.Timeseries[0]
	builder := labels.NewScratchBuilder(4)
	got, err := ts.ToLabels(&builder, req.Symbols)
	if err != nil || !labels.Equal(got, ls) || len(req.Timeseries) != 2 || len(ts.Samples) != 4 {
		t.Fatalf("%v %v %+v", got, err, req)
	}
	for i, want := range []uint64{1 << 63, 0x7ff0000000000009, 0, math.Float64bits(10)} {
		if math.Float64bits(ts.Samples[i].Value) != want {
			t.Errorf("sample %d has the bits %x, want %x", i, math.Float64bits(ts.Samples[i].Value), want)
		}
	}
	if ts.Samples[1].StartTimestamp != 1 || ts.Samples[2].Timestamp != -3 {
		t.Errorf("%+v", ts.Samples)
	}
	if back := ts.Histograms[0].ToIntHistogram(); !math.Signbit(back.Sum) || !back.Equals(h) || ts.Histograms[0].StartTimestamp != 3 || !ts.Histograms[1].IsFloatHistogram() {
		t.Errorf("%+v", ts.Histograms)
	}
	m, err := ts.ToMetadata(req.Symbols)
	if err != nil || m.Type != "counter" || m.Help != "h" || m.Unit != "s" || ts.Exemplars[0].Value != 7 {
		t.Errorf("%+v %v %+v", m, err, ts.Exemplars)
	}
}

// taker is a node that takes remote write as it is told.
type taker struct {
	mu      sync.Mutex
	answers []int // codes of the next requests; none left: 204
	samples map[string]int
}

func (k *taker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	k.mu.Lock()
	defer k.mu.Unlock()
	code := http.StatusNoContent
	if len(k.answers) > 0 {
		code, k.answers = k.answers[0], k.answers[1:]
	}
	if code/100 != 2 {
		w.Header().Set("Retry-After", "0")
		w.Header().Set("X-Prometheus-Remote-Write-Samples-Written", "1")
		http.Error(w, fmt.Sprint("answer ", code), code)
		return
	}
	plain, err := snappy.Decode(nil, body)
	var req write.Request
	if err == nil {
		err = req.Unmarshal(plain)
	}
	if err != nil {
		http.Error(w, err.Error(), 400)
		return
	}
	for _, ts := range req.Timeseries {
		for _, s := range ts.Samples {
			k.samples[fmt.Sprint(ts.LabelsRefs, s.Timestamp)]++
		}
	}
	w.WriteHeader(code)
}

func startTaker(t *testing.T, answers ...int) (*taker, *Node) {
	t.Helper()
	k := &taker{answers: answers, samples: map[string]int{}}
	s := httptest.NewServer(k)
	t.Cleanup(s.Close)
	return k, &Node{URL: s.URL, Client: s.Client(), Patience: time.Minute}
}

func lines(n int) interchange.Reader {
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, "{\"series\":\"a\",\"timestamp\":%d,\"value\":1}\n", i)
	}
	r, err := interchange.NewReader(interchange.JSONLines, strings.NewReader(text.String()), 0)
	if err != nil {
		panic(err)
	}
	return r
}

func TestImportWaits(t *testing.T) {
	k, n := startTaker(t, 429, 503, 500)
	var notices []string
	n.Notice = func(text string) { notices = append(notices, text) }
	var p Progress
	var offsets []int64
	r := lines(25_000)
	opts := ImportOptions{Senders: 1, Acked: func(offset int64) error { offsets = append(offsets, offset); return nil }}
	if err := Import(context.Background(), n, r, opts, &p); err != nil {
		t.Fatal(err)
	}
	if len(k.samples) != 25_000 || p.Samples.Load() != 25_000 || len(notices) == 0 || !strings.Contains(notices[0], "429") {
		t.Errorf("%d samples, %d told, %v", len(k.samples), p.Samples.Load(), notices)
	}
	if len(offsets) != 3 || offsets[2] != r.Offset() || p.Offset.Load() != r.Offset() {
		t.Errorf("offsets %v, want the last to be %d", offsets, r.Offset())
	}
}

func TestImportIsRefused(t *testing.T) {
	k, n := startTaker(t, 400)
	err := Import(context.Background(), n, lines(25_000), ImportOptions{}, &Progress{})
	var refused *RefusedError
	if !errors.As(err, &refused) || refused.Code != 400 || !strings.Contains(err.Error(), "answer 400") {
		t.Errorf("%v", err)
	}
	k.mu.Lock()
	k.answers = []int{400}
	k.mu.Unlock()
	var p Progress
	err = Import(context.Background(), n, lines(25_000), ImportOptions{KeepGoing: true, Senders: 2}, &p)
	if !errors.As(err, &refused) || p.Refused.Load() == 0 || p.Samples.Load()+p.Refused.Load() != 25_000 {
		t.Errorf("%v: %d written, %d refused", err, p.Samples.Load(), p.Refused.Load())
	}
}

func TestImportGivesUp(t *testing.T) {
	answers := make([]int, 1000)
	for i := range answers {
		answers[i] = 503
	}
	_, n := startTaker(t, answers...)
	n.Patience = time.Millisecond
	if err := Import(context.Background(), n, lines(10), ImportOptions{}, &Progress{}); err == nil || !strings.Contains(err.Error(), "given up") {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	n.Patience = time.Hour
	n.Notice = func(string) { cancel() }
	if err := Import(ctx, n, lines(10), ImportOptions{}, &Progress{}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// TestImportOfABrokenText names the place.
func TestImportOfABrokenText(t *testing.T) {
	_, n := startTaker(t)
	r, err := interchange.NewReader(interchange.JSONLines, strings.NewReader("{\"series\":\"a\",\"timestamp\":1,\"value\":1}\nnonsense\n"), 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := Import(context.Background(), n, r, ImportOptions{}, &Progress{}); err == nil || !strings.Contains(err.Error(), "byte 39") {
		t.Errorf("%v", err)
	}
}

// TestBrokenAnswers: an answer that breaks off is never taken for a whole one.
func TestBrokenAnswers(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"another form": func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Type", "application/x-protobuf") },
		"cut frame": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse")
			_, _ = w.Write([]byte{100, 0, 0, 0, 0, 1})
		},
		"wrong checksum": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse")
			_, _ = w.Write([]byte{1, 0, 0, 0, 0, 1})
		},
		"huge frame": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse")
			_, _ = w.Write([]byte{255, 255, 255, 255, 255, 1, 0, 0, 0, 0})
		},
	} {
		s := httptest.NewServer(handler)
		n := &Node{URL: s.URL, Client: s.Client()}
		if err := n.Read(context.Background(), 0, 1, nil, func(*interchange.Series) error { return nil }); err == nil {
			t.Errorf("%s is taken", name)
		}
		s.Client().CloseIdleConnections()
		s.Close()
	}
}
