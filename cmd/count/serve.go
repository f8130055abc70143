package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"

	"github.com/count-db/count/internal/config"
	"github.com/count-db/count/internal/node"
	"github.com/count-db/count/internal/telemetry"
)

func serveVerb() verb {
	return verb{
		name:    "serve",
		summary: "run a node (the default)",
		usage: `Usage:
  count serve [--config.file FILE] [--SETTING VALUE]...

Each setting below can be given as a flag (--node-id 2), in the YAML file that --config.file or CONFIG_FILE
names (node_id: 2), or in the environment (NODE_ID=2). The environment wins over the file, the file over flags.
SIGTERM and Ctrl-C end the node in good order; a second one ends it at once. SIGHUP changes nothing:
settings are read at the start only.

Examples:
  count serve --data-dir /var/lib/count --bind-address 0.0.0.0:8080
  NODE_ID=2 CLUSTER_NODES=count-1:8080,count-2:8080,count-3:8080 count serve
`,
		more: func(w io.Writer) { fmt.Fprint(w, config.Usage()) },
		run:  runServe,
	}
}

func runServe(ctx context.Context, c call) error {
	cfg, err := config.Load(config.Sources{Environ: c.environ, Args: c.args})
	if err != nil {
		return &usageError{err}
	}
	logger, err := telemetry.NewLogger(c.stderr, cfg.LogLevel, cfg.LogFormat)
	if err != nil {
		return fmt.Errorf("make the logger: %w", err)
	}
	defer outliveHangup(logger)()
	memory := applyLimits(cfg)
	if err := runNode(ctx, node.Options{Config: cfg, Logger: logger, Build: telemetry.ReadBuild(), Memory: memory, Place: place()}); err != nil {
		level.Error(logger).Log("msg", "the node ends after an error", "err", err)
		return fmt.Errorf("%w: %w", errLogged, err)
	}
	return nil
}

// outliveHangup keeps SIGHUP, with which people have a Prometheus read its
// configuration again, from ending the node; the result ends that.
func outliveHangup(logger log.Logger) (stop func()) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-hangups:
				level.Warn(logger).Log("msg", "SIGHUP changes nothing: settings are read at the start only")
			case <-done:
				return
			}
		}
	}()
	return func() {
		signal.Stop(hangups)
		close(done)
		<-ended
	}
}

func runNode(ctx context.Context, opts node.Options) error {
	n, err := node.New(opts)
	if err != nil {
		return err
	}
	return n.Run(ctx)
}

// memoryShare of what the process may use is the Go runtime's soft limit; the
// rest is for mapped files and what the runtime does not count.
const memoryShare = 0.9

// applyLimits sets the soft memory limit and the number of threads, and
// returns the memory that the node may plan with, in bytes (0 = unknown). What
// GOMEMLIMIT and GOMAXPROCS say goes before the settings.
func applyLimits(cfg *config.Config) int64 {
	limit := cfg.MemoryLimit
	if limit == 0 {
		limit = int64(float64(config.AvailableMemory()) * memoryShare)
	}
	if os.Getenv("GOMEMLIMIT") != "" {
		limit = debug.SetMemoryLimit(-1)
	} else if limit > 0 {
		debug.SetMemoryLimit(limit)
	}
	if cfg.CPULimit > 0 && os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(cfg.CPULimit)
	}
	return limit
}

// place says where the process runs; what the system does not tell stays
// empty.
func place() node.Place {
	host, _ := os.Hostname()
	dir, _ := os.Getwd()
	return node.Place{Hostname: host, WorkingDirectory: dir, GOGC: os.Getenv("GOGC"), GODEBUG: os.Getenv("GODEBUG")}
}
