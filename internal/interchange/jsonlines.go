package interchange

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/internal/model"
)

// maxLine bounds a line of text, in bytes.
const maxLine = 64 << 20

// jsonLine is one line: a run of samples, or one sample in the form of POST
// /insert.
type jsonLine struct {
	Metric          map[string]string `json:"metric"`
	Values          []jsonValue       `json:"values"`
	Timestamps      []int64           `json:"timestamps"`
	StartTimestamps []int64           `json:"start_timestamps"`
	Histograms      []jsonHistogram   `json:"histograms"`

	Series    *string           `json:"series"`
	Labels    map[string]string `json:"labels"`
	Timestamp *int64            `json:"timestamp"`
	Value     *jsonValue        `json:"value"`
}

// lineReader reads lines and knows where it is.
type lineReader struct {
	in     *bufio.Reader
	offset int64 // of the next line
	line   []byte
}

func newLineReader(source io.Reader, from int64) (*lineReader, error) {
	if err := skipTo(source, from); err != nil {
		return nil, err
	}
	return &lineReader{in: bufio.NewReaderSize(source, 1<<20), offset: from}, nil
}

// next returns the next line without its end; it is valid until the next call.
func (r *lineReader) next() ([]byte, error) {
	r.line = r.line[:0]
	for {
		part, err := r.in.ReadSlice('\n')
		r.offset += int64(len(part))
		r.line = append(r.line, part...)
		switch {
		case err == nil:
			return bytes.TrimRight(r.line, "\r\n"), nil
		case errors.Is(err, io.EOF) && len(r.line) > 0:
			return r.line, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		case len(r.line) > maxLine:
			return nil, fmt.Errorf("the line that begins at byte %d is longer than %d bytes", r.offset-int64(len(r.line)), maxLine)
		}
	}
}

type jsonReader struct {
	lines   *lineReader
	builder labels.ScratchBuilder
}

func newJSONReader(source io.Reader, from int64) (*jsonReader, error) {
	lines, err := newLineReader(source, from)
	return &jsonReader{lines: lines, builder: labels.NewScratchBuilder(16)}, err
}

// Next implements Reader.
func (r *jsonReader) Next(s *Series) error {
	for {
		s.Reset()
		begin := r.lines.offset
		text, err := r.lines.next()
		if err != nil {
			return err
		}
		if len(bytes.TrimSpace(text)) == 0 {
			continue
		}
		var l jsonLine
		if err := json.Unmarshal(text, &l); err != nil {
			return fmt.Errorf("line at byte %d: %w", begin, err)
		}
		if err := r.fill(s, &l); err != nil {
			return fmt.Errorf("line at byte %d: %w", begin, err)
		}
		return nil
	}
}

func (r *jsonReader) fill(s *Series, l *jsonLine) (err error) {
	if l.Series != nil {
		return r.fillSingle(s, l)
	}
	if len(l.Metric) == 0 {
		return errors.New(`neither "metric" nor "series" is given`)
	}
	r.builder.Reset()
	for name, v := range l.Metric {
		if v != "" {
			r.builder.Add(name, v)
		}
	}
	r.builder.Sort()
	s.Labels = r.builder.Labels()
	if len(l.Values) != len(l.Timestamps) {
		return fmt.Errorf("%d values and %d timestamps", len(l.Values), len(l.Timestamps))
	}
	if n := len(l.StartTimestamps); n > 0 && n != len(l.Values) {
		return fmt.Errorf("%d values and %d start timestamps", len(l.Values), n)
	}
	for i, v := range l.Values {
		f := Float{T: l.Timestamps[i], V: float64(v)}
		if len(l.StartTimestamps) > 0 {
			f.ST = l.StartTimestamps[i]
		}
		s.Floats = append(s.Floats, f)
	}
	for i := range l.Histograms {
		p, err := l.Histograms[i].point()
		if err != nil {
			return fmt.Errorf("histogram %d: %w", i, err)
		}
		s.Hists = append(s.Hists, p)
	}
	return nil
}

