package interchange

import (
	"bufio"
	"errors"
	"io"
	"math"
	"strconv"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
)

// openMetricsWriter writes OpenMetrics text: a line a sample, without types.
// Stale markers and native histograms cannot be said in it.
type openMetricsWriter struct {
	out    *bufio.Writer
	lost   Losses
	prefix []byte
	line   []byte
}

func newOpenMetricsWriter(out io.Writer) *openMetricsWriter {
	return &openMetricsWriter{out: bufio.NewWriterSize(out, 64<<10)}
}

// Write implements Writer.
func (w *openMetricsWriter) Write(s *Series) error {
	w.lost.Histograms += uint64(len(s.Hists))
	w.prefix = append(appendSeries(w.prefix[:0], s.Labels), ' ')
	for _, f := range s.Floats {
		if isStale(f.V) {
			w.lost.Stale++
			continue
		}
		if f.ST != 0 {
			w.lost.Starts++
		}
		w.line = append(w.line[:0], w.prefix...)
		w.line = appendPlainValue(w.line, f.V)
		w.line = append(appendSeconds(append(w.line, ' '), f.T), '\n')
		if _, err := w.out.Write(w.line); err != nil {
			return err
		}
	}
	return nil
}

// appendPlainValue appends a value as every parser reads it: all NaNs are one.
func appendPlainValue(dst []byte, v float64) []byte {
	switch {
	case v != v:
		return append(dst, textNaN...)
	case math.IsInf(v, 1):
		return append(dst, textInf...)
	case math.IsInf(v, -1):
		return append(dst, textLess...)
	}
	return strconv.AppendFloat(dst, v, 'g', -1, 64)
}

// appendSeconds appends milliseconds as seconds. Parsers compute the
// milliseconds from a float and cut off what is behind: the text is the
// shortest of which they come to t again.
func appendSeconds(dst []byte, t int64) []byte {
	if t >= 0 {
		n := len(dst)
		dst = strconv.AppendInt(dst, t/1000, 10)
		if ms := t % 1000; ms > 0 {
			dst = append(dst, '.', byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10))
		}
		if s, err := strconv.ParseFloat(string(dst[n:]), 64); err == nil && int64(s*1000) == t {
			return dst
		}
		dst = dst[:n]
	}
	s := float64(t) / 1000
	for range 4 {
		if int64(s*1000) == t {
			break
		}
		s = math.Nextafter(s, math.Inf(int(t>>63|1)))
	}
	return strconv.AppendFloat(dst, s, 'f', -1, 64)
}

// appendSeries appends a series as OpenMetrics writes it.
func appendSeries(dst []byte, ls labels.Labels) []byte {
	name := ls.Get(labels.MetricName)
	first := true
	open := func() {
		if first {
			dst = append(dst, '{')
			first = false
			return
		}
		dst = append(dst, ',')
	}
	if model.LegacyValidation.IsValidMetricName(name) {
		dst = append(dst, name...)
	} else {
		open()
		dst = appendQuoted(dst, name)
	}
	ls.Range(func(l labels.Label) {
		if l.Name == labels.MetricName {
			return
		}
		open()
		if model.LabelName(l.Name).IsValidLegacy() {
			dst = append(dst, l.Name...)
		} else {
			dst = appendQuoted(dst, l.Name)
		}
		dst = appendQuoted(append(dst, '='), l.Value)
	})
	if !first {
		dst = append(dst, '}')
	}
	return dst
}

// appendQuoted appends a string with the escapes that OpenMetrics has.
func appendQuoted(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for i := range len(s) {
		switch c := s[i]; c {
		case '\\', '"':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}

// Close implements Writer.
func (w *openMetricsWriter) Close() error {
	_, err := w.out.WriteString(string(eofLine) + "\n")
	return errors.Join(err, w.out.Flush())
}

// Lost implements Writer.
func (w *openMetricsWriter) Lost() Losses { return w.lost }
