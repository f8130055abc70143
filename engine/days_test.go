package engine

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/vfs"
)

const dayMillis = int64(24 * time.Hour / time.Millisecond)

func mustFlush(t testing.TB, db *DB) {
	t.Helper()
	if err := db.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func mustDelete(t testing.TB, db *DB, mint, maxt int64, ms ...*labels.Matcher) {
	t.Helper()
	if err := db.Delete(context.Background(), model.Tombstone{MinT: mint, MaxT: maxt, Matchers: ms}); err != nil {
		t.Fatal(err)
	}
}

func wantFiles(t testing.TB, db *DB, wide, sealed, days int) {
	t.Helper()
	if s := db.Stats(); s.WideFiles != wide || s.SealedFiles != sealed || s.DayFiles != days {
		t.Fatalf("%d wide, %d sealed, %d day files; want %d, %d, %d", s.WideFiles, s.SealedFiles, s.DayFiles, wide, sealed, days)
	}
}

// A day goes through all forms, and is the same in each.
func TestDayThroughAllForms(t *testing.T) {
	fsys, clock := vfs.NewMem(), newTestClock()
	opts := smallLimits(testOptions(clock))
	db := mustOpen(t, fsys, opts)
	old, both := "old", "both"
	want := []string{both, old}
	for i := range int64(24) {
		ts := i * dayMillis / 24
		put(t, db, series("old"), float64(testStart+ts), float64(i))
		put(t, db, series("both"), float64(testStart+ts), float64(i), float64(testStart+ts+1), float64(i))
		want[0] += fmt.Sprintf(" %d=%d %d=%d", ts, i, ts+1, i)
		want[1] += fmt.Sprintf(" %d=%d", ts, i)
	}
	wantDump(t, db, want...)
	clock.advance(13 * time.Hour)
	mustFlush(t, db)
	wantFiles(t, db, 1, 6, 0)
	wantDump(t, db, want...)
	clock.advance(12 * time.Hour)
	mustFlush(t, db)
	wantFiles(t, db, 0, 0, 1)
	wantDump(t, db, want...)

	// The registry forgets what only the day holds, and may learn it again.
	for range 3 {
		put(t, db, series("other"), float64(clock.now.UnixMilli()), 1)
		mustFlush(t, db)
		clock.advance(time.Second)
	}
	if _, known := db.Lookup(series("old")); known {
		t.Fatal("a series of a sealed day is still in the registry")
	}
	day := labels.MustNewMatcher(labels.MatchNotEqual, "__name__", "other")
	same := func(want []string) {
		t.Helper()
		if got := dump(t, db, day); !slices.Equal(got, want) {
			t.Fatalf("holds\n%q\nwant\n%q", got, want)
		}
	}
	same(want)
	put(t, db, series("both"), float64(testStart+5), 100, float64(testStart), 200) // late, one overwrites
	want[0] = "both 0=200 1=0 5=100" + want[0][len("both 0=0 1=0"):]
	same(want)
	names, err := db.LabelValues(context.Background(), "__name__", 0, maxTime, 0)
	if err != nil || !slices.Equal(names, []string{"both", "old", "other"}) {
		t.Fatalf("names %q, %v", names, err)
	}
	if names, err = db.LabelValues(context.Background(), "__name__", testStart+2*dayMillis, maxTime, 0); err != nil || len(names) != 0 {
		t.Fatalf("names of a range without samples: %q, %v", names, err)
	}
	mustFlush(t, db)
	mustClose(t, db)
	db = mustOpen(t, fsys, opts)
	same(want)

	// Deletes reach into the day, and cleaning forgets them.
	mustDelete(t, db, testStart, testStart+4, labels.MustNewMatcher(labels.MatchEqual, "__name__", "both"))
	want[0] = "both" + want[0][len("both 0=200 1=0"):]
	same(want)
	if err := db.CleanTombstones(context.Background()); err != nil {
		t.Fatal(err)
	}
	same(want)
	if s := db.Stats(); s.Tombstones != 0 {
		t.Fatalf("%d deletes left after cleaning", s.Tombstones)
	}
	clock.advance(time.Hour)
	mustFlush(t, db)
	same(want)
	mustClose(t, db)
	if r, err := Check(fsys, "data"); err != nil || len(r.Faults) > 0 {
		t.Fatalf("check: %+v, %v", r, err)
	}
}

func TestRetentionByTimeAndSize(t *testing.T) {
	fsys, clock := vfs.NewMem(), newTestClock()
	opts := smallLimits(testOptions(clock))
	opts.Retention = 36 * time.Hour
	db := mustOpen(t, fsys, opts)
	for i := range int64(48) {
		put(t, db, series("m"), float64(testStart+i*dayMillis/24), float64(i), float64(testStart+i*dayMillis/24+1), float64(i))
	}
	clock.advance(49 * time.Hour)
	mustFlush(t, db)
	wantFiles(t, db, 0, 0, 2)
	clock.advance(10 * time.Hour) // 59 h: the first day ends 35 h ago
	mustFlush(t, db)
	wantFiles(t, db, 0, 0, 2)
	clock.advance(2 * time.Hour)
	mustFlush(t, db)
	wantFiles(t, db, 0, 0, 1)
	mustClose(t, db)
	opts.Retention, opts.RetentionBytes = 0, 1
	db = mustOpen(t, fsys, opts)
	put(t, db, series("m"), float64(clock.now.UnixMilli()), 1)
	mustFlush(t, db)
	wantFiles(t, db, 1, 0, 0)
	wantDump(t, db, fmt.Sprintf("m %d=1", clock.now.UnixMilli()-testStart))
	mustClose(t, db)
}

func TestSnapshotIsADataDirectory(t *testing.T) {
	fsys, clock := vfs.NewMem(), newTestClock()
	db := mustOpen(t, fsys, testOptions(clock))
	put(t, db, series("a"), float64(testStart), 1)
	mustDelete(t, db, testStart, testStart, labels.MustNewMatcher(labels.MatchEqual, "__name__", "a"))
	put(t, db, series("a"), float64(testStart+1), 2)
	if err := db.Snapshot(context.Background(), "data/snapshots/one"); err != nil {
		t.Fatal(err)
	}
	if r, err := Check(fsys, "data/snapshots/one"); err != nil || len(r.Faults) > 0 {
		t.Fatalf("check of a snapshot that nobody opened yet: %+v, %v", r, err)
	}
	put(t, db, series("a"), float64(testStart+2), 3)
	if err := db.Snapshot(context.Background(), "data/snapshots/one"); err == nil {
		t.Fatal("a snapshot over another one")
	}
	snap := mustOpen(t, fsys, testOptions(clock), "data/snapshots/one")
	wantDump(t, snap, "a 1=2")
	if snap.Identity().DiskID == db.Identity().DiskID {
		t.Fatal("the snapshot says it is the same disk")
	}
	put(t, snap, series("a"), float64(testStart), 4)
	wantDump(t, snap, "a 0=4 1=2")
	mustClose(t, snap)
	wantDump(t, db, "a 1=2 2=3")
	mustClose(t, db)
	for _, dir := range []string{"data", "data/snapshots/one"} {
		if r, err := Check(fsys, dir); err != nil || len(r.Faults) > 0 {
			t.Fatalf("check of %s: %+v, %v", dir, r, err)
		}
	}
}

// The bounds of the plan hold for real files: after a day and a half of flushes
// each 300 s a query of one series over an hour opens few of them, and little
// was written more than once.
func TestFilesAfterADayOfFlushes(t *testing.T) {
	clock := newTestClock()
	db := mustOpen(t, vfs.NewMem(), testOptions(clock))
	var b model.Batch
	most := 0
	for round := range int64(36 * 12) {
		b.Reset()
		for i := range 20 {
			ref, err := db.Intern(series(fmt.Sprintf(`m{i="%d"}`, i)))
			if err != nil {
				t.Fatal(err)
			}
			for k := range int64(20) {
				ts := testStart + round*300_000 + k*15_000
				b.Floats = append(b.Floats, model.FloatSample{Ref: ref, T: ts, V: float64(ts/1000%977) * float64(i)})
			}
		}
		if _, err := db.Append(context.Background(), &b, AppendOptions{Fresh: true}); err != nil {
			t.Fatal(err)
		}
		clock.advance(5 * time.Minute)
		if err := db.flushBuffer(); err != nil {
			t.Fatal(err)
		}
		if err := db.Maintain(context.Background()); err != nil {
			t.Fatal(err)
		}
		now, touched := clock.now.UnixMilli(), 0
		for _, f := range db.views.current.files {
			if f.overlaps(now-hourMillis, now) {
				touched++
			}
		}
		most = max(most, touched)
	}
	s := db.Stats()
	written := s.FlushedBytes + s.MergedBytes + s.SealedBytes
	for _, f := range db.views.current.files {
		if f.day != nil {
			written += uint64(f.Bytes)
		}
	}
	amplification := float64(written) / float64(s.FlushedBytes)
	t.Logf("at most %d files touched; write amplification %.2f; %d wide, %d sealed, %d day files", most, amplification, s.WideFiles, s.SealedFiles, s.DayFiles)
	if most > 12 || amplification > 4 || s.WideFiles > 32 || s.DayFiles != 1 {
		t.Errorf("%d files touched, write amplification %.2f, %+v", most, amplification, s)
	}
	mustClose(t, db)
}

// Metadata that senders repeat costs no log.
func TestRepeatedMetadataIsNotLogged(t *testing.T) {
	db := mustOpen(t, vfs.NewMem(), testOptions(newTestClock()))
	b := model.Batch{Metadata: []model.Metadata{{Family: "a"}}}
	for range 3 {
		if _, err := db.Append(context.Background(), &b, AppendOptions{}); err != nil || len(b.Metadata) != 1 {
			t.Fatalf("%v, %v", b.Metadata, err)
		}
	}
	if n := db.log.Stats().Records; n != 1 {
		t.Fatalf("%d log records", n)
	}
	mustClose(t, db)
}

// 200,000 samples over half a year cost few files and little time.
func TestSamplesOfHalfAYear(t *testing.T) {
	fsys, clock := vfs.NewMem(), newTestClock()
	db := mustOpen(t, fsys, testOptions(clock))
	clock.advance(180 * 24 * time.Hour)
	var b model.Batch
	start := cpuTime()
	for s := range 100 {
		ref, err := db.Intern(series(fmt.Sprintf(`m{s="%d"}`, s)))
		if err != nil {
			t.Fatal(err)
		}
		b.Reset()
		for i := range int64(2000) {
			b.Floats = append(b.Floats, model.FloatSample{Ref: ref, T: testStart + i*180*dayMillis/2000, V: float64(i)})
		}
		if _, err := db.Append(context.Background(), &b, AppendOptions{Fresh: true}); err != nil {
			t.Fatal(err)
		}
		if s%10 == 9 {
			mustFlush(t, db)
		}
	}
	mustFlush(t, db)
	files, err := fsys.List("data/files")
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d files, %v of CPU, %d bytes", len(files), cpuTime()-start, db.Stats().FileBytes)
	if len(files) > 32 {
		t.Errorf("%d files", len(files))
	}
	sel, err := db.Select(context.Background(), 0, maxTime)
	if err != nil {
		t.Fatal(err)
	}
	defer sel.Close()
	var c model.Columns
	for i := range sel.Len() {
		if err := sel.Read(i, 0, maxTime, &c); err != nil || len(c.T) != 2000 {
			t.Fatalf("series %d: %d samples, %v", i, len(c.T), err)
		}
	}
	mustClose(t, db)
}
