package cluster_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

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
func lifeOnEngine(rng *rand.Rand) *cluster.SimEngine {
	seconds := func(all ...int64) int64 { return 1000 * all[rng.IntN(len(all))] }
	limits := plan.Default()
	limits.DayDelay, limits.Quiet, limits.Recent = seconds(1, 300), seconds(0, 5, 60), seconds(0, 24*3600)
	limits.SealSamples, limits.LateShare = []int64{1, 1, 3, 10}[rng.IntN(4)], []int64{1, 2, 1000}[rng.IntN(3)]
	limits.MaxWide, limits.MaxPerWindow, limits.MergeFiles = 1+rng.IntN(4), 1+rng.IntN(3), 2+rng.IntN(3)
	limits.DeadBytes = []int64{1, 1000}[rng.IntN(2)]
	o := engine.Options{
		Versions: true, Limits: &limits, SealDelay: time.Duration(seconds(1, 60, 600)) * time.Millisecond,
		FlushInterval: time.Duration(seconds(1, 5, 20, 300)) * time.Millisecond, BufferSamples: []int64{0, 0, 5, 40}[rng.IntN(4)], LogBytes: 512 << 10,
	}
	return &cluster.SimEngine{
		What: fmt.Sprintf("flushes every %s and %d samples, seals after %s, %+v", o.FlushInterval, o.BufferSamples, o.SealDelay, limits),
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

func (o opened) Local() cluster.Local { return storage.Local(o.DB) }
func (o opened) Clock() cluster.Clock { return o.DB.Clock() }

func checkEngine(fsys vfs.FS) error {
	report, err := engine.Check(fsys, engineDir)
	if err != nil {
		return err
	}
	return errors.Join(report.Faults...)
}

// rotFiles flips a bit of some of the data files.
func rotFiles(rng *rand.Rand, fsys *vfs.MemFS, _ bool) string {
	dir := path.Join(engineDir, "files")
	names, err := fsys.List(dir)
	if err != nil || len(names) == 0 {
		return ""
	}
	slices.Sort(names)
	var flipped []string
	for _, name := range names {
		if rng.IntN(2) == 0 && len(flipped) > 0 {
			continue
		}
		at, err := flip(rng, fsys, path.Join(dir, name))
		if err != nil {
			return fmt.Sprintf("%s cannot be damaged: %v", name, err)
		}
		flipped = append(flipped, fmt.Sprintf("%s at %d", name, at))
	}
	return "bits are flipped in " + strings.Join(flipped, ", ")
}

func flip(rng *rand.Rand, fsys vfs.FS, name string) (at int64, err error) {
	f, err := fsys.OpenAppend(name)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	size, err := f.Size()
	if err != nil || size == 0 {
		return 0, err
	}
	at = rng.Int64N(size)
	var b [1]byte
	if _, err := f.ReadAt(b[:], at); err != nil {
		return at, err
	}
	b[0] ^= 1 << rng.IntN(8)
	if _, err := f.WriteAt(b[:], at); err != nil {
		return at, err
	}
	return at, f.Sync()
}
