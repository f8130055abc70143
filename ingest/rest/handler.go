package rest

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/internal/admission"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/seriescache"
)

// Resolver gives series their references.
type Resolver interface {
	// Intern returns the reference of a series and makes it known where it is
	// new. The labels are sorted, valid and kept. An error that is an
	// *admission.Rejection refuses the series for good. It is safe for
	// concurrent use.
	Intern(ls labels.Labels) (model.Ref, error)
}

// Sink takes decoded requests. It is safe for concurrent use.
type Sink interface {
	// Reserve claims memory for a request, in bytes, before it is allocated;
	// Release gives it back. It does not wait.
	Reserve(bytes int64) error
	Release(bytes int64)
	// CheckTime says whether a sample of this timestamp (ms) may be stored: nil
	// or the fault.
	CheckTime(t int64) *admission.Rejection
	// WriteWhole stores all of the batch durably, or returns an error. The
	// batch is the caller's again afterwards.
	WriteWhole(ctx context.Context, batch *model.Batch) error
}

// Deps are the parts that the handler works with.
type Deps struct {
	Series Resolver
	Sink   Sink
	// Cache may be the one that remote write uses.
	Cache *seriescache.Cache
}

// Options of the handler; the zero value means the defaults.
type Options struct {
	// MaxBodyBytes bounds the body; 0 = 32 MiB.
	MaxBodyBytes int64
	// Limits on labels; the zero value = admission.DefaultLimits.
	Limits admission.Limits
}

const (
	defaultMaxBodyBytes = 32 << 20
	// memoryFactor is how many bytes an object takes when decoded, for each byte
	// of its shortest form.
	memoryFactor = 4
	// requestCost is what a request counts for beside its body.
	requestCost = 16 << 10
	// unzipCost is what decompressing counts for: a window of 32 KiB and tables.
	unzipCost = 48 << 10
	// firstRead is how much room is made at first, whatever length is announced.
	firstRead = 16 << 10
	// maxKeptBytes is the most memory that one request leaves to the next ones.
	maxKeptBytes = 1 << 20
)

// handler serves POST /insert.
type handler struct {
	deps Deps
	opts Options
	pool sync.Pool // of *request
}

// request is the memory of one request.
type request struct {
	decoder *decoder
	body    []byte
	unzip   gzip.Reader
	batch   model.Batch
	claim   admission.Claim
}

// New returns the handler of POST /insert.
func New(deps Deps, opts Options) (http.Handler, error) {
	if opts.MaxBodyBytes <= 0 {
		opts.MaxBodyBytes = defaultMaxBodyBytes
	}
	if opts.Limits == (admission.Limits{}) {
		opts.Limits = admission.DefaultLimits()
	}
	if err := opts.Limits.Validate(); err != nil {
		return nil, fmt.Errorf("insert: %w", err)
	}
	if deps.Series == nil || deps.Sink == nil || deps.Cache == nil {
		return nil, errors.New("insert: series, sink and cache are needed")
	}
	h := &handler{deps: deps, opts: opts}
	h.pool.New = func() any {
		return &request{decoder: newDecoder(opts.Limits, deps.Sink.CheckTime), claim: admission.NewClaim(deps.Sink)}
	}
	return h, nil
}

// badRequestError marks what is wrong with the request itself.
type badRequestError struct{ error }

