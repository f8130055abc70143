package server

import (
	"net/http"
	"net/http/pprof"
	"strings"
)

// Handlers are the parts that the routes lead to. A nil one leaves its routes
// out: they answer 404.
type Handlers struct {
	Insert         http.Handler // native writes
	RemoteWrite    http.Handler // remote write 1.0 and 2.0
	OTLP           http.Handler // OTLP metrics
	Series         SeriesHandlers
	API            http.Handler // Prometheus's HTTP API v1; sees whole paths
	Metadata       http.Handler // /api/v1/metadata
	Flush          http.Handler // administrative flush
	Federate       http.Handler
	Metrics        http.Handler
	Version        http.Handler
	Health         http.Handler // /health, for people and load balancers
	Healthy        http.Handler
	Ready          http.Handler
	ClusterStatus  http.Handler
	ClusterRing    http.Handler
	ClusterLeave   http.Handler
	ClusterRemove  http.Handler
	ClusterFactor  http.Handler // sets the replication factor
	ClusterAbort   http.Handler
	ClusterPause   http.Handler // makes the copying of a change rest
	ClusterResume  http.Handler // makes it go on
	ClusterRepair  http.Handler
	ClusterRecover http.Handler
	Backup         http.Handler // snapshots of this node for backups
	Restore        http.Handler // what a restore puts back
	ClusterJoin    http.Handler // documented JSON form
	ClusterGossip  http.Handler // documented JSON form
	Replicate      http.Handler // documented JSON form
	Internal       http.Handler // node to node, below /internal/
	UI             http.Handler // pages for people, below /ui/
}

// SeriesHandlers are the native REST queries.
type SeriesHandlers struct {
	Range          http.Handler // GET, one series
	Aggregated     http.Handler // GET, one series
	ManyRange      http.Handler // POST, several series
	ManyAggregated http.Handler // POST, several series
}

// route is one row of the table.
type route struct {
	path    string // gorilla/mux pattern, matched against the escaped path
	methods string // separated by spaces; HEAD comes with GET
	handler http.Handler
	class   class
	prefix  bool // matches everything below the path
	ownBody bool // the handler bounds its body, and how long it may take
}

// forNodes says whether a path is for nodes and those who look after them: who
// knows the secret of the cluster needs no password of the web config file there.
func forNodes(path string) bool {
	switch path {
	case "/internal/", "/replicate", "/health", "/-/healthy", "/-/ready":
		return true
	case "/query/range", "/query/aggregated": // nodes ask there for a node's own copy; all else of queries is below these
		return true
	}
	return strings.HasPrefix(path, "/cluster/")
}

// class says what a request of the route may take.
type class uint8

const (
	quick  class = iota // answers at once: status, health, lists
	write               // a request body with samples
	query               // as long as a query may run
	stream              // no deadline: long answers, upgraded connections
)

// routes returns THE table: every path of the port.
func routes(h Handlers, opts Options) []route {
	all := []route{
		{path: "/insert", methods: "POST", handler: h.Insert, class: write},
		{path: "/query/range/{series}", methods: "GET", handler: h.Series.Range, class: query},
		{path: "/query/aggregated/{series}", methods: "GET", handler: h.Series.Aggregated, class: query},
		{path: "/query/range", methods: "POST", handler: h.Series.ManyRange, class: query},
		{path: "/query/aggregated", methods: "POST", handler: h.Series.ManyAggregated, class: query},

		{path: "/health", methods: "GET", handler: h.Health},
		{path: "/-/healthy", methods: "GET", handler: h.Healthy},
		{path: "/-/ready", methods: "GET", handler: h.Ready},
		{path: "/metrics", methods: "GET", handler: h.Metrics},
		{path: "/version", methods: "GET", handler: h.Version},
		{path: "/federate", methods: "GET", handler: h.Federate, class: query},

		{path: "/api/v1/write", methods: "POST", handler: h.RemoteWrite, class: write},
		{path: "/api/v1/push", methods: "POST", handler: h.RemoteWrite, class: write},
		{path: "/api/v1/receive", methods: "POST", handler: h.RemoteWrite, class: write},
		{path: "/api/v1/otlp/v1/metrics", methods: "POST", handler: h.OTLP, class: write},
		{path: "/otlp/v1/metrics", methods: "POST", handler: h.OTLP, class: write},
		{path: "/api/v1/metadata", methods: "GET", handler: h.Metadata},

		{path: "/cluster/status", methods: "GET", handler: h.ClusterStatus},
		{path: "/cluster/ring", methods: "GET", handler: h.ClusterRing},
		{path: "/cluster/leave", methods: "POST", handler: h.ClusterLeave, class: stream},
		{path: "/cluster/remove", methods: "POST", handler: h.ClusterRemove, class: stream},
		{path: "/cluster/replication-factor", methods: "POST", handler: h.ClusterFactor, class: stream},
		{path: "/cluster/abort", methods: "POST", handler: h.ClusterAbort, class: stream},
		{path: "/cluster/pause", methods: "POST", handler: h.ClusterPause, class: stream},
		{path: "/cluster/resume", methods: "POST", handler: h.ClusterResume, class: stream},
		{path: "/cluster/recover", methods: "POST", handler: h.ClusterRecover, class: stream},
		{path: "/cluster/repair", methods: "GET POST", handler: h.ClusterRepair, class: stream},
		{path: "/cluster/backup", methods: "GET POST DELETE", handler: h.Backup, class: stream},
		{path: "/cluster/restore", methods: "GET POST", handler: h.Restore, class: stream, ownBody: true},
		{path: "/cluster/join", methods: "POST", handler: h.ClusterJoin},
		{path: "/cluster/gossip", methods: "POST", handler: h.ClusterGossip},
		{path: "/replicate", methods: "POST", handler: h.Replicate, class: write},
		{path: "/internal/", methods: "GET POST", handler: h.Internal, class: stream, prefix: true, ownBody: true},

		{path: "/", methods: "GET", handler: redirectTo(opts.RoutePrefix+"/ui/", h.UI)},
		{path: "/ui/", methods: "GET", handler: h.UI, prefix: true},
	}
	all = append(all, apiRoutes(h.API)...)
	if opts.AdminAPI {
		all = append(all, adminRoutes(h, opts.ClusterSecrets)...)
	}
	return all
}

