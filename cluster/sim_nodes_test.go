package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/count-db/count/cluster/antientropy"
	"github.com/count-db/count/cluster/membership"
	"github.com/count-db/count/cluster/ring"
	"github.com/count-db/count/cluster/transport"
	"github.com/count-db/count/cluster/transport/memnet"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/vfs"
)

// simNode is a node of a simulated cluster. Its disk outlives its processes.
type simNode struct {
	id    ring.NodeID
	host  string
	zone  string
	fs    *vfs.MemFS
	store simStore
	disk  membership.Disk
	older *simDisk    // a copy of its disk
	lossy atomic.Bool // its disk lost something that was not merged back yet
	gone  atomic.Bool // it left
	// strange: its disk held samples before it knew of any ring, so it does not join.
	strange bool
	// toEnd: one of its processes ran until the end.
	toEnd bool
	proc  atomic.Pointer[simProc] // nil: it is down
	// downSince is when its last process ended.
	downSince time.Time
}

// simProc is a process of a node.
type simProc struct {
	*testNode
	node *simNode
	// data is the node's storage, while this process runs.
	data simStore
	fuse *simFuse
	dead atomic.Bool // nothing that it does counts any more
	left *simDisk    // what a process that died has left; read when it is dead
	died chan struct{}
	over chan struct{} // is closed by finish
	once sync.Once     // of finish
	// checked is the ring that sameRings has looked at last.
	checked *membership.RingRecord
}

// simDisk is all that outlives a process.
type simDisk struct {
	fs    *vfs.MemFS
	store simStore
	disk  membership.Disk
}

// simClock is a wrong clock: it is ahead or behind, and drifts, but never further
// than the most.
type simClock struct {
	hlc
	began       time.Time
	ahead, most time.Duration
	drift       float64
}

// time is what a process with this clock takes the time to be.
func (c *simClock) time() time.Time {
	off := c.ahead + time.Duration(float64(time.Since(c.began))*c.drift)
	return time.Now().Add(min(max(off, -c.most), c.most))
}

func (c *simClock) Now() model.Version {
	for {
		last := c.last.Load()
		next := max(uint64(model.VersionAt(c.time().UnixMicro())), last+1)
		if c.last.CompareAndSwap(last, next) {
			return model.Version(next)
		}
	}
}

// simCluster is a cluster with its history. It lives in a synctest bubble.
type simCluster struct {
	*simHistory
	profile
	rng   *rand.Rand
	net   *memnet.Network
	gap   atomic.Int64   // ns; the most that a client waits between two operations
	wg    sync.WaitGroup // what was asked for and is under way
	times []int64        // timestamps that clients write
	// leaving counts the wishes under way by which members may go.
	leaving atomic.Int32
	seeds   []string
	nodes   []*simNode
	rings   map[uint64]string // by number, as they were found in force
	engine  *SimEngine        // nil: the storage is simLocal
	broken  sabotage
}

// simTiming has everything happen within minutes that takes hours or days.
func simTiming() timing {
	return timing{
		settleLook: 15 * time.Second, settlePeriod: 4 * time.Minute, settleMargin: time.Minute,
		frozenPatience: 30 * time.Second, settleRetry: 20 * time.Second, settleRests: 2 * time.Minute,
		shedLook: 4 * time.Second, shedAgain: 5 * time.Minute, shedRetry: 10 * time.Second,
		verifyIdle: 20 * time.Second,
		verify:     antientropy.Periods{New: 20 * time.Minute, Old: 2 * time.Hour, Rest: 4 * time.Hour},
		readBack:   antientropy.Periods{New: 20 * time.Minute, Old: 2 * time.Hour, Rest: 4 * time.Hour},
	}
}

func newSimCluster(rng *rand.Rand, p profile, b sabotage, e *SimEngine) *simCluster {
	s := &simCluster{simHistory: newSimHistory(2 * p.skew), profile: p, rng: rng, net: memnet.New(), rings: map[uint64]string{}, broken: b, engine: e}
	s.gap.Store(int64(p.pace))
	at := time.Now().UnixMilli()
	s.times = []int64{1, at - 40*24*3600_000, at - 30*3600_000, at - 3*3600_000, at, at + 5*60_000}
	for i := range p.nodes {
		s.seeds = append(s.seeds, hostOf(i+1))
	}
	for range p.nodes {
		s.start(s.add())
	}
	return s
}

