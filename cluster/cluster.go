package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-kit/log/level"

	"github.com/count-db/count/cluster/agree"
	"github.com/count-db/count/cluster/frontier"
	"github.com/count-db/count/cluster/hints"
	"github.com/count-db/count/cluster/membership"
	"github.com/count-db/count/cluster/ring"
	"github.com/count-db/count/cluster/transport"
	"github.com/count-db/count/internal/model"
)

// Cluster is this node's part in the cluster: it coordinates writes and reads,
// answers the other nodes and keeps what they are owed. All methods are safe
// for concurrent use.
type Cluster struct {
	opts   Options
	local  Local
	clock  Clock
	hints  *hints.Store
	server *transport.Server
	gossip *gossip // nil without
	stats  *stats

	ctx  context.Context
	stop context.CancelFunc
	wg   sync.WaitGroup

	topo     atomic.Pointer[topology]
	majority atomic.Bool
	// gate keeps the ring as it is from the check of a copy's ring number until
	// the copy is stored: what is copied after a ring came into force has all that
	// was taken under the one before (C3).
	gate    sync.RWMutex
	peers   peerTable   // the other members of the ring; changed with mu held
	settled atomic.Bool // a majority was heard since the start, or the failure timeout has passed

	mu         sync.Mutex
	view       *membership.View                    // guarded by mu
	state      *membership.State                   // guarded by mu; saved when it changes
	turns      map[ring.NodeID]uint64              // guarded by mu; how many peers of a node were made
	started    bool                                // guarded by mu
	resolved   []ring.NodeID                       // guarded by mu; who answered under the seeds' names, when all did
	remembered map[ring.NodeID]membership.Sighting // guarded by mu; what each node that was met since the start remembers of this one's disk
	heard      bool                                // guarded by mu; marks of others are not in the saved state yet
	waits      error                               // guarded by mu; why the cluster is not founded
	refused    map[string]refusal                  // guarded by mu; who was refused, and why
	apart      string                              // guarded by mu; why CLUSTER_NODES is not this node's cluster; empty: it is, as far as is known
	misfits    map[ring.NodeID]string              // guarded by mu; members that cannot be talked to, and why
	back       map[ring.NodeID]chan struct{}       // guarded by mu; capacity 1: the node is back, bring it up to date
	core       *agree.Core                         // guarded by mu; this node's part in deciding the next ring

	unmarked atomic.Bool            // something was stored since the last mark
	renewed  atomic.Pointer[string] // id of the disk since it was found to be an older copy; nil: its own
	voting   voting

	refill    refillState
	changing  *changing
	shedding  shedState
	verifying *verifying
	repairs   chan repair
	changes   *changes
	newest    *newest

	digestCache digestCache
	windows     *windowDigests
	floors      *floors

	spreads   chan struct{}                  // semaphore
	fragments atomic.Pointer[FragmentRunner] // nil: other nodes are refused

	instance  uint64      // number of this start
	fresh     atomic.Bool // this node began with an empty disk and founded ring 1 in this start
	ledger    *frontier.Ledger
	snapshots snapshots
	readings  readings
	vouched   vouched
	helped    atomic.Uint64 // the member that last proved this node's copy complete; 0 = none

	lingerMu  sync.Mutex
	lingering map[*write]struct{} // guarded by lingerMu; answered, with owners outstanding

	batches sync.Pool
}

// New returns a node's part in the cluster. Until Start it does nothing; its
// state of an earlier run is in force at once.
func New(local Local, clock Clock, o Options) (*Cluster, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	state, err := loadState(o)
	if err != nil {
		return nil, err
	}
	if local, err = withBaseline(local, clock, state, o); err != nil {
		return nil, err
	}
	instance, err := newInstance()
	if err != nil {
		return nil, err
	}
	if err := noteStart(state, instance, o); err != nil {
		return nil, err
	}
	floors := newFloors(state.Settle)
	local = &floored{Local: local, floors: floors}
	store, err := hints.Open(o.FS, o.hintsDir(), hints.Options{MaxBytes: o.MaxHints, Labels: local.Labels})
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	c := &Cluster{
		instance: instance, ledger: frontier.NewLedger(),
		opts: o, local: local, clock: clock, hints: store, ctx: ctx, stop: stop, state: state,
		remembered: map[ring.NodeID]membership.Sighting{}, voting: voting{began: time.Now()},
		turns: map[ring.NodeID]uint64{}, refused: map[string]refusal{}, misfits: map[ring.NodeID]string{}, back: map[ring.NodeID]chan struct{}{},
		floors: floors, windows: newWindowDigests(o.MaxDigests), changing: newChanging(), verifying: newVerifying(time.Now(), o.timing.verify), lingering: map[*write]struct{}{}, changes: newChanges(), newest: newNewest(), vouched: vouched{of: map[ring.NodeID]meeting{}}, repairs: make(chan repair, maxRepairs), waits: ErrNotFounded,
		spreads: make(chan struct{}, o.MaxSpreads),
		batches: sync.Pool{New: func() any { return new(model.Batch) }},
	}
	if id := state.Renewed; id != "" {
		c.renewed.Store(&id)
	}
	c.stats = newStats(o.Metrics, c)
	c.view = membership.NewView(c.selfInfo(), o.FailureTimeout, time.Now())
	c.server = transport.NewServer(c, (*handler)(c), o.RequestIDs, c.takeGossip)
	if !o.NoGossip {
		c.gossip = newGossip(c)
	}
	c.resumeFloors()
	c.noteReading()
	if err := c.begin(); err != nil {
		stop()
		return nil, errors.Join(err, store.Close())
	}
	return c, nil
}

