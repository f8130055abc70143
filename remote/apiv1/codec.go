package apiv1

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	api "github.com/prometheus/prometheus/web/api/v1"
)

// resultCodec writes vectors and matrices of floats byte for byte as Prometheus's
// codec does, and leaves all else to that. Writing the answer is most of the cost of
// a query whose result has many points: times are formatted once for all series, and
// values of few decimals as integers, which makes it twice as fast for gauges.
type resultCodec struct{ api.JSONCodec }

// Encode implements api.Codec.
func (c resultCodec) Encode(resp *api.Response) ([]byte, error) {
	data, ok := resp.Data.(*api.QueryData)
	if !ok || resp.ErrorType != "" || resp.Error != "" || data.Stats != nil || data.Cost != nil {
		return c.encodeOther(resp)
	}
	var w resultWriter
	switch result := data.Result.(type) {
	case promql.Vector:
		if !w.vector(result) {
			return c.encodeOther(resp)
		}
	case promql.Matrix:
		if !w.matrix(result) {
			return c.encodeOther(resp)
		}
	default:
		return c.encodeOther(resp)
	}
	w.buf = append(w.buf, '}')
	for _, list := range []struct {
		name  string
		texts []string
	}{{"warnings", resp.Warnings}, {"infos", resp.Infos}} {
		if len(list.texts) == 0 {
			continue
		}
		if slices.ContainsFunc(list.texts, writtenOtherwise) {
			return c.encodeOther(resp)
		}
		texts, err := json.Marshal(list.texts)
		if err != nil {
			return nil, fmt.Errorf("encode %s: %w", list.name, err)
		}
		w.buf = append(append(append(append(w.buf, `,"`...), list.name...), `":`...), texts...)
	}
	return append(w.buf, '}'), nil
}

// writtenOtherwise says whether Prometheus's codec writes a text in another way than
// encoding/json does.
func writtenOtherwise(text string) bool { return strings.ContainsAny(text, "\b\f") }

func (c resultCodec) encodeOther(resp *api.Response) ([]byte, error) {
	b, err := c.JSONCodec.Encode(resp)
	if err != nil {
		return nil, fmt.Errorf("encode answer: %w", err)
	}
	return b, nil
}

// resultWriter appends the JSON of one answer.
type resultWriter struct {
	buf []byte
	// The beginnings of the points of the series written last: series mostly have
	// their points at the same times.
	starts []pointStart
}

// pointStart is a time as it begins a point.
type pointStart struct {
	t    int64
	n    int
	text [32]byte
}

// What an answer takes at most, mostly: buffers begin so large.
const (
	bytesPerSeries = 200
	bytesPerPoint  = 36
)

// firstBuffer bounds what a matrix begins with: what its first half takes says what
// all of it will, mostly two thirds of the above, which counts where it is 300 MB.
const firstBuffer = 1 << 20

// vector writes the head of an answer and a vector. False: it has histograms.
func (w *resultWriter) vector(v promql.Vector) bool {
	w.buf = make([]byte, 0, 64+len(v)*(bytesPerSeries+bytesPerPoint))
	w.text(`{"status":"success","data":{"resultType":"vector","result":[`)
	for i := range v {
		s := &v[i]
		if s.H != nil {
			return false
		}
		if i > 0 {
			w.text(",")
		}
		w.text(`{"metric":`)
		w.labels(s.Metric)
		w.text(`,"value":[`)
		w.buf = append(appendTime(w.buf, s.T), ',')
		w.buf = appendValue(w.buf, s.F)
		w.text("]}")
	}
	w.text("]")
	return true
}

