package differential

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"github.com/count-db/count/engine"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/promql/prom"
	"github.com/count-db/count/test/process"
)

// future is behind everything that is written.
func future() int64 { return time.Now().Add(time.Hour).UnixMilli() }

// remoteRead reads everything, as samples or as chunks.
func remoteRead(c process.Client, mint, maxt int64, form prompb.ReadRequest_ResponseType) (map[string]map[int64]sample, error) {
	req := prompb.ReadRequest{
		AcceptedResponseTypes: []prompb.ReadRequest_ResponseType{form},
		Queries: []*prompb.Query{{StartTimestampMs: mint, EndTimestampMs: maxt, Matchers: []*prompb.LabelMatcher{
			{Type: prompb.LabelMatcher_RE, Name: "__name__", Value: "d.*"},
		}}},
	}
	body, err := req.Marshal()
	if err != nil {
		return nil, err
	}
	code, header, text, err := c.Do(http.MethodPost, "/api/v1/read", http.Header{"Content-Encoding": {"snappy"}, "Content-Type": {"application/x-protobuf"}}, snappy.Encode(nil, body))
	if err == nil && code != http.StatusOK {
		err = fmt.Errorf("remote read: %d %s", code, text)
	}
	if err != nil {
		return nil, err
	}
	out := reading{}
	if strings.HasPrefix(header.Get("Content-Type"), "application/x-streamed-protobuf") {
		return out, out.chunks(strings.NewReader(text))
	}
	return out, out.samples([]byte(text))
}

// reading is what a remote read found, by series key.
type reading map[string]map[int64]sample

func (r reading) put(ls []prompb.Label, t int64, s sample) error {
	b := labels.NewScratchBuilder(len(ls))
	for _, l := range ls {
		b.Add(l.Name, l.Value)
	}
	key := model.SeriesKey(b.Labels())
	if r[key] == nil {
		r[key] = map[int64]sample{}
	}
	if _, twice := r[key][t]; twice {
		return fmt.Errorf("%s at %d is answered twice", key, t)
	}
	r[key][t] = s
	return nil
}

func (r reading) samples(body []byte) error {
	body, err := snappy.Decode(nil, body)
	if err != nil {
		return err
	}
	var resp prompb.ReadResponse
	if err := resp.Unmarshal(body); err != nil {
		return err
	}
	for _, ts := range resp.Results[0].Timeseries {
		for _, p := range ts.Samples {
			if err := r.put(ts.Labels, p.Timestamp, sample{v: p.Value}); err != nil {
				return err
			}
		}
		for _, h := range ts.Histograms {
			s := sample{}
			if h.IsFloatHistogram() {
				s.fh = h.ToFloatHistogram()
			} else {
				s.h = h.ToIntHistogram()
			}
			if err := r.put(ts.Labels, h.Timestamp, s); err != nil {
				return err
			}
		}
	}
	return nil
}

// chunks reads a stream of frames: length, CRC32C, message.
func (r reading) chunks(body io.Reader) error {
	in := bufio.NewReader(body)
	for {
		size, err := binary.ReadUvarint(in)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		frame := make([]byte, 4+size)
		if _, err := io.ReadFull(in, frame); err != nil {
			return err
		}
		if crc32.Checksum(frame[4:], crc32.MakeTable(crc32.Castagnoli)) != binary.BigEndian.Uint32(frame) {
			return fmt.Errorf("checksum of a frame of chunks")
		}
		var resp prompb.ChunkedReadResponse
		if err := resp.Unmarshal(frame[4:]); err != nil {
			return err
		}
		for _, cs := range resp.ChunkedSeries {
			for i := range cs.Chunks {
				if err := r.chunk(cs.Labels, &cs.Chunks[i]); err != nil {
					return err
				}
			}
		}
	}
}

func (r reading) chunk(ls []prompb.Label, c *prompb.Chunk) error {
	chunk, err := chunkenc.FromData(chunkenc.Encoding(c.Type), c.Data)
	if err != nil {
		return err
	}
	it := chunk.Iterator(nil)
	last := int64(math.MinInt64)
	for kind := it.Next(); kind != chunkenc.ValNone; kind = it.Next() {
		var s sample
		var t int64
		switch kind {
		case chunkenc.ValFloat:
			t, s.v = it.At()
		case chunkenc.ValHistogram:
			t, s.h = it.AtHistogram(nil)
		default:
			t, s.fh = it.AtFloatHistogram(nil)
		}
		if t <= last || t < c.MinTimeMs || t > c.MaxTimeMs {
			return fmt.Errorf("chunk of %v: %d behind %d, in [%d, %d]", ls, t, last, c.MinTimeMs, c.MaxTimeMs)
		}
		last = t
		if err := r.put(ls, t, s); err != nil {
			return err
		}
	}
	return it.Err()
}

