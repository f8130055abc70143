package differential

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"

	"github.com/count-db/count/internal/model"
)

// request is one thing to ask of the node, and what it changes.
type request struct {
	name    string
	method  string
	path    string
	header  http.Header
	body    []byte
	code    int // expected
	changes []change
}

// generator draws what is asked for.
type generator struct {
	*rand.Rand
	labels []labels.Labels
	oldest time.Duration // age of the oldest samples
	keep   time.Duration // the node's retention, 0 = none
	past   []change      // some of what was written, to be overwritten
}

func newGenerator(rng *rand.Rand) *generator {
	g := &generator{Rand: rng, oldest: 60 * time.Hour}
	for i := range 6 {
		g.labels = append(g.labels,
			labels.FromStrings("__name__", "d_total", "i", fmt.Sprint(i), "job", "a"),
			labels.FromStrings("__name__", "d.gäuge", "i", fmt.Sprint(i), "with space", `quo"te\`+"\n"))
	}
	g.labels = append(g.labels, labels.FromStrings("__name__", "d_plain"), labels.FromStrings("__name__", "d/slash%2F"))
	return g
}

func pick[T any](r *rand.Rand, s []T) T { return s[r.IntN(len(s))] }

// timestamp draws one: of now, of the last hours, on edges of windows, of long
// ago, or one that was written before.
func (g *generator) timestamp() int64 {
	const window = int64(2 * time.Hour / time.Millisecond)
	now := time.Now().UnixMilli()
	age := func(d time.Duration) int64 { return g.Int64N(d.Milliseconds()) }
	switch g.IntN(8) {
	case 0:
		return now - age(g.oldest)
	case 1:
		edge := (now-age(g.oldest-3*time.Hour))/window*window + g.Int64N(3) - 1
		return edge
	case 2:
		if g.keep == 0 {
			return pick(g.Rand, []int64{0, 1, window - 1, window, 12 * window, 1 << 31, 1 << 32})
		}
	case 3:
		return now - age(6*time.Hour)
	case 4:
		if len(g.past) > 0 {
			return pick(g.Rand, g.past).t
		}
	case 5:
		return now + g.Int64N(5*60_000)
	}
	return now - age(5*time.Minute)
}

func (g *generator) float() float64 {
	switch g.IntN(12) {
	case 0:
		return math.Float64frombits(value.StaleNaN)
	case 1:
		return pick(g.Rand, []float64{math.Inf(1), math.Inf(-1), math.Float64frombits(value.NormalNaN), math.Float64frombits(0x7ff8000000001234), 0, math.SmallestNonzeroFloat64})
	case 2:
		return g.NormFloat64() * 1e6
	}
	return float64(g.IntN(1000)) / 4
}

// plain is a float that JSON can say.
func (g *generator) plain() float64 {
	for {
		v := g.float()
		if !math.IsNaN(v) || math.Float64bits(v) == value.NormalNaN {
			return v
		}
	}
}

func (g *generator) histogram() sample {
	n := g.Int64N(20)
	switch g.IntN(4) {
	case 0:
		return sample{h: tsdbutil.GenerateTestHistogram(n)}
	case 1:
		return sample{fh: tsdbutil.GenerateTestFloatHistogram(n)}
	case 2:
		return sample{h: tsdbutil.GenerateTestCustomBucketsHistogram(n)}
	}
	return sample{h: &histogram.Histogram{Sum: math.Float64frombits(value.StaleNaN)}}
}

// draw returns samples of some series, no (series, timestamp) twice.
func (g *generator) draw(n int, draw func() sample) []change {
	var out []change
	seen := map[string]bool{}
	for range n {
		c := change{pick(g.Rand, g.labels), g.timestamp(), draw()}
		if key := fmt.Sprint(c.labels.Hash(), c.t); !seen[key] {
			seen[key] = true
			out = append(out, c)
		}
	}
	return out
}

// dense returns a window full of samples of all series, so that it is sealed.
func (g *generator) dense() []change {
	start := time.Now().UnixMilli() - 4*3600_000 - g.Int64N((g.oldest - 8*time.Hour).Milliseconds())
	step := 1000 * (1 + g.Int64N(40))
	var out []change
	for i, ls := range g.labels {
		if g.IntN(5) == 0 {
			continue
		}
		for k := range int64(120 + g.IntN(200)) {
			out = append(out, change{ls, start + k*step, sample{v: float64(k*int64(i)) / 2}})
		}
	}
	return out
}

func (g *generator) remember(changes []change) {
	for _, c := range changes {
		if len(g.past) < 500 {
			g.past = append(g.past, c)
		} else if g.IntN(20) == 0 {
			g.past[g.IntN(len(g.past))] = c
		}
	}
}

// insert returns a POST /insert of one object, an array or lines.
func (g *generator) insert(changes []change) request {
	form := g.IntN(2)
	if len(changes) == 1 {
		form = 2
	}
	var objects [][]byte
	for _, c := range changes {
		object := map[string]any{"timestamp": c.t, "value": jsonNumber(c.to.v)}
		if g.IntN(2) == 0 {
			object["series"] = model.SeriesKey(c.labels)
		} else {
			beside := c.labels.Map()
			delete(beside, "__name__")
			beside["empty"] = ""
			object["series"] = model.SeriesKey(labels.FromStrings("__name__", c.labels.Get("__name__")))
			object["labels"] = beside
		}
		text, err := json.Marshal(object)
		if err != nil {
			panic(err)
		}
		objects = append(objects, text)
	}
	body := bytes.Join(objects, []byte("\n"))
	if form == 0 {
		body = append(append([]byte("["), bytes.Join(objects, []byte(","))...), ']')
	}
	return request{
		name: "insert", method: http.MethodPost, path: "/insert", header: http.Header{"Content-Type": {"application/json"}},
		body: body, code: http.StatusCreated, changes: changes,
	}
}

func jsonNumber(v float64) any {
	switch {
	case math.IsNaN(v):
		return "NaN"
	case math.IsInf(v, 1):
		return "+Inf"
	case math.IsInf(v, -1):
		return "-Inf"
	}
	return v
}

// writeV1 returns a remote write 1.0 request; each change a series of its own or
// those of a series together.
func (g *generator) writeV1(changes []change) request {
	var req prompb.WriteRequest
	at := map[string]int{}
	for _, c := range changes {
		key := c.labels.String()
		i, ok := at[key]
		if !ok || g.IntN(4) == 0 {
			i = len(req.Timeseries)
			at[key] = i
			ts := prompb.TimeSeries{}
			c.labels.Range(func(l labels.Label) { ts.Labels = append(ts.Labels, prompb.Label{Name: l.Name, Value: l.Value}) })
			req.Timeseries = append(req.Timeseries, ts)
		}
		ts := &req.Timeseries[i]
		switch {
		case c.to.h != nil:
			ts.Histograms = append(ts.Histograms, prompb.FromIntHistogram(c.t, c.to.h))
		case c.to.fh != nil:
			ts.Histograms = append(ts.Histograms, prompb.FromFloatHistogram(c.t, c.to.fh))
		default:
			ts.Samples = append(ts.Samples, prompb.Sample{Timestamp: c.t, Value: c.to.v})
		}
	}
	body, err := req.Marshal()
	if err != nil {
		panic(err)
	}
	return remoteWrite("write 1.0", "application/x-protobuf", body, changes)
}

// writeV2 returns a remote write 2.0 request with start timestamps.
func (g *generator) writeV2(changes []change) request {
	symbols := writev2.NewSymbolTable()
	var req writev2.Request
	for _, c := range changes {
		start := int64(0)
		if g.IntN(2) == 0 {
			start = max(0, c.t-60_000)
		}
		var ts writev2.TimeSeries
		c.labels.Range(func(l labels.Label) {
			ts.LabelsRefs = append(ts.LabelsRefs, symbols.Symbolize(l.Name), symbols.Symbolize(l.Value))
		})
		switch {
		case c.to.h != nil:
			ts.Histograms = append(ts.Histograms, writev2.FromIntHistogram(start, c.t, c.to.h))
		case c.to.fh != nil:
			ts.Histograms = append(ts.Histograms, writev2.FromFloatHistogram(start, c.t, c.to.fh))
		default:
			ts.Samples = append(ts.Samples, writev2.Sample{Timestamp: c.t, Value: c.to.v, StartTimestamp: start})
		}
		req.Timeseries = append(req.Timeseries, ts)
	}
	req.Symbols = symbols.Symbols()
	body, err := req.Marshal()
	if err != nil {
		panic(err)
	}
	return remoteWrite("write 2.0", "application/x-protobuf;proto=io.prometheus.write.v2.Request", body, changes)
}

func remoteWrite(name, kind string, body []byte, changes []change) request {
	return request{
		name: name, method: http.MethodPost, path: "/api/v1/write",
		header: http.Header{"Content-Type": {kind}, "Content-Encoding": {"snappy"}},
		body:   snappy.Encode(nil, body), code: http.StatusNoContent, changes: changes,
	}
}
