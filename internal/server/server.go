package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-kit/log"
	"github.com/gorilla/mux"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/exporter-toolkit/web"

	"github.com/count-db/count/internal/caller"
	"github.com/count-db/count/internal/telemetry"
)

// Options of a Server. The zero value of a field means the default named.
type Options struct {
	// RoutePrefix stands before every path; the paths answer without it too,
	// because some proxies strip it. Default: none.
	RoutePrefix string
	// AdminAPI opens the administrative routes.
	AdminAPI bool
	// MaxBodySize bounds a request body, in bytes. Default: 32 MiB.
	MaxBodySize int64
	// MaxBodiesSize bounds the bodies of all requests together that are no writes,
	// in bytes; one of the largest size always fits. Default: 64 MiB.
	MaxBodiesSize int64
	// QueryTimeout is how long queries may run; their answers get a little
	// longer. Default: 2 minutes.
	QueryTimeout time.Duration
	// WebConfigFile holds TLS and basic-auth settings. Default: none.
	WebConfigFile string
	// ClusterSecrets returns the secrets of the cluster as they are now: any of them
	// opens the routes of nodes, without a password. nil = there are none.
	ClusterSecrets func() []string
	// AlsoPlain takes plain HTTP beside TLS, where WebConfigFile has TLS.
	AlsoPlain bool
	// LogLevel is the least level that Logger shows, for libraries that want to
	// know. Default: "info".
	LogLevel string
	Logger   log.Logger
	// Registerer takes the request metrics; nil = they are kept nowhere.
	Registerer prometheus.Registerer
}

const (
	defaultMaxBodySize   = 32 << 20
	defaultMaxBodiesSize = 64 << 20
	defaultQueryTimeout  = 2 * time.Minute

	headerTimeout = 10 * time.Second // a client that sends its header slower is dropped
	quickTimeout  = time.Minute      // a whole request that is answered at once
	writeTimeout  = 2 * time.Minute  // a whole request with samples
	queryGrace    = time.Minute      // to send a query and to take its answer, beyond its own timeout
	idleTimeout   = 2 * time.Minute  // a connection without a request
	maxHeader     = 256 << 10        // bytes
)

// Server answers on one listener.
type Server struct {
	opts   Options
	table  []route
	around *middleware
	http   http.Server
	plain  http.Server // of AlsoPlain, for what does not speak TLS
}

// New builds the handler of all routes.
func New(h Handlers, opts Options) (*Server, error) {
	if opts.MaxBodySize <= 0 {
		opts.MaxBodySize = defaultMaxBodySize
	}
	if opts.MaxBodiesSize <= 0 {
		opts.MaxBodiesSize = defaultMaxBodiesSize
	}
	if opts.QueryTimeout <= 0 {
		opts.QueryTimeout = defaultQueryTimeout
	}
	if opts.LogLevel == "" {
		opts.LogLevel = "info"
	}
	if opts.Logger == nil {
		opts.Logger = log.NewNopLogger()
	}
	if opts.WebConfigFile != "" {
		if err := web.Validate(opts.WebConfigFile); err != nil {
			return nil, fmt.Errorf("check web config file %s: %w", opts.WebConfigFile, err)
		}
	}
	s := &Server{opts: opts, around: newMiddleware(opts), table: routes(h, opts)}
	s.bound(&s.http)
	s.bound(&s.plain)
	s.http.Handler = stripPrefix(opts.RoutePrefix, router(s.table, s.around, s.around.wrap(route{path: "unknown"}, http.HandlerFunc(notFound))))
	return s, nil
}

// bound limits what clients can hold up. The time for the header is that for the
// TLS handshake before it, too.
func (s *Server) bound(h *http.Server) {
	h.ReadHeaderTimeout, h.IdleTimeout, h.MaxHeaderBytes = headerTimeout, idleTimeout, maxHeader
	h.ErrorLog = newErrorLog(s.opts.Logger)
	h.ConnContext = caller.With
}

// Handler returns the handler of all routes, for tests that need no listener.
func (s *Server) Handler() http.Handler { return s.http.Handler }

