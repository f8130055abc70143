package rest

import (
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/promql/store"
)

// flushAt is how much of an answer is held back. Within it an error still gets
// its own status.
const flushAt = 256 << 10

// warningHeader marks an answer that may be stale or incomplete.
const warningHeader = "X-Count-Warning"

// response writes JSON by hand into a buffer that goes out in pieces.
type response struct {
	w   http.ResponseWriter
	buf []byte
	out bool // a piece has gone out, and with it the status
	err error
}

func newResponse(w http.ResponseWriter) *response { return &response{w: w} }

// committed says that the status has gone out.
func (r *response) committed() bool { return r.out }

// warn adds warnings to the header; before the first piece.
func (r *response) warn(ws store.Warnings) {
	for _, w := range ws {
		if text := headerText(w); !slices.Contains(r.w.Header()[warningHeader], text) {
			r.w.Header().Add(warningHeader, text)
		}
	}
}

// headerText makes one line of visible ASCII.
func headerText(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c < ' ' || c > '~' {
			b[i] = ' '
		}
	}
	return string(b)
}

// text appends text that is JSON already.
func (r *response) text(s string) { r.buf = append(r.buf, s...) }

// more sends what is buffered if it is enough. It returns the error of the
// connection.
func (r *response) more() error {
	if len(r.buf) >= flushAt {
		r.send()
	}
	return r.err
}

func (r *response) send() {
	if !r.out {
		r.w.Header().Set("Content-Type", "application/json")
		r.out = true
	}
	if r.err == nil {
		if _, err := r.w.Write(r.buf); err != nil {
			r.err = fmt.Errorf("send answer: %w", err)
		}
	}
	r.buf = r.buf[:0]
}

// finish sends the rest. A client that has gone is no news.
func (r *response) finish() {
	if !r.out {
		r.w.Header().Set("Content-Length", strconv.Itoa(len(r.buf)))
	}
	r.send()
}

// fail answers {"error": text} instead of what is buffered.
func (r *response) fail(status int, text string) {
	r.buf = append(r.buf[:0], `{"error":`...)
	r.buf = appendString(r.buf, text)
	r.buf = append(r.buf, '}')
	r.w.Header().Set("Content-Type", "application/json")
	r.w.Header().Set("Content-Length", strconv.Itoa(len(r.buf)))
	r.w.WriteHeader(status)
	r.out = true
	r.send()
}

// point appends one {"timestamp":..,"value":..}.
func (r *response) point(t int64, v float64) {
	r.text(`{"timestamp":`)
	r.buf = strconv.AppendInt(r.buf, t, 10)
	r.text(`,"value":`)
	r.buf = appendNumber(r.buf, v)
	r.buf = append(r.buf, '}')
}

// labels appends a label set as an object.
func (r *response) labels(ls labels.Labels) {
	r.buf = append(r.buf, '{')
	first := true
	ls.Range(func(l labels.Label) {
		if !first {
			r.buf = append(r.buf, ',')
		}
		first = false
		r.buf = appendString(r.buf, l.Name)
		r.buf = append(r.buf, ':')
		r.buf = appendString(r.buf, l.Value)
	})
	r.buf = append(r.buf, '}')
}

// appendNumber appends the shortest number that reads back as v; what JSON has
// no number for becomes the string "NaN", "+Inf" or "-Inf".
func appendNumber(dst []byte, v float64) []byte {
	switch {
	case math.IsNaN(v):
		return append(dst, `"NaN"`...)
	case math.IsInf(v, 1):
		return append(dst, `"+Inf"`...)
	case math.IsInf(v, -1):
		return append(dst, `"-Inf"`...)
	}
	if i := int64(v); float64(i) == v && i > -1e15 && i < 1e15 && (i != 0 || !math.Signbit(v)) {
		return strconv.AppendInt(dst, i, 10)
	}
	if abs := math.Abs(v); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		return strconv.AppendFloat(dst, v, 'e', -1, 64)
	}
	return strconv.AppendFloat(dst, v, 'f', -1, 64)
}

const hex = "0123456789abcdef"

// appendString appends a JSON string. Bytes that are not UTF-8 become U+FFFD.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			switch {
			case c == '"' || c == '\\':
				dst = append(dst, '\\', c)
			case c == '\n':
				dst = append(dst, '\\', 'n')
			case c < ' ' || c == 0x7f:
				dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&0xf])
			default:
				dst = append(dst, c)
			}
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		dst = utf8.AppendRune(dst, r)
		i += size
	}
	return append(dst, '"')
}
