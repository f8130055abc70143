package cluster

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/go-kit/log"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/count-db/count/cluster/membership"
	"github.com/count-db/count/cluster/merge"
	"github.com/count-db/count/cluster/ring"
	"github.com/count-db/count/cluster/transport"
	"github.com/count-db/count/internal/admission"
	"github.com/count-db/count/internal/vfs"
)

// Options are the settings of a Cluster.
type Options struct {
	Node    ring.NodeID     // NODE_ID
	Cluster string          // CLUSTER_NAME
	Address string          // ADVERTISE_ADDRESS
	Seeds   []string        // CLUSTER_NODES; empty: a ring of this node alone
	Zone    string          // ZONE
	RF      int             // REPLICATION_FACTOR
	Version string          // of the program
	Disk    membership.Disk // the data directory that this node stands on

	// Secret returns the cluster's secret as it is now, which is shown to other nodes
	// with every connection. nil, or an empty text: nothing is shown.
	Secret func() string

	Heartbeat      time.Duration // HEARTBEAT_INTERVAL. Default: 5s
	FailureTimeout time.Duration // FAILURE_TIMEOUT. Default: 30s
	WriteDeadline  time.Duration // WRITE_DEADLINE. Default: 5s
	// Grace is how long a complete read waits for the copies that have not
	// answered. Default: 50ms.
	Grace time.Duration
	// Limits are what the series of copies in the documented form may be named with.
	// Default: admission.DefaultLimits.
	Limits admission.Limits
	// StandInAfter is how long an owner may be silent before a stand-in is asked
	// in its place. Default: 400ms.
	StandInAfter time.Duration
	// DigestInterval is the time between two comparisons with the others.
	// Default: 1m.
	DigestInterval time.Duration
	// VerifyShare is the share of one core that comparing everything again and
	// again may take. Default: 0.01.
	VerifyShare float64
	// RepairShare is the share of one core that a comparison, a repair or a look at
	// what is to be settled may take while it goes on. Default: 0.5.
	RepairShare float64
	// RepairRate bounds the bytes a second (16 a sample) that each of these reads
	// from the storage, or sends. Default: 128 MiB.
	RepairRate int64
	// CopyRate bounds the bytes a second (16 a sample) that a change of the ring or
	// a refill copies to this node. Default: 64 MiB.
	CopyRate int64
	// CopyShare is the share of the processors that the copying of a change may
	// take; a refill, without which a copy is missing, takes twice that. Default:
	// 0.25.
	CopyShare float64
	// MaxSamples bounds the samples that one read holds in memory. Default:
	// 50 million.
	MaxSamples int
	// MaxDigests bounds the digests of closed windows that are kept in memory, 40
	// bytes each: one a window and list of candidates. Default: a million.
	MaxDigests int
	// MaxSpreads bounds the computations that this node spreads over others at
	// once; more wait. Default: 20. The transport allows no more than 32.
	MaxSpreads int
	// MaxHints bounds the bytes of hints on disk. Default: 4 GiB.
	MaxHints int64

	// Rule orders histograms of equal versions: the engine's.
	Rule merge.Rule
	// FS and Dir are where cluster.state and the hints are kept.
	FS  vfs.FS
	Dir string
	// Dial opens connections. Default: TCP.
	Dial transport.DialFunc
	// Logger takes key/value lines. Default: none.
	Logger log.Logger
	// RequestIDs is how contexts carry the correlation ids of clients' requests,
	// which go with them to other nodes. Default: they do not.
	RequestIDs transport.RequestIDs
	// LogCalls logs what other nodes ask on behalf of a client, at level debug.
	LogCalls bool
	// Metrics registers this part's metrics. Default: none.
	Metrics prometheus.Registerer
	// DataSize returns the bytes on disk, for the status. Default: unknown.
	DataSize func() int64
	// Samples returns how many samples are stored, overwritten ones included, for
	// the progress of changes. Default: unknown.
	Samples func() int64
	// BeforeChange is asked before this node begins a change of the ring; its
	// error is answered, and the change is not begun. Default: always nil.
	BeforeChange func() error
	// NoGossip leaves gossip out: tests of everything else are faster.
	NoGossip bool

	timing timing // of tests; default: defaultTiming
}

func (o Options) withDefaults() (Options, error) {
	var errs []error
	if o.Node == 0 {
		errs = append(errs, errors.New("cluster option Node is 0: ids are positive"))
	}
	if o.RF < 1 {
		errs = append(errs, fmt.Errorf("cluster option RF is %d: at least 1 is needed", o.RF))
	}
	if o.FS == nil || o.Rule == nil {
		errs = append(errs, errors.New("cluster options FS and Rule are needed"))
	}
	setDefault(&o.Limits, admission.DefaultLimits())
	setDefault(&o.Heartbeat, 5*time.Second)
	setDefault(&o.FailureTimeout, 30*time.Second)
	setDefault(&o.WriteDeadline, 5*time.Second)
	setDefault(&o.Grace, 50*time.Millisecond)
	setDefault(&o.StandInAfter, 400*time.Millisecond)
	setDefault(&o.DigestInterval, time.Minute)
	setDefault(&o.VerifyShare, 0.01)
	setDefault(&o.RepairShare, 0.5)
	setDefault(&o.RepairRate, 128<<20)
	setDefault(&o.CopyRate, 64<<20)
	setDefault(&o.CopyShare, 0.25)
	setDefault(&o.MaxSamples, 50_000_000)
	setDefault(&o.MaxDigests, 1_000_000)
	setDefault(&o.MaxHints, 4<<30)
	setDefault(&o.MaxSpreads, 20)
	setDefault(&o.timing, defaultTiming())
	o.MaxSpreads = min(o.MaxSpreads, transport.MaxCalls/2)
	if o.Dial == nil {
		o.Dial = transport.NetDial
	}
	if o.Logger == nil {
		o.Logger = log.NewNopLogger()
	}
	if o.Metrics == nil {
		o.Metrics = prometheus.NewRegistry()
	}
	if o.BeforeChange == nil {
		o.BeforeChange = func() error { return nil }
	}
	if o.DataSize == nil {
		o.DataSize = func() int64 { return 0 }
	}
	if o.Samples == nil {
		o.Samples = func() int64 { return 0 }
	}
	return o, errors.Join(errs...)
}

func (o *Options) hintsDir() string { return filepath.Join(o.Dir, "hints") }

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
