package engine

import (
	"context"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/engine/plan"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/vfs"
)

// smallLimits seal and build days with little data.
func smallLimits(o Options) Options {
	return o.WithLimits(func(l *plan.Limits) { l.SealSamples = 2 })
}

// switchable is a file system whose operations on some files fail while it is
// on.
type switchable struct {
	on    atomic.Bool
	match func(vfs.Op) bool
}

func (s *switchable) inject(op vfs.Op) vfs.Fault {
	if s.on.Load() && s.match(op) {
		return vfs.Fault{Err: syscall.ENOSPC}
	}
	return vfs.Fault{}
}

func appendOne(db *DB, t int64, v float64) error {
	ref, err := db.Intern(series("m"))
	if err != nil {
		return err
	}
	_, err = db.Append(context.Background(), &model.Batch{Floats: []model.FloatSample{{Ref: ref, T: t, V: v}}}, AppendOptions{Fresh: true})
	return err
}

// E1: after a failed sync of the log nothing is acknowledged until a restart,
// and what was acknowledged is there after it.
func TestFailedLogStopsTheStorage(t *testing.T) {
	clock, mem := newTestClock(), vfs.NewMem()
	faults := &switchable{match: func(op vfs.Op) bool { return op.Kind == vfs.OpSync && strings.Contains(op.Path, logDir) }}
	db := mustOpen(t, vfs.NewFault(mem, faults.inject), testOptions(clock))
	if err := appendOne(db, testStart, 1); err != nil {
		t.Fatal(err)
	}
	faults.on.Store(true)
	if err := appendOne(db, testStart+1, 2); !errors.Is(err, ErrFailed) {
		t.Fatalf("append over a failed sync: %v", err)
	}
	faults.on.Store(false)
	if err := appendOne(db, testStart+2, 3); !errors.Is(err, ErrFailed) {
		t.Fatalf("append after a failed sync: %v", err)
	}
	if err := db.Failed(); !errors.Is(err, ErrFailed) || !db.Stats().Failed {
		t.Fatalf("state after a failed sync: %v, %+v", err, db.Stats())
	}
	if err := db.Flush(context.Background()); !errors.Is(err, ErrFailed) {
		t.Fatalf("flush after a failed sync: %v", err)
	}
	// Reads go on.
	if got := dump(t, db); len(got) != 1 {
		t.Fatalf("reads %q", got)
	}
	again := mustOpen(t, mem.CrashClone(rand.New(rand.NewPCG(1, 1)), 0), testOptions(clock))
	wantDump(t, again, "m 0=1")
	mustClose(t, again)
}

// A disk that is full while a file is flushed costs nothing: the buffer stays
// readable, writes go on, and the flush is done when there is room.
func TestFlushOnAFullDisk(t *testing.T) {
	clock := newTestClock()
	faults := &switchable{match: func(op vfs.Op) bool { return op.Kind == vfs.OpWrite && strings.Contains(op.Path, ".wide") }}
	db := mustOpen(t, vfs.NewFault(vfs.NewMem(), faults.inject), testOptions(clock))
	put(t, db, series("m"), float64(testStart), 1)
	faults.on.Store(true)
	for range 2 {
		if err := db.Flush(context.Background()); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("flush on a full disk: %v", err)
		}
	}
	put(t, db, series("m"), float64(testStart+1), 2)
	wantDump(t, db, "m 0=1 1=2")
	faults.on.Store(false)
	if err := db.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	wantDump(t, db, "m 0=1 1=2")
	if s := db.Stats(); s.FlushFailures != 2 || s.Flushes != 2 || s.BufferSamples != 0 {
		t.Fatalf("%+v", s)
	}
	mustClose(t, db)
}

