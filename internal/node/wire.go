package node

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/count-db/count/cluster"
	"github.com/count-db/count/cluster/membership"
	"github.com/count-db/count/engine"
	"github.com/count-db/count/ingest"
	insert "github.com/count-db/count/ingest/rest"
	"github.com/count-db/count/internal/admission"
	"github.com/count-db/count/internal/config"
	"github.com/count-db/count/internal/headroom"
	"github.com/count-db/count/internal/node/storage"
	"github.com/count-db/count/internal/seriescache"
	"github.com/count-db/count/internal/server"
	"github.com/count-db/count/internal/telemetry"
	"github.com/count-db/count/internal/vfs"
	"github.com/count-db/count/promql"
	"github.com/count-db/count/promql/prom"
	"github.com/count-db/count/promql/rest"
	"github.com/count-db/count/remote/apiv1"
	"github.com/count-db/count/remote/appendable"
	"github.com/count-db/count/remote/write"
)

// parts are what a running node consists of.
type parts struct {
	db          *engine.DB
	disk        membership.Disk
	cluster     *cluster.Cluster
	clustered   bool  // reads and writes go through the cluster
	joinable    error // why a node alone takes no joins; nil: it does
	metrics     *prometheus.Registry
	aloneState  vfs.FS        // of a node that is not clustered: its ring of one
	grown       chan struct{} // closed when another node wants to join a node alone
	growing     sync.Once
	pipeline    *ingest.Pipeline
	queries     *promql.Engine
	headroom    *headroom.Guard // ends reads before their memory ends the process
	insert      http.Handler
	remoteWrite http.Handler
	appendable  *appendable.Appendable
	rest        *rest.Handler
	api         *apiv1.API
	backups     *backups
	store       promql.Store // that queries and restores read
}

// open opens the storage, which replays the log, and connects the parts to it.
func (n *Node) open() (*parts, error) {
	clustered, err := n.clustered()
	if err != nil {
		return nil, err
	}
	stored, err := storage.Open(n.fs, n.opts.Config.DataDir, n.engineOptions(clustered))
	if err != nil {
		return nil, err
	}
	p := &parts{
		db: stored.DB, disk: stored.Disk(), clustered: clustered, joinable: n.security.joinable(), grown: make(chan struct{}),
		metrics: prometheus.NewRegistry(),
	}
	if n.opts.Config.Standalone {
		p.joinable = errStandalone
	}
	if err := n.connect(p); err != nil {
		return nil, errors.Join(err, p.close())
	}
	stored.Tell(p.cluster)
	return p, nil
}

// connect builds what stands on the storage: the cluster, the write path, the
// queries, and Prometheus's protocols over both.
func (n *Node) connect(p *parts) error {
	if err := p.metrics.Register(newStorageCollector(p.db)); err != nil {
		return fmt.Errorf("register the metrics of the storage: %w", err)
	}
	if err := n.connectCluster(p); err != nil {
		return err
	}
	if err := n.connectWrites(p); err != nil {
		return err
	}
	var err error
	if p.backups, err = newBackups(p.db, n.fs, n.opts.Config.DataDir, n.opts.Config.NodeID, p.cluster, n.opts.Config.BackupRate, n.part("audit")); err != nil {
		return err
	}
	return n.connectReads(p)
}

func (n *Node) connectWrites(p *parts) error {
	cfg := n.opts.Config
	limits := seriesLimits(cfg)
	cache := seriescache.New(seriescache.Options{Alive: p.db.Registry().Exists})
	var err error
	p.pipeline, err = ingest.New(p.appender(), ingest.Options{
		MaxFuture:        max(cfg.MaxFuture, time.Millisecond), // 0 there means the default
		Retention:        cfg.Retention,
		MaxInFlightBytes: n.inFlightBytes(),
		Describe:         p.db.Labels,
		Registerer:       p.metrics,
	})
	if err != nil {
		return fmt.Errorf("build the write path: %w", err)
	}
	p.remoteWrite, err = write.New(
		write.Deps{Series: storage.Interner{DB: p.db}, Sink: p.pipeline, Cache: cache, Registerer: p.metrics},
		write.Options{MaxBodyBytes: cfg.MaxBodySize, MaxDecodedBytes: cfg.MaxBodySize, Limits: limits},
	)
	if err != nil {
		return fmt.Errorf("build remote write: %w", err)
	}
	p.insert, err = insert.New(
		insert.Deps{Series: storage.Interner{DB: p.db}, Sink: p.pipeline, Cache: cache},
		insert.Options{MaxBodyBytes: cfg.MaxBodySize, Limits: limits},
	)
	if err != nil {
		return fmt.Errorf("build the insert handler: %w", err)
	}
	p.appendable, err = appendable.New(storage.Interner{DB: p.db}, p.pipeline, limits)
	if err != nil {
		return fmt.Errorf("build the write path of OTLP: %w", err)
	}
	return nil
}