// apiRoutes are the paths of Prometheus's HTTP API v1.
func apiRoutes(api http.Handler) []route {
	const both = "GET POST OPTIONS"
	var all []route
	add := func(path, methods string, c class) {
		all = append(all, route{path: "/api/v1" + path, methods: methods, handler: api, class: c})
	}
	for _, path := range []string{"/query", "/query_range", "/query_exemplars", "/labels", "/series"} {
		add(path, both, query)
	}
	add("/label/{name}/values", "GET OPTIONS", query)
	add("/format_query", both, quick)
	add("/parse_query", both, quick)
	add("/read", "POST", stream)
	for _, path := range []string{
		"/rules", "/alerts", "/alertmanagers", "/scrape_pools", "/targets", "/targets/metadata", "/features", "/notifications", "/openapi.yaml",
		"/status/config", "/status/runtimeinfo", "/status/buildinfo", "/status/flags", "/status/tsdb", "/status/tsdb/blocks", "/status/walreplay", "/status/self_metrics", "/status/active_queries", "/status/slow_queries", "/status/churn",
	} {
		add(path, "GET OPTIONS", quick)
	}
	add("/notifications/live", "GET", stream)
	return all
}

// adminRoutes exist only with ADMIN_API.
func adminRoutes(h Handlers, secrets func() []string) []route {
	return []route{
		{path: "/api/v1/admin/tsdb/delete_series", methods: "POST PUT", handler: h.API, class: query},
		{path: "/api/v1/admin/tsdb/clean_tombstones", methods: "POST PUT", handler: h.API, class: stream},
		{path: "/api/v1/admin/tsdb/snapshot", methods: "POST PUT", handler: h.API, class: stream},
		{path: "/api/v1/admin/tsdb/flush", methods: "POST PUT", handler: h.Flush, class: stream},
		{path: "/api/v1/admin/cancel_query", methods: "POST", handler: h.API},
		{path: "/debug/pprof/cmdline", methods: "GET", handler: masked(http.HandlerFunc(pprof.Cmdline), secrets)},
		{path: "/debug/pprof/profile", methods: "GET", handler: http.HandlerFunc(pprof.Profile), class: stream},
		{path: "/debug/pprof/symbol", methods: "GET POST", handler: http.HandlerFunc(pprof.Symbol)},
		{path: "/debug/pprof/trace", methods: "GET", handler: http.HandlerFunc(pprof.Trace), class: stream},
		{path: "/debug/pprof/", methods: "GET", handler: http.HandlerFunc(pprof.Index), class: stream, prefix: true},
	}
}

// redirectTo leads people who type the bare address to the pages, when there
// are any.
func redirectTo(target string, pages http.Handler) http.Handler {
	if pages == nil {
		return nil
	}
	// The target stays relative, which http.Redirect would not let it: behind a
	// proxy or under a route prefix the path that people see is another one.
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", target)
		w.WriteHeader(http.StatusFound)
	})
}
