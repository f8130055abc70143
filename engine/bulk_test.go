package engine

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/engine/registry"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/vfs"
)

// TestBulk: what came in bulk is seen and survives a crash from its Commit on and
// not before, takes no log, and loses to younger versions wherever they are.
func TestBulk(t *testing.T) {
	ctx := context.Background()
	fsys, clock := vfs.NewMem(), newTestClock()
	opts := testOptions(clock)
	opts.Versions = true
	db := mustOpen(t, fsys, opts)
	add := func(name string, at, v int64, ver model.Version, to func(*model.Batch) error) {
		t.Helper()
		ref, err := db.Intern(series(name))
		if err == nil {
			err = to(&model.Batch{Version: ver, Floats: []model.FloatSample{{T: testStart + at, V: float64(v), Ref: ref}}})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	appended := func(b *model.Batch) error {
		_, err := db.Append(ctx, b, AppendOptions{})
		return err
	}
	bulk := db.NewBulk()
	inBulk := func(b *model.Batch) error { return bulk.Append(ctx, b) }
	add("a", 1000, 1, 10, appended)
	logged := db.Stats().LogAppendedBytes
	add("a", 1000, 2, 20, inBulk) // wins
	add("b", 1000, 3, 10, inBulk)
	add("b", 500, 4, 10, inBulk) // not in the order of time
	if got := db.Stats().LogAppendedBytes; got != logged {
		t.Errorf("%d bytes went to the log", got-logged)
	}
	add("b", 1000, 5, 20, appended) // wins
	wantDump(t, db, "a 1000=1", "b 1000=5")
	if bulk.Bytes() == 0 {
		t.Error("it takes no memory")
	}
	rested := 0
	if err := bulk.Commit(ctx, func() error { rested++; return nil }); err != nil {
		t.Fatal(err)
	}
	all := []string{"a 1000=2", "b 500=4 1000=5"}
	wantDump(t, db, all...)
	if rested != 2 || bulk.Bytes() != 0 {
		t.Errorf("rested %d times for 2 series, %d bytes are left", rested, bulk.Bytes())
	}
	add("c", 1000, 6, 10, inBulk)
	crashed := mustOpen(t, fsys.CrashClone(rand.New(rand.NewPCG(1, 1)), 0), opts)
	wantDump(t, crashed, all...)
	mustClose(t, crashed)
	if err := bulk.Close(); err != nil {
		t.Fatal(err)
	}
	if err := bulk.Commit(ctx, nil); err != nil {
		t.Fatal(err)
	}
	wantDump(t, db, all...)
	mustClose(t, db)
	if err := db.NewBulk().Append(ctx, &model.Batch{Version: 1}); !errors.Is(err, ErrClosed) {
		t.Errorf("after the end: %v", err)
	}
	again := mustOpen(t, fsys, opts)
	wantDump(t, again, all...)
	mustClose(t, again)
	if report, err := Check(fsys, "data"); err != nil || len(report.Faults) > 0 {
		t.Errorf("%v %v", report.Faults, err)
	}
}

// TestBulkKeepsItsSeries: a series that only a bulk and sealed days hold is not
// forgotten, and what it has in the bulk is found when it is committed, however old
// it is; the next write to it needs no definition in the log.
func TestBulkKeepsItsSeries(t *testing.T) {
	ctx := context.Background()
	fsys, clock := vfs.NewMem(), newTestClock()
	opts := smallLimits(testOptions(clock))
	opts.Versions = true
	db := mustOpen(t, fsys, opts)
	old, other := series("old"), series("other")
	at := float64(clock.now.UnixMilli())
	put(t, db, old, at, 1, at+1, 1)
	put(t, db, other, at, 1, at+1, 1)
	bulk := db.NewBulk()
	ref, known := db.Lookup(old)
	if !known {
		t.Fatal("it is not known")
	}
	earlier := int64(at) - 100*hourMs
	if err := bulk.Append(ctx, &model.Batch{Version: 1, Floats: []model.FloatSample{{T: earlier, V: 1, Ref: ref}}}); err != nil {
		t.Fatal(err)
	}
	forgotten := func(ls labels.Labels) bool {
		_, known := db.Lookup(ls)
		return !known
	}
	for i := 0; i < 30 && !forgotten(other); i++ {
		clock.advance(12 * time.Hour)
		put(t, db, series(fmt.Sprintf("new%d", i)), float64(clock.now.UnixMilli()), 1)
		if err := errors.Join(db.Flush(ctx), db.Maintain(ctx)); err != nil {
			t.Fatal(err)
		}
	}
	if !forgotten(other) || forgotten(old) {
		t.Fatalf("forgotten: %v, the other %v: %+v", forgotten(old), forgotten(other), db.Stats())
	}
	if err := bulk.Commit(ctx, nil); err != nil {
		t.Fatal(err)
	}
	found := func(db *DB, want int) {
		t.Helper()
		sel, err := db.Select(ctx, earlier, earlier+1, labels.MustNewMatcher(labels.MatchEqual, labels.MetricName, "old"))
		if err != nil {
			t.Fatal(err)
		}
		defer sel.Close()
		var cols model.Columns
		if sel.Len() != 1 || sel.Read(0, earlier, earlier+1, &cols) != nil || len(cols.T) != want {
			t.Errorf("%d series, %v, want %d samples", sel.Len(), cols.T, want)
		}
	}
	found(db, 1)
	if _, err := db.Append(ctx, &model.Batch{Version: 1 << 60, Floats: []model.FloatSample{{T: earlier + 1, V: 2, Ref: ref}}}, AppendOptions{}); err != nil {
		t.Fatal(err)
	}
	crashed := mustOpen(t, fsys.CrashClone(rand.New(rand.NewPCG(1, 1)), 0), opts)
	found(crashed, 2)
	mustClose(t, crashed)
	// One whose series was forgotten before it is added is refused whole.
	if err := db.NewBulk().Append(ctx, &model.Batch{Version: 1, Floats: []model.FloatSample{{T: earlier, V: 1, Ref: 1 << 30}}}); !errors.Is(err, registry.ErrUnknownRef) {
		t.Errorf("unknown series: %v", err)
	}
	mustClose(t, db)
}
