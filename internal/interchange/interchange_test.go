package interchange

import (
	"bytes"
	"errors"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/tsdb/tsdbutil"
	"pgregory.net/rapid"

	"github.com/count-db/count/internal/model"
)

// readAll reads everything and joins the runs of each series.
func readAll(t testing.TB, r Reader) []Series {
	t.Helper()
	var out []Series
	var s Series
	for {
		err := r.Next(&s)
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		if n := len(out); n > 0 && labels.Equal(out[n-1].Labels, s.Labels) {
			out[n-1].Floats = append(out[n-1].Floats, s.Floats...)
			out[n-1].Hists = append(out[n-1].Hists, s.Hists...)
			continue
		}
		out = append(out, Series{
			Labels: s.Labels, Floats: append([]Float(nil), s.Floats...), Hists: append([]model.HistogramPoint(nil), s.Hists...),
			Exemplars: append([]Exemplar(nil), s.Exemplars...), Metadata: s.Metadata,
		})
	}
}

func writeAll(t testing.TB, w Writer, all []Series) Losses {
	t.Helper()
	for i := range all {
		if err := w.Write(&all[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return w.Lost()
}

// sameSeries compares bit by bit.
func sameSeries(t testing.TB, got, want []Series) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d series, want %d", len(got), len(want))
	}
	for i := range want {
		g, w := &got[i], &want[i]
		if !labels.Equal(g.Labels, w.Labels) || len(g.Floats) != len(w.Floats) || len(g.Hists) != len(w.Hists) {
			t.Fatalf("%s with %d and %d samples, want %s with %d and %d", g.Labels, len(g.Floats), len(g.Hists), w.Labels, len(w.Floats), len(w.Hists))
		}
		for k, f := range w.Floats {
			if x := g.Floats[k]; x.T != f.T || x.ST != f.ST || math.Float64bits(x.V) != math.Float64bits(f.V) {
				t.Fatalf("%s: %+v (%x), want %+v (%x)", w.Labels, x, math.Float64bits(x.V), f, math.Float64bits(f.V))
			}
		}
		for k := range w.Hists {
			a, b := &g.Hists[k], &w.Hists[k]
			if a.T != b.T || a.ST != b.ST || (a.H == nil) != (b.H == nil) ||
				(a.H != nil && (!a.H.Equals(b.H) || a.H.CounterResetHint != b.H.CounterResetHint)) ||
				(a.FH != nil && (!a.FH.Equals(b.FH) || a.FH.CounterResetHint != b.FH.CounterResetHint)) {
				t.Fatalf("%s: histogram %+v, want %+v", w.Labels, a, b)
			}
		}
	}
}

func floatsGen() *rapid.Generator[float64] {
	return rapid.OneOf(
		rapid.Float64(),
		rapid.SampledFrom([]float64{0, math.Copysign(0, -1), math.Inf(1), math.Inf(-1), math.MaxFloat64, math.SmallestNonzeroFloat64, 0.1}),
		rapid.Custom(func(t *rapid.T) float64 {
			return math.Float64frombits(rapid.SampledFrom([]uint64{value.NormalNaN, value.StaleNaN, 0x7ff0000000000003, 0xfff8000000000000, 0x7fffffffffffffff}).Draw(t, "nan"))
		}),
	)
}

func seriesGen(t *rapid.T, hists bool) []Series {
	var out []Series
	n := rapid.IntRange(0, 4).Draw(t, "series")
	for i := range n {
		s := Series{Labels: labels.FromStrings(labels.MetricName, rapid.SampledFrom([]string{"a_total", "cpu.usage", "x{y", "é b"}).Draw(t, "name"), "n", string(rune('a'+i)),
			rapid.SampledFrom([]string{"job", "my label"}).Draw(t, "label"), rapid.SampledFrom([]string{"plain", "a\"b\\c\nd", "{},=", "ü"}).Draw(t, "value"))}
		at := int64(rapid.IntRange(0, 2_000_000_000_000).Draw(t, "start"))
		for range rapid.IntRange(1, 30).Draw(t, "floats") {
			at += int64(rapid.IntRange(1, 100_000).Draw(t, "step"))
			f := Float{T: at, V: floatsGen().Draw(t, "v")}
			if rapid.IntRange(0, 5).Draw(t, "with start") == 0 {
				f.ST = at - 1000
			}
			s.Floats = append(s.Floats, f)
		}
		if hists && rapid.Bool().Draw(t, "hists") {
			for k := range rapid.IntRange(1, 5).Draw(t, "histograms") {
				p := model.HistogramPoint{T: int64(k+1) * 1000, ST: int64(k)}
				if rapid.Bool().Draw(t, "integer") {
					p.H = tsdbutil.GenerateTestHistogram(int64(k + 1))
					p.H.CounterResetHint = rapid.SampledFrom([]histogram.CounterResetHint{histogram.UnknownCounterReset, histogram.GaugeType, histogram.CounterReset}).Draw(t, "hint")
				} else {
					p.FH = tsdbutil.GenerateTestCustomBucketsFloatHistogram(int64(k + 1))
					p.FH.Sum = floatsGen().Draw(t, "sum")
				}
				s.Hists = append(s.Hists, p)
			}
		}
		out = append(out, s)
	}
	return out
}

func TestJSONLinesAreExact(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		all := seriesGen(rt, true)
		var text bytes.Buffer
		writeAll(t, newJSONWriter(&text), all)
		r, err := NewReader(JSONLines, &text, 0)
		if err != nil {
			t.Fatal(err)
		}
		sameSeries(t, readAll(t, r), all)
	})
}