// fillSingle takes the form of POST /insert.
func (r *jsonReader) fillSingle(s *Series, l *jsonLine) error {
	if l.Timestamp == nil || l.Value == nil {
		return errors.New(`"timestamp" and "value" are needed`)
	}
	ls, err := model.ParseSeriesKey(*l.Series)
	if err != nil {
		return err
	}
	if len(l.Labels) > 0 {
		b := labels.NewBuilder(ls)
		for name, v := range l.Labels {
			if ls.Has(name) {
				return fmt.Errorf("label %q is given twice", name)
			}
			b.Set(name, v)
		}
		ls = b.Labels()
	}
	s.Labels = ls
	s.Floats = append(s.Floats, Float{T: *l.Timestamp, V: float64(*l.Value)})
	return nil
}

// Offset implements Reader.
func (r *jsonReader) Offset() int64 { return r.lines.offset }

// Close implements Reader.
func (r *jsonReader) Close() error { return nil }

// jsonRun is how many samples a written line holds at most.
const jsonRun = 8192

// jsonWriter writes lines: {"metric":{...},"values":[...],"timestamps":[...]}
// and, where there are any, "start_timestamps" and "histograms".
type jsonWriter struct {
	out  io.Writer
	line []byte
}

func newJSONWriter(out io.Writer) *jsonWriter { return &jsonWriter{out: out} }

// Write implements Writer.
func (w *jsonWriter) Write(s *Series) error {
	floats, hists := s.Floats, s.Hists
	for len(floats) > 0 || len(hists) > 0 {
		nf, nh := min(len(floats), jsonRun), min(len(hists), jsonRun/16)
		if err := w.writeLine(s.Labels, floats[:nf], hists[:nh]); err != nil {
			return err
		}
		floats, hists = floats[nf:], hists[nh:]
	}
	return nil
}

func (w *jsonWriter) writeLine(ls labels.Labels, floats []Float, hists []model.HistogramPoint) error {
	metric, err := json.Marshal(ls.Map())
	if err != nil {
		return fmt.Errorf("encode labels: %w", err)
	}
	b := append(append(w.line[:0], `{"metric":`...), metric...)
	if len(floats) > 0 {
		b = appendList(append(b, `,"values":[`...), floats, func(b []byte, f *Float) []byte { return appendJSONValue(b, f.V) })
		b = appendList(append(b, `,"timestamps":[`...), floats, func(b []byte, f *Float) []byte { return strconv.AppendInt(b, f.T, 10) })
		for i := range floats {
			if floats[i].ST != 0 {
				b = appendList(append(b, `,"start_timestamps":[`...), floats, func(b []byte, f *Float) []byte { return strconv.AppendInt(b, f.ST, 10) })
				break
			}
		}
	}
	if len(hists) > 0 {
		list := make([]jsonHistogram, 0, len(hists))
		for i := range hists {
			list = append(list, newJSONHistogram(&hists[i]))
		}
		text, err := json.Marshal(list)
		if err != nil {
			return fmt.Errorf("encode histograms: %w", err)
		}
		b = append(append(b, `,"histograms":`...), text...)
	}
	b = append(b, "}\n"...)
	w.line = b
	_, err = w.out.Write(b)
	return err
}

// appendList appends the items, separated, and the bracket that ends the list.
func appendList(b []byte, floats []Float, item func([]byte, *Float) []byte) []byte {
	for i := range floats {
		if i > 0 {
			b = append(b, ',')
		}
		b = item(b, &floats[i])
	}
	return append(b, ']')
}

// Close implements Writer.
func (w *jsonWriter) Close() error { return nil }

// Lost implements Writer: nothing is.
func (w *jsonWriter) Lost() Losses { return Losses{} }

// wholeCount reports whether a float is a count that an integer histogram can
// have.
func wholeCount(v float64) bool { return v >= 0 && v == math.Trunc(v) && v < 1<<63 }
