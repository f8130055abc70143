package write

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/internal/admission"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/seriescache"
)

// Resolver gives series their references.
type Resolver interface {
	// Intern returns the reference of a series and makes it known where it is
	// new. The labels are sorted, valid and kept. An error that is an
	// *admission.Rejection refuses this series for good; any other ends the
	// request. It is safe for concurrent use.
	Intern(ls labels.Labels) (model.Ref, error)
}

// Sink takes decoded requests. It is safe for concurrent use.
type Sink interface {
	// Reserve claims memory for a request that is being read, in bytes, before
	// it is allocated; Release gives it back. It does not wait: without room
	// the error is admission.ErrOverloaded, admission.ErrTooLarge or an
	// *admission.UnavailableError.
	Reserve(bytes int64) error
	Release(bytes int64)
	// Write stores the batch durably. Samples that may not be stored are taken
	// out of the batch and added to the report, which holds what the decoder
	// refused; what is left in the batch when it returns nil is stored. An
	// error means that nothing is acknowledged. The batch is the caller's
	// again afterwards.
	Write(ctx context.Context, batch *model.Batch, report *admission.Report) error
}

// Deps are the parts that a handler works with.
type Deps struct {
	Series Resolver
	Sink   Sink
	Cache  *seriescache.Cache
	// Registerer gets the handler's metrics; nil = none are registered.
	Registerer prometheus.Registerer
}

// Options of a handler; the zero value means the defaults.
type Options struct {
	// MaxBodyBytes bounds the body as it is sent; 0 = 32 MiB, as in Prometheus.
	MaxBodyBytes int64
	// MaxDecodedBytes bounds the decompressed body; 0 = 32 MiB, as in Prometheus.
	MaxDecodedBytes int64
	// Limits on labels; the zero value = admission.DefaultLimits.
	Limits admission.Limits
	// Now is the clock; nil = time.Now.
	Now func() time.Time
}

const defaultMaxBytes = 32 << 20

func (o Options) withDefaults() Options {
	if o.MaxBodyBytes <= 0 {
		o.MaxBodyBytes = defaultMaxBytes
	}
	if o.MaxDecodedBytes <= 0 {
		o.MaxDecodedBytes = defaultMaxBytes
	}
	if o.Limits == (admission.Limits{}) {
		o.Limits = admission.DefaultLimits()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// handler serves POST /api/v1/write.
type handler struct {
	sink  Sink
	cache *seriescache.Cache
	opts  Options
	stats *stats
	pool  sync.Pool // of *request
}

// New returns the handler of remote write 1.0 and 2.0 requests.
func New(deps Deps, opts Options) (http.Handler, error) {
	opts = opts.withDefaults()
	if err := opts.Limits.Validate(); err != nil {
		return nil, fmt.Errorf("remote write: %w", err)
	}
	if deps.Series == nil || deps.Sink == nil || deps.Cache == nil {
		return nil, errors.New("remote write: series, sink and cache are needed")
	}
	stats, err := newStats(deps.Registerer, deps.Cache)
	if err != nil {
		return nil, fmt.Errorf("remote write: register metrics: %w", err)
	}
	h := &handler{sink: deps.Sink, cache: deps.Cache, opts: opts, stats: stats}
	families := newFamilyMemory(opts.Now)
	h.pool.New = func() any {
		req := &request{claim: admission.NewClaim(deps.Sink)}
		req.decoder = decoder{series: deps.Series, limits: opts.Limits, families: families, reserve: req.claim.More}
		return req
	}
	return h, nil
}

// protocol is the message that a request carries.
type protocol int

const (
	protocolV1 protocol = iota
	protocolV2
)

func (p protocol) String() string {
	if p == protocolV2 {
		return "2.0"
	}
	return "1.0"
}

// negotiate reads the headers that say what the body is.
func negotiate(header http.Header) (protocol, error) {
	if enc := header.Get("Content-Encoding"); enc != "" && !strings.EqualFold(enc, "snappy") {
		return 0, fmt.Errorf("content encoding %q is not supported, only snappy (block format)", enc)
	}
	text := header.Get("Content-Type")
	if text == "" {
		return protocolV1, nil
	}
	media, params, err := mime.ParseMediaType(text)
	if err != nil || media != "application/x-protobuf" {
		return 0, fmt.Errorf("content type %q is not supported, only application/x-protobuf", text)
	}
	switch proto := params["proto"]; proto {
	case "", "prometheus.WriteRequest":
		return protocolV1, nil
	case "io.prometheus.write.v2.Request":
		return protocolV2, nil
	default:
		return 0, fmt.Errorf("message %q is not supported, only prometheus.WriteRequest and io.prometheus.write.v2.Request", proto)
	}
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "remote write takes POST only", http.StatusMethodNotAllowed)
		return
	}
	proto, err := negotiate(r.Header)
	if err != nil {
		h.stats.answered(proto, http.StatusUnsupportedMediaType)
		http.Error(w, err.Error(), http.StatusUnsupportedMediaType)
		return
	}
	req, _ := h.pool.Get().(*request)
	defer h.recycle(req)
	h.answer(w, proto, req, h.serve(r, proto, req))
}

