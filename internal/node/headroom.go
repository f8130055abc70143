package node

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/count-db/count/internal/headroom"
	"github.com/count-db/count/internal/server"
)

// guardMemory returns what gives up reads that the memory is too short for; limit
// is the runtime's in bytes, 0 = unknown, without which nothing is given up.
func guardMemory(limit int64, reg prometheus.Registerer) *headroom.Guard {
	shed := promauto.With(reg).NewCounter(prometheus.CounterOpts{
		Name: "count_reads_shed_total", Help: "Queries and other reads that were given up because memory was short.",
	})
	return headroom.New(limit, nil, shed.Inc)
}

// refusedREST answers a read that was given up.
func refusedREST(w http.ResponseWriter, _ *http.Request) {
	server.WriteError(w, http.StatusServiceUnavailable, headroom.ErrShort.Error())
}

// refusedAPI does so in the form of Prometheus's API.
func refusedAPI(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusServiceUnavailable)
	// The client has gone where this fails: nobody is left to tell.
	_ = json.NewEncoder(w).Encode(map[string]string{"status": "error", "errorType": "unavailable", "error": headroom.ErrShort.Error()})
}

// errShed is what a handler gets that writes an answer after its work was
// given up.
var errShed = errors.New("the answer was given up")

// withHeadroom guards the requests of a handler, their answers included. One that is
// given up before its answer has begun is answered by refuse, later ones end with
// the connection, so that no client takes a part for the whole.
func withHeadroom(g *headroom.Guard, next http.Handler, refuse http.HandlerFunc) http.Handler {
	if g == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/api/v1/admin/") {
			next.ServeHTTP(w, r) // a delete is no read, and holds nothing
			return
		}
		ctx, leave := g.Enter(r.Context())
		defer leave()
		header := w.Header().Clone()
		out := &shedAnswer{ResponseWriter: w, short: func() bool { return headroom.Short(ctx) }}
		stop := context.AfterFunc(ctx, out.cut)
		next.ServeHTTP(out, r.WithContext(ctx))
		stop()
		switch {
		case !headroom.Short(ctx):
		case out.begun.Load():
			panic(http.ErrAbortHandler) // net/http's way to end the connection
		default:
			clear(w.Header())
			maps.Copy(w.Header(), header)
			w.Header().Set("Retry-After", "1")
			refuse(w, r)
		}
	})
}

// shedAnswer lets nothing begin once the work was given up.
type shedAnswer struct {
	http.ResponseWriter
	short func() bool
	begun atomic.Bool
}

// cut ends a write that waits for a slow client, whose answer is in memory.
func (a *shedAnswer) cut() {
	if a.short() && a.begun.Load() {
		// What has no deadline, a test's recorder, waits for nobody.
		_ = http.NewResponseController(a.ResponseWriter).SetWriteDeadline(time.Now())
	}
}

// WriteHeader implements http.ResponseWriter.
func (a *shedAnswer) WriteHeader(code int) {
	if !a.begun.Load() && a.short() {
		return
	}
	if code >= http.StatusOK {
		a.begun.Store(true)
	}
	a.ResponseWriter.WriteHeader(code)
}

// Write implements http.ResponseWriter.
func (a *shedAnswer) Write(p []byte) (int, error) {
	if a.short() {
		return 0, errShed
	}
	a.begun.Store(true)
	return a.ResponseWriter.Write(p) //nolint:wrapcheck // passed through
}

// Flush implements http.Flusher.
func (a *shedAnswer) Flush() {
	if a.short() {
		return
	}
	a.begun.Store(true)
	// A writer that cannot flush sends at the end: nothing is lost.
	_ = http.NewResponseController(a.ResponseWriter).Flush()
}

// Unwrap is for http.ResponseController.
func (a *shedAnswer) Unwrap() http.ResponseWriter { return a.ResponseWriter }
