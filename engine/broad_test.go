package engine

import (
	"fmt"
	"testing"
	"time"

	"github.com/count-db/count/internal/vfs"
)

// A wide file of very many windows has no marks of presence after a restart;
// its series are found all the same, also in what is made of it.
func TestBroadFiles(t *testing.T) {
	fsys, clock := vfs.NewMem(), newTestClock()
	db := mustOpen(t, fsys, testOptions(clock))
	clock.advance(100 * 24 * time.Hour)
	want := "m"
	for i := range int64(2 * broadWindows) {
		ts := i * 2 * hourMillis
		put(t, db, series("m"), float64(testStart+ts), float64(i))
		want += fmt.Sprintf(" %d=%d", ts, i)
	}
	mustFlush(t, db)
	for round := range 3 {
		mustClose(t, db)
		opts := testOptions(clock)
		if round == 1 {
			opts = smallLimits(opts)
			opts.Limits.SealSamples = 1
		}
		db = mustOpen(t, fsys, opts)
		wantDump(t, db, want)
		mustFlush(t, db)
		wantDump(t, db, want)
		clock.advance(time.Hour)
	}
	wantFiles(t, db, 0, 0, 6)
	mustClose(t, db)
}