// matrix writes the head of an answer and a matrix. False: it has histograms.
func (w *resultWriter) matrix(m promql.Matrix) bool {
	points := 0
	for i := range m {
		if len(m[i].Histograms) > 0 {
			return false
		}
		points += len(m[i].Floats)
	}
	all := 64 + len(m)*bytesPerSeries + points*bytesPerPoint
	w.buf = make([]byte, 0, min(all, firstBuffer))
	w.text(`{"status":"success","data":{"resultType":"matrix","result":[`)
	guessed := 64 // of what is written
	for i := range m {
		if all > firstBuffer && len(w.buf) > firstBuffer/2 {
			w.buf = slices.Grow(w.buf, int(1.03*float64(len(w.buf))*float64(all-guessed)/float64(guessed)))
			all = 0 // once
		}
		guessed += bytesPerSeries + len(m[i].Floats)*bytesPerPoint
		if i > 0 {
			w.text(",")
		}
		w.text(`{"metric":`)
		w.labels(m[i].Metric)
		if len(m[i].Floats) > 0 {
			w.text(`,"values":[`)
			w.points(m[i].Floats)
			w.text("]")
		}
		w.text("}")
	}
	w.text("]")
	return true
}

func (w *resultWriter) text(s string) { w.buf = append(w.buf, s...) }

func (w *resultWriter) points(ps []promql.FPoint) {
	for i, p := range ps {
		if i > 0 {
			w.buf = append(w.buf, ',')
		}
		if i >= len(w.starts) {
			w.starts = append(w.starts, startOf(p.T))
		}
		start := &w.starts[i]
		if start.t != p.T {
			*start = startOf(p.T)
		}
		w.buf = append(w.buf, start.text[:start.n]...)
		w.buf = append(appendValue(w.buf, p.F), ']')
	}
}

func startOf(t int64) pointStart {
	s := pointStart{t: t}
	s.text[0] = '['
	s.n = len(append(appendTime(s.text[:1], t), ','))
	return s
}

func (w *resultWriter) labels(ls labels.Labels) {
	w.buf = append(w.buf, '{')
	first := true
	ls.Range(func(l labels.Label) {
		if !first {
			w.buf = append(w.buf, ',')
		}
		first = false
		w.buf = append(appendText(w.buf, l.Name), ':')
		w.buf = appendText(w.buf, l.Value)
	})
	w.buf = append(w.buf, '}')
}

// appendTime appends ms as seconds.
func appendTime(dst []byte, t int64) []byte {
	if t < 0 {
		dst = append(dst, '-')
		t = -t
	}
	dst = strconv.AppendInt(dst, t/1000, 10)
	if ms := t % 1000; ms != 0 {
		dst = append(dst, '.', byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10))
	}
	return dst
}

// appendValue appends the shortest decimal that reads back as v, in quotes.
func appendValue(dst []byte, v float64) []byte {
	dst = append(dst, '"')
	dst = appendFloat(dst, v)
	return append(dst, '"')
}

// exactBelow bounds the numbers that appendFloat writes as scaled integers: with
// three decimals they have at most 15 digits, so that no two of them are the same
// float and none of them has a shorter decimal.
const exactBelow = 1e12

func appendFloat(dst []byte, v float64) []byte {
	abs := math.Abs(v)
	if abs < exactBelow && (v != 0 || !math.Signbit(v)) {
		if i := int64(v); float64(i) == v {
			return strconv.AppendInt(dst, i, 10)
		}
		if scaled := math.RoundToEven(abs * 1000); scaled/1000 == abs {
			if v < 0 {
				dst = append(dst, '-')
			}
			n := int64(scaled)
			dst = strconv.AppendInt(dst, n/1000, 10)
			ms := n % 1000 // not 0: v is no integer
			dst = append(dst, '.', byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10))
			for dst[len(dst)-1] == '0' {
				dst = dst[:len(dst)-1]
			}
			return dst
		}
	}
	format := byte('f')
	if abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		format = 'e'
	}
	return strconv.AppendFloat(dst, v, format, -1, 64)
}

const hexDigits = "0123456789abcdef"

// appendText appends a JSON string, bytes above ASCII as they are.
func appendText(dst []byte, s string) []byte {
	dst = append(dst, '"')
	from := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, s[from:i]...)
		from = i + 1
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, `\n`...)
		case '\r':
			dst = append(dst, `\r`...)
		case '\t':
			dst = append(dst, `\t`...)
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	dst = append(dst, s[from:]...)
	return append(dst, '"')
}
