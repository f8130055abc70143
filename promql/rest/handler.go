package rest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/prometheus/promql/parser"

	"github.com/count-db/count/promql/store"
)

// The defaults of the options.
const (
	defaultMaxSamples = 50_000_000
	defaultMaxSeries  = 100_000
	defaultMaxBody    = 4 << 20
	defaultTimeout    = 2 * time.Minute
)

// maxWindows is the most windows of one aggregated query.
const maxWindows = 11_000

// Options of a Handler. The zero value of each is the documented default.
type Options struct {
	// MaxSamples is the most samples one request may read; 50,000,000.
	MaxSamples int64
	// MaxSeries is the most series one request may name or match; 100,000.
	MaxSeries int
	// MaxBody is the largest request body, bytes; 4 MiB.
	MaxBody int64
	// Timeout of one request; 2m.
	Timeout time.Duration
	// Acquire waits for a slot of the concurrent queries and returns its release;
	// nil = no bound.
	Acquire func(ctx context.Context, what string) (release func(), err error)
	// StatusOf names the status of a storage error that is not the server's fault,
	// such as 503 where too few copies answered; nil = all are 500.
	StatusOf func(err error) (status int, ok bool)
	// OverTime has selectors of aggregated queries evaluated where the data lies;
	// nil = their series are read and evaluated here.
	OverTime OverTime
	// Internal serves the documented internal form; nil = it is refused.
	Internal *Internal
}

func (o Options) withDefaults() Options {
	if o.MaxSamples == 0 {
		o.MaxSamples = defaultMaxSamples
	}
	if o.MaxSeries == 0 {
		o.MaxSeries = defaultMaxSeries
	}
	if o.MaxBody == 0 {
		o.MaxBody = defaultMaxBody
	}
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	if o.Acquire == nil {
		o.Acquire = func(context.Context, string) (func(), error) { return func() {}, nil }
	}
	if o.StatusOf == nil {
		o.StatusOf = func(error) (int, bool) { return 0, false }
	}
	return o
}

// Handler serves the REST queries. Its methods are http.HandlerFuncs, safe for
// concurrent use; each refuses other methods than its own with 405.
type Handler struct {
	store  store.Store
	parser parser.Parser
	opts   Options
}

// New returns a handler over the store. The parser reads the selectors of POST
// requests.
func New(s store.Store, p parser.Parser, opts Options) *Handler {
	return &Handler{store: s, parser: p, opts: opts.withDefaults()}
}

// The paths of the queries, in front of the escaped series key.
const (
	rangePath      = "/query/range/"
	aggregatedPath = "/query/aggregated/"
)

// GetRange serves GET /query/range/{series}.
func (h *Handler) GetRange(w http.ResponseWriter, r *http.Request) {
	h.serve(w, r, []string{http.MethodGet, http.MethodHead}, func(ctx context.Context, out *response) error {
		q, err := parseGet(r, rangePath, false)
		if err != nil {
			return err
		}
		return h.answerOne(ctx, out, q)
	})
}

// GetAggregated serves GET /query/aggregated/{series}.
func (h *Handler) GetAggregated(w http.ResponseWriter, r *http.Request) {
	h.serve(w, r, []string{http.MethodGet, http.MethodHead}, func(ctx context.Context, out *response) error {
		q, err := parseGet(r, aggregatedPath, true)
		if err != nil {
			return err
		}
		return h.answerOne(ctx, out, q)
	})
}

// PostRange serves POST /query/range.
func (h *Handler) PostRange(w http.ResponseWriter, r *http.Request) {
	h.servePost(w, r, false)
}

// PostAggregated serves POST /query/aggregated.
func (h *Handler) PostAggregated(w http.ResponseWriter, r *http.Request) {
	h.servePost(w, r, true)
}

func (h *Handler) servePost(w http.ResponseWriter, r *http.Request, aggregated bool) {
	// The body is read before a slot is taken: who sends it slowly holds up nobody.
	var body *body
	var unread error
	if r.Method == http.MethodPost {
		body, unread = readBody(w, r, h.opts.MaxBody)
	}
	h.serve(w, r, []string{http.MethodPost}, func(ctx context.Context, out *response) error {
		if unread != nil {
			return unread
		}
		if body.internal() {
			return h.answerInternal(ctx, out, r, body)
		}
		q, err := body.query(aggregated)
		if err != nil {
			return err
		}
		return h.answerMany(ctx, out, q)
	})
}

// serve does what all queries share: method, consistency, time limit, a slot,
// and the answer to an error.
func (h *Handler) serve(w http.ResponseWriter, r *http.Request, methods []string, answer func(context.Context, *response) error) {
	out := newResponse(w)
	if !slices.Contains(methods, r.Method) {
		w.Header().Set("Allow", strings.Join(methods, ", "))
		out.fail(http.StatusMethodNotAllowed, fmt.Sprintf("method %s is not allowed here", r.Method))
		return
	}
	level, err := store.ParseConsistency(r.URL.Query().Get("consistency"))
	if err != nil {
		out.fail(http.StatusBadRequest, err.Error())
		return
	}
	ctx, cancel := context.WithTimeout(store.WithConsistency(r.Context(), level), h.opts.Timeout)
	defer cancel()
	release, err := h.opts.Acquire(ctx, r.URL.Path)
	if err != nil {
		h.fail(ctx, out, err)
		return
	}
	defer release()
	if err := answer(ctx, out); err != nil {
		h.fail(ctx, out, err)
		return
	}
	out.finish()
}

// requestError is the client's fault; the text is for it.
type requestError struct {
	status int
	text   string
}

func (e *requestError) Error() string { return e.text }

func badRequest(format string, args ...any) error {
	return &requestError{status: http.StatusBadRequest, text: fmt.Sprintf(format, args...)}
}

// limitError says which limit of a query was passed.
func limitError(format string, args ...any) error {
	return &requestError{status: http.StatusUnprocessableEntity, text: fmt.Sprintf(format, args...)}
}

// fail answers an error; behind the first bytes of an answer it can only break
// the connection, so that the client does not take the part for the whole.
func (h *Handler) fail(ctx context.Context, out *response, err error) {
	status, text := http.StatusInternalServerError, err.Error()
	var bad *requestError
	switch {
	case errors.As(err, &bad):
		status, text = bad.status, bad.text
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		status, text = http.StatusUnprocessableEntity, fmt.Sprintf("query took longer than %v", h.opts.Timeout)
	default:
		if s, ok := h.opts.StatusOf(err); ok {
			status = s
		}
	}
	if status == http.StatusServiceUnavailable {
		out.w.Header().Set("Retry-After", "1")
	}
	if out.committed() {
		panic(http.ErrAbortHandler) // net/http's way to break a response off
	}
	out.fail(status, text)
}
