package compat

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"

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
	"github.com/count-db/count/internal/vfs"
	"github.com/count-db/count/promql"
	"github.com/count-db/count/promql/promtest"
)

// TestPrometheusScriptsOnThreeNodes runs Prometheus's PromQL scripts over three
// nodes: with two copies, so that no node holds all series and answers are put
// together, and with three, where one provably complete copy is enough.
func TestPrometheusScriptsOnThreeNodes(t *testing.T) {
	if testing.Short() {
		t.Skip("founds a cluster for each part of each script")
	}
	for _, rf := range []int{2, 3} {
		t.Run(fmt.Sprintf("rf%d", rf), func(t *testing.T) {
			e, err := promql.New(promql.Options{
				Timeout: 100 * time.Second, MaxSamples: promqltest.DefaultMaxSamplesPerQuery,
				DelayedNameRemoval: true, UseStartTimestamps: true,
			})
			if err != nil {
				t.Fatal(err)
			}
			promqltest.RunBuiltinTestsWithStorage(t, e, func(t testing.TB) storage.Storage { return threeNodes(t, rf) })
		})
	}
}

// peer is one node of a cluster in this process.
type peer struct {
	db  *engine.DB
	c   *cluster.Cluster
	web *http.Server
}

func (p *peer) close() error { return errors.Join(p.c.Close(), p.web.Close(), p.db.Close()) }

// threeNodes founds a cluster in memory. Writes and reads go through one node
// after the other.
func threeNodes(t testing.TB, rf int) storage.Storage {
	t.Helper()
	network := memnet.New()
	seeds := []string{"a:1", "b:1", "c:1"}
	var peers []*peer
	for i, address := range seeds {
		p, err := newPeer(network, i+1, address, seeds, rf)
		if err != nil {
			t.Fatal(err)
		}
		peers = append(peers, p)
	}
	// All listen before the first asks: they found the cluster at once.
	for _, p := range peers {
		if err := p.c.Start(); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range peers {
		awaitWhole(t, p.c)
	}
	turn := 0
	next := func() *peer {
		turn++
		return peers[turn%len(peers)]
	}
	reader := next()
	return promtest.NewStorage(node.ClusterStore(reader.c, reader.db), func(ctx context.Context, samples []promtest.Sample) error {
		p := next()
		b, err := batchOf(p.db, samples)
		if err != nil {
			return err
		}
		return p.c.Append(ctx, b)
	}, func() error {
		var errs []error
		for _, p := range peers {
			errs = append(errs, p.close())
		}
		return errors.Join(errs...)
	})
}

func newPeer(network *memnet.Network, id int, address string, seeds []string, rf int) (*peer, error) {
	fs := vfs.NewMem()
	db, err := engine.Open(fs, "data", engine.Options{NoBackground: true, Sync: engine.SyncNever, Versions: true})
	if err != nil {
		return nil, err
	}
	c, err := cluster.New(node.ClusterLocal(db), db.Clock(), cluster.Options{
		Node: ring.NodeID(id), Cluster: "scripts", Address: address, Seeds: seeds, RF: rf,
		Disk: membership.Disk{ID: fmt.Sprint(id), Starts: 1}, FS: fs, Dir: "cluster", Dial: network.Dialer(address), NoGossip: true,
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
	p := &peer{db: db, c: c, web: &http.Server{Handler: mux}}
	go func() {
		if err := p.web.Serve(ln); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			panic(err)
		}
	}()
	return p, nil
}

func awaitWhole(t testing.TB, c *cluster.Cluster) {
	t.Helper()
	poll := time.NewTicker(2 * time.Millisecond)
	defer poll.Stop()
	for end := time.Now().Add(20 * time.Second); c.Health().Size < 3; <-poll.C {
		if time.Now().After(end) {
			t.Fatalf("no cluster: %+v", c.Health())
		}
	}
}
