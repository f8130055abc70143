package engine

import (
	"context"
	"errors"
	"math/rand/v2"
	"path"
	"testing"

	"github.com/count-db/count/internal/vfs"
	"github.com/count-db/count/internal/wire"
)

// lossyDirectory is a directory of a process that was killed: series and samples in
// files and in the registry, and samples in the log of series that only the
// registry defines.
func lossyDirectory(t *testing.T, clock *testClock) *vfs.MemFS {
	t.Helper()
	fsys := vfs.NewMem()
	db := mustOpen(t, fsys, smallLimits(testOptions(clock)))
	for i, name := range []string{"a", "b", "c"} {
		put(t, db, series(name), float64(testStart), float64(i))
		if err := db.Flush(context.Background()); err != nil { // a frame of the registry each
			t.Fatal(err)
		}
	}
	for i, name := range []string{"a", "b", "c"} {
		put(t, db, series(name), float64(testStart+1), float64(i))
	}
	killed := fsys.CrashClone(rand.New(rand.NewPCG(1, 2)), 0)
	mustClose(t, db)
	return killed
}

// flipAt changes a byte of a file.
func flipAt(t *testing.T, fsys vfs.FS, name string, at func(size int) int) {
	t.Helper()
	data, err := vfs.ReadFile(fsys, name)
	if err != nil {
		t.Fatal(err)
	}
	data[at(len(data))] ^= 0x40
	if err := vfs.WriteFile(fsys, name, data); err != nil {
		t.Fatal(err)
	}
}

func middle(size int) int { return size / 2 }
func last(size int) int   { return size - 1 }

// TestNoCrashHidesALoss: C5. Something is damaged or missing, and the start that
// finds it is killed at any operation on the disk: the next start still knows that
// something is lost, because it is noted or because the damage is still there.
func TestNoCrashHidesALoss(t *testing.T) {
	remove := func(t *testing.T, fsys vfs.FS, name string) {
		if err := errors.Join(fsys.Remove(name), fsys.SyncDir(path.Dir(name))); err != nil {
			t.Fatal(err)
		}
	}
	file := func(t *testing.T, fsys vfs.FS) string {
		names, err := fsys.List("data/files")
		if err != nil || len(names) == 0 {
			t.Fatalf("%v, %v", names, err)
		}
		return path.Join("data/files", names[0])
	}
	kinds := map[string]func(*testing.T, vfs.FS){
		"manifest":                     func(t *testing.T, fsys vfs.FS) { flipAt(t, fsys, "data/MANIFEST", middle) },
		"missing manifest":             func(t *testing.T, fsys vfs.FS) { remove(t, fsys, "data/MANIFEST") },
		"registry":                     func(t *testing.T, fsys vfs.FS) { flipAt(t, fsys, "data/registry", middle) },
		"the registry's last bytes":    func(t *testing.T, fsys vfs.FS) { flipAt(t, fsys, "data/registry", last) },
		"missing registry":             func(t *testing.T, fsys vfs.FS) { remove(t, fsys, "data/registry") },
		"missing file":                 func(t *testing.T, fsys vfs.FS) { remove(t, fsys, file(t, fsys)) },
		"end of a file":                func(t *testing.T, fsys vfs.FS) { flipAt(t, fsys, file(t, fsys), last) },
		"identity":                     func(t *testing.T, fsys vfs.FS) { flipAt(t, fsys, "data/identity", last) },
		"the identity's version":       func(t *testing.T, fsys vfs.FS) { flipAt(t, fsys, "data/identity", func(int) int { return 4 }) },
		"what is noted of lost things": func(t *testing.T, fsys vfs.FS) { flipAt(t, fsys, "data/lost", last) },
	}
	for name, harm := range kinds {
		t.Run(name, func(t *testing.T) {
			clock := newTestClock()
			disk := lossyDirectory(t, clock)
			if name == "what is noted of lost things" {
				if err := lostFile.write(disk, "data", []byte{1, 2, 4}); err != nil {
					t.Fatal(err)
				}
			}
			harm(t, disk)
			var crashes []*vfs.MemFS
			db := mustOpen(t, vfs.NewFault(disk, func(op vfs.Op) vfs.Fault {
				switch op.Kind {
				case vfs.OpWrite, vfs.OpSync, vfs.OpSyncDir, vfs.OpRename, vfs.OpRemove, vfs.OpLink, vfs.OpCreate, vfs.OpTruncate:
					for _, kept := range []int{0, 100} {
						crashes = append(crashes, disk.CrashClone(rand.New(rand.NewPCG(uint64(len(crashes)), 3)), kept))
					}
				}
				return vfs.Fault{}
			}), testOptions(clock))
			if db.Lost().Number == 0 {
				t.Fatal("nothing is lost")
			}
			if err := db.Maintain(context.Background()); err != nil {
				t.Fatal(err)
			}
			mustClose(t, db)
			for i, fsys := range append(crashes, disk) {
				again := mustOpen(t, fsys, testOptions(clock))
				if again.Lost().Number == 0 {
					t.Errorf("crash %d of %d: nobody knows of the loss any more\n%s", i, len(crashes), fsys.Tree())
				}
				if err := again.Maintain(context.Background()); err != nil {
					t.Fatal(err)
				}
				mustClose(t, again)
				if r, err := Check(fsys, "data"); err != nil || len(r.Faults) > 0 {
					t.Errorf("crash %d of %d: check: %v, %v", i, len(crashes), r.Faults, err)
				}
				if t.Failed() {
					return
				}
			}
			t.Logf("%d crashes", len(crashes))
		})
	}
}

// TestLogOfUnknownSeriesIsCut: samples of series that nothing defines any more go
// from the log once the loss is noted, also where nothing else is to be flushed.
func TestLogOfUnknownSeriesIsCut(t *testing.T) {
	clock := newTestClock()
	fsys := lossyDirectory(t, clock)
	if err := fsys.Remove("data/registry"); err != nil {
		t.Fatal(err)
	}
	if r, err := Check(fsys, "data"); err != nil || len(r.Faults) == 0 {
		t.Fatalf("check of the damage: %v, %v", r.Faults, err)
	}
	mustClose(t, mustOpen(t, fsys, testOptions(clock)))
	db := mustOpen(t, fsys, testOptions(clock))
	if db.replay.Records != 0 || db.Lost().Number == 0 {
		t.Errorf("the log has %d records, lost is %+v", db.replay.Records, db.Lost())
	}
	if err := db.Maintain(context.Background()); err != nil { // the files too
		t.Fatal(err)
	}
	mustClose(t, db)
	if r, err := Check(fsys, "data"); err != nil || len(r.Faults) > 0 {
		t.Errorf("check: %v, %v", r.Faults, err)
	}
}

// TestNewerSmallFileIsRefused: a file that a newer build wrote is no damage.
func TestNewerSmallFileIsRefused(t *testing.T) {
	fsys := vfs.NewMem()
	if err := fsys.MkdirAll("data"); err != nil {
		t.Fatal(err)
	}
	newer := identityFile
	newer.version++
	if err := newer.write(fsys, "data", []byte("more")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := identityFile.read(fsys, "data"); err == nil || errors.Is(err, wire.ErrCorrupt) {
		t.Errorf("read of a newer file: %v", err)
	}
}