func TestCSVIsExactForFloats(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		all := seriesGen(rt, false)
		var text bytes.Buffer
		writeAll(t, newCSVWriter(&text), all)
		r, err := NewReader(CSV, &text, 0)
		if err != nil {
			t.Fatal(err)
		}
		for i := range all {
			for k := range all[i].Floats {
				all[i].Floats[k].ST = 0
			}
		}
		sameSeries(t, readAll(t, r), all)
	})
}

func TestOpenMetricsKeepsWhatItCanSay(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		all := seriesGen(rt, true)
		var text bytes.Buffer
		lost := writeAll(t, newOpenMetricsWriter(&text), all)
		var want Losses
		kept := all[:0]
		for _, s := range all {
			floats := s.Floats[:0]
			for _, f := range s.Floats {
				if isStale(f.V) {
					want.Stale++
					continue
				}
				if f.ST != 0 {
					want.Starts++
				}
				f.ST = 0
				if f.V != f.V {
					f.V = math.Float64frombits(value.NormalNaN)
				}
				floats = append(floats, f)
			}
			want.Histograms += uint64(len(s.Hists))
			s.Hists, s.Floats = nil, floats
			if len(floats) > 0 {
				kept = append(kept, s)
			}
		}
		if lost != want {
			t.Fatalf("lost %+v, want %+v", lost, want)
		}
		r, err := NewReader(OpenMetrics, &text, 0)
		if err != nil {
			t.Fatal(err)
		}
		sameSeries(t, readAll(t, r), kept)
	})
}

func TestBlocksAreExact(t *testing.T) {
	dir := t.TempDir()
	at := int64(1_700_000_000_000) / BlockSpan.Milliseconds() * BlockSpan.Milliseconds()
	all := []Series{
		{Labels: labels.FromStrings(labels.MetricName, "a", "b", "c"), Floats: []Float{{T: at, V: 1}, {T: at + 1, V: math.Float64frombits(value.StaleNaN)}, {T: at + 7199999, V: math.Inf(-1)}}},
		{Labels: labels.FromStrings(labels.MetricName, "h"), Hists: []model.HistogramPoint{{T: at, H: tsdbutil.GenerateTestHistogram(1)}, {T: at + 15000, H: tsdbutil.GenerateTestHistogram(2)}}},
	}
	w, err := NewBlockWriter(dir)
	if err != nil {
		t.Fatal(err)
	}
	writeAll(t, w, all)
	blocks, wal, err := FindBlocks(dir)
	if err != nil || len(blocks) != 1 || wal || blocks[0].Samples != 5 || blocks[0].Series != 2 {
		t.Fatalf("%+v %v %v", blocks, wal, err)
	}
	for from := range int64(3) {
		r, err := NewBlockReader(blocks[0].Dir, from)
		if err != nil {
			t.Fatal(err)
		}
		got := readAll(t, r)
		if err := r.Close(); err != nil || r.Offset() != 2 {
			t.Fatal(err, r.Offset())
		}
		for i := range got {
			for k := range got[i].Hists {
				got[i].Hists[k].H.CounterResetHint = 0 // of the place in the chunk
			}
		}
		sameSeries(t, got, all[from:])
	}
}