func (s *simCluster) add() *simNode {
	id := len(s.nodes) + 1
	n := &simNode{id: ring.NodeID(id), host: hostOf(id), disk: membership.Disk{ID: fmt.Sprintf("disk%d", id)}}
	s.newDisk(n)
	if s.zones > 0 {
		n.zone = string(rune('a' + s.rng.IntN(s.zones)))
	}
	s.nodes = append(s.nodes, n)
	return n
}

// newDisk gives a node an empty disk.
func (s *simCluster) newDisk(n *simNode) {
	n.fs, n.store = vfs.NewMem(), newSimLocal()
	if s.engine != nil {
		n.store = &simEngine{engine: s.engine, fs: n.fs}
	}
}

func (s *simCluster) clock() *simClock {
	c := &simClock{began: time.Now(), most: s.skew}
	if s.skew > 0 {
		c.ahead = time.Duration(s.rng.Int64N(int64(2*s.skew))) - s.skew
		c.drift = (s.rng.Float64() - 0.5) / 50
	}
	return c
}

// start begins a process on the node's disk.
func (s *simCluster) start(n *simNode) {
	p := &simProc{node: n, data: n.store, fuse: new(simFuse), died: make(chan struct{}), over: make(chan struct{}), testNode: &testNode{id: n.id, host: n.host, fs: n.fs}}
	wrong := s.clock()
	clock, err := n.store.open(p, wrong)
	if err != nil {
		s.fail("open the storage of node %d: %v", n.id, err)
		return
	}
	p.shares = n.store.shares()
	o := Options{
		Node: n.id, Cluster: "test", Address: n.host, Seeds: s.seedsOf(n), RF: s.rf, Zone: n.zone, Disk: n.disk,
		Rule: noHistograms, FS: p.burning(n.fs), Dir: "data", NoGossip: !s.gossip, Heartbeat: 2 * time.Second, FailureTimeout: 15 * time.Second,
		MaxHints: s.maxHints, CopyRate: s.copyRate, Logger: simLogger{s, p}, timing: simTiming(), Dial: s.dialer(p),
	}
	s.note("node %d starts (start %d of %s, zone %q, clock %s ahead)", n.id, n.disk.Starts, n.disk.ID, n.zone, wrong.ahead)
	if err := s.begin(p, clock, o); err != nil {
		s.fail("start node %d: %v", n.id, err)
		return
	}
	n.disk.Gap = false
	n.gone.Store(false)
	n.proc.Store(p)
}

// seedsOf returns CLUSTER_NODES of a node: founders have the same, one that joins
// knows all the others, because any of them may be gone; so do founders when that
// happened to all of them. Nor may one that began alone
// name only itself when others have come: with an empty disk it would begin again.
func (s *simCluster) seedsOf(n *simNode) []string {
	var out []string
	if slices.Contains(s.seeds, n.host) {
		if len(s.seeds) > 1 && s.founderIsMember() {
			return s.seeds
		}
		out = append(out, n.host)
	}
	for _, o := range s.nodes {
		if o != n {
			out = append(out, o.host)
		}
	}
	return out
}

func (s *simCluster) begin(p *simProc, clock Clock, o Options) error {
	n := p.node
	if err := n.fs.MkdirAll("data"); err != nil {
		return err
	}
	c, err := New(s.broken.storage(n.store), clock, o)
	if err != nil {
		return err
	}
	p.Cluster = c
	n.store.tell(s, p)
	p.serveShares()
	ln, err := s.net.Listen(n.host)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle(transport.Path, c.Connect())
	p.web = &http.Server{Handler: mux}
	go func() {
		if err := p.web.Serve(ln); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			s.fail("serve: %v", err)
		}
	}()
	return c.Start()
}

// dialer returns how a process connects: not any more when it is dead.
func (s *simCluster) dialer(p *simProc) transport.DialFunc {
	dial := s.net.Dialer(p.host)
	return func(ctx context.Context, to string) (net.Conn, error) {
		if p.dead.Load() {
			return nil, net.ErrClosed
		}
		conn, err := dial(ctx, to)
		if err == nil && p.dead.Load() {
			return nil, errors.Join(net.ErrClosed, conn.Close())
		}
		return conn, err
	}
}