// recycle ends a request and keeps its memory, unless it was an unusually large one.
func (h *handler) recycle(req *request) {
	req.claim.Release()
	req.decoder.reset()
	if req.kept() <= maxKeptBytes {
		h.pool.Put(req)
	}
}

// serve reads, decodes and stores a request.
func (h *handler) serve(r *http.Request, proto protocol, req *request) error {
	plain, err := req.read(r, h.opts)
	if err != nil {
		return err
	}
	h.stats.received(proto, len(req.body), len(plain))
	if err := h.decode(proto, &req.decoder, plain); err != nil {
		return err
	}
	d := &req.decoder
	if err := h.sink.Write(r.Context(), &d.batch, &d.report); err != nil {
		return err
	}
	d.families.remember(d.notes)
	return nil
}

func (h *handler) decode(proto protocol, d *decoder, plain []byte) error {
	d.session.Open(h.cache)
	defer d.session.Close() // holds a lock: let it go whatever happens
	if proto == protocolV2 {
		return d.decodeV2(plain)
	}
	return d.decodeV1(plain)
}

// answer maps the outcome of a request to status, headers and text.
func (h *handler) answer(w http.ResponseWriter, proto protocol, req *request, err error) {
	d := &req.decoder
	if err != nil {
		code, retryAfter := admission.StatusOf(err)
		if errors.Is(err, errMalformed) {
			code = http.StatusBadRequest
		}
		if retryAfter > 0 {
			w.Header().Set("Retry-After", admission.RetryAfterSeconds(retryAfter))
		}
		setWritten(w.Header(), 0, 0, 0)
		h.stats.answered(proto, code)
		http.Error(w, err.Error(), code)
		return
	}
	// What a later sample of the request replaced is written too: a sender that is
	// told less than it sent takes the rest for lost.
	setWritten(w.Header(), len(d.batch.Floats)+d.report.SupersededFloats, len(d.batch.Hists)+d.report.SupersededHists, len(d.batch.Exemplars))
	if d.report.Refused() {
		h.stats.answered(proto, http.StatusBadRequest)
		http.Error(w, "the rest was stored, "+d.report.String(), http.StatusBadRequest)
		return
	}
	h.stats.answered(proto, http.StatusNoContent)
	w.WriteHeader(http.StatusNoContent)
}

// setWritten tells the sender what was stored. Senders of version 2.0 take an
// answer without these headers for a failure; those of 1.0 ignore them.
func setWritten(header http.Header, samples, histograms, exemplars int) {
	header.Set("X-Prometheus-Remote-Write-Samples-Written", strconv.Itoa(samples))
	header.Set("X-Prometheus-Remote-Write-Histograms-Written", strconv.Itoa(histograms))
	header.Set("X-Prometheus-Remote-Write-Exemplars-Written", strconv.Itoa(exemplars))
}