// TestGoingOn: a reader opened at an offset that another told goes on there, and
// nothing is lost between them.
func TestGoingOn(t *testing.T) {
	sources := map[Form]string{
		JSONLines:   "{\"metric\":{\"__name__\":\"a\"},\"values\":[1,null],\"timestamps\":[1,2]}\n\n{\"series\":\"b\",\"timestamp\":3,\"value\":\"+Inf\"}\r\n{\"series\":\"c{d=\\\"e\\\"}\",\"labels\":{\"f\":\"g\"},\"timestamp\":4,\"value\":5}",
		CSV:         "timestamp,value,series,host\n1,2,a,\n1970-01-01T00:00:00.005Z,StaleNaN,a,h\n\"3\",4,\"b{c=\"\"d\"\"}\",x\n",
		OpenMetrics: "# TYPE a counter\n# HELP a Some help.\na_total{x=\"1\"} 1 1.5 # {t=\"z\"} 0.5\na_total{x=\"1\"} 2 2.5\na_total{x=\"2\"} NaN 3\n# TYPE b gauge\nb 1 1\n" + strings.Repeat("# HELP c "+strings.Repeat("x", 1000)+"\n# TYPE d gauge\nd 1 1\n", 3000) + "# EOF\n",
	}
	for form, text := range sources {
		whole, err := NewReader(form, strings.NewReader(text), 0)
		if err != nil {
			t.Fatal(err)
		}
		want := readAll(t, whole)
		total := 0
		for i := range want {
			total += want[i].Samples()
		}
		first, err := NewReader(form, strings.NewReader(text), 0)
		if err != nil {
			t.Fatal(err)
		}
		var s Series
		seen := map[int64]bool{}
		for before := 0; ; {
			if at := first.Offset(); !seen[at] {
				seen[at] = true
				rest, err := NewReader(form, strings.NewReader(text), at)
				if err != nil {
					t.Fatal(form, at, err)
				}
				after := 0
				for _, s := range readAll(t, rest) {
					after += s.Samples()
				}
				if before+after < total || (form != OpenMetrics && before+after != total) {
					t.Errorf("%s: %d samples before %d, %d behind, %d in all", form, before, at, after, total)
				}
			}
			if err := first.Next(&s); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			before += s.Samples()
		}
	}
}

func TestOpenMetricsDetails(t *testing.T) {
	r, err := NewReader(OpenMetrics, strings.NewReader("# TYPE a counter\n# UNIT a_seconds seconds\n# TYPE a counter\n# HELP a Some help.\na_total{x=\"1\"} 1 1.5 # {t=\"z\"} 0.5 1.25\n# EOF\n"), 0)
	if err != nil {
		t.Fatal(err)
	}
	got := readAll(t, r)
	if len(got) != 1 || got[0].Metadata == nil || got[0].Metadata.Type != "counter" || got[0].Metadata.Help != "Some help." ||
		len(got[0].Exemplars) != 1 || got[0].Exemplars[0].T != 1250 || got[0].Exemplars[0].V != 0.5 || got[0].Exemplars[0].Labels.Get("t") != "z" || got[0].Floats[0].T != 1500 {
		t.Errorf("%+v", got)
	}
}