// seriesLimits bounds what one series may be named with.
func seriesLimits(cfg *config.Config) admission.Limits {
	return admission.Limits{MaxLabels: cfg.MaxLabelsPerSeries, MaxNameBytes: cfg.MaxLabelNameLength, MaxValueBytes: cfg.MaxLabelValueLength}
}

func (n *Node) connectReads(p *parts) error {
	cfg := n.opts.Config
	p.headroom = guardMemory(n.opts.Memory, p.metrics)
	cache, err := promql.NewCache(cacheBytes(cfg.QueryCacheSize, n.opts.Memory), p.metrics)
	if err != nil {
		return fmt.Errorf("build the cache of queries: %w", err)
	}
	p.queries, err = promql.New(promql.Options{
		Timeout: cfg.QueryTimeout, MaxSamples: cfg.QueryMaxSamples, MaxQueryLength: int(cfg.QueryMaxLength), Memory: n.opts.Memory, Concurrency: cfg.QueryConcurrency, LookbackDelta: cfg.LookbackDelta,
		Cache: cache, SlowQueries: cfg.QuerySlowKept,
		Logger: telemetry.Slog(n.part("promql"), cfg.LogLevel), Registerer: p.metrics,
	})
	if err != nil {
		return fmt.Errorf("build the query engine: %w", err)
	}
	local := &localStore{db: p.db}
	store, admin := promql.Store(local), administration(&localAdmin{db: p.db, fs: n.fs})
	if p.clustered {
		serveFragments(p.cluster, p.db, p.queries, p.headroom)
		store, admin = &clusterStore{p.cluster, local, cache}, &clusterAdmin{localAdmin{db: p.db, fs: n.fs}, p.cluster}
	}
	p.store = store
	admin = &audited{admin, n.part("audit")}
	p.rest = rest.New(store, p.queries.Parser(), rest.Options{
		MaxSamples: int64(cfg.QueryMaxSamples), Timeout: cfg.QueryTimeout, MaxBody: cfg.MaxBodySize,
		Acquire: p.queries.AcquireQuerySlot,
		StatusOf: func(err error) (int, bool) {
			return http.StatusServiceUnavailable, unavailable(err)
		},
		OverTime: p.queries.OverTime(store),
		Internal: &rest.Internal{Local: local, NodeID: int(cfg.NodeID), Allow: n.fromCluster},
	})
	queryable := prom.New(store)
	p.api, err = apiv1.New(apiv1.Deps{
		Engine: p.queries, Parser: p.queries.Parser(), Queryable: queryable, Exemplars: queryable, Appendable: p.appendable,
		Metadata: admin, Admin: admin,
		Queries:  queries{p.queries, p.cluster},
		Status:   &status{cfg: cfg, build: n.opts.Build, place: n.opts.Place, db: p.db, started: n.started},
		Gatherer: n.gatherer(), Registerer: p.metrics, Logger: telemetry.Slog(n.part("api"), cfg.LogLevel),
	}, apiv1.Options{
		AdminAPI: cfg.AdminAPI, DataDir: cfg.DataDir, ListenAddress: n.Address(), ExternalURL: cfg.ExternalURL, CORSOrigin: cfg.CORSOrigin,
		LookbackDelta: cfg.LookbackDelta, QueryTimeout: cfg.QueryTimeout,
		RemoteReadSampleLimit: cfg.RemoteReadSampleLimit, RemoteReadConcurrency: cfg.RemoteReadConcurrency,
		Unavailable: unavailable, Consistency: atConsistency, NoCache: withoutCache,
	})
	if err != nil {
		return fmt.Errorf("mount the HTTP API: %w", err)
	}
	return nil
}

// administration is what the HTTP API needs beside queries.
type administration interface {
	apiv1.Admin
	apiv1.MetadataReader
}

// part returns the logger of a part.
func (n *Node) part(name string) log.Logger { return log.With(n.opts.Logger, "part", name) }

