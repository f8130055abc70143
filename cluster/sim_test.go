package cluster

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/cryptotest"
	"testing/synctest"
	"time"
)

// TestSimulation lives lives of whole clusters on virtual time, each by the
// randomness of its own seed. In a life some of all things happen that can happen
// (simEvents): nodes are killed and lose what was not synced, are stopped, hang,
// are cut off, lose their disks or parts of them, come back on older copies, join,
// leave, are removed and return, majorities are lost for good and the others go on by
// force, zones and the replication factor change and
// changes are taken back; meanwhile clients write, overwrite, delete and read
// through all nodes, clocks are wrong by minutes and drift, and hints, repair,
// settling and shedding do their work. Checked is
//
//   - in every complete read: simHistory;
//   - when so many are there that it must be possible: that writes are
//     acknowledged and reads are complete (calm);
//   - in the end, when all is whole again: that within a bounded time the ring is
//     settled, all owners hold the same, nobody else holds anything, nobody is owed
//     anything, deletes are forgotten, and nothing is lost (untilWhole).
//
// What happens follows from the seed; in which order goroutines that are ready at the
// same time run, and maps are walked, follows from it only with the runtime of
// test/simulation: `make simulate SEEDS=N FROM=M` lives lives that are the same each
// time, by their hash. Otherwise COUNT_SEEDS says how many lives, COUNT_SEED_FROM with
// which seed they begin, COUNT_SEED names a single one, and COUNT_SEED_LOG has all be
// told that happened; a life that failed may have to be lived some times (-count)
// until it fails again.
func TestSimulation(t *testing.T) { liveAll(t, 25, nil) }

// liveAll lives so many lives, or those that the environment names.
func liveAll(t *testing.T, n uint64, engine func(*rand.Rand) *SimEngine) {
	t.Helper()
	began, lives := time.Now(), 0
	var all simTotals
	for _, seed := range simSeeds(t, n) {
		h := simulateOn(t, seed, sabotage{}, engine)
		lives++
		all.add(h)
		if testing.Verbose() {
			t.Logf("seed %d: hash %016x, %s of virtual time, %d operations, %d reads: %s", seed, h.hash(), h.took.Round(time.Second), len(h.ops), h.reads, h.log[0])
		}
		if os.Getenv("COUNT_SEED_LOG") != "" {
			t.Log("\n" + strings.Join(h.log, "\n"))
		}
		if h.first != "" {
			t.Fatalf("seed %d: %s\n\nagain: COUNT_SEED=%d go test -run '%s$' -count=20 -failfast ./cluster\n\n%s\n%s", seed, h.first, seed, t.Name(), h.log[0], h.tell(120))
		}
	}
	t.Logf("%d lives in %s: %s", lives, time.Since(began).Round(time.Millisecond), &all)
}

// simTotals is what happened in several lives.
type simTotals struct{ acked, refused, deletes, reads, marked int }

func (a *simTotals) add(h *simHistory) {
	a.acked, a.refused, a.deletes, a.reads, a.marked = a.acked+h.acked, a.refused+h.refused, a.deletes+h.deletes, a.reads+h.reads, a.marked+h.marked
}

func (a *simTotals) String() string {
	return fmt.Sprintf("%d writes and deletes acknowledged, %d refused, %d of them deletes, %d complete reads, %d marked", a.acked, a.refused, a.deletes, a.reads, a.marked)
}

func simSeeds(t *testing.T, n uint64) []uint64 {
	out := seeds(t, n)
	var from uint64
	if text := os.Getenv("COUNT_SEED_FROM"); text != "" && os.Getenv("COUNT_SEED") == "" {
		if _, err := fmt.Sscan(text, &from); err != nil {
			t.Fatal(err)
		}
	}
	for i := range out {
		out[i] += from
	}
	return out
}

// simulateOn lives one life, on another storage than simLocal unless engine is nil.
func simulateOn(t *testing.T, seed uint64, b sabotage, engine func(*rand.Rand) *SimEngine) (h *simHistory) {
	t.Helper()
	// Goroutines take turns: fewer orders in which they may run.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	cryptotest.SetGlobalRandom(t, seed)
	synctest.Test(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(seed, 5))
		p := newProfile(rng)
		b.apply(&p)
		var e *SimEngine
		if engine != nil {
			e = engine(rng)
		}
		s := newSimCluster(rng, p, b, e)
		s.live()
		s.endAll()
		s.wg.Wait()
		s.noteDisks()
		s.log = append([]string{p.String() + s.what()}, s.log...)
		s.took = time.Since(s.began)
		h = s.simHistory
	})
	return h
}