func loadState(o Options) (*membership.State, error) {
	state, err := membership.LoadState(o.FS, o.Dir)
	if err != nil {
		return nil, err
	}
	if state == nil {
		state = &membership.State{}
	}
	if state.Node != 0 && state.Node != o.Node {
		return nil, fmt.Errorf("the data directory belongs to node %d, and NODE_ID is %d", state.Node, o.Node)
	}
	if state.Ring != nil && state.Cluster != o.Cluster {
		return nil, fmt.Errorf("the data directory belongs to cluster %q, and CLUSTER_NAME is %q", state.Cluster, o.Cluster)
	}
	if !membership.SameDirectory(state.Renewed, o.Disk.ID) {
		state.Renewed, state.Former = "", nil
	}
	state.Cluster, state.Node, state.Disk = o.Cluster, o.Node, o.Disk.ID
	if state.Addresses == nil {
		state.Addresses = map[ring.NodeID]string{}
	}
	if state.Seen == nil {
		state.Seen = map[ring.NodeID]membership.Sighting{}
	}
	return state, nil
}

// noteStart has the disk remember this start, durably before anybody hears of it.
func noteStart(state *membership.State, random uint64, o Options) error {
	state.Past = append(state.Past, membership.Start{Starts: o.Disk.Starts, Random: random})
	state.Past = state.Past[max(0, len(state.Past)-membership.KeptStarts):]
	if err := state.Save(o.FS, o.Dir); err != nil {
		return fmt.Errorf("note this start: %w", err)
	}
	return nil
}

// begin puts the ring of an earlier run in force, or founds a ring of one where
// there are no seeds.
func (c *Cluster) begin() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, address := range c.state.Addresses {
		if id != c.opts.Node {
			c.view.Learn(membership.Info{ID: id, Address: address, Disk: c.state.Seen[id].Disk, Starts: c.state.Seen[id].Starts}, time.Time{})
		}
	}
	record := c.state.Ring
	if record == nil && len(c.opts.Seeds) == 0 {
		record = c.firstRing([]membership.RingMember{{ID: c.opts.Node, Zone: c.opts.Zone, Disk: c.diskID()}})
	}
	if record == nil {
		return nil
	}
	return c.adoptLocked(record)
}

// Start connects to the others.
func (c *Cluster) Start() error {
	if c.gossip != nil {
		if err := c.gossip.start(); err != nil {
			return err
		}
	}
	c.mu.Lock()
	c.started = true
	c.connectLocked()
	c.mu.Unlock()
	c.wg.Go(c.found)
	c.wg.Go(c.tick)
	c.wg.Go(c.sweep)
	c.wg.Go(c.repair)
	c.wg.Go(c.compare)
	c.wg.Go(c.refillWhenNeeded)
	c.wg.Go(c.watchRing)
	c.wg.Go(c.verify)
	c.wg.Go(c.settleWhenDue)
	c.wg.Go(c.shedWhenDue)
	return nil
}

// Close ends all that runs. It is no leaving: the ring does not change.
func (c *Cluster) Close() error {
	c.stop()
	if c.gossip != nil {
		c.gossip.stop()
	}
	c.mu.Lock()
	peers := c.peers.takeAllLocked()
	c.mu.Unlock()
	for _, p := range peers {
		p.Close()
	}
	c.server.Close()
	c.wg.Wait()
	c.settleAll()
	return c.hints.Close()
}

// doubtful says whether the peer is not worth waiting for: it cannot be reached
// or has owed an answer for longer than the patience with an owner.
func (c *Cluster) doubtful(p *transport.Peer) bool {
	silence, connected := p.Silence()
	return !connected || silence >= c.opts.StandInAfter
}

func whyUnreachable(p *transport.Peer) error {
	if err := p.Err(); err != nil {
		return fmt.Errorf("%w: %w", transport.ErrUnreachable, err)
	}
	return transport.ErrUnreachable
}

func (c *Cluster) doubtfulNode(id ring.NodeID) bool {
	if id == c.opts.Node {
		return false
	}
	p := c.peer(id)
	return p == nil || c.doubtful(p)
}

func (c *Cluster) getBatch() *model.Batch { return c.batches.Get().(*model.Batch) }

func (c *Cluster) putBatch(b *model.Batch) {
	b.Reset()
	c.batches.Put(b)
}

func (c *Cluster) warn(msg string, err error, more ...any) {
	// A log line that cannot be written has nowhere to be reported.
	_ = level.Warn(c.opts.Logger).Log(append([]any{"msg", msg, "err", err}, more...)...)
}

func (c *Cluster) info(msg string, more ...any) {
	// A log line that cannot be written has nowhere to be reported.
	_ = level.Info(c.opts.Logger).Log(append([]any{"msg", msg}, more...)...)
}
