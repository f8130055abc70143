package cluster

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/count-db/count/cluster/membership"
)

// stats are this part's metrics.
type stats struct {
	written, hinted, handedOver, repaired prometheus.Counter // samples
	refused, minority, restamped          prometheus.Counter // writes
	standIns, incomplete, repairsDropped  prometheus.Counter
	compared, copied, shed                prometheus.Counter
	divergent, healed                     prometheus.Counter // slices of time and candidates
	readBack, rotten                      prometheus.Counter // windows
	settled, droppedBelow                 prometheus.Counter // rounds; samples
	newestHeld, newestLacking             prometheus.Counter // looks at a member
	oneCopy, manyCopies                   prometheus.Counter // reads
	fragmentsMoved                        prometheus.Counter
	fragments                             *prometheus.CounterVec // by who computes
}

// Who computes a part of a query whose series lie on several nodes, as the metric
// names it.
const (
	fragmentOwn    = "own"    // the asking node, from its own copy
	fragmentRemote = "remote" // another owner, asked by this node
	fragmentMerged = "merged" // the asking node, from several copies
	fragmentServed = "served" // this node, asked by another
)

func newStats(reg prometheus.Registerer, c *Cluster) *stats {
	counter := func(name, help string) prometheus.Counter {
		m := prometheus.NewCounter(prometheus.CounterOpts{Name: "count_cluster_" + name, Help: help})
		reg.MustRegister(m)
		return m
	}
	gauge := func(name, help string, f func() float64) {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "count_cluster_" + name, Help: help}, f))
	}
	s := &stats{
		written:        counter("written_samples_total", "Samples acknowledged by this node as coordinator."),
		refused:        counter("refused_writes_total", "Writes that found too few copies in time."),
		minority:       counter("minority_writes_total", "Writes refused because no majority of the cluster was in sight."),
		restamped:      counter("restamped_writes_total", "Times a write was stamped anew above a version that a replica had seen."),
		standIns:       counter("stand_ins_total", "Times a stand-in was asked in the place of a silent owner."),
		hinted:         counter("hinted_samples_total", "Samples noted here as owed to another node."),
		handedOver:     counter("handed_over_samples_total", "Owed samples that their owner has taken."),
		repaired:       counter("repaired_samples_total", "Samples sent to a node that was found to miss them."),
		repairsDropped: counter("repairs_dropped_total", "Repairs left to the next read or comparison because too many waited."),
		incomplete:     counter("incomplete_reads_total", "Reads answered with a warning that they may be incomplete or stale."),
		copied:         counter("copied_samples_total", "Samples copied here because a change of the ring makes this node their candidate."),
		shed:           counter("shed_samples_total", "Samples dropped here because this node does not own them and all owners have them."),
		compared:       counter("comparisons_total", "Comparisons of digests with another node."),
		newestHeld:     counter("newest_held_total", "Looks at another node that found all batches there that this node had stored."),
		newestLacking:  counter("newest_lacking_total", "Looks at another node that found batches missing there two write deadlines after they were stored here."),
		oneCopy:        counter("one_copy_reads_total", "Reads answered from this node's copy, which was proved complete."),
		manyCopies:     counter("many_copies_reads_total", "Reads for which this node's copy could not be proved complete."),
		settled:        counter("settled_rounds_total", "Rounds of settling that this node led to their end."),
		droppedBelow:   counter("dropped_settled_samples_total", "Copies of samples that were dropped here because what is settled does not have them."),
		readBack:       counter("read_back_windows_total", "Windows whose kept digests were compared with what the disk holds."),
		rotten:         counter("rotten_windows_total", "Windows that no longer read as they did although nothing was written to them."),
		fragmentsMoved: counter("fragments_moved_total", "Parts of queries given to another owner because one failed or fell silent."),
		divergent:      counter("divergent_slices_total", "Slices of time and candidates whose digests differed."),
		healed:         counter("healed_slices_total", "Slices of time and candidates whose digests differed and of which the other node took what it lacked."),
	}
	s.fragments = newFragmentsCounter(reg)
	gauge("members", "Members of the ring in force.", func() float64 {
		if t := c.topo.Load(); t != nil {
			return float64(len(t.ring.Members()))
		}
		return 0
	})
	gauge("members_in_sight", "Members of the ring that answer, this node included.", func() float64 {
		c.mu.Lock()
		defer c.mu.Unlock()
		return float64(c.view.Seen())
	})
	gauge("ring_number", "Number of the ring in force; 0 before the founding.", func() float64 {
		if t := c.topo.Load(); t != nil {
			return float64(t.ring.Number())
		}
		return 0
	})
	verifyingGauges(gauge, c)
	gauge("shedding", "1 while this node may hold what it does not own under the ring in force.", c.sheddingValue)
	settlingGauges(gauge, c)
	gauge("frontier_gaps", "Runs of batch numbers that this node is not known to hold.", func() float64 { return float64(c.ledger.Gaps()) })
	gauge("hint_bytes", "Bytes of records of what other nodes are owed.", func() float64 { return float64(c.hints.Stats().Bytes) })
	gauge("hints_dropped", "Hints since the start that did not fit and were left to comparisons.", func() float64 { return float64(c.hints.Stats().Dropped) })
	for _, status := range []membership.Status{membership.Joining, membership.Active, membership.Failed} {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "count_cluster_nodes", Help: "Nodes that this one knows, by status.", ConstLabels: prometheus.Labels{"status": status.String()},
		}, func() float64 { return float64(c.countStatus(status)) }))
	}
	return s
}

func newFragmentsCounter(reg prometheus.Registerer) *prometheus.CounterVec {
	m := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "count_cluster_fragments_total",
		Help: "Parts of queries whose series lie on several nodes, by who computes: own (this node's copy), remote (another owner, asked by this node), merged (this node over several copies), served (this node, asked by another).",
	}, []string{"by"})
	for _, by := range []string{fragmentOwn, fragmentRemote, fragmentMerged, fragmentServed} {
		m.WithLabelValues(by)
	}
	reg.MustRegister(m)
	return m
}

func (c *Cluster) countStatus(status membership.Status) int {
	n := 0
	for _, node := range c.Nodes() {
		if node.Status == status {
			n++
		}
	}
	return n
}

func settlingGauges(gauge func(name, help string, f func() float64), c *Cluster) {
	gauge("settled_windows", "Windows of two hours held here of which everything that was written before their end is settled.", func() float64 {
		return float64(c.settlingStatus(time.Now()).Windows)
	})
	gauge("oldest_unsettled_seconds", "Age of the oldest write that may not be settled; 0 on a node alone.", func() float64 {
		return c.settlingStatus(time.Now()).Unsettled
	})
	gauge("refilling", "1 while this node merges back what it lost.", func() float64 {
		if c.refill.running() {
			return 1
		}
		return 0
	})
}

func verifyingGauges(gauge func(name, help string, f func() float64), c *Cluster) {
	gauge("oldest_unverified_seconds", "Time since the range of time that waits longest was compared with another member.", func() float64 {
		return c.verifying.oldest(time.Now()).Seconds()
	})
	gauge("newest_unverified_seconds", "Age of the oldest write of this node that is not known to be at every member that is to have it; a few seconds more than two write deadlines are usual.", func() float64 {
		now := time.Now()
		return now.Sub(c.newest.oldest(now)).Seconds()
	})
}
