package engine_test

import (
	"context"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/engine"
	"github.com/count-db/count/engine/plan"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/vfs"
)

// TestSelectionOutlivesEviction opens a selection over a day that is sealed,
// lets the registry forget its series, and reads it.
func TestSelectionOutlivesEviction(t *testing.T) {
	ctx := context.Background()
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	opts := engine.Options{Now: func() time.Time { return now }, NoBackground: true}
	db, err := engine.Open(vfs.NewMem(), "data", opts.WithLimits(func(l *plan.Limits) { l.SealSamples = 2 }))
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string, series int) {
		b := &model.Batch{}
		for i := range series {
			ref, err := db.Intern(labels.FromStrings("__name__", name, "i", fmt.Sprint(i)))
			if err != nil {
				t.Fatal(err)
			}
			b.Floats = append(b.Floats, model.FloatSample{T: now.UnixMilli(), V: float64(i), Ref: ref})
		}
		if _, err := db.Append(ctx, b, engine.AppendOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := db.Flush(ctx); err != nil {
			t.Fatal(err)
		}
	}
	for range 48 {
		write("old", 10)
		now = now.Add(time.Hour / 2)
	}
	now = now.Add(3 * time.Hour)
	all := labels.MustNewMatcher(labels.MatchNotEqual, "__name__", "")
	var held []*engine.Selection
	for round := 0; db.Stats().Series > 1; round++ {
		if round > 10 {
			t.Fatalf("%d series are never forgotten: %+v", db.Stats().Series, db.Stats())
		}
		sel, err := db.Select(ctx, 0, math.MaxInt64, all)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, sel)
		write("new", 1)
		now = now.Add(time.Minute)
	}
	if db.Stats().DayFiles != 1 {
		t.Fatalf("%+v", db.Stats())
	}
	last, err := db.Select(ctx, 0, math.MaxInt64, all)
	if err != nil {
		t.Fatal(err)
	}
	for _, sel := range append(held, last) {
		found := 0
		for i := range sel.Len() {
			if sel.Labels(i).IsEmpty() || sel.ID(i) != model.SeriesIDOf(sel.Labels(i)) {
				t.Fatalf("series %d: labels %s, id %s", i, sel.Labels(i), sel.ID(i))
			}
			if sel.Labels(i).Get("__name__") != "old" {
				continue
			}
			found++
			var c model.Columns
			if err := sel.Read(i, 0, math.MaxInt64, &c); err != nil || len(c.T) != 48 {
				t.Fatalf("%s: %d samples, %v", sel.Labels(i), len(c.T), err)
			}
		}
		if found != 10 {
			t.Fatalf("%d series", found)
		}
		sel.Close()
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}
