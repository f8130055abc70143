package engine

import (
	"context"
	"errors"
	"testing"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/vfs"
)

// A disk that others fill: writes are refused while reads and deletes go on, and
// are taken again by themselves when there is room.
func TestDiskReserve(t *testing.T) {
	clock, mem := newTestClock(), vfs.NewMem()
	opts := testOptions(clock)
	opts.DiskReserve = 4 << 20 // more than a new segment of the log takes
	db := mustOpen(t, mem, opts)
	if err := appendOne(db, testStart, 1); err != nil {
		t.Fatal(err)
	}
	used := func() int64 {
		mem.SetCapacity(1 << 40)
		free, total, err := mem.DiskUsage("data")
		if err != nil {
			t.Fatal(err)
		}
		return int64(total - free)
	}
	mem.SetCapacity(used() + opts.DiskReserve - 1)
	db.lookAtSpace()
	if err := appendOne(db, testStart+1, 2); !errors.Is(err, ErrDiskFull) {
		t.Fatalf("append on a disk that is nearly full: %v", err)
	}
	if err := db.Delete(context.Background(), model.Tombstone{MinT: testStart + 5, MaxT: testStart + 6, Matchers: []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, labels.MetricName, "m")}}); err != nil {
		t.Fatalf("delete: %v", err)
	}
	if s := db.Stats(); !s.DiskFull || s.RefusedFull != 1 || s.Failed {
		t.Fatalf("%+v", s)
	}
	mustFlush(t, db) // what the reserve is for
	wantDump(t, db, "m 0=1")

	mem.SetCapacity(used() + opts.DiskReserve + 1)
	db.lookAtSpace()
	if err := appendOne(db, testStart+1, 2); !errors.Is(err, ErrDiskFull) {
		t.Fatalf("append with just the reserve: %v", err)
	}
	mem.SetCapacity(used() + 2*opts.DiskReserve)
	db.lookAtSpace()
	if err := appendOne(db, testStart+1, 2); err != nil {
		t.Fatalf("append with room: %v", err)
	}
	wantDump(t, db, "m 0=1 1=2")
	mustClose(t, db)
}

// Files are merged and sealed only where that leaves the reserve alone.
func TestJobsLeaveTheReserve(t *testing.T) {
	clock, mem := newTestClock(), vfs.NewMem()
	opts := smallLimits(testOptions(clock))
	opts.DiskReserve = 1 << 20
	db := mustOpen(t, mem, opts)
	put(t, db, series("m"), float64(testStart), 1, float64(testStart+1), 2)
	mustFlush(t, db)
	clock.advance(3 * Window)
	mem.SetCapacity(opts.DiskReserve)
	if err := db.Maintain(context.Background()); !errors.Is(err, ErrDiskFull) || errors.Is(err, ErrFailed) {
		t.Fatalf("sealing without room: %v", err)
	}
	wantFiles(t, db, 1, 0, 0)
	mem.SetCapacity(0)
	mustFlush(t, db)
	wantFiles(t, db, 0, 1, 0)
	wantDump(t, db, "m 0=1 1=2")
	mustClose(t, db)
}

// A disk that is full while the live set is changed: the flush is done later.
func TestFullDiskAtTheManifest(t *testing.T) {
	inject, err := vfs.Script("fail write MANIFEST.tmp nth=2 err=ENOSPC")
	if err != nil {
		t.Fatal(err)
	}
	mem := vfs.NewMem()
	db := mustOpen(t, vfs.NewFault(mem, inject), testOptions(newTestClock()))
	put(t, db, series("m"), float64(testStart), 1)
	if err := db.Flush(context.Background()); !errors.Is(err, vfs.ErrNoSpace) || errors.Is(err, ErrFailed) {
		t.Fatalf("flush: %v", err)
	}
	put(t, db, series("m"), float64(testStart+1), 2)
	wantDump(t, db, "m 0=1 1=2")
	mustFlush(t, db)
	wantDump(t, db, "m 0=1 1=2")
	wantFiles(t, db, 2, 0, 0)
	mustClose(t, db)
	again := mustOpen(t, mem, testOptions(newTestClock()))
	wantDump(t, again, "m 0=1 1=2")
	mustClose(t, again)
}