// A day that cannot be built does not hold up the windows.
func TestFailingJobLeavesOthersAlone(t *testing.T) {
	clock := newTestClock()
	faults := &switchable{match: func(op vfs.Op) bool { return op.Kind == vfs.OpWrite && strings.Contains(op.Path, ".day") }}
	db := mustOpen(t, vfs.NewFault(vfs.NewMem(), faults.inject), smallLimits(testOptions(clock)))
	faults.on.Store(true)
	for i := range int64(26) {
		ts := float64(testStart + i*hourMillis)
		put(t, db, series("m"), ts, 1, ts+1, 1)
	}
	clock.advance(30 * time.Hour)
	for range 2 {
		if err := db.Flush(context.Background()); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("flush when a day cannot be written: %v", err)
		}
		wantFiles(t, db, 0, 13, 0)
	}
	faults.on.Store(false)
	mustFlush(t, db)
	wantFiles(t, db, 0, 1, 1)
	mustClose(t, db)
}

// When flushing cannot keep up, writes wait and are then refused.
func TestOverload(t *testing.T) {
	clock := newTestClock()
	opts := testOptions(clock)
	opts.BufferBytes, opts.AppendWait = 4<<10, time.Millisecond
	faults := &switchable{match: func(op vfs.Op) bool { return op.Kind == vfs.OpWrite && strings.Contains(op.Path, ".wide") }}
	db := mustOpen(t, vfs.NewFault(vfs.NewMem(), faults.inject), opts)
	faults.on.Store(true)
	var err error
	for i := range int64(100_000) {
		if err = appendOne(db, testStart+i*1000, float64(i)*1.37); err != nil {
			break
		}
	}
	if !errors.Is(err, ErrOverloaded) || db.Stats().Overloaded != 1 {
		t.Fatalf("append into a full buffer: %v", err)
	}
	faults.on.Store(false)
	if err := db.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := appendOne(db, testStart, 1); err != nil {
		t.Fatalf("append after the flush: %v", err)
	}
	mustClose(t, db)
}

// damage changes a byte in the middle of each data file of a kind.
func damage(t *testing.T, fsys vfs.FS, suffix string, at func(size int64) int64) {
	t.Helper()
	names, err := fsys.List("data/files")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if !strings.HasSuffix(name, suffix) {
			continue
		}
		path := filepath.Join("data/files", name)
		data, err := vfs.ReadFile(fsys, path)
		if err != nil {
			t.Fatal(err)
		}
		data[at(int64(len(data)))] ^= 0x40
		if err := vfs.WriteFile(fsys, path, data); err != nil {
			t.Fatal(err)
		}
	}
}

// E3: a damaged record costs its series, not the window; the file is kept for
// a look, and the gap is told.
func TestDamagedRecordIsSetAside(t *testing.T) {
	fsys, clock := vfs.NewMem(), newTestClock()
	db := mustOpen(t, fsys, smallLimits(testOptions(clock)))
	put(t, db, series("a"), float64(testStart), 1, float64(testStart+1), 2)
	put(t, db, series("b"), float64(testStart), 3, float64(testStart+1), 4)
	mustClose(t, db)
	damage(t, fsys, ".wide", func(int64) int64 { return 10 }) // in the first record
	if r, err := Check(fsys, "data"); err != nil || len(r.Faults) == 0 {
		t.Fatalf("check of a damaged file: %+v, %v", r, err)
	}
	db = mustOpen(t, fsys, smallLimits(testOptions(clock)))
	sel, err := db.Select(context.Background(), 0, maxTime)
	if err != nil {
		t.Fatal(err)
	}
	if err := sel.Read(0, 0, maxTime, &model.Columns{}); err == nil {
		t.Fatal("a damaged record was read")
	}
	sel.Close()
	clock.advance(3 * time.Hour)
	if err := db.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	wantDump(t, db, "b 0=3 1=4")
	if s := db.Stats(); s.QuarantinedFile != 1 || !db.Identity().Gap || s.SealedFiles != 1 || s.WideFiles != 0 {
		t.Fatalf("%+v", s)
	}
	mustClose(t, db)
}

