package cluster

import (
	"math"
	"math/rand/v2"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/vfs"
)

// simStore is the storage on the disk of a simulated node, and that of the process
// that runs on it: a simLocal, which was written for these lives, or the engine with
// all that it does by itself (simEngine).
type simStore interface {
	Local
	// open has a process begin on the disk: it burns the fuse of the process, gives
	// the node its disk's name, and returns the clock that stamps writes.
	open(p *simProc, at *simClock) (Clock, error)
	// tell names who is told of what is lost, before it is started.
	tell(s *simCluster, p *simProc)
	// close ends what the process has opened: all is durable.
	close() error
	// crash returns the disk as it is found when the process dies now.
	crash(rng *rand.Rand, fs *vfs.MemFS, keepPercent int) (simStore, *vfs.MemFS)

	// rot damages a disk on which no process runs, and says what.
	rot(rng *rand.Rand) string
	// rotNow damages the disk of a process that runs, and says what; empty: nothing.
	rotNow(rng *rand.Rand) string
	// rotten says whether something is damaged that could be read.
	rotten() bool
	// whole says whether nothing is damaged or lost.
	whole() bool
	// scrub reads everything back.
	scrub()

	// plant stores a batch before any process runs: one sample of each series.
	plant(v model.Version, names []labels.Labels, times []int64, value float64) error
	// shares is what computes shares of spread reads.
	shares() Reader
	// plain is what queries over the node's own copy read.
	plain() Reader
	// deletes works deletes into what is stored and returns how many are kept.
	deletes() (int, error)
	// tellAll tells in the end what is stored.
	tellAll(s *simCluster, n *simNode)
}

var _ simStore = (*simLocal)(nil)

// open implements simStore.
func (l *simLocal) open(p *simProc, at *simClock) (Clock, error) {
	p.node.disk.Starts++
	lost, _, _ := l.Lost()
	p.node.disk.Gap = lost > 0
	l.fuse = p.fuse
	at.Observe(l.highestVersion())
	return at, nil
}

// tell implements simStore.
func (l *simLocal) tell(s *simCluster, p *simProc) { s.watchDisk(l, p) }

// crash implements simStore.
func (l *simLocal) crash(rng *rand.Rand, fs *vfs.MemFS, keepPercent int) (simStore, *vfs.MemFS) {
	// Nothing is stored between the two.
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.crashLocked(rng), fs.CrashClone(rng, keepPercent)
}

// plant implements simStore.
func (l *simLocal) plant(v model.Version, names []labels.Labels, times []int64, value float64) error {
	b := &model.Batch{Version: v}
	for i, ls := range names {
		ref, err := l.Intern(ls)
		if err != nil {
			return err
		}
		b.Floats = append(b.Floats, model.FloatSample{T: times[i%len(times)], V: value, Ref: ref})
	}
	l.change(l.again(b))
	return nil
}

// shares implements simStore: damage is not what spread reads are about.
func (l *simLocal) shares() Reader { return l.memLocal }

// plain implements simStore.
func (l *simLocal) plain() Reader { return l }

// deletes implements simStore.
func (l *simLocal) deletes() (int, error) {
	return len(l.Tombstones(math.MinInt64, math.MaxInt64)), nil
}

// tellAll implements simStore.
func (l *simLocal) tellAll(s *simCluster, n *simNode) {
	for _, series := range l.byRef {
		s.note("node %d holds %s: %v %v %v", n.id, series.labels, series.cols.T, series.cols.V, series.cols.Ver)
	}
	for _, t := range l.tombstones {
		s.note("node %d holds the delete %d of %v from %d to %d", n.id, t.Version, t.Matchers, t.MinT, t.MaxT)
	}
}
