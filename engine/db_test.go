package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/vfs"
)

// testClock is a clock that only the test moves.
type testClock struct{ now time.Time }

func newTestClock() *testClock { return &testClock{time.UnixMilli(testStart)} }

func (c *testClock) advance(d time.Duration) { c.now = c.now.Add(d) }

// testStart is the beginning of a window and of a day, ms.
const testStart = int64(1_700_006_400_000)

func testOptions(c *testClock) Options {
	return Options{Now: func() time.Time { return c.now }, NoBackground: true}
}

// mustOpen opens the directory "data", or the one given.
func mustOpen(t testing.TB, fsys vfs.FS, opts Options, dir ...string) *DB {
	t.Helper()
	db, err := Open(fsys, append(dir, "data")[0], opts)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func mustClose(t testing.TB, db *DB) {
	t.Helper()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// put appends floats of one series, given as timestamp, value, ...
func put(t testing.TB, db *DB, ls labels.Labels, tv ...float64) {
	t.Helper()
	ref, err := db.Intern(ls)
	if err != nil {
		t.Fatal(err)
	}
	var b model.Batch
	for i := 0; i < len(tv); i += 2 {
		b.Floats = append(b.Floats, model.FloatSample{Ref: ref, T: int64(tv[i]), V: tv[i+1]})
	}
	if _, err := db.Append(context.Background(), &b, AppendOptions{Fresh: true}); err != nil {
		t.Fatal(err)
	}
}

// fataler is a test of the testing package or of rapid.
type fataler interface {
	Helper()
	Fatal(args ...any)
}

// dump reads everything that matches: "labels t=v ..." a series.
func dump(t fataler, db *DB, ms ...*labels.Matcher) []string {
	t.Helper()
	sel, err := db.Select(context.Background(), -maxTime, maxTime, ms...)
	if err != nil {
		t.Fatal(err)
	}
	defer sel.Close()
	var out []string
	var c model.Columns
	for i := range sel.Len() {
		if err := sel.Read(i, -maxTime, maxTime, &c); err != nil {
			t.Fatal(err)
		}
		if c.Len() == 0 {
			continue
		}
		line := model.SeriesKey(sel.Labels(i))
		for k := range c.T {
			line += fmt.Sprintf(" %d=%v", c.T[k]-testStart, c.V[k])
		}
		for _, h := range c.Hist {
			line += fmt.Sprintf(" %d=hist", h.T-testStart)
		}
		out = append(out, line)
	}
	return out
}

func wantDump(t testing.TB, db *DB, want ...string) {
	t.Helper()
	if got := dump(t, db); !slices.Equal(got, want) {
		t.Fatalf("holds\n%q\nwant\n%q", got, want)
	}
}

func series(key string) labels.Labels {
	ls, err := model.ParseSeriesKey(key)
	if err != nil {
		panic(err)
	}
	return ls
}

func TestAppendSelectReplay(t *testing.T) {
	fsys, clock := vfs.NewMem(), newTestClock()
	db := mustOpen(t, fsys, testOptions(clock))
	base := float64(testStart)
	put(t, db, series(`b{x="1"}`), base, 1, base+1000, 2)
	put(t, db, series("a"), base+500, 7)
	put(t, db, series(`b{x="1"}`), base+2000, 3, base+1000, 9) // one in order, one overwritten
	want := []string{"a 500=7", `b{x="1"} 0=1 1000=9 2000=3`}
	wantDump(t, db, want...)
	if _, err := Open(fsys, "data", testOptions(clock)); !errors.Is(err, vfs.ErrLocked) {
		t.Fatalf("second open: %v, want ErrLocked", err)
	}
	// A process that dies: nothing is flushed or closed in order.
	crashed := fsys.CrashClone(nil, 0)
	db2 := mustOpen(t, crashed, testOptions(clock))
	wantDump(t, db2, want...)
	if db2.Identity().DiskID != db.Identity().DiskID || db2.Identity().Starts != 2 {
		t.Fatalf("identity %+v after %+v", db2.Identity(), db.Identity())
	}
	mustClose(t, db2)
	mustClose(t, db)
	if _, err := db.Append(context.Background(), &model.Batch{}, AppendOptions{}); !errors.Is(err, ErrClosed) {
		t.Fatalf("append after close: %v", err)
	}
	db3 := mustOpen(t, crashed, testOptions(clock))
	wantDump(t, db3, want...)
	mustClose(t, db3)
}