// compareAll reads everything by remote read, settles doubts, and returns the
// first difference.
func (w *truth) compareAll(c process.Client, form prompb.ReadRequest_ResponseType) error {
	got, err := remoteRead(c, 0, future(), form)
	if err != nil {
		return err
	}
	for key := range got {
		if w.series[key] == nil {
			return fmt.Errorf("%v: series %s was never written", form, key)
		}
	}
	for _, key := range w.keys() {
		if err := w.settle(key, got[key]); err != nil {
			return fmt.Errorf("%v: %w", form, err)
		}
	}
	return nil
}

// compareRange reads a part of one series by remote read.
func (w *truth) compareRange(c process.Client, key string, mint, maxt int64, form prompb.ReadRequest_ResponseType) error {
	got, err := remoteRead(c, mint, maxt, form)
	if err != nil {
		return err
	}
	n := 0
	for t, want := range w.series[key].at {
		if t < mint || t > maxt {
			continue
		}
		n++
		if seen, ok := got[key][t]; !ok || !seen.equals(want) {
			return fmt.Errorf("%v [%d, %d]: %s at %d: %v, want %v", form, mint, maxt, key, t, seen, want)
		}
	}
	for t := range got[key] {
		if _, ok := w.series[key].at[t]; !ok {
			return fmt.Errorf("%v [%d, %d]: %s at %d is there", form, mint, maxt, key, t)
		}
	}
	return nil
}

// floats returns what REST shows of a series.
func (s *series) floats(mint, maxt int64) (ts []int64, vs []float64) {
	for _, t := range s.times() {
		if p := s.at[t]; t >= mint && t <= maxt && p.isFloat() && !p.isStale() {
			ts, vs = append(ts, t), append(vs, p.v)
		}
	}
	return ts, vs
}

func sameNumber(a, b float64) bool {
	if math.IsNaN(a) || math.IsNaN(b) {
		return math.IsNaN(a) && math.IsNaN(b)
	}
	return a == b || math.Abs(a-b) <= 1e-9*max(math.Abs(a), math.Abs(b))
}

// point is what REST answers.
type point struct {
	Timestamp int64
	Value     any
}

func (p point) number() float64 { return numberOf(p.Value) }

func numberOf(v any) float64 {
	switch v := v.(type) {
	case float64:
		return v
	case string:
		f, err := strconv.ParseFloat(v, 64)
		if err == nil {
			return f
		}
	}
	return math.Float64frombits(0x7ff8dead)
}

func getJSON(c process.Client, path string, out any) error {
	code, text, err := c.Get(path)
	if err == nil && code != http.StatusOK {
		err = fmt.Errorf("%s: %d %s", path, code, text)
	}
	if err != nil {
		return err
	}
	return json.Unmarshal([]byte(text), out)
}

