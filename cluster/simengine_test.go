package cluster_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/cluster"
	"github.com/count-db/count/engine"
	"github.com/count-db/count/engine/plan"
	"github.com/count-db/count/internal/node/storage"
	"github.com/count-db/count/internal/vfs"
)

// TestSimulationOnEngine lives lives as TestSimulation does, on the storage that nodes
// have: the engine behind internal/node/storage, on disks that lose what was not
// synced when a process dies. Flushes, merges, seals, days, the rewriting of what is
// shed or deleted and the mending of damaged files go on meanwhile, every few seconds.
// `make simulate ENGINE=1` lives more of them.
func TestSimulationOnEngine(t *testing.T) { cluster.SimulateOnEngine(t, 6, lifeOnEngine) }

const engineDir = "engine"

// lifeOnEngine returns the storage of one life.
func lifeOnEngine(rng *rand.Rand) *cluster.SimEngine { return life(rng, engine.SyncAlways) }

func life(rng *rand.Rand, sync engine.SyncMode) *cluster.SimEngine {
	seconds := func(all ...int64) int64 { return 1000 * all[rng.IntN(len(all))] }
	limits := plan.Default()
	limits.DayDelay, limits.Quiet, limits.Recent = seconds(1, 300), seconds(0, 5, 60), seconds(0, 24*3600)
	limits.SealSamples, limits.LateShare = []int64{1, 1, 3, 10}[rng.IntN(4)], []int64{1, 2, 1000}[rng.IntN(3)]
	limits.MaxWide, limits.MaxPerWindow, limits.MergeFiles = 1+rng.IntN(4), 1+rng.IntN(3), 2+rng.IntN(3)
	limits.DeadBytes = []int64{1, 1000}[rng.IntN(2)]
	o := engine.Options{
		Sync: sync, SyncInterval: 5 * time.Second, Versions: true, Limits: &limits, SealDelay: time.Duration(seconds(1, 60, 600)) * time.Millisecond,
		FlushInterval: time.Duration(seconds(1, 5, 20, 300)) * time.Millisecond, BufferSamples: []int64{0, 0, 5, 40}[rng.IntN(4)], LogBytes: 512 << 10,
	}
	turns := []int{0, 2, 20, 100}[rng.IntN(4)]
	return &cluster.SimEngine{
		What:  fmt.Sprintf("syncs take %d turns, flushes every %s and %d samples, seals after %s, %+v", turns, o.FlushInterval, o.BufferSamples, o.SealDelay, limits),
		Turns: turns,
		Open: func(fsys vfs.FS, now func() time.Time) (cluster.SimStorage, error) {
			own := o
			own.Now = now
			s, err := storage.Open(fsys, engineDir, own)
			if err != nil {
				return nil, err
			}
			return opened{s}, nil
		},
		Check: checkEngine,
		Rot:   rotFiles,
	}
}

// opened is a node's storage in the words of the simulation.
type opened struct{ *storage.Storage }

func (o opened) Local() cluster.Local  { return storage.Local(o.DB) }
func (o opened) Plain() cluster.Reader { return plain{o.Local(), o.DB} }
func (o opened) Clock() cluster.Clock  { return o.DB.Clock() }

// plain is a storage that is read as queries over a node's own copy do.
type plain struct {
	cluster.Local
	db *engine.DB
}

// Select implements cluster.Reader.
func (p plain) Select(ctx context.Context, mint, maxt int64, ms ...*labels.Matcher) (cluster.Selection, error) {
	return p.db.Select(ctx, mint, maxt, ms...)
}

func checkEngine(fsys vfs.FS) error {
	report, err := engine.Check(fsys, engineDir)
	if err != nil {
		return err
	}
	return errors.Join(report.Faults...)
}

// rotFiles flips bits of some of the data files. Where no process runs it may be
// another file in their place, or a whole data file is gone.
func rotFiles(rng *rand.Rand, fsys *vfs.MemFS, inUse bool) string {
	dir := path.Join(engineDir, "files")
	names, err := fsys.List(dir)
	if err != nil {
		return ""
	}
	for i := range names {
		names[i] = path.Join(dir, names[i])
	}
	slices.Sort(names)
	if !inUse && rng.IntN(4) == 0 {
		names = []string{path.Join(engineDir, []string{"MANIFEST", "registry", "tombstones", "shed", "identity", "lost"}[rng.IntN(6)])}
	}
	var done []string
	for _, name := range names {
		if rng.IntN(2) == 0 && len(done) > 0 {
			continue
		}
		if !inUse && rng.IntN(8) == 0 && strings.HasPrefix(name, dir) {
			err := errors.Join(fsys.Remove(name), fsys.SyncDir(dir))
			done = append(done, fmt.Sprintf("%s is gone (%v)", name, err))
			continue
		}
		if at, err := flip(rng, fsys, name, inUse); err == nil {
			done = append(done, fmt.Sprintf("%s is flipped at %d", name, at))
		}
	}
	return strings.Join(done, ", ")
}

// flip flips a bit of a file. The index of a day file in use is mapped, and was
// checked when it was.
func flip(rng *rand.Rand, fsys vfs.FS, name string, inUse bool) (at int64, err error) {
	data, err := vfs.ReadFile(fsys, name)
	if err != nil || len(data) == 0 {
		return 0, errors.Join(err, io.ErrUnexpectedEOF)
	}
	at = rng.Int64N(int64(len(data)))
	if from := int64(bytes.Index(data, []byte("CNTI"))); inUse && strings.HasSuffix(name, ".day") && from > 0 {
		at = rng.Int64N(from)
	}
	f, err := fsys.OpenAppend(name)
	if err != nil {
		return 0, err
	}
	_, err = f.WriteAt([]byte{data[at] ^ 1<<rng.IntN(8)}, at)
	return at, errors.Join(err, f.Sync(), f.Close())
}

// TestSimulationOnEngineFindsBrokenRules: lives on a storage that breaks a rule fail.
func TestSimulationOnEngineFindsBrokenRules(t *testing.T) {
	if testing.Short() {
		t.Skip("it lives a dozen lives")
	}
	cluster.FindBrokenOnEngine(t, lifeOnEngine, func(rng *rand.Rand) *cluster.SimEngine { return life(rng, engine.SyncInterval) })
}
