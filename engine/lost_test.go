package engine

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/vfs"
	"github.com/count-db/count/internal/wire"
)

// readAll reads all series; the error is the first one.
func readAll(t *testing.T, db *DB) error {
	t.Helper()
	sel, err := db.Select(context.Background(), 0, maxTime)
	if err != nil {
		return err
	}
	defer sel.Close()
	for i := range sel.Len() {
		if err := sel.Read(i, 0, maxTime, &model.Columns{}); err != nil {
			return err
		}
	}
	return nil
}

// TestDamageWhileOpen: E3, C5. What cannot be read of a file of any kind while the
// DB is open fails its reads, is told, and is given up only when what it held is
// here again; then the file is replaced. The mark outlives restarts.
func TestDamageWhileOpen(t *testing.T) {
	for _, suffix := range []string{".wide", ".sealed", ".day"} {
		fsys, clock := vfs.NewMem(), newTestClock()
		told := &atomic.Int64{}
		options := func() Options {
			o := smallLimits(testOptions(clock))
			o.Versions, o.OnLost = true, func() { told.Add(1) }
			return o
		}
		db := mustOpen(t, fsys, options())
		write := func(version model.Version) {
			for i, name := range []string{"a", "b"} {
				b := model.Batch{Version: version}
				for k := range 2 {
					ref, err := db.Intern(series(name))
					if err != nil {
						t.Fatal(err)
					}
					b.Floats = append(b.Floats, model.FloatSample{Ref: ref, T: testStart + int64(k), V: float64(2*i + k + 1)})
				}
				if _, err := db.Append(context.Background(), &b, AppendOptions{}); err != nil {
					t.Fatal(err)
				}
			}
		}
		write(db.Clock().Now())
		switch suffix {
		case ".sealed":
			clock.advance(3 * time.Hour)
		case ".day":
			clock.advance(48 * time.Hour)
		}
		if err := db.Flush(context.Background()); err != nil {
			t.Fatal(err)
		}
		mustClose(t, db)
		damage(t, fsys, suffix, func(int64) int64 { return 10 }) // in the first record
		db = mustOpen(t, fsys, options())
		files := db.Stats()
		if err := readAll(t, db); !errors.Is(err, wire.ErrCorrupt) {
			t.Fatalf("%s: a damaged record was read: %v", suffix, err)
		}
		for range 2 {
			if err := db.Maintain(context.Background()); err != nil {
				t.Fatalf("%s: %v", suffix, err)
			}
		}
		lost := db.Lost()
		if lost.Number == 0 || lost.MinT > testStart || lost.MaxT < testStart+1 || told.Load() == 0 || !db.Identity().Gap {
			t.Fatalf("%s: lost %+v, told %d times", suffix, lost, told.Load())
		}
		if err := readAll(t, db); err == nil || db.Stats().SealedFiles != files.SealedFiles || db.Stats().WideFiles != files.WideFiles {
			t.Fatalf("%s: the file was given up before what it held is here again: %v", suffix, err)
		}
		mustClose(t, db)
		db = mustOpen(t, fsys, options())
		if db.Lost() != lost {
			t.Fatalf("%s: after a restart %+v is lost, not %+v", suffix, db.Lost(), lost)
		}
		if err := readAll(t, db); err == nil {
			t.Fatalf("%s: a damaged record was read after a restart", suffix)
		}
		if err := db.Maintain(context.Background()); err != nil {
			t.Fatal(err)
		}
		write(db.Clock().Now())
		if err := db.Refilled(db.Lost().Number-1, true); err != nil || db.Lost().Number == 0 {
			t.Fatalf("%s: an earlier loss ended this one: %v", suffix, err)
		}
		if err := db.Refilled(db.Lost().Number, true); err != nil || db.Identity().Gap {
			t.Fatalf("%s: still lost: %v", suffix, err)
		}
		if err := db.Maintain(context.Background()); err != nil {
			t.Fatal(err)
		}
		wantDump(t, db, "a 0=1 1=2", "b 0=3 1=4")
		if s := db.Stats(); s.QuarantinedFile != 1 {
			t.Errorf("%s: %d files set aside", suffix, s.QuarantinedFile)
		}
		mustClose(t, db)
		if r, err := Check(fsys, "data"); err != nil || len(r.Faults) > 0 {
			t.Errorf("%s: check after the mending: %v, %v", suffix, r.Faults, err)
		}
	}
}

// TestNobodyToRefillFrom: the damaged file is given up, and the mark stays.
func TestNobodyToRefillFrom(t *testing.T) {
	fsys, clock := vfs.NewMem(), newTestClock()
	db := mustOpen(t, fsys, smallLimits(testOptions(clock)))
	put(t, db, series("a"), float64(testStart), 1)
	put(t, db, series("b"), float64(testStart), 3)
	mustClose(t, db)
	damage(t, fsys, ".wide", func(int64) int64 { return 10 })
	db = mustOpen(t, fsys, smallLimits(testOptions(clock)))
	if err := readAll(t, db); err == nil {
		t.Fatal("a damaged record was read")
	}
	for range 2 {
		if err := db.Maintain(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	wantDump(t, db, "b 0=3")
	if err := db.Refilled(db.Lost().Number, false); err != nil || db.Lost().Number == 0 {
		t.Errorf("the mark is gone: %v", err)
	}
	mustClose(t, db)
}

// TestDamagedRegistryNamesNoOtherSeries: references that only files and the log
// still name are never given to other series, and go from the files.
func TestDamagedRegistryNamesNoOtherSeries(t *testing.T) {
	for _, flushed := range []bool{true, false} {
		fsys, clock := vfs.NewMem(), newTestClock()
		db := mustOpen(t, fsys, smallLimits(testOptions(clock)))
		for _, name := range []string{"a", "b", "c"} {
			put(t, db, series(name), float64(testStart), 1)
		}
		if err := db.Flush(context.Background()); err != nil {
			t.Fatal(err)
		}
		if !flushed { // these are in the log only, their series in the registry only
			for _, name := range []string{"a", "b", "c"} {
				put(t, db, series(name), float64(testStart+1), 2)
			}
			killed := fsys.CrashClone(rand.New(rand.NewPCG(1, 2)), 0)
			mustClose(t, db)
			fsys = killed
		} else {
			mustClose(t, db)
		}
		size, err := fsys.Stat("data/registry")
		if err != nil {
			t.Fatal(err)
		}
		if err := vfs.WriteFile(fsys, "data/registry", make([]byte, size)); err != nil { // all of it, the next reference too
			t.Fatal(err)
		}
		for range 3 {
			db = mustOpen(t, fsys, smallLimits(testOptions(clock)))
			put(t, db, series("z"), float64(testStart+7), 7)
			for range 2 {
				if err := db.Maintain(context.Background()); err != nil {
					t.Fatal(err)
				}
			}
			wantDump(t, db, "z 7=7")
			mustClose(t, db)
		}
		if r, err := Check(fsys, "data"); err != nil || len(r.Faults) > 0 {
			t.Errorf("check: %v, %v", r.Faults, err)
		}
	}
}