func TestWrongSources(t *testing.T) {
	for _, c := range []struct {
		form       Form
		text, want string
	}{
		{OpenMetrics, "a 1 1\n", "cut off"},
		{OpenMetrics, "a 1\n# EOF\n", "no timestamp"},
		{OpenMetrics, "a{ 1 1\n# EOF\n", "byte 0"},
		{JSONLines, "{\n", "byte 0"},
		{JSONLines, "{}\n", "neither"},
		{JSONLines, `{"metric":{"a":"b"},"values":[1],"timestamps":[]}`, "1 values and 0 timestamps"},
		{JSONLines, `{"metric":{"a":"b"},"values":["x"],"timestamps":[1]}`, "not a number"},
		{JSONLines, `{"series":"a","value":1}`, "needed"},
		{JSONLines, `{"metric":{"a":"b"},"histograms":[{"schema":1,"count":1,"positive_spans":[[0,5000000000]]}]}`, "span"},
		{JSONLines, `{"metric":{"a":"b"},"histograms":[{"schema":1,"count":-1}]}`, "count"},
		{JSONLines, `{"metric":{"a":"b"},"histograms":[{"schema":1,"count":7,"positive_spans":[[0,1]],"positive_buckets":[1]}]}`, "histogram 0"},
		{CSV, "a,b\n", "needed"},
		{CSV, "timestamp,value,series,series\n", "twice"},
		{CSV, "timestamp,value,series\nx,1,a\n", "line 2"},
		{CSV, "timestamp,value,series\n1,x,a\n", "line 2"},
		{CSV, "timestamp,value,series\n1,1\n", "fields"},
		{CSV, "timestamp,value,series,a\n1,1,\"x{a=\"\"b\"\"}\",c\n", "twice"},
		{CSV, "timestamp,value,__name__\n1,1,\n", "no series"},
	} {
		r, err := NewReader(c.form, strings.NewReader(c.text), 0)
		var s Series
		for err == nil {
			err = r.Next(&s)
		}
		if errors.Is(err, io.EOF) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %q: %v, want %s", c.form, c.text, err, c.want)
		}
	}
}

// FuzzReaders: no text makes a reader fail otherwise than by an error, and what
// is read from JSON lines and CSV is read again from what is written of it.
func FuzzReaders(f *testing.F) {
	f.Add(uint8(0), "a{b=\"c\"} 1 1 # {d=\"e\"} 1\n# EOF\n")
	f.Add(uint8(1), `{"metric":{"__name__":"a"},"values":[1,"NaN"],"timestamps":[1,2],"histograms":[{"timestamp":1,"schema":0,"count":3,"sum":1,"positive_spans":[[0,1]],"positive_buckets":[3]}]}`)
	f.Add(uint8(1), `{"series":"a{b=\"c\"}","timestamp":1,"value":2}`)
	f.Add(uint8(2), "series,timestamp,value\na,1,NaN(0x7ff0000000000002)\n")
	f.Fuzz(func(t *testing.T, form uint8, text string) {
		which := []Form{OpenMetrics, JSONLines, CSV}[form%3]
		r, err := NewReader(which, strings.NewReader(text), 0)
		var all []Series
		for err == nil {
			var s Series
			if err = r.Next(&s); err == nil {
				all = append(all, s)
			}
		}
		if which == OpenMetrics {
			return
		}
		var again bytes.Buffer
		w, err := NewWriter(which, &again)
		if err != nil {
			t.Fatal(err)
		}
		writeAll(t, w, all)
		if r, err = NewReader(which, &again, 0); err != nil {
			t.Fatal(err)
		}
		var count, want int
		for _, s := range readAll(t, r) {
			count += s.Samples()
		}
		for i := range all {
			want += all[i].Samples()
		}
		if count != want {
			t.Fatalf("%d samples, then %d", want, count)
		}
	})
}

func TestSecondsComeBack(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		at := rapid.Int64Range(-1e15, 1e15).Draw(rt, "t")
		text := string(appendSeconds(nil, at)) // a panic or a wrong value shows in the reader
		r, err := NewReader(OpenMetrics, strings.NewReader("a 1 "+text+"\n# EOF\n"), 0)
		if err != nil {
			t.Fatal(err)
		}
		if got := readAll(t, r); got[0].Floats[0].T != at {
			t.Fatalf("%d is written as %s and read as %d", at, text, got[0].Floats[0].T)
		}
	})
}
