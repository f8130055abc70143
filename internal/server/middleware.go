package server

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/count-db/count/internal/telemetry"
)

// middleware surrounds every request.
type middleware struct {
	logger      log.Logger
	maxBody     int64
	bodies      *budget                 // of those that are not writes
	limits      map[class]time.Duration // from the header to the end of the answer; 0 = none
	requests    *prometheus.CounterVec
	seconds     *prometheus.HistogramVec
	inFlight    prometheus.Gauge
	panics      prometheus.Counter
	answerBytes *prometheus.CounterVec
}

func newMiddleware(opts Options) *middleware {
	reg := promauto.With(opts.Registerer)
	return &middleware{
		logger:  opts.Logger,
		maxBody: opts.MaxBodySize,
		bodies:  &budget{most: max(opts.MaxBodiesSize, opts.MaxBodySize)},
		limits: map[class]time.Duration{
			quick: quickTimeout,
			write: writeTimeout,
			query: opts.QueryTimeout + queryGrace,
		},
		requests: reg.NewCounterVec(prometheus.CounterOpts{
			Name: "count_http_requests_total", Help: "Requests answered, by route, method and status code.",
		}, []string{"handler", "method", "code"}),
		seconds: reg.NewHistogramVec(prometheus.HistogramOpts{
			Name: "count_http_request_duration_seconds", Help: "Time from the header of a request to the end of its answer, by route.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120},
		}, []string{"handler"}),
		inFlight: reg.NewGauge(prometheus.GaugeOpts{
			Name: "count_http_requests_in_flight", Help: "Requests that are being answered.",
		}),
		panics: reg.NewCounter(prometheus.CounterOpts{
			Name: "count_http_panics_total", Help: "Requests ended by a fault in the program.",
		}),
		answerBytes: reg.NewCounterVec(prometheus.CounterOpts{
			Name: "count_http_response_bytes_total", Help: "Bytes of answers, by route.",
		}, []string{"handler"}),
	}
}

// wrap returns the handler of a route with everything around it.
func (m *middleware) wrap(row route, next http.Handler) http.Handler {
	limit := m.limits[row.class]
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		id := telemetry.CleanRequestID(r.Header.Get(telemetry.RequestIDHeader))
		r = r.WithContext(telemetry.WithRequestID(r.Context(), id))
		r.Header.Set(telemetry.RequestIDHeader, id)
		w.Header().Set(telemetry.RequestIDHeader, id)
		rec := &recorder{ResponseWriter: w}
		m.inFlight.Inc()
		defer m.inFlight.Dec()
		defer m.account(row, r, rec, start)
		rec.end = m.setDeadline(w, limit, start)
		rec.paced = row.class == query || row.class == stream
		if r.Body != nil && r.Body != http.NoBody {
			body := m.pace(row, rec, r, start)
			defer body.release()
			if most := m.largest(row); most > 0 {
				defer m.drain(rec, r, body, most)
				if r.ContentLength > most {
					m.tooLarge(rec, r.ContentLength, most)
					return
				}
				r.Body = &limitedBody{http.MaxBytesReader(rec, body, most), rec}
			}
		}
		m.guarded(rec, r, next)
	})
}

// maxForm bounds the bodies of all routes that take no samples: forms with a query
// in them. Parsed they take several times their size.
const maxForm = 4 << 20

// largest is the size, in bytes, of the largest body that a route takes; 0 = the
// handler knows.
func (m *middleware) largest(row route) int64 {
	switch {
	case row.ownBody:
		return 0
	case row.class == write || row.path == "/query/range" || row.path == "/query/aggregated":
		return m.maxBody
	}
	return min(maxForm, m.maxBody)
}

// pace has the request's body keep moving, and bounds what the bodies take together
// that no handler counts.
func (m *middleware) pace(row route, rec *recorder, r *http.Request, start time.Time) *pacedBody {
	b := &pacedBody{ReadCloser: r.Body, rec: rec, began: start, end: rec.end, budget: m.bodies}
	if row.class == write {
		b.budget = nil // writes claim their memory themselves
	}
	if row.ownBody {
		b.budget, b.over = nil, true // as long as it takes
	} else {
		first := start.Add(bodyGrace)
		if !rec.end.IsZero() && rec.end.Before(first) {
			first = rec.end
		}
		b.setDeadline(first)
	}
	r.Body = b
	return b
}

// setDeadline bounds how long a slow client can hold the connection. What
// cannot set one (a test's recorder) has no such client. The read deadline is
// not earlier than the other: net/http keeps reading while a handler works, and
// a deadline that passes there cancels the request.
// When the request has to end is returned, zero = never.
func (m *middleware) setDeadline(w http.ResponseWriter, limit time.Duration, now time.Time) (end time.Time) {
	rc := http.NewResponseController(w)
	if limit > 0 {
		end = now.Add(limit)
	}
	for _, err := range []error{rc.SetReadDeadline(end), rc.SetWriteDeadline(end)} {
		if err != nil && !errors.Is(err, http.ErrNotSupported) {
			level.Debug(m.logger).Log("msg", "cannot bound a connection", "err", err)
		}
	}
	return end
}

// tooLarge answers a request that announces too large a body before any of it
// is read: a client that looks meanwhile need not send it.
func (m *middleware) tooLarge(w *recorder, announced, most int64) {
	// Without it net/http allows no reading after writing: drain reads on.
	if err := http.NewResponseController(w).EnableFullDuplex(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		level.Debug(m.logger).Log("msg", "cannot answer before a body is read", "err", err)
	}
	text := fmt.Sprintf("the request body has %d bytes, more than %d%s", announced, most, m.setting(most))
	w.Header().Set("Content-Length", strconv.Itoa(len(errorBody(text)))) // else the answer ends with the draining
	WriteError(w, http.StatusRequestEntityTooLarge, text)
	w.Flush()
}

