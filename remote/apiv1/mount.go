package apiv1

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/grafana/regexp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/route"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/features"
	api "github.com/prometheus/prometheus/web/api/v1"
)

// Deps are the parts that the API stands on.
type Deps struct {
	Engine     promql.QueryEngine
	Parser     parser.Parser
	Queryable  storage.SampleAndChunkQueryable
	Exemplars  storage.ExemplarQueryable
	Appendable storage.AppendableV2 // what OTLP writes to; nil = no OTLP
	Metadata   MetadataReader
	Admin      Admin
	Status     StatusReader
	Queries    Queries // nil = no explaining, listing and cancelling
	Gatherer   prometheus.Gatherer
	Registerer prometheus.Registerer
	Logger     *slog.Logger
}

// Options of the API. The zero value of a limit means none.
type Options struct {
	AdminAPI              bool
	DataDir               string // snapshots are made in its folder "snapshots"
	ListenAddress         string
	ExternalURL           string
	CORSOrigin            string           // anchored regular expression; empty = any
	Now                   func() time.Time // clock of /federate; nil = time.Now
	LookbackDelta         time.Duration
	QueryTimeout          time.Duration
	RemoteReadSampleLimit int
	RemoteReadConcurrency int
	// Unavailable reports whether an error says that too few copies could be
	// reached or the storage is closed: it is answered with 503. Nil = never.
	Unavailable func(error) bool
	// Consistency puts what the parameter "consistency" of a read says into the
	// context that the queries get; its error is answered with 400. Nil = the
	// parameter is ignored.
	Consistency func(ctx context.Context, asked string) (context.Context, error)
	// NoCache does the same for the parameter "nocache" of a query.
	NoCache func(ctx context.Context, asked string) (context.Context, error)
}

// remoteReadFrame is the size of a frame of streamed remote read, in bytes:
// Prometheus's default.
const remoteReadFrame = 1 << 20

// API are the handlers of this package. They see whole paths.
type API struct {
	V1       http.Handler // everything below /api/v1/ that has no own member here
	OTLP     http.Handler // OTLP metrics, whatever the path; nil without Appendable
	Metadata http.Handler
	Federate http.Handler
	Flush    http.Handler // administrative: flush and seal
}

