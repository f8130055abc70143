package compat

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/storage"

	"github.com/count-db/count/cluster"
	"github.com/count-db/count/cluster/membership"
	"github.com/count-db/count/cluster/ring"
	"github.com/count-db/count/cluster/transport"
	"github.com/count-db/count/cluster/transport/memnet"
	"github.com/count-db/count/engine"
	"github.com/count-db/count/engine/version"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/node"
	nodestorage "github.com/count-db/count/internal/node/storage"
	"github.com/count-db/count/internal/vfs"
	"github.com/count-db/count/promql"
	"github.com/count-db/count/promql/promtest"
)

// TestPrometheusScriptsOnNodes runs Prometheus's PromQL scripts over clusters:
// where no node holds all series parts of the queries are computed by the owners,
// and with as many nodes as copies one provably complete copy is enough.
func TestPrometheusScriptsOnNodes(t *testing.T) {
	if testing.Short() {
		t.Skip("founds a cluster for each part of each script")
	}
	for _, c := range []struct {
		nodes, rf int
		spread    bool // parts are computed by other nodes
	}{{3, 2, true}, {3, 3, false}, {5, 3, true}} {
		t.Run(fmt.Sprintf("%d nodes, rf %d", c.nodes, c.rf), func(t *testing.T) {
			e, err := promql.New(promql.Options{
				Timeout: 100 * time.Second, MaxSamples: promqltest.DefaultMaxSamplesPerQuery,
				DelayedNameRemoval: true, UseStartTimestamps: true,
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Parallel() // most of the time is spent waiting for clusters to be founded
			s := &scripts{engine: e, nodes: c.nodes, rf: c.rf}
			promqltest.RunBuiltinTestsWithStorage(t, e, s.newStorage)
			own, remote := s.fragments["own"], s.fragments["remote"]
			t.Logf("parts of queries by who computed them: %v", s.fragments)
			if c.spread && (own < 500 || remote < 500) {
				t.Errorf("only %g parts were computed by the asking node and %g by others", own, remote)
			}
		})
	}
}

// scripts makes the clusters that scripts run over.
type scripts struct {
	engine    *promql.Engine
	nodes, rf int
	fragments map[string]float64 // by who computed them
}

// peer is one node of a cluster in this process.
type peer struct {
	db      *engine.DB
	c       *cluster.Cluster
	web     *http.Server
	metrics *prometheus.Registry
}

func (p *peer) close() error { return errors.Join(p.c.Close(), p.web.Close(), p.db.Close()) }

// newStorage founds a cluster in memory. Writes go through one node after the
// other, reads through one.
func (s *scripts) newStorage(t testing.TB) storage.Storage {
	t.Helper()
	network := memnet.New()
	var seeds []string
	for i := range s.nodes {
		seeds = append(seeds, fmt.Sprintf("n%d:1", i+1))
	}
	var peers []*peer
	for i, address := range seeds {
		p, err := newPeer(network, i+1, fmt.Sprint(i+1), address, seeds, s.rf)
		if err != nil {
			t.Fatal(err)
		}
		peers = append(peers, p)
	}
	// All listen before the first asks: they found the cluster at once.
	stores := make([]promql.Store, s.nodes)
	for i, p := range peers {
		stores[i] = node.ClusterStore(p.c, p.db, s.engine)
		if err := p.c.Start(); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range peers {
		awaitWhole(t, p.c, s.nodes)
	}
	turn := 0
	next := func() int {
		turn++
		return turn % len(peers)
	}
	return promtest.NewStorage(stores[next()], func(ctx context.Context, samples []promtest.Sample) error {
		p := peers[next()]
		b, err := batchOf(p.db, samples)
		if err != nil {
			return err
		}
		return p.c.Append(ctx, b)
	}, func() error {
		var errs []error
		for _, p := range peers {
			errs = append(errs, s.count(p.metrics), p.close())
		}
		return errors.Join(errs...)
	})
}

// count adds what a node counted of parts of queries.
func (s *scripts) count(metrics *prometheus.Registry) error {
	families, err := metrics.Gather()
	if err != nil {
		return err
	}
	for _, f := range families {
		if f.GetName() != "count_cluster_fragments_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			if s.fragments == nil {
				s.fragments = map[string]float64{}
			}
			s.fragments[m.GetLabel()[0].GetValue()] += m.GetCounter().GetValue()
		}
	}
	return nil
}

func newPeer(network *memnet.Network, id int, disk, address string, seeds []string, rf int) (*peer, error) {
	fs := vfs.NewMem()
	db, err := engine.Open(fs, "data", engine.Options{NoBackground: true, Sync: engine.SyncNever, Versions: true})
	if err != nil {
		return nil, err
	}
	metrics := prometheus.NewRegistry()
	c, err := cluster.New(nodestorage.Local(db), db.Clock(), cluster.Options{
		// No node is ever slow here but for want of processors, which is no reason to give
		// one up: all of them are this process.
		StandInAfter: 10 * time.Second,
		Node:         ring.NodeID(id), Cluster: "scripts", Address: address, Seeds: seeds, RF: rf,
		Disk: membership.Disk{ID: disk, Starts: 1}, FS: fs, Dir: "cluster", Dial: network.Dialer(address), NoGossip: true, Metrics: metrics,
		Heartbeat: 500 * time.Millisecond, FailureTimeout: 5 * time.Second,
		Rule: func(a, b *model.HistogramPoint) int {
			return version.Compare(version.OfHistogram(a), version.OfHistogram(b))
		},
	})
	if err != nil {
		return nil, err
	}
	ln, err := network.Listen(address)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle(transport.Path, c.Connect())
	p := &peer{db: db, c: c, web: &http.Server{Handler: mux}, metrics: metrics}
	go func() {
		if err := p.web.Serve(ln); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			panic(err)
		}
	}()
	return p, nil
}

func awaitWhole(t testing.TB, c *cluster.Cluster, nodes int) {
	t.Helper()
	poll := time.NewTicker(2 * time.Millisecond)
	defer poll.Stop()
	for end := time.Now().Add(time.Minute); c.Health().Size < nodes; <-poll.C {
		if time.Now().After(end) {
			t.Fatalf("no cluster: %+v", c.Health())
		}
	}
}
