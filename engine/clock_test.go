package engine

import (
	"testing"
	"time"

	"github.com/count-db/count/internal/vfs"
)

// A clock that jumps costs no sample, and does not keep the buffer from being
// flushed.
func TestClockJumps(t *testing.T) {
	fsys, clock := vfs.NewMem(), newTestClock()
	opts := smallLimits(testOptions(clock))
	db := mustOpen(t, fsys, opts)
	put(t, db, series("a"), float64(testStart), 1)
	clock.advance(-24 * time.Hour)
	if !db.wantsFlush() {
		t.Error("the buffer waits for the clock to come back")
	}
	put(t, db, series("a"), float64(testStart), 2)
	mustFlush(t, db)
	put(t, db, series("a"), float64(testStart), 3, float64(clock.now.UnixMilli()), 4)
	clock.advance(30 * 24 * time.Hour) // all of it is sealed, and a day
	mustFlush(t, db)
	mustFlush(t, db)
	clock.advance(-30 * 24 * time.Hour)
	put(t, db, series("a"), float64(testStart+1), 5) // late for a sealed day
	want := "a -86400000=4 0=3 1=5"
	wantDump(t, db, want)
	mustClose(t, db)
	db = mustOpen(t, fsys, opts)
	wantDump(t, db, want)
	mustFlush(t, db)
	clock.advance(100 * 24 * time.Hour)
	mustFlush(t, db)
	wantDump(t, db, want)
	mustClose(t, db)
	if r, err := Check(fsys, "data"); err != nil || len(r.Faults) > 0 {
		t.Errorf("%+v %v", r, err)
	}
}