// compareREST reads a series by GET /query/range and /query/aggregated.
func (w *truth) compareREST(c process.Client, key string, mint, maxt, step int64) error {
	ts, vs := w.series[key].floats(mint, maxt)
	bounds := fmt.Sprintf("?start=%d&end=%d", mint, maxt)
	var got []point
	if err := getJSON(c, "/query/range/"+url.PathEscape(key)+bounds, &got); err != nil {
		return err
	}
	if len(got) != len(ts) {
		return fmt.Errorf("range of %s%s: %d points, want %d", key, bounds, len(got), len(ts))
	}
	for i, p := range got {
		if v := p.number(); p.Timestamp != ts[i] || v != vs[i] && !(math.IsNaN(v) && math.IsNaN(vs[i])) {
			return fmt.Errorf("range of %s%s: %v, want %d %v", key, bounds, p, ts[i], vs[i])
		}
	}
	for _, agg := range []string{"sum", "mean", "min", "max", "count"} {
		path := "/query/aggregated/" + url.PathEscape(key) + bounds + "&aggregation=" + agg
		var whole any
		if err := getJSON(c, path, &whole); err != nil {
			return err
		}
		if len(vs) == 0 && agg != "count" {
			if whole != nil {
				return fmt.Errorf("%s: %v, want null", path, whole)
			}
		} else if want := aggregate(agg, vs); !sameNumber(numberOf(whole), want) {
			return fmt.Errorf("%s: %v, want %v", path, whole, want)
		}
		var steps []point
		if err := getJSON(c, path+fmt.Sprintf("&step=%d", step), &steps); err != nil {
			return err
		}
		for i := 0; i < len(ts); {
			start := mint + (ts[i]-mint)/step*step
			n := i
			for n < len(ts) && ts[n] < start+step {
				n++
			}
			if len(steps) == 0 || steps[0].Timestamp != start || !sameNumber(steps[0].number(), aggregate(agg, vs[i:n])) {
				return fmt.Errorf("%s step %d: %.1v, want %d %v", path, step, steps, start, aggregate(agg, vs[i:n]))
			}
			steps, i = steps[1:], n
		}
		if len(steps) > 0 {
			return fmt.Errorf("%s step %d: too much: %v", path, step, steps)
		}
	}
	return nil
}

func aggregate(agg string, vs []float64) float64 {
	var sum float64
	lowest, highest := math.NaN(), math.NaN()
	for _, v := range vs {
		sum += v
		if math.IsNaN(lowest) || v < lowest {
			lowest = v
		}
		if math.IsNaN(highest) || v > highest {
			highest = v
		}
	}
	switch agg {
	case "sum":
		return sum
	case "mean":
		return sum / float64(len(vs))
	case "min":
		return lowest
	case "max":
		return highest
	}
	return float64(len(vs))
}

// queries are asked over whatever is there.
var queries = []string{
	`{__name__=~"d.*"}`,
	`d_total`,
	`sum(d_total)`,
	`avg by (i) (d_total)`,
	`count({__name__=~"d.*"})`,
	`count_over_time(d_total[17m])`,
	`sum by (i) (count_over_time({__name__="d.gäuge"}[3h]))`,
	`max by (job) (max_over_time(d_total[41m]))`,
	`last_over_time({__name__=~"d.*"}[2h])`,
	`rate(d_total[30m])`,
	`sum(rate(d_total[1h]))`,
	`changes(d_plain[1h])`,
	`topk(3, d_total)`,
	`sum_over_time(d_total[1h] offset 5m)`,
	`min_over_time(d_total{i=~"1|3"}[1h30m])`,
	`present_over_time({__name__="d/slash%2F"}[20m])`,
}

// oracle evaluates PromQL over the map by Prometheus's engine.
func oracle() *promql.Engine {
	return promql.NewEngine(promql.EngineOpts{
		MaxSamples: 50_000_000, Timeout: time.Minute, LookbackDelta: 5 * time.Minute, EnableAtModifier: true, EnableNegativeOffset: true,
		NoStepSubqueryIntervalFn: func(int64) int64 { return time.Minute.Milliseconds() },
		Parser:                   parser.NewParser(parser.Options{}),
	})
}

// comparePromQL evaluates a range query at the node and over the map.
func (w *truth) comparePromQL(c process.Client, engine *promql.Engine, query string, start, end int64, step time.Duration) error {
	q, err := engine.NewRangeQuery(context.Background(), prom.New(w.store()), nil, query, time.UnixMilli(start), time.UnixMilli(end), step)
	if err != nil {
		return err
	}
	defer q.Close()
	want := q.Exec(context.Background())
	form := url.Values{"query": {query}, "start": {seconds(start)}, "end": {seconds(end)}, "step": {strconv.FormatFloat(step.Seconds(), 'f', -1, 64)}}
	code, text, err := c.PostForm("/api/v1/query_range", form)
	if err != nil {
		return err
	}
	what := fmt.Sprintf("query_range %v", form)
	if want.Err != nil || code != http.StatusOK {
		if (want.Err != nil) != (code != http.StatusOK) {
			return fmt.Errorf("%s: %d %.300s, want %w", what, code, text, want.Err)
		}
		return nil
	}
	matrix, err := want.Matrix()
	if err != nil {
		return err
	}
	if d := differMatrix(text, matrix); d != "" {
		return fmt.Errorf("%s: %s", what, d)
	}
	return nil
}

