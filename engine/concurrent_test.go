package engine_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/engine"
	"github.com/count-db/count/engine/plan"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/vfs"
)

// TestDeletesStayDeleted deletes while writes, flushes, seals, cleaning and
// eviction go on: what was written before a delete never shows again, what is
// written after it does.
func TestDeletesStayDeleted(t *testing.T) {
	ctx := context.Background()
	var clock atomic.Int64
	clock.Store(time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC).UnixMilli())
	opts := engine.Options{Now: func() time.Time { return time.UnixMilli(clock.Load()) }, NoBackground: true, LogBytes: 1 << 20}
	opts = opts.WithLimits(func(l *plan.Limits) { l.SealSamples, l.MaxPerWindow, l.LateShare, l.DeadBytes = 4, 2, 1000, 100 })
	db, err := engine.Open(vfs.NewMem(), "data", opts)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var wg sync.WaitGroup
	background := func(name string, do func() error) {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if err := do(); err != nil {
					t.Errorf("%s: %v", name, err)
					return
				}
			}
		})
	}
	background("flush", func() error { return db.Flush(ctx) })
	background("clean", func() error { return db.CleanTombstones(ctx) })
	background("other writes", func() error {
		ref, err := db.Intern(labels.FromStrings("__name__", "other", "i", fmt.Sprint(clock.Load()%7)))
		if err != nil {
			return err
		}
		_, err = db.Append(ctx, &model.Batch{Floats: []model.FloatSample{{T: clock.Load(), V: 1, Ref: ref}}}, engine.AppendOptions{})
		if errors.Is(err, engine.ErrUnknownRef) {
			return nil // forgotten in between, as the clock runs: it is interned again
		}
		return err
	})
	for range 150 {
		from := clock.Load()
		for range 4 {
			if err := writeAt(db, clock.Add(20*time.Minute.Milliseconds())); err != nil {
				t.Fatal(err)
			}
		}
		m := labels.MustNewMatcher(labels.MatchEqual, "__name__", "m")
		if err := db.Delete(ctx, model.Tombstone{MinT: 0, MaxT: clock.Load(), Matchers: []*labels.Matcher{m}}); err != nil {
			t.Fatal(err)
		}
		// It was deleted at this time, and is written again.
		if err := writeAt(db, clock.Load()); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			checkWritten(t, db, map[int64]bool{clock.Load(): true}, map[int64]bool{clock.Load(): true},
				fmt.Sprintf("deleted from %d on", from))
		}
	}
	close(done)
	wg.Wait()
	checkWritten(t, db, map[int64]bool{clock.Load(): true}, map[int64]bool{clock.Load(): true}, "at the end")
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestManySeriesComeAndGo churns series under a limit of live ones, so that
// the registry must forget those whose windows are sealed, and reads all of it.
func TestManySeriesComeAndGo(t *testing.T) {
	ctx := context.Background()
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	opts := engine.Options{Now: func() time.Time { return now }, NoBackground: true, LogBytes: 1 << 20, MaxSeries: 1000}
	opts = opts.WithLimits(func(l *plan.Limits) { l.SealSamples = 4 })
	disk := vfs.NewMem()
	db, err := engine.Open(disk, "data", opts)
	if err != nil {
		t.Fatal(err)
	}
	const rounds, perRound = 120, 20
	for round := range rounds { // five days of an hour each
		b := &model.Batch{}
		for i := range perRound {
			ref, err := db.Intern(labels.FromStrings("__name__", "pod", "round", fmt.Sprint(round), "i", fmt.Sprint(i)))
			if err != nil {
				t.Fatalf("round %d: %v; %+v", round, err, db.Stats())
			}
			b.Floats = append(b.Floats, model.FloatSample{T: now.UnixMilli(), V: float64(round), Ref: ref})
		}
		if _, err := db.Append(ctx, b, engine.AppendOptions{}); err != nil {
			t.Fatal(err)
		}
		now = now.Add(time.Hour)
		if err := db.Flush(ctx); err != nil {
			t.Fatal(err)
		}
		if round%50 == 49 {
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			if db, err = engine.Open(disk, "data", opts); err != nil {
				t.Fatal(err)
			}
		}
	}
	sel, err := db.Select(ctx, 0, math.MaxInt64, labels.MustNewMatcher(labels.MatchEqual, "__name__", "pod"))
	if err != nil {
		t.Fatal(err)
	}
	if sel.Len() != rounds*perRound {
		t.Errorf("%d series, want %d", sel.Len(), rounds*perRound)
	}
	var c model.Columns
	for i := range sel.Len() {
		if err := sel.Read(i, 0, math.MaxInt64, &c); err != nil || len(c.T) != 1 || fmt.Sprint(c.V[0]) != sel.Labels(i).Get("round") {
			t.Fatalf("%s: %v, %v", sel.Labels(i), c.V, err)
		}
	}
	sel.Close()
	values, err := db.LabelValues(ctx, "round", 0, math.MaxInt64, 0)
	if err != nil || len(values) != rounds {
		t.Errorf("%d label values, %v", len(values), err)
	}
	if n := db.Stats().Series; n > 1000 {
		t.Errorf("%d series in the registry", n)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}