// burning is the file system of a process that may die at any operation.
func (p *simProc) burning(fs *vfs.MemFS) vfs.FS {
	return vfs.NewFault(fs, func(vfs.Op) vfs.Fault { p.fuse.burn(); return vfs.Fault{} })
}

// diskNow returns the disk as it would be found if the process died now.
func (n *simNode) diskNow(rng *rand.Rand) *simDisk {
	d := &simDisk{disk: n.disk}
	d.store, d.fs = n.store.crash(rng, n.fs, []int{0, 50, 100}[rng.IntN(3)])
	return d
}

// die ends a process as SIGKILL or a power cut does: what was not synced may be
// gone.
func (s *simCluster) die(p *simProc, rng *rand.Rand) {
	if p.dead.Swap(true) {
		return
	}
	s.note("node %d dies", p.id)
	s.net.Kill(p.host)
	p.left = p.node.diskNow(rng)
	close(p.died)
}

// kill ends a process between two things that it does.
func (s *simCluster) kill(n *simNode) {
	s.die(n.proc.Load(), s.rng)
	s.reap()
}

// killWithin ends a process at one of the next things that it does to its disk.
func (s *simCluster) killWithin(n *simNode) {
	p, rng := n.proc.Load(), rand.New(rand.NewPCG(s.rng.Uint64(), 1))
	p.fuse.light(1+s.rng.Int64N(30), func() { s.die(p, rng) })
}

// disarm has no process die by its fuse any more.
func (s *simCluster) disarm() {
	for _, p := range s.running() {
		p.fuse.left.Store(0)
	}
	s.reap()
}

// reap buries the processes that died.
func (s *simCluster) reap() {
	for _, p := range s.running() {
		if !p.dead.Load() {
			continue
		}
		<-p.died
		p.node.proc.Store(nil)
		p.node.downSince = time.Now()
		s.finish(p)
		p.node.fs, p.node.store = p.left.fs, p.left.store
	}
}

// stop ends a node's process as SIGTERM does.
func (s *simCluster) stop(n *simNode) {
	p := n.proc.Load()
	s.note("node %d is stopped", n.id)
	s.finish(p)
	if p.dead.Swap(true) {
		s.reap() // it died meanwhile
		return
	}
	n.proc.Store(nil)
	n.downSince = time.Now()
	s.net.Kill(n.host)
}

// finish ends what a process runs.
func (s *simCluster) finish(p *simProc) {
	p.once.Do(func() {
		close(p.over)
		if err := errors.Join(p.Close(), p.web.Close(), p.data.close()); err != nil && !p.dead.Load() {
			s.fail("stop node %d: %v", p.id, err)
		}
	})
}

// endAll ends all that runs.
func (s *simCluster) endAll() {
	s.heal()
	for _, p := range s.running() {
		p.node.toEnd = true
		p.node.proc.Store(nil)
		p.dead.Store(true)
		s.net.Kill(p.host)
		s.finish(p)
	}
	pause(time.Minute) // memberlist ends what it has begun
}

// heal makes the network whole.
func (s *simCluster) heal() {
	s.net.Heal()
	for _, n := range s.nodes {
		s.net.Thaw(n.host)
		for _, o := range s.nodes {
			s.net.Delay(n.host, o.host, 0)
		}
	}
}

// running returns the processes that run.
func (s *simCluster) running() []*simProc {
	var out []*simProc
	for _, n := range s.nodes {
		if p := n.proc.Load(); p != nil {
			out = append(out, p)
		}
	}
	return out
}

// simLogger notes what a node logs in the history.
type simLogger struct {
	s *simCluster
	p *simProc
}

// Log implements log.Logger.
func (l simLogger) Log(pairs ...any) error {
	message, rest := "", ""
	for i := 0; i+1 < len(pairs); i += 2 {
		switch pairs[i] {
		case "level":
		case "msg":
			message = fmt.Sprint(pairs[i+1])
		default:
			rest += fmt.Sprintf(" %v=%v", pairs[i], pairs[i+1])
		}
	}
	if strings.HasPrefix(message, "refilled:") && l.p.data.whole() {
		l.p.node.lossy.Store(false)
	}
	l.s.note("  node %d: %s%s", l.p.id, message, rest)
	if l.s.broken.logged != nil {
		l.s.broken.logged(l.p, message)
	}
	return nil
}