// engineOptions translates the settings of the storage.
func (n *Node) engineOptions(clustered bool) engine.Options {
	cfg := n.opts.Config
	o := engine.Options{
		Logger:         n.part("engine"),
		Versions:       clustered,
		FlushInterval:  cfg.FlushInterval,
		SyncInterval:   cfg.WALSyncInterval,
		BufferBytes:    cfg.MemoryBuffer.Bytes,
		BufferSamples:  cfg.MemoryBuffer.Samples,
		Retention:      cfg.Retention,
		RetentionBytes: cfg.RetentionSize,
		DiskReserve:    cfg.DiskReserve,
		MaxSeries:      cfg.MaxSeries,
		MaxExemplars:   cfg.MaxExemplars,
	}
	if cfg.MemoryBuffer.Auto() {
		o.BufferBytes = bufferBytes(n.opts.Memory)
	}
	if cfg.MaxExemplars == 0 {
		o.MaxExemplars = -1
	}
	switch cfg.WALSync {
	case config.SyncInterval:
		o.Sync = engine.SyncInterval
	case config.SyncNever:
		o.Sync = engine.SyncNever
	}
	return o
}

const (
	mostBuffer   = 256 << 20 // bytes of the memory buffer when it is left to the node
	leastBuffer  = 16 << 20
	mostCache    = 128 << 20 // bytes of the cache of partial results
	leastCache   = 8 << 20
	mostInFlight = 512 << 20 // bytes of the writes being handled
)

// bufferBytes is the share of the memory that the buffer gets by itself.
func bufferBytes(memory int64) int64 {
	if memory <= 0 {
		return mostBuffer
	}
	return min(max(memory/16, leastBuffer), mostBuffer)
}

// cacheBytes is the memory of the cache of partial results.
func cacheBytes(setting, memory int64) int64 {
	switch {
	case setting >= 0:
		return setting
	case memory <= 0:
		return mostCache
	default:
		return min(max(memory/32, leastCache), mostCache)
	}
}

// inFlightBytes bounds the memory of the writes being handled; one request of
// the largest size always fits.
func (n *Node) inFlightBytes() int64 {
	least := 4 * n.opts.Config.MaxBodySize
	if n.opts.Memory <= 0 {
		return max(least, mostInFlight)
	}
	return max(least, min(n.opts.Memory/8, mostInFlight))
}

// close takes the parts down, the storage last.
func (p *parts) close() error {
	var errs []error
	if p.pipeline != nil {
		p.pipeline.Stop()
	}
	if p.queries != nil {
		errs = append(errs, p.queries.Close())
	}
	if p.cluster != nil {
		if err := p.cluster.Close(); err != nil {
			errs = append(errs, fmt.Errorf("close the cluster: %w", err))
		}
	}
	if p.backups != nil {
		if err := p.backups.close(); err != nil {
			errs = append(errs, fmt.Errorf("remove snapshots: %w", err))
		}
	}
	if err := p.db.Close(); err != nil {
		errs = append(errs, fmt.Errorf("close the storage: %w", err))
	}
	return errors.Join(errs...)
}

// whyNotReady says why the parts take no requests, "" when they do.
func (p *parts) whyNotReady() string {
	if err := p.db.Failed(); err != nil {
		return err.Error()
	}
	return clusterNotReady(p.cluster)
}

// describe adds to /health what the parts know.
func (p *parts) describe(h *server.Health) {
	stats := p.db.Stats()
	h.Series = stats.Series
	if stats.DiskFull {
		h.Status = server.Degraded
		h.Reasons = append(h.Reasons, engine.ErrDiskFull.Error()+": this node refuses writes")
	}
	describeCluster(p.cluster, h)
}

// atConsistency hands the consistency that a read asks for to the storage
// below.
func atConsistency(ctx context.Context, asked string) (context.Context, error) {
	level, err := promql.ParseConsistency(asked)
	if err != nil {
		return nil, err
	}
	return promql.WithConsistency(ctx, level), nil
}

// withoutCache hands on that a read asks for an answer that no cache has helped
// with.
func withoutCache(ctx context.Context, asked string) (context.Context, error) {
	switch asked {
	case "", "0", "false":
		return ctx, nil
	case "1", "true":
		return promql.WithoutCache(ctx), nil
	default:
		return nil, fmt.Errorf("nocache=%q: 0 and 1 are allowed", asked)
	}
}

var (
	_ ingest.Appender = (*localAppender)(nil)
	_ write.Resolver  = storage.Interner{}
	_ write.Sink      = (*ingest.Pipeline)(nil)
)