// The same for the chunks of sealed windows and days.
func TestDamagedSealedWindowAndDay(t *testing.T) {
	for _, suffix := range []string{".sealed", ".day"} {
		fsys, clock := vfs.NewMem(), newTestClock()
		db := mustOpen(t, fsys, smallLimits(testOptions(clock)))
		put(t, db, series("a"), float64(testStart), 1, float64(testStart+1), 2)
		put(t, db, series("b"), float64(testStart), 3, float64(testStart+1), 4)
		clock.advance(3 * time.Hour)
		if suffix == ".day" {
			clock.advance(24 * time.Hour)
		}
		if err := db.Flush(context.Background()); err != nil {
			t.Fatal(err)
		}
		mustClose(t, db)
		damage(t, fsys, suffix, func(int64) int64 { return 10 })
		db = mustOpen(t, fsys, smallLimits(testOptions(clock)))
		clock.advance(48 * time.Hour)
		if suffix == ".day" { // late data makes the day be built again
			put(t, db, series("a"), float64(testStart+2), 5, float64(testStart+3), 6)
		}
		if err := db.Flush(context.Background()); err != nil {
			t.Fatal(err)
		}
		want := []string{"b 0=3 1=4"}
		if suffix == ".day" {
			want = []string{"a 2=5 3=6", "b 0=3 1=4"}
		}
		wantDump(t, db, want...)
		if s := db.Stats(); s.QuarantinedFile != 1 || s.DayFiles != 1 || s.SealedFiles != 0 {
			t.Fatalf("%s: %+v", suffix, s)
		}
		mustClose(t, db)
		if r, err := Check(fsys, "data"); err != nil || len(r.Faults) > 0 {
			t.Fatalf("%s: check after the repair: %+v, %v", suffix, r, err)
		}
	}
}

// A file whose tables are damaged is set aside at the start.
func TestDamagedTableIsSetAside(t *testing.T) {
	fsys, clock := vfs.NewMem(), newTestClock()
	db := mustOpen(t, fsys, testOptions(clock))
	put(t, db, series("a"), float64(testStart), 1)
	mustClose(t, db)
	damage(t, fsys, ".wide", func(size int64) int64 { return size - 1 })
	for range 2 {
		db = mustOpen(t, fsys, testOptions(clock))
		put(t, db, series("b"), float64(testStart), 1)
		wantDump(t, db, "b 0=1")
		if s := db.Stats(); s.QuarantinedFile != 1 {
			t.Fatalf("%+v", s)
		}
		mustClose(t, db)
	}
}

// Damage to a small file, or to the manifest, does not keep a node from
// starting.
func TestDamagedSmallFilesDoNotPreventAStart(t *testing.T) {
	for _, name := range []string{"identity", "tombstones", "exemplars", "metadata", "MANIFEST", "lost"} {
		fsys, clock := vfs.NewMem(), newTestClock()
		db := mustOpen(t, fsys, testOptions(clock))
		put(t, db, series("a"), float64(testStart), 1)
		mustDelete(t, db, testStart+5, testStart+5, labels.MustNewMatcher(labels.MatchEqual, "__name__", "a"))
		ref, _ := db.Lookup(series("a"))
		b := model.Batch{Exemplars: []model.Exemplar{{Ref: ref, T: testStart, V: 1}}, Metadata: []model.Metadata{{Family: "a"}}}
		if _, err := db.Append(context.Background(), &b, AppendOptions{}); err != nil {
			t.Fatal(err)
		}
		put(t, db, series("a"), float64(testStart+1), 2)
		mustClose(t, db)
		if name == "lost" {
			lostFile := []byte("CTlo\x01 that is no frame")
			if err := vfs.WriteFile(fsys, "data/lost", lostFile); err != nil {
				t.Fatal(err)
			}
		}
		path := filepath.Join("data", name)
		data, err := vfs.ReadFile(fsys, path)
		if err != nil {
			t.Fatal(err)
		}
		data[len(data)/2] ^= 1
		if err := vfs.WriteFile(fsys, path, data); err != nil {
			t.Fatal(err)
		}
		for round := range 3 {
			db = mustOpen(t, fsys, testOptions(clock))
			wantDump(t, db, "a 0=1 1=2")
			if gap := db.Identity().Gap; gap != (round < 2) {
				t.Errorf("%s damaged, start %d: gap %v", name, round, gap)
			}
			if round == 1 { // until then the mark stays
				if err := db.Refilled(db.Lost().Number, true); err != nil {
					t.Fatal(err)
				}
			}
			mustClose(t, db)
		}
	}
}
