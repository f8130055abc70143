package node

import (
	"net/http"

	"github.com/count-db/count/internal/server"
	"github.com/count-db/count/remote/appendable"
)

// slots are the handlers whose parts exist only once the storage is open.
type slots struct {
	all []*server.Slot

	insert, remoteWrite, otlp                          *server.Slot
	getRange, getAggregated, postRange, postAggregated *server.Slot
	api, metadata, federate, flush                     *server.Slot
	clusterStatus, join, gossip, replicate, internal   *server.Slot
	leave, remove, abort, repair, ring, recover        *server.Slot
	backup, restore                                    *server.Slot
	factor, pause, resume                              *server.Slot
}

func newSlots(why func() string) *slots {
	var all []*server.Slot
	slot := func() *server.Slot {
		all = append(all, server.NewSlot(why))
		return all[len(all)-1]
	}
	s := &slots{
		insert: slot(), remoteWrite: slot(), otlp: slot(),
		getRange: slot(), getAggregated: slot(), postRange: slot(), postAggregated: slot(),
		api: slot(), metadata: slot(), federate: slot(), flush: slot(),
		clusterStatus: slot(), join: slot(), gossip: slot(), replicate: slot(), internal: slot(),
		leave: slot(), remove: slot(), abort: slot(), repair: slot(), ring: slot(), recover: slot(), backup: slot(), restore: slot(),
		factor: slot(), pause: slot(), resume: slot(),
	}
	s.all = all
	return s
}

// handlers returns what the routes lead to.
func (s *slots) handlers(n *Node) server.Handlers {
	return server.Handlers{
		Insert: s.insert, RemoteWrite: s.remoteWrite, OTLP: s.otlp,
		Series: server.SeriesHandlers{Range: s.getRange, Aggregated: s.getAggregated, ManyRange: s.postRange, ManyAggregated: s.postAggregated},
		API:    s.api, Metadata: s.metadata, Federate: s.federate, Flush: s.flush,
		ClusterLeave: s.leave, ClusterRemove: s.remove, ClusterAbort: s.abort, ClusterRepair: s.repair, ClusterRecover: s.recover, Backup: s.backup, Restore: s.restore,
		ClusterFactor: s.factor, ClusterPause: s.pause, ClusterResume: s.resume,
		ClusterRing: s.ring, ClusterStatus: s.clusterStatus, ClusterJoin: s.join, ClusterGossip: s.gossip, Replicate: s.replicate, Internal: s.internal,
		Metrics: n.metricsHandler(), Version: n.versionHandler(),
		Health: server.HealthHandler(n.health), Healthy: server.HealthyHandler(), Ready: server.ReadyHandler(n.whyNotReady),
	}
}

// fill puts the parts into the slots: from now on they answer.
func (s *slots) fill(n *Node, p *parts) {
	s.insert.Set(p.countingCopies(p.insert))
	s.remoteWrite.Set(p.countingCopies(p.remoteWrite))
	s.getRange.Set(withHeadroom(p.headroom, http.HandlerFunc(p.rest.GetRange), refusedREST))
	s.getAggregated.Set(withHeadroom(p.headroom, http.HandlerFunc(p.rest.GetAggregated), refusedREST))
	s.postRange.Set(withHeadroom(p.headroom, http.HandlerFunc(p.rest.PostRange), refusedREST))
	s.postAggregated.Set(withHeadroom(p.headroom, http.HandlerFunc(p.rest.PostAggregated), refusedREST))
	s.api.Set(withHeadroom(p.headroom, p.api.V1, refusedAPI))
	s.metadata.Set(p.api.Metadata)
	s.federate.Set(withHeadroom(p.headroom, p.api.Federate, refusedREST))
	s.flush.Set(p.api.Flush)
	s.otlp.Set(p.countingCopies(appendable.Bounded(p.pipeline, n.opts.Config.MaxBodySize, appendable.Handler(p.api.OTLP))))
	s.fillCluster(n, p)
}

// fillCluster puts in place what nodes ask of one another.
func (s *slots) fillCluster(n *Node, p *parts) {
	s.clusterStatus.Set(p.cluster.StatusHandler())
	s.ring.Set(p.cluster.RingHandler())
	s.leave.Set(n.guarded(p.cluster.LeaveHandler()))
	s.remove.Set(n.guarded(p.cluster.RemoveHandler()))
	s.factor.Set(n.guarded(p.cluster.ReplicationFactorHandler()))
	s.pause.Set(n.guarded(p.cluster.PauseHandler(true)))
	s.resume.Set(n.guarded(p.cluster.PauseHandler(false)))
	s.abort.Set(n.guarded(p.cluster.AbortHandler()))
	s.recover.Set(n.guarded(p.cluster.RecoverHandler()))
	s.repair.Set(n.readable(p.cluster.RepairHandler()))
	s.join.Set(n.guarded(p.cluster.MessageHandler(true)))
	s.gossip.Set(n.guarded(p.cluster.MessageHandler(false)))
	s.replicate.Set(n.guarded(p.cluster.ReplicateHandler()))
	s.backup.Set(n.administrative(p.backups))
	s.restore.Set(n.administrative(newRestores(p.db, p.store, p.appender(), n.part("restore"))))
	s.internal.Set(n.guarded(p.cluster.Connect()))
}

// clear takes all parts out again.
func (s *slots) clear() {
	for _, slot := range s.all {
		slot.Clear()
	}
}