// setting names what bounds bodies of that size.
func (m *middleware) setting(most int64) string {
	if most == m.maxBody {
		return " (MAX_BODY_SIZE)"
	}
	return ""
}

// drainFactor times the largest body is read and thrown away of one that is
// larger.
const drainFactor = 8

// drain reads the rest of a body that was too large before the connection ends:
// most clients look for the answer only when they have sent all, and would meet
// a connection that was reset instead.
func (m *middleware) drain(w *recorder, r *http.Request, body io.Reader, most int64) {
	if w.code != http.StatusRequestEntityTooLarge || r.Header.Get("Expect") != "" {
		return
	}
	if _, err := io.CopyN(io.Discard, body, drainFactor*most); err != nil && !errors.Is(err, io.EOF) {
		level.Debug(m.logger).Log("msg", "cannot read the rest of a body that is too large", "err", err)
	}
}

// guarded turns a panic of one request into its 500. http.ErrAbortHandler
// passes: with it a handler cuts an answer that it cannot end well.
func (m *middleware) guarded(w *recorder, r *http.Request, next http.Handler) {
	defer func() {
		fault := recover()
		switch {
		case fault == nil:
			return
		case fault == http.ErrAbortHandler: //nolint:errorlint // a panic value, passed on as it is
			w.aborted = true
			panic(fault)
		}
		m.panics.Inc()
		level.Error(telemetry.Logger(r.Context(), m.logger)).Log("msg", "a request ended by a fault in the program", "path", r.URL.Path, "fault", fault, "stack", string(debug.Stack()))
		if w.code != 0 {
			panic(http.ErrAbortHandler) // too late for another answer
		}
		WriteError(w, http.StatusInternalServerError, "internal error")
	}()
	next.ServeHTTP(w, r)
}

// account counts a request and writes its line to the access log.
func (m *middleware) account(row route, r *http.Request, w *recorder, start time.Time) {
	code := w.code
	switch {
	case w.aborted:
		code = 499
	case w.hijacked:
		code = http.StatusSwitchingProtocols
	case code == 0:
		code = http.StatusOK
	}
	took := time.Since(start)
	m.requests.WithLabelValues(row.path, knownMethod(r.Method), strconv.Itoa(code)).Inc()
	m.answerBytes.WithLabelValues(row.path).Add(float64(w.bytes))
	if row.class != stream {
		m.seconds.WithLabelValues(row.path).Observe(took.Seconds())
	}
	keyvals := []any{"msg", "request", "method", r.Method, "path", r.URL.Path, "code", code, "bytes", w.bytes, "seconds", took.Seconds(), "remote", r.RemoteAddr}
	for name, values := range r.Header {
		// Grafana says which panel asked: it finds the dashboard of a slow query.
		if len(values) > 0 && (strings.HasPrefix(name, "X-Grafana-") || name == "X-Dashboard-Uid" || name == "X-Panel-Id") {
			keyvals = append(keyvals, strings.ToLower(name), values[0])
		}
	}
	level.Debug(telemetry.Logger(r.Context(), m.logger)).Log(keyvals...)
}

// knownMethod keeps what clients invent out of the labels of metrics.
func knownMethod(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions, http.MethodPatch:
		return method
	}
	return "other"
}

// recorder remembers how a request was answered.
type recorder struct {
	http.ResponseWriter
	code     int
	bytes    int64
	hijacked bool
	aborted  bool
	paced    bool      // each piece of the answer has to be taken soon
	end      time.Time // of the whole request; zero = none
	// fault is the status of what was wrong with the body where the handler cannot
	// know it; 0 = nothing.
	fault int
}

// WriteHeader implements http.ResponseWriter.
func (w *recorder) WriteHeader(code int) {
	if w.fault != 0 && w.code == 0 && code >= 400 {
		code = w.fault
	}
	if w.code == 0 && code == http.StatusServiceUnavailable && w.Header().Get("Retry-After") == "" {
		w.Header().Set("Retry-After", "1")
	}
	if w.code == 0 && code >= 200 {
		w.code = code
	}
	w.ResponseWriter.WriteHeader(code)
}

// Write implements http.ResponseWriter.
func (w *recorder) Write(p []byte) (int, error) {
	if w.code == 0 {
		w.code = http.StatusOK
	}
	defer w.boundWriting()()
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err
}

// boundWriting bounds a piece of the answer until the result is called.
func (w *recorder) boundWriting() func() {
	if !w.paced || w.hijacked {
		return func() {}
	}
	rc := http.NewResponseController(w.ResponseWriter)
	due := time.Now().Add(answerStall)
	if !w.end.IsZero() && due.After(w.end) {
		due = w.end
	}
	// What cannot set a deadline (a test's recorder) has no slow client.
	_ = rc.SetWriteDeadline(due)
	return func() { _ = rc.SetWriteDeadline(w.end) }
}

// Flush implements http.Flusher.
func (w *recorder) Flush() {
	defer w.boundWriting()()
	// A writer that cannot flush sends at the end: nothing is lost.
	_ = http.NewResponseController(w.ResponseWriter).Flush()
}

// Hijack implements http.Hijacker.
func (w *recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err == nil {
		w.hijacked = true
	}
	return conn, rw, err
}

// Unwrap lets http.ResponseController find what lies below.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteError answers with {"error": text}.
func WriteError(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	_, _ = w.Write(errorBody(text)) // the client has gone: nobody is left to tell
}

func errorBody(text string) []byte {
	body, err := json.Marshal(map[string]string{"error": text})
	if err != nil {
		body = []byte(`{"error":"unprintable error"}`)
	}
	return append(body, '\n')
}
