package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"

	"github.com/count-db/count/internal/config"
	"github.com/count-db/count/internal/server"
	"github.com/count-db/count/internal/telemetry"
	"github.com/count-db/count/internal/vfs"
	"github.com/count-db/count/internal/web"
)

// Options are what a node is made from.
type Options struct {
	Config *config.Config
	Logger log.Logger
	Build  telemetry.Build
	// Memory is what the node may plan with, in bytes; 0 = unknown.
	Memory int64
	Place  Place
}

// Place says where the process runs; it is only shown.
type Place struct {
	Hostname         string
	WorkingDirectory string
	GOGC, GODEBUG    string
}

// Node is a running Count. Its states: starting (bound, answers /-/healthy,
// everything else with 503), ready, stopping (still answers, /-/ready is 503).
type Node struct {
	opts     Options
	fs       vfs.FS
	listener net.Listener
	registry *prometheus.Registry
	server   *server.Server
	slots    *slots
	security *security
	started  time.Time

	// why is the reason the node is not ready; nil = it is. Health reads it.
	why   atomic.Pointer[string]
	parts atomic.Pointer[parts] // nil while starting
}

// uiPath is where the pages for people are, as in the table of routes.
const uiPath = "/ui/"

// New binds the port and builds what answers while the node starts. Run does
// the rest and gives the port back.
func New(opts Options) (*Node, error) {
	cfg := opts.Config
	secured, err := newSecurity(vfs.OS(), cfg, opts.Logger)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", cfg.BindAddress)
	if err != nil {
		return nil, fmt.Errorf("bind BIND_ADDRESS: %w", err)
	}
	n := &Node{opts: opts, fs: vfs.OS(), listener: listener, registry: telemetry.NewRegistry(opts.Build), security: secured, started: time.Now()}
	if err := secured.register(n.registry); err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	n.notReady("the storage is being opened")
	n.slots = newSlots(n.whyNotReady)
	handlers := n.slots.handlers(n)
	if handlers.UI, err = web.Handler(uiPath); err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	n.server, err = server.New(handlers, server.Options{
		RoutePrefix:    cfg.RoutePrefix,
		AdminAPI:       cfg.AdminAPI,
		MaxBodySize:    cfg.MaxBodySize,
		QueryTimeout:   cfg.QueryTimeout,
		WebConfigFile:  cfg.WebConfigFile,
		ClusterSecrets: secured.clusterSecrets(),
		AlsoPlain:      secured.alsoPlain(),
		LogLevel:       cfg.LogLevel,
		Logger:         opts.Logger,
		Registerer:     n.registry,
	})
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	return n, nil
}

// Address returns the bound host:port.
func (n *Node) Address() string { return n.listener.Addr().String() }

// Run opens the storage, serves until ctx ends and then takes the node down in
// order. It returns nil after a good end.
func (n *Node) Run(ctx context.Context) error {
	serving := make(chan error, 1)
	go func() { serving <- n.server.Serve(n.listener) }()
	level.Info(n.opts.Logger).Log("msg", "listening", "address", n.Address(), "node_id", n.opts.Config.NodeID, "version", n.opts.Build.Version)
	if n.security.mode() == config.TLSPrefer {
		level.Warn(n.opts.Logger).Log("msg", "CLUSTER_TLS=prefer is for changing over to TLS: nodes can be made to talk without it; set require, or leave it out, when all nodes have TLS")
	}
	for {
		p, err := n.start()
		if err != nil {
			return errors.Join(err, n.server.Close(), <-serving)
		}
		select {
		case err = <-serving:
			serving <- nil
		case <-ctx.Done():
		case <-p.grown:
			if err = n.grow(p); err == nil {
				continue
			}
			return errors.Join(err, n.server.Close(), <-serving)
		}
		return errors.Join(err, n.stop(p, serving))
	}
}

