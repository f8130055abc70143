package engine

import (
	"context"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/vfs"
)

// A single node that becomes one of a cluster has samples without versions:
// among them the later arrival goes on winning, deletes keep to what came
// before them, and what is written with a version wins over all of them.
func TestVersionsOverOlderData(t *testing.T) {
	fsys, clock := vfs.NewMem(), newTestClock()
	base := float64(testStart)
	db := mustOpen(t, fsys, testOptions(clock))
	put(t, db, series("a"), base, 1, base+1, 1, base+2, 1, base+3, 1)
	put(t, db, series("b"), base, 1)
	mustFlush(t, db)
	put(t, db, series("a"), base+1, 9, base+2, 0.5) // the higher value, the lower value
	mustDelete(t, db, testStart+3, testStart+3, labels.MustNewMatcher(labels.MatchEqual, "__name__", "a"))
	mustDelete(t, db, testStart, testStart, labels.MustNewMatcher(labels.MatchEqual, "__name__", "b"))
	put(t, db, series("b"), base, 2)
	want := []string{"a 0=1 1=9 2=0.5", "b 0=2"}
	wantDump(t, db, want...)
	mustClose(t, db)

	opts := smallLimits(testOptions(clock))
	opts.Versions = true
	db = mustOpen(t, fsys, opts)
	wantDump(t, db, want...)
	ref, err := db.Intern(series("a"))
	if err != nil {
		t.Fatal(err)
	}
	b := model.Batch{Version: db.Clock().Now(), Floats: []model.FloatSample{{Ref: ref, T: testStart, V: 0.25}, {Ref: ref, T: testStart + 1, V: 0.25}}}
	if _, err := db.Append(context.Background(), &b, AppendOptions{Fresh: true}); err != nil {
		t.Fatal(err)
	}
	want[0] = "a 0=0.25 1=0.25 2=0.5"
	for range 3 {
		wantDump(t, db, want...)
		clock.advance(15 * time.Hour)
		mustFlush(t, db)
	}
	wantFiles(t, db, 0, 0, 1)
	wantDump(t, db, want...)
	mustClose(t, db)
}

// A directory that has versions keeps them, whatever it is opened as: a delete
// that came with a version says nothing about the order of arrival.
func TestVersionsStay(t *testing.T) {
	for _, flushed := range []bool{true, false} {
		fsys, opts := vfs.NewMem(), testOptions(newTestClock())
		opts.Versions = true
		db := mustOpen(t, fsys, opts)
		ref, err := db.Intern(series("a"))
		if err != nil {
			t.Fatal(err)
		}
		b := model.Batch{Version: db.Clock().Now(), Floats: []model.FloatSample{{Ref: ref, T: testStart, V: 1}, {Ref: ref, T: testStart + 1, V: 1}}}
		if _, err := db.Append(context.Background(), &b, AppendOptions{}); err != nil {
			t.Fatal(err)
		}
		mustDelete(t, db, testStart, testStart, labels.MustNewMatcher(labels.MatchEqual, "__name__", "a"))
		wantDump(t, db, "a 1=1")
		if flushed {
			mustClose(t, db)
		} else {
			crashed := fsys.CrashClone(nil, 0)
			mustClose(t, db)
			fsys = crashed
		}
		opts.Versions = false
		db = mustOpen(t, fsys, opts)
		if !db.Versioned() {
			t.Error("the versions are forgotten")
		}
		wantDump(t, db, "a 1=1")
		mustClose(t, db)
	}
}