// New mounts Prometheus's handlers on the parts given.
func New(d Deps, o Options) (*API, error) {
	if o.CORSOrigin == "" {
		o.CORSOrigin = ".*"
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	cors, err := regexp.Compile("^(?s:" + o.CORSOrigin + ")$")
	if err != nil {
		return nil, fmt.Errorf("compile the CORS origin: %w", err)
	}
	r := route.New()
	v1API := newV1(d, o, cors, externalURL(o.ExternalURL, o.ListenAddress))
	v1API.ClearCodecs()
	v1API.InstallCodec(resultCodec{})
	v1API.Register(r)
	mounted := http.StripPrefix("/api/v1", r)
	own, v1 := map[string]http.Handler{
		"/api/v1/status/config":   configHandler(d.Status),
		"/api/v1/status/churn":    churnHandler(d.Status),
		"/api/v1/query_exemplars": marked(mounted),
		"/api/v1/read":            remoteRead(o.Unavailable, mounted),
	}, mounted
	if d.Queries != nil {
		own["/api/v1/status/active_queries"] = activeQueriesHandler(d.Queries)
		own["/api/v1/status/slow_queries"] = slowQueriesHandler(d.Queries)
		own["/api/v1/admin/cancel_query"] = cancelQueryHandler(d.Queries)
		v1 = explaining(d.Queries, o.Now, mounted)
	}
	out := &API{
		V1:       atParameter("consistency", o.Consistency, atParameter("nocache", o.NoCache, override(v1, own))),
		Metadata: marked(atParameter("consistency", o.Consistency, metadataHandler(d.Metadata, o.Unavailable))),
		Federate: marked(atParameter("consistency", o.Consistency, &federation{queryable: d.Queryable, parser: d.Parser, lookback: o.LookbackDelta, now: o.Now, logger: d.Logger, unavailable: o.Unavailable})),
		Flush:    flushHandler(d.Admin, o.Unavailable),
	}
	if d.Appendable != nil {
		out.OTLP = atPath("/api/v1/otlp/v1/metrics", mounted)
	}
	return out, nil
}

// newV1 passes the 44 arguments of Prometheus's constructor.
func newV1(d Deps, o Options, cors *regexp.Regexp, external *url.URL) *api.API {
	return api.NewAPI(
		d.Engine,
		d.Queryable,
		d.Appendable,
		d.Exemplars,
		nothing{}.scrapePools,
		nothing{}.targets,
		nothing{}.alertmanagers,
		func() config.Config { return config.DefaultConfig },
		d.Status.Flags(),
		api.GlobalURLOptions{ListenAddress: o.ListenAddress, Host: external.Host, Scheme: external.Scheme},
		func(h http.HandlerFunc) http.HandlerFunc { return h }, // readiness is checked before requests come here
		&adminAdapter{admin: d.Admin, status: d.Status},
		o.DataDir,
		o.AdminAPI,
		false, // enableSearch: the experimental search needs an index of its own
		0,     // maxSearchLimit
		d.Logger,
		nothing{}.rules,
		o.RemoteReadSampleLimit,
		o.RemoteReadConcurrency,
		remoteReadFrame,
		false, // isAgent
		cors,
		func() (api.RuntimeInfo, error) { return runtimeInfo(d.Status), nil },
		buildInfo(d.Status),
		nothing{}.notifications,
		nothing{}.subscribe,
		withHeadChunks{d.Gatherer, d.Status},
		d.Registerer,
		nil,   // statsRenderer: Prometheus's
		false, // rwEnabled: remote write is our own
		nil,   // acceptRemoteWriteProtoMsgs
		d.Appendable != nil,
		false, // otlpDeltaToCumulative
		false, // otlpNativeDeltaIngestion
		o.LookbackDelta,
		false, // enableTypeAndUnitLabels
		false, // appendMetadata
		overrideCode(api.OverrideErrorCode(nil), overrider{o.Unavailable}),
		features.NewRegistry(),
		api.OpenAPIOptions{ExternalURL: o.ExternalURL},
		d.Parser,
		false, // enableQueryCost
		o.QueryTimeout,
	)
}

// atParameter lets a request say by a parameter how it is answered.
func atParameter(name string, apply func(context.Context, string) (context.Context, error), next http.Handler) http.Handler {
	if apply == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, err := apply(r.Context(), r.FormValue(name))
		if err != nil {
			failure(w, http.StatusBadRequest, "bad_data", err.Error())
			return
		}
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// override answers some paths with handlers of our own.
func override(next http.Handler, own map[string]http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h := own[r.URL.Path]; h != nil && r.Method != http.MethodOptions {
			h.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// atPath serves requests as if they had come to another path.
func atPath(path string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		inner := r.Clone(r.Context())
		inner.URL.Path, inner.URL.RawPath = path, ""
		next.ServeHTTP(w, inner)
	})
}

// overrider maps errors that say "try another time" to 503, whatever kind of
// error Prometheus takes them for.
type overrider struct{ unavailable func(error) bool }

func (o overrider) code(err error) (int, bool) {
	if isUnavailable(o.unavailable, err) {
		return http.StatusServiceUnavailable, true
	}
	return 0, false
}

// overrideCode returns the overrider as a function of the type of its first
// argument. It is generic because the kind of an error has a name only inside
// web/api/v1.
func overrideCode[kind any, fn ~func(kind, error) (int, bool)](_ fn, o overrider) fn {
	return func(_ kind, err error) (int, bool) { return o.code(err) }
}

// isUnavailable looks behind the wrapping of Prometheus's engine, which hides
// what it wraps.
func isUnavailable(unavailable func(error) bool, err error) bool {
	if unavailable == nil || err == nil {
		return false
	}
	var inStorage promql.ErrStorage
	if errors.As(err, &inStorage) {
		err = inStorage.Err
	}
	return unavailable(err)
}