func (e badRequestError) Unwrap() error { return e.error }

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		writeError(w, http.StatusMethodNotAllowed, errors.New("only POST inserts samples"))
		return
	}
	zipped, err := compressed(r.Header)
	if err != nil {
		writeError(w, http.StatusUnsupportedMediaType, err)
		return
	}
	req, _ := h.pool.Get().(*request)
	defer h.recycle(req)
	if err := h.serve(r, req, zipped); err != nil {
		code, retryAfter := admission.StatusOf(err)
		if errors.As(err, &badRequestError{}) {
			code = http.StatusBadRequest
		}
		if retryAfter > 0 {
			w.Header().Set("Retry-After", admission.RetryAfterSeconds(retryAfter))
		}
		writeError(w, code, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	// The client may be gone; what it asked for is done.
	_, _ = fmt.Fprintf(w, "{\"inserted\":%d}\n", len(req.decoder.items))
}

// compressed says whether the body is gzip's.
func compressed(header http.Header) (bool, error) {
	switch enc := header.Get("Content-Encoding"); {
	case enc == "" || strings.EqualFold(enc, "identity"):
		return false, nil
	case strings.EqualFold(enc, "gzip"):
		return true, nil
	default:
		return false, fmt.Errorf("content encoding %q is not supported, only gzip", enc)
	}
}

// recycle ends a request and keeps its memory, unless it was an unusually large one.
func (h *handler) recycle(req *request) {
	req.claim.Release()
	large := cap(req.body) > maxKeptBytes
	req.batch.Reset()
	req.decoder.reset(nil)
	if !large {
		h.pool.Put(req)
	}
}

// serve reads, decodes and stores a request.
func (h *handler) serve(r *http.Request, req *request, zipped bool) error {
	if err := h.read(r, req, zipped); err != nil {
		return err
	}
	if err := h.decode(req); err != nil {
		return err
	}
	return h.deps.Sink.WriteWhole(r.Context(), &req.batch)
}

// decode fills the batch. No series is made known before all of the body is
// found to be right.
func (h *handler) decode(req *request) error {
	d := req.decoder
	d.reset(req.body)
	d.session.Open(h.deps.Cache)
	defer d.session.Close() // holds a lock: let it go whatever happens
	if err := d.decode(); err != nil {
		return badRequestError{err}
	}
	for i := range d.items {
		it := &d.items[i]
		if it.ref == 0 {
			var err error
			if it.ref, err = h.deps.Series.Intern(it.labels); err != nil {
				return fmt.Errorf("find series %s: %w", admission.Describe(it.labels), err)
			}
			if it.key != nil {
				d.session.Insert(it.key, it.ref)
			}
		}
		req.batch.Floats = append(req.batch.Floats, model.FloatSample{T: it.t, V: it.v, Ref: it.ref})
	}
	return nil
}

// read reads the body and unpacks it; the limit is for both forms of it.
func (h *handler) read(r *http.Request, req *request, zipped bool) error {
	limit := h.opts.MaxBodyBytes
	tooLarge := fmt.Errorf("%w: a body may have %d bytes", admission.ErrTooLarge, limit)
	if r.ContentLength > limit {
		return tooLarge
	}
	if err := req.claim.More(requestCost + memoryFactor*int64(cap(req.body))); err != nil {
		return err
	}
	req.body = req.body[:0]
	var body io.Reader = r.Body
	if zipped {
		if err := req.claim.More(unzipCost); err != nil {
			return err
		}
		if err := req.unzip.Reset(r.Body); err != nil {
			return bodyError(err)
		}
		body = &req.unzip
	}
	for {
		if len(req.body) == cap(req.body) {
			grow := int64(max(cap(req.body), firstRead))
			if err := req.claim.More(memoryFactor * grow); err != nil {
				return err
			}
			req.body = append(make([]byte, 0, int64(cap(req.body))+grow), req.body...)
		}
		n, err := body.Read(req.body[len(req.body):cap(req.body)])
		req.body = req.body[:len(req.body)+n]
		if int64(len(req.body)) > limit {
			return tooLarge
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return bodyError(err)
		}
	}
}

// bodyError says why a body could not be read to its end.
func bodyError(err error) error {
	var maxBytes *http.MaxBytesError
	if errors.As(err, &maxBytes) {
		return fmt.Errorf("%w: a body may have %d bytes", admission.ErrTooLarge, maxBytes.Limit)
	}
	return badRequestError{fmt.Errorf("read body: %w", err)}
}
