package interchange

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/internal/model"
)

// The columns of CSV that are no labels.
const (
	columnSeries    = "series"
	columnTimestamp = "timestamp"
	columnValue     = "value"
)

// csvReader reads rows of one sample each. The first row names the columns:
// timestamp, value, and either series (a series key) or __name__; every other
// column is a label.
type csvReader struct {
	in                       *csv.Reader
	names                    []string
	timestamp, value, series int   // columns; series is -1 without one
	base                     int64 // what in.InputOffset counts from
	keys                     map[string]labels.Labels
	builder                  labels.ScratchBuilder
}

// maxKeys bounds the series keys that are remembered parsed.
const maxKeys = 100_000

func newCSVReader(source io.Reader, from int64) (*csvReader, error) {
	r := &csvReader{keys: map[string]labels.Labels{}, series: -1, timestamp: -1, value: -1, builder: labels.NewScratchBuilder(16)}
	if err := r.header(source); err != nil {
		return nil, fmt.Errorf("the first row: %w", err)
	}
	if from > 0 {
		if err := skipTo(source, from); err != nil {
			return nil, err
		}
		r.base = from
		r.open(source)
	}
	return r, nil
}

func (r *csvReader) open(source io.Reader) {
	r.in = csv.NewReader(source)
	r.in.ReuseRecord = true
	r.in.FieldsPerRecord = len(r.names)
}

func (r *csvReader) header(source io.Reader) error {
	r.open(source)
	row, err := r.in.Read()
	if err != nil {
		return err
	}
	r.names = slices.Clone(row)
	if len(r.names) > 0 && len(r.names[0]) > 3 && r.names[0][:3] == "\ufeff" {
		r.names[0] = r.names[0][3:]
	}
	for i, name := range r.names {
		switch name {
		case columnSeries:
			r.series = i
		case columnTimestamp:
			r.timestamp = i
		case columnValue:
			r.value = i
		case "":
			return fmt.Errorf("column %d has no name", i+1)
		}
		if slices.Contains(r.names[:i], name) {
			return fmt.Errorf("column %q is there twice", name)
		}
	}
	if r.timestamp < 0 || r.value < 0 || (r.series < 0 && !slices.Contains(r.names, labels.MetricName)) {
		return fmt.Errorf("it names the columns: %s, %s and one of %s and %s are needed", columnTimestamp, columnValue, columnSeries, labels.MetricName)
	}
	return nil
}

// Next implements Reader.
func (r *csvReader) Next(s *Series) error {
	s.Reset()
	row, err := r.in.Read()
	if err != nil {
		return err
	}
	line, _ := r.in.FieldPos(0)
	t, err := parseTime(row[r.timestamp])
	if err != nil {
		return fmt.Errorf("row at line %d: %w", line, err)
	}
	v, err := parseValue(row[r.value])
	if err != nil {
		return fmt.Errorf("row at line %d: %w", line, err)
	}
	if s.Labels, err = r.labels(row); err != nil {
		return fmt.Errorf("row at line %d: %w", line, err)
	}
	s.Floats = append(s.Floats, Float{T: t, V: v})
	return nil
}

// labels returns the series of a row.
func (r *csvReader) labels(row []string) (labels.Labels, error) {
	if r.series >= 0 && len(r.names) == 3 {
		return r.key(row[r.series])
	}
	ls := labels.EmptyLabels()
	if r.series >= 0 {
		var err error
		if ls, err = r.key(row[r.series]); err != nil {
			return ls, err
		}
	}
	r.builder.Reset()
	ls.Range(func(l labels.Label) { r.builder.Add(l.Name, l.Value) })
	for i, v := range row {
		if i == r.series || i == r.timestamp || i == r.value || v == "" {
			continue
		}
		if ls.Has(r.names[i]) {
			return ls, fmt.Errorf("label %q is given twice", r.names[i])
		}
		r.builder.Add(r.names[i], v)
	}
	r.builder.Sort()
	if ls = r.builder.Labels(); ls.IsEmpty() {
		return ls, errors.New("it names no series")
	}
	return ls, nil
}

func (r *csvReader) key(text string) (labels.Labels, error) {
	if ls, ok := r.keys[text]; ok {
		return ls, nil
	}
	ls, err := model.ParseSeriesKey(text)
	if err != nil {
		return ls, err
	}
	if len(r.keys) >= maxKeys {
		clear(r.keys)
	}
	r.keys[text] = ls
	return ls, nil
}

// parseTime reads a point in time: ms since 1970, or RFC 3339.
func parseTime(text string) (int64, error) {
	if ms, err := strconv.ParseInt(text, 10, 64); err == nil {
		return ms, nil
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return 0, fmt.Errorf("timestamp %q is neither milliseconds since 1970 nor a time such as 2026-01-02T15:04:05Z", text)
	}
	return t.UnixMilli(), nil
}

// Offset implements Reader.
func (r *csvReader) Offset() int64 { return r.base + r.in.InputOffset() }

// Close implements Reader.
func (r *csvReader) Close() error { return nil }

// csvWriter writes rows of series key, timestamp in ms, and value.
type csvWriter struct {
	out  *csv.Writer
	lost Losses
	row  [3]string
	err  error
}

func newCSVWriter(out io.Writer) *csvWriter {
	w := &csvWriter{out: csv.NewWriter(out)}
	w.err = w.out.Write([]string{columnSeries, columnTimestamp, columnValue})
	return w
}

// Write implements Writer.
func (w *csvWriter) Write(s *Series) error {
	w.row[0] = model.SeriesKey(s.Labels)
	w.lost.Histograms += uint64(len(s.Hists))
	for _, f := range s.Floats {
		if f.ST != 0 {
			w.lost.Starts++
		}
		w.row[1], w.row[2] = strconv.FormatInt(f.T, 10), string(appendValue(nil, f.V))
		if w.err == nil {
			w.err = w.out.Write(w.row[:])
		}
	}
	return w.err
}

// Close implements Writer.
func (w *csvWriter) Close() error {
	w.out.Flush()
	return errors.Join(w.err, w.out.Error())
}

// Lost implements Writer.
func (w *csvWriter) Lost() Losses { return w.lost }
