package engine

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/vfs"
)

// Writers that race for the same samples: whoever wins, a restart must not
// change it. Without versions the order of arrival decides, so that log and
// buffer have to agree on it.
func TestRacingWritesKeepTheirOrderOverARestart(t *testing.T) {
	const writers, rounds, width = 4, 20, 5000
	fsys, clock := vfs.NewMem(), newTestClock()
	db := mustOpen(t, fsys, testOptions(clock))
	refs := make([]model.Ref, width)
	for i := range refs {
		ref, err := db.Intern(labels.FromStrings("__name__", "m", "i", fmt.Sprint(i)))
		if err != nil {
			t.Fatal(err)
		}
		refs[i] = ref
	}
	for round := range rounds {
		var wg sync.WaitGroup
		for w := range writers {
			var b model.Batch
			for _, ref := range refs {
				b.Floats = append(b.Floats, model.FloatSample{Ref: ref, T: testStart + int64(round), V: float64(w)})
			}
			wg.Go(func() {
				if _, err := db.Append(context.Background(), &b, AppendOptions{Fresh: true}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
	before := dump(t, db)
	restarted := mustOpen(t, fsys.CrashClone(nil, 0), testOptions(clock))
	defer mustClose(t, restarted)
	after := dump(t, restarted)
	changed := 0
	for i := range before {
		if before[i] != after[i] {
			changed++
		}
	}
	if changed > 0 {
		t.Errorf("a restart changed %d of %d series", changed, len(before))
	}
	mustClose(t, db)
}

// A batch that is too long for one log record is logged in several: all of it
// is there, and again after a restart.
func TestBatchLongerThanALogRecord(t *testing.T) {
	for _, most := range []int{1 << 10, 200} {
		fsys, clock := vfs.NewMem(), newTestClock()
		db := mustOpen(t, fsys, testOptions(clock))
		db.maxRecord = most
		var b model.Batch
		for i := range 100 {
			ref, err := db.Intern(labels.FromStrings("__name__", "m", "i", fmt.Sprint(i), "long", strings.Repeat("x", 100)))
			if err != nil {
				t.Fatal(err)
			}
			b.Floats = append(b.Floats, model.FloatSample{Ref: ref, T: testStart + int64(i), V: float64(i) / 3})
			b.STs = append(b.STs, testStart-int64(i))
			// One timestamp twice: the histogram comes later and wins.
			b.Hists = append(b.Hists, model.HistogramSample{Ref: ref, T: testStart + int64(i%2)*int64(i), H: &histogram.Histogram{Count: uint64(i)}})
		}
		if _, err := db.Append(context.Background(), &b, AppendOptions{Fresh: true}); err != nil {
			t.Fatal(err)
		}
		before := dump(t, db)
		if len(before) != 100 {
			t.Fatalf("%d series", len(before))
		}
		restarted := mustOpen(t, fsys.CrashClone(nil, 0), testOptions(clock))
		wantDump(t, restarted, before...)
		if restarted.Identity().Gap {
			t.Error("a gap is reported")
		}
		mustClose(t, restarted)
		mustClose(t, db)
	}
}