// Serve answers requests on l until Shutdown or Close; then it returns nil.
func (s *Server) Serve(l net.Listener) error {
	file := s.opts.WebConfigFile
	end := func() error { return nil }
	if file != "" {
		l, end = s.aroundToolkit(l)
	}
	// The toolkit says at level info where it listens; the node says so itself.
	quiet := telemetry.Slog(s.opts.Logger, "warn")
	err := served(web.Serve(l, &s.http, &web.FlagConfig{WebConfigFile: &file}, quiet))
	if err := errors.Join(err, end()); err != nil {
		return fmt.Errorf("serve on %s: %w", l.Addr(), err)
	}
	return nil
}

// served is why serving ended, nil when it was asked to.
func served(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// aroundToolkit prepares a listener for the toolkit, which puts its handler around
// ours and then TLS around the listener. What the toolkit has no setting for
// begins with the first Accept: then its handler is in place, and nobody was
// answered yet. end waits for what was begun beside the toolkit.
func (s *Server) aroundToolkit(l net.Listener) (around net.Listener, end func() error) {
	var split *splitter
	var beside sync.WaitGroup
	var plainErr error // read behind beside
	if s.opts.AlsoPlain {
		split = newSplitter(l, headerTimeout)
		l = &split.encrypted
	}
	start := func() {
		if s.opts.ClusterSecrets != nil {
			s.http.Handler = s.besidePasswords(s.http.Handler)
		}
		if split != nil {
			s.plain.Handler = s.http.Handler
			beside.Go(func() { plainErr = served(s.plain.Serve(&split.plain)) })
		}
	}
	return &starting{Listener: l, start: start}, func() error {
		if split == nil {
			return nil
		}
		err := split.close()
		beside.Wait()
		if errors.Is(plainErr, net.ErrClosed) {
			plainErr = nil // by the other side
		}
		return errors.Join(err, plainErr)
	}
}

// Shutdown stops listening and waits for running requests until ctx ends.
func (s *Server) Shutdown(ctx context.Context) error {
	if err := errors.Join(s.http.Shutdown(ctx), s.plain.Shutdown(ctx)); err != nil {
		return fmt.Errorf("wait for running requests: %w", err)
	}
	return nil
}

// Close drops all connections at once.
func (s *Server) Close() error { return errors.Join(s.http.Close(), s.plain.Close()) }

// router puts the table behind gorilla/mux; others takes all other paths. Paths are matched in their escaped
// form, so that %2F stays part of a series key, and are not cleaned, so that a
// key may hold any characters.
func router(table []route, around *middleware, others http.Handler) http.Handler {
	r := mux.NewRouter().UseEncodedPath().SkipClean(true)
	for _, row := range table {
		if row.handler == nil {
			continue
		}
		h := around.wrap(row, byMethod(row))
		if row.prefix {
			r.PathPrefix(row.path).Handler(h)
		} else {
			r.Path(row.path).Handler(h)
		}
	}
	r.NotFoundHandler = others
	return r
}

// byMethod answers 405 with the allowed methods to all others.
func byMethod(row route) http.Handler {
	allowed := strings.Fields(row.methods)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, m := range allowed {
			if r.Method == m || (m == http.MethodGet && r.Method == http.MethodHead) {
				row.handler.ServeHTTP(w, r)
				return
			}
		}
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		WriteError(w, http.StatusMethodNotAllowed, fmt.Sprintf("method %s is not allowed here; allowed: %s", r.Method, strings.Join(allowed, ", ")))
	})
}

func notFound(w http.ResponseWriter, _ *http.Request) {
	WriteError(w, http.StatusNotFound, "404 page not found")
}

// stripPrefix removes the route prefix where a path has it.
func stripPrefix(prefix string, next http.Handler) http.Handler {
	if prefix == "" {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		escaped, ok := strings.CutPrefix(r.URL.EscapedPath(), prefix)
		if !ok || (escaped != "" && escaped[0] != '/') {
			next.ServeHTTP(w, r)
			return
		}
		if escaped == "" {
			escaped = "/"
		}
		path, err := url.PathUnescape(escaped)
		if err != nil {
			WriteError(w, http.StatusBadRequest, "malformed path: "+err.Error())
			return
		}
		inner := r.Clone(r.Context())
		inner.URL.Path, inner.URL.RawPath = path, escaped
		next.ServeHTTP(w, inner)
	})
}
