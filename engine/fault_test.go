package engine_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"pgregory.net/rapid"

	"github.com/count-db/count/engine"
	"github.com/count-db/count/engine/plan"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/vfs"
)

// TestFaultsLoseNothingAcknowledged lets one or many operations on the disk
// fail. Whatever a DB answers then, what it acknowledged is there for readers,
// and there again after a power cut.
func TestFaultsLoseNothingAcknowledged(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		disk := vfs.NewMem()
		now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
		opts := engine.Options{Now: func() time.Time { return now }, NoBackground: true, LogBytes: 1 << 20}
		opts = opts.WithLimits(func(l *plan.Limits) { l.SealSamples, l.MaxPerWindow = 4, 2 })
		f := drawFault(t)
		acked := map[int64]bool{}
		issued := map[int64]bool{}
		db, err := engine.Open(vfs.NewFault(disk, f.inject), "data", opts)
		t.Cleanup(func() {
			if db == nil {
				return
			}
			// A storage that failed may say so once more.
			if err := db.Close(); err != nil && !errors.Is(err, syscall.EIO) && !errors.Is(err, engine.ErrFailed) {
				t.Errorf("close after %s: %v", f, err)
			}
		})
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			if err != nil {
				break // it did not open, or stopped
			}
			now = now.Add(time.Duration(rapid.IntRange(1, 90).Draw(t, "minutes")) * time.Minute)
			if rapid.Bool().Draw(t, "append") {
				ts := now.UnixMilli()
				issued[ts] = true
				if err = writeAt(db, ts); err == nil {
					acked[ts] = true
				}
			} else {
				err = db.Flush(context.Background())
			}
			if err != nil && !errors.Is(err, engine.ErrFailed) {
				err = nil // the storage goes on
			}
			checkWritten(t, db, acked, issued, "after a fault")
		}
		for _, kept := range []int{0, 50, 100} {
			clone := disk.CrashClone(rand.New(rand.NewPCG(1, uint64(kept))), kept)
			again, err := engine.Open(clone, "data", opts)
			if err != nil {
				t.Fatalf("open after %s: %v\n%s", f, err, clone.Tree())
			}
			checkWritten(t, again, acked, issued, fmt.Sprintf("after %s and a power cut", f))
			if err := again.Flush(context.Background()); err != nil {
				t.Fatalf("flush after %s and a power cut: %v", f, err)
			}
			checkWritten(t, again, acked, issued, fmt.Sprintf("after %s, a power cut and a flush", f))
			if err := again.Close(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// fault makes operations of one kind fail, from the nth on.
type fault struct {
	kind  vfs.OpKind
	nth   int64
	times int64
	short bool // a write that does half of it
	seen  atomic.Int64
}

func drawFault(t *rapid.T) *fault {
	return &fault{
		kind: rapid.SampledFrom([]vfs.OpKind{
			vfs.OpCreate, vfs.OpWrite, vfs.OpSync, vfs.OpRename, vfs.OpSyncDir, vfs.OpRemove, vfs.OpLink,
			vfs.OpPreallocate, vfs.OpTruncate,
		}).Draw(t, "kind"),
		nth:   rapid.Int64Range(1, 60).Draw(t, "nth"),
		times: rapid.SampledFrom([]int64{1, 3, math.MaxInt32}).Draw(t, "times"),
		short: rapid.Bool().Draw(t, "short"),
	}
}

func (f *fault) String() string {
	return fmt.Sprintf("%s number %d failed %d times", f.kind, f.nth, f.times)
}

func (f *fault) inject(op vfs.Op) vfs.Fault {
	if op.Kind != f.kind {
		return vfs.Fault{}
	}
	n := f.seen.Add(1)
	if n < f.nth || n >= f.nth+f.times {
		return vfs.Fault{}
	}
	out := vfs.Fault{Err: syscall.EIO}
	if f.short {
		out.Bytes = op.Len / 2
	}
	return out
}

const faultSeries = 5

func writeAt(db *engine.DB, ts int64) error {
	for try := 0; ; try++ {
		b := &model.Batch{}
		for i := range faultSeries {
			ref, err := db.Intern(labels.FromStrings("__name__", "m", "i", fmt.Sprint(i)))
			if err != nil {
				return err
			}
			b.Floats = append(b.Floats, model.FloatSample{T: ts, V: float64(i), Ref: ref})
		}
		_, err := db.Append(context.Background(), b, engine.AppendOptions{})
		// A series that was forgotten in between is interned again, as writers do.
		if !errors.Is(err, engine.ErrUnknownRef) || try == 100 {
			return err
		}
	}
}

// checkWritten expects every acknowledged timestamp in every series, and none
// that was not issued.
func checkWritten(t fataler, db *engine.DB, acked, issued map[int64]bool, when string) {
	sel, err := db.Select(context.Background(), 0, math.MaxInt64, labels.MustNewMatcher(labels.MatchEqual, "__name__", "m"))
	if err != nil {
		t.Fatalf("%s: select: %v", when, err)
	}
	defer sel.Close()
	if len(acked) > 0 && sel.Len() != faultSeries {
		t.Fatalf("%s: %d series", when, sel.Len())
	}
	var c model.Columns
	for i := range sel.Len() {
		if err := sel.Read(i, 0, math.MaxInt64, &c); err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		found := map[int64]bool{}
		for _, ts := range c.T {
			found[ts] = true
			if !issued[ts] {
				t.Fatalf("%s: %s at %d was never written", when, sel.Labels(i), ts)
			}
		}
		for ts := range acked {
			if !found[ts] {
				t.Fatalf("%s: %s at %d was acknowledged and is gone", when, sel.Labels(i), ts)
			}
		}
	}
}