// start opens the parts and lets the routes lead to them.
func (n *Node) start() (*parts, error) {
	began := time.Now()
	p, err := n.open()
	if err != nil {
		return nil, err
	}
	n.parts.Store(p)
	n.slots.fill(n, p)
	if err := p.cluster.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start the cluster: %w", err), p.close())
	}
	n.ready()
	level.Info(n.opts.Logger).Log("msg", "ready", "address", n.Address(), "data_dir", n.opts.Config.DataDir,
		"seconds", time.Since(began).Seconds(), "replayed_samples", p.db.Stats().Replay.Samples)
	return p, nil
}

// grow makes a node alone ready for others: its ring goes to disk, where the
// next start finds it, and the parts are closed. Requests are answered with 503
// meanwhile.
func (n *Node) grow(p *parts) error {
	level.Info(n.opts.Logger).Log("msg", "another node joins: the node opens its storage anew, as one of a cluster")
	n.notReady(errGrowing.Error())
	n.slots.clear()
	n.parts.Store(nil)
	return errors.Join(n.saveRing(p), p.close())
}

// stop ends a node in order: readiness goes, so that nobody sends more;
// running requests end; then the storage is flushed and closed. What a flush
// cannot write stays in the log.
func (n *Node) stop(p *parts, serving <-chan error) error {
	n.notReady("the node is stopping")
	level.Info(n.opts.Logger).Log("msg", "stopping", "wait", n.opts.Config.ShutdownTimeout)
	ctx, cancel := context.WithTimeout(context.Background(), n.opts.Config.ShutdownTimeout)
	defer cancel()
	var errs []error
	if err := n.server.Shutdown(ctx); err != nil {
		level.Warn(n.opts.Logger).Log("msg", "requests that still ran were cut off", "err", err)
		errs = append(errs, n.server.Close())
	}
	errs = append(errs, <-serving, p.close())
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("stop the node: %w", err)
	}
	level.Info(n.opts.Logger).Log("msg", "stopped")
	return nil
}

func (n *Node) notReady(why string) { n.why.Store(&why) }
func (n *Node) ready()              { n.why.Store(nil) }

// whyNotReady returns why the node takes no requests, "" when it does.
func (n *Node) whyNotReady() string {
	if why := n.why.Load(); why != nil {
		return *why
	}
	if p := n.parts.Load(); p != nil {
		return p.whyNotReady()
	}
	return ""
}

// health is what /health answers.
func (n *Node) health() server.Health {
	h := server.Health{Status: server.Healthy, NodeID: n.opts.Config.NodeID, ClusterSize: 1, Version: n.opts.Build.Version}
	p := n.parts.Load()
	if p != nil {
		p.describe(&h)
	}
	if why := n.security.secrets.problem(); why != "" {
		h.Reasons = append(h.Reasons, why)
		if h.Status == server.Healthy {
			h.Status = server.Degraded
		}
	}
	why := n.whyNotReady()
	h.Ready = why == ""
	if !h.Ready {
		h.Status = server.Unhealthy
		if !slices.Contains(h.Reasons, why) { // what the parts say may be why
			h.Reasons = append(h.Reasons, why)
		}
	}
	return h
}

// gatherer collects the metrics of the process and of the parts there are.
func (n *Node) gatherer() prometheus.Gatherer {
	return prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
		all := prometheus.Gatherers{n.registry}
		if p := n.parts.Load(); p != nil {
			all = append(all, p.metrics)
		}
		return all.Gather()
	})
}

func (n *Node) metricsHandler() http.Handler {
	return promhttp.HandlerFor(n.gatherer(), promhttp.HandlerOpts{Registry: n.registry, EnableOpenMetrics: true})
}

func (n *Node) versionHandler() http.Handler {
	b := n.opts.Build
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		server.WriteJSON(w, http.StatusOK, map[string]string{
			"name": "count", "version": b.Version, "revision": b.Revision, "date": b.Date, "go": b.GoVersion, "platform": b.Platform,
		})
	})
}