// differMatrix compares an answer with a matrix.
func differMatrix(text string, want promql.Matrix) string {
	var answer struct {
		Data struct {
			Result []struct {
				Metric     map[string]string
				Values     [][2]any
				Histograms [][2]json.RawMessage
			}
		}
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		return err.Error()
	}
	got := answer.Data.Result
	if len(got) != len(want) {
		return fmt.Sprintf("%d series, want %d", len(got), len(want))
	}
	for _, g := range got {
		ls := labels.FromMap(g.Metric)
		i := slices.IndexFunc(want, func(s promql.Series) bool { return labels.Equal(s.Metric, ls) })
		if i < 0 {
			return fmt.Sprintf("series %s is too much", ls)
		}
		if len(g.Values) != len(want[i].Floats) || len(g.Histograms) != len(want[i].Histograms) {
			return fmt.Sprintf("%s: %d floats and %d histograms, want %d and %d", ls, len(g.Values), len(g.Histograms), len(want[i].Floats), len(want[i].Histograms))
		}
		for k, p := range want[i].Floats {
			if v := g.Values[k]; math.Round(numberOf(v[0])*1000) != float64(p.T) || !sameNumber(numberOf(v[1]), p.F) {
				return fmt.Sprintf("%s: %v, want %d %v", ls, v, p.T, p.F)
			}
		}
		for k, p := range want[i].Histograms {
			var h struct{ Count, Sum string }
			if err := json.Unmarshal(g.Histograms[k][1], &h); err != nil {
				return err.Error()
			}
			if !sameNumber(numberOf(h.Count), p.H.Count) || !sameNumber(numberOf(h.Sum), p.H.Sum) {
				return fmt.Sprintf("%s: histogram %+v at %d, want %v", ls, h, p.T, p.H)
			}
		}
	}
	return ""
}

func seconds(ms int64) string { return strconv.FormatFloat(float64(ms)/1000, 'f', 3, 64) }

// compareFederate compares the newest floats with /federate. What comes into or
// falls out of the lookback while the request runs may be there or not.
func (w *truth) compareFederate(c process.Client) error {
	const lookback = 5 * 60_000
	before := time.Now().UnixMilli()
	code, text, err := c.Get("/federate?match[]=" + url.QueryEscape(`{__name__=~"d_.*"}`))
	after := time.Now().UnixMilli()
	if err == nil && code != http.StatusOK {
		err = fmt.Errorf("federate: %d %s", code, text)
	}
	if err != nil {
		return err
	}
	got := map[string][]string{} // value and timestamp
	for line := range bytes.Lines([]byte(text)) {
		if len(line) == 0 || line[0] == '#' || bytes.TrimSpace(line) == nil {
			continue
		}
		if f := strings.Fields(string(line)); len(f) == 3 {
			ls, err := parser.NewParser(parser.Options{}).ParseMetric(f[0])
			if err != nil {
				return fmt.Errorf("federate: %s: %w", line, err)
			}
			got[model.SeriesKey(ls.DropReserved(func(n string) bool { return n == "instance" }))] = f[1:]
		}
	}
	newest := func(s *series, now int64) (string, bool) {
		times := s.times()
		for _, t := range slices.Backward(times) {
			if t > now {
				continue
			}
			p := s.at[t]
			if t <= now-lookback || p.isStale() || !p.isFloat() {
				return "", true
			}
			return fmt.Sprint(numberText(p.v), " ", t), true
		}
		return "", true
	}
	for key, s := range w.series {
		if !strings.HasPrefix(key, "d_") {
			continue
		}
		a, _ := newest(s, before)
		b, _ := newest(s, after)
		seen := strings.Join(got[key], " ")
		if f := got[key]; len(f) == 2 {
			v, err := strconv.ParseFloat(f[0], 64)
			if err != nil {
				return err
			}
			seen = numberText(v) + " " + f[1]
		}
		if seen != a && seen != b {
			return fmt.Errorf("federate: %s: %q, want %q or %q", key, seen, a, b)
		}
	}
	return nil
}

func numberText(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

// countSamples reads all samples of a selection.
func countSamples(sel *engine.Selection) (n int, err error) {
	var c model.Columns
	for i := range sel.Len() {
		if err := sel.Read(i, 0, future(), &c); err != nil {
			return n, err
		}
		n += c.Len()
	}
	return n, nil
}
