package node

import (
	"errors"
	"fmt"
	"net"
	"net/http"

	"github.com/count-db/count/cluster"
	"github.com/count-db/count/cluster/ring"
	"github.com/count-db/count/cluster/transport"
	"github.com/count-db/count/internal/node/storage"
	"github.com/count-db/count/internal/server"
	"github.com/count-db/count/internal/telemetry"
	"github.com/count-db/count/internal/vfs"
)

// connectCluster makes this node a part of its cluster. Start does the rest. A
// node without a cluster is a ring of one: it has a status and takes the
// documented messages, keeps nothing of that on disk, and its reads and writes
// go straight to its storage.
func (n *Node) connectCluster(p *parts) error {
	cfg := n.opts.Config
	o := cluster.Options{
		Node: ring.NodeID(cfg.NodeID), Cluster: cfg.ClusterName, Address: n.advertised(), Seeds: cfg.ClusterNodes, Zone: cfg.Zone,
		RF: cfg.ReplicationFactor, Version: n.opts.Build.Version, Secret: n.security.secrets.shown,
		Disk:      p.disk,
		Heartbeat: cfg.HeartbeatInterval, FailureTimeout: cfg.FailureTimeout, WriteDeadline: cfg.WriteDeadline,
		MaxSamples: cfg.QueryMaxSamples, MaxSpreads: cfg.QueryConcurrency,
		CopyRate: cfg.CopyRate, CopyShare: float64(cfg.CopyCPUPercent) / 100,
		RepairRate: cfg.RepairRate, RepairShare: float64(cfg.RepairCPUPercent) / 100,
		Rule: storage.CompareHistograms, Limits: seriesLimits(cfg),
		FS: n.fs, Dir: n.clusterDir(), Dial: n.security.dial(),
		Logger: n.part("cluster"), Metrics: p.metrics,
		RequestIDs: transport.RequestIDs{Of: telemetry.RequestID, With: telemetry.WithRequestID},
		LogCalls:   cfg.LogLevel == "debug" || cfg.LogLevel == "trace",
		DataSize:   func() int64 { return p.db.Stats().FileBytes },
		Samples: func() int64 {
			s := p.db.Stats()
			return s.FileSamples + s.BufferSamples
		},
	}
	if !p.clustered {
		p.aloneState = vfs.NewMem()
		o.Seeds, o.FS, o.NoGossip, o.BeforeChange = nil, p.aloneState, true, p.growUp
	}
	var err error
	if p.cluster, err = cluster.New(storage.Local(p.db), p.db.Clock(), o); err != nil {
		return fmt.Errorf("build the node's part of the cluster: %w", err)
	}
	return nil
}

// advertised is the address at which the others reach this node.
func (n *Node) advertised() string {
	cfg := n.opts.Config
	if cfg.AdvertiseAddress != "" {
		return cfg.AdvertiseAddress
	}
	host, _, err := net.SplitHostPort(cfg.BindAddress)
	_, port, portErr := net.SplitHostPort(n.Address())
	if err != nil || portErr != nil {
		return n.Address()
	}
	if ip := net.ParseIP(host); host == "" || (ip != nil && ip.IsUnspecified()) {
		host = n.opts.Place.Hostname
	}
	return net.JoinHostPort(host, port)
}

// errNotFromCluster answers who does not know the secret.
var errNotFromCluster = errors.New("this path is for the nodes of the cluster: the header Authorization must be \"Bearer\" and the secret of CLUSTER_SECRET")

// fromCluster reports whether a request may come from the cluster's own side:
// any may, as long as no secret is set.
func (n *Node) fromCluster(r *http.Request) error {
	if secrets := n.security.secrets; secrets != nil && !server.KnowsSecret(r, secrets.all) {
		return errNotFromCluster
	}
	return nil
}

// guarded lets only the cluster's own side through.
func (n *Node) guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := n.fromCluster(r); err != nil {
			server.WriteError(w, http.StatusForbidden, err.Error())
			return
		}
		next.ServeHTTP(w, r)
	})
}

// readable guards a handler whose GET only tells.
func (n *Node) readable(next http.Handler) http.Handler {
	guarded := n.guarded(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			next.ServeHTTP(w, r)
			return
		}
		guarded.ServeHTTP(w, r)
	})
}

// clusterNotReady says why the cluster is not ready for requests, "" when it
// is.
func clusterNotReady(c *cluster.Cluster) string {
	h := c.Health()
	switch {
	case !h.Founded && len(h.Problems) > 0:
		return h.Problems[0]
	case !h.Founded:
		return cluster.ErrNotFounded.Error()
	case h.Left:
		return "the node has left the cluster"
	case h.Refused:
		return "the node's join was taken back; when it is started again it asks anew"
	case h.Joining:
		return "the node is joining the cluster"
	case !h.Settled:
		return "no majority of the cluster was heard yet"
	}
	return ""
}

// describeCluster adds to /health what the cluster knows.
func describeCluster(c *cluster.Cluster, h *server.Health) {
	seen := c.Health()
	h.ClusterSize = max(seen.Size, 1)
	h.Reasons = append(h.Reasons, seen.Problems...)
	if len(seen.Problems) > 0 && h.Status == server.Healthy {
		h.Status = server.Degraded
	}
	switch {
	case seen.Founded && !seen.Majority:
		h.Status = server.Unhealthy
		h.Reasons = append(h.Reasons, cluster.ErrMinority.Error())
	case seen.Refill != "":
		h.Status = server.Unhealthy
		h.Reasons = append(h.Reasons, "refilling: "+seen.Refill)
	}
	status := c.Status()
	h.Cluster = map[string]any{
		"name": status.Cluster, "ring": status.Ring, "members": len(status.Nodes), "majority": status.Majority, "write_quorum": status.WriteQuorum,
		"replication_factor": status.ReplicationFactor, "founding_factor": status.FoundingFactor,
	}
}