// profile is what kind of a life it is.
type profile struct {
	nodes, rf, zones int
	leastFactor      int           // the replication factor never falls below it; from 2 on disks may be lost
	skew             time.Duration // the most that a clock is wrong
	maxHints         int64         // bytes
	copyRate         int64         // bytes a second
	gossip           bool
	deletesOn        bool
	clients, steps   int
	pace             time.Duration // the most between two operations of a client
	tempo            time.Duration // the most between two events
	longest          time.Duration // of a long wait
	events           []simEvent    // that may happen
}

func (p *profile) String() string {
	names := ""
	for _, e := range p.events {
		names += ", " + e.name
	}
	return fmt.Sprintf("%d nodes, factor %d (at least %d), %d zones, clocks wrong by %s, hints %d bytes, copies %d bytes a second, gossip %v, %d clients every %s, events every %s%s",
		p.nodes, p.rf, p.leastFactor, p.zones, p.skew, p.maxHints, p.copyRate, p.gossip, p.clients, p.pace, p.tempo, names)
}

func newProfile(rng *rand.Rand) profile {
	oneOf := func(all ...time.Duration) time.Duration { return all[rng.IntN(len(all))] }
	p := profile{
		nodes: []int{1, 2, 3, 3, 3, 4, 4, 5}[rng.IntN(8)], rf: []int{1, 2, 2, 3, 3, 3}[rng.IntN(6)], zones: []int{0, 0, 2, 3}[rng.IntN(4)],
		leastFactor: 2, skew: oneOf(0, time.Second, 20*time.Second, 3*time.Minute),
		maxHints: []int64{0, 0, 1, 2000}[rng.IntN(4)], copyRate: []int64{0, 0, 64, 16}[rng.IntN(4)], gossip: rng.IntN(8) == 0, deletesOn: rng.IntN(3) > 0,
		clients: 1 + rng.IntN(3), steps: 20 + rng.IntN(40),
		pace: oneOf(200*time.Millisecond, 2*time.Second, 20*time.Second), tempo: oneOf(300*time.Millisecond, 3*time.Second, 20*time.Second), longest: oneOf(20*time.Second, 4*time.Minute, 10*time.Minute),
		events: someEvents(rng),
	}
	if slices.ContainsFunc(p.events, func(e simEvent) bool { return e.name == "recover" }) && rng.IntN(2) == 0 {
		p.nodes = simMaxNodes // of fewer at most two are left, and each of them is asked
	}
	p.pace = max(p.pace, p.tempo/5)
	if p.rf == 1 || rng.IntN(8) == 0 {
		p.leastFactor = 1
	}
	return p
}

// what says how the storage is set.
func (s *simCluster) what() string {
	if s.engine == nil {
		return ""
	}
	return ", on the engine: " + s.engine.What
}

// live is a life.
func (s *simCluster) live() {
	stop := make(chan struct{})
	for range s.clients {
		rng := rand.New(rand.NewPCG(s.rng.Uint64(), 1))
		s.wg.Go(func() { s.client(rng, stop) })
	}
	s.until("the cluster is founded", time.Minute, s.founded)
	for i := range s.steps {
		pause(time.Duration(s.rng.Int64N(int64(s.tempo)) + 1))
		s.reap()
		s.step()
		s.sameRings()
		s.broken.now(s)
		if s.over() {
			return
		}
		if i%15 == 14 && s.rng.IntN(2) == 0 {
			s.calm()
		}
	}
	if s.rng.IntN(2) == 0 {
		// The clients end first: nothing that comes later covers what went wrong.
		close(stop)
		stop = nil
	}
	s.wholeAgain()
	if stop != nil {
		close(stop)
	}
	s.untilWhole()
}

// until waits for a condition; false: it did not come.
func (s *simCluster) until(what string, within time.Duration, cond func() string) bool {
	for began := time.Now(); ; {
		why := cond()
		if why == "" || s.over() {
			return why == ""
		}
		waited := time.Since(began)
		if waited > within {
			s.noteStatus()
			s.fail("not within %s: %s: %s", within, what, why)
			return false
		}
		pause(min(500*time.Millisecond+waited/50, 5*time.Second))
		s.reap()
		s.sameRings()
	}
}

func (s *simCluster) noteStatus() {
	for _, p := range s.running() {
		st := p.Status()
		s.note("status of node %d: ring %+v, majority %v, refilling %q, problems %q, change %+v, shed %+v, settling %+v %+v, left %v, owed %v", p.id, p.RingRecord(), st.Majority, st.Refilling,
			st.Problems, st.Change, st.Shed, p.RepairStatus().Settling, p.floors.now(), p.Health().Left, p.hints.Stats().PerNode)
	}
}

func (s *simCluster) founded() string {
	for _, p := range s.running() {
		if !p.Health().Founded {
			return fmt.Sprintf("node %d has no ring: %q", p.id, p.Health().Problems)
		}
	}
	return ""
}
