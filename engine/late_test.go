package engine

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/vfs"
)

// lateData are samples spread over many days, in any order.
type lateData struct {
	refs  []model.Ref
	shown map[model.Ref]map[int64]float64
}

// appendLate writes n samples of the last days in requests of 1,000, with a
// flush now and then.
func appendLate(tb testing.TB, db *DB, n, series, days, flushEvery int) *lateData {
	rng := rand.New(rand.NewPCG(1, 2))
	d := &lateData{shown: map[model.Ref]map[int64]float64{}}
	for i := range series {
		ref, err := db.Intern(labels.FromStrings("__name__", "late", "i", fmt.Sprint(i)))
		if err != nil {
			tb.Fatal(err)
		}
		d.refs = append(d.refs, ref)
		d.shown[ref] = map[int64]float64{}
	}
	now := db.opts.Now().UnixMilli()
	b := &model.Batch{}
	for i := 1; i <= n; i++ {
		s := model.FloatSample{
			T: now - rng.Int64N(int64(days)*24*time.Hour.Milliseconds()), V: float64(i), Ref: d.refs[rng.IntN(series)],
		}
		b.Floats = append(b.Floats, s)
		d.shown[s.Ref][s.T] = s.V
		if i%1000 == 0 || i == n {
			if _, err := db.Append(context.Background(), b, AppendOptions{}); err != nil {
				tb.Fatal(err)
			}
			b.Reset()
		}
		if i%flushEvery == 0 || i == n {
			if err := db.Flush(context.Background()); err != nil {
				tb.Fatal(err)
			}
		}
	}
	return d
}

// check reads all of it.
func (d *lateData) check(tb testing.TB, db *DB) {
	sel, err := db.Select(context.Background(), 0, math.MaxInt64, labels.MustNewMatcher(labels.MatchEqual, "__name__", "late"))
	if err != nil {
		tb.Fatal(err)
	}
	defer sel.Close()
	if sel.Len() != len(d.refs) {
		tb.Fatalf("%d series, want %d", sel.Len(), len(d.refs))
	}
	var c model.Columns
	for i := range sel.Len() {
		want := d.shown[sel.Ref(i)]
		if err := sel.Read(i, 0, math.MaxInt64, &c); err != nil || len(c.T) != len(want) {
			tb.Fatalf("%s: %d samples, want %d: %v", sel.Labels(i), len(c.T), len(want), err)
		}
		for j, t := range c.T {
			if c.V[j] != want[t] {
				tb.Fatalf("%s at %d: %v, want %v", sel.Labels(i), t, c.V[j], want[t])
			}
		}
	}
}

// maxLateFiles is how many files data of any age may take.
const maxLateFiles = 32

func TestLateDataTakesFewFiles(t *testing.T) {
	clock := newTestClock()
	disk := vfs.NewMem()
	db := mustOpen(t, disk, testOptions(clock))
	d := appendLate(t, db, 20_000, 50, 180, 1500)
	if s := db.Stats(); s.WideFiles+s.SealedFiles+s.DayFiles > maxLateFiles {
		t.Errorf("%d wide, %d sealed and %d day files", s.WideFiles, s.SealedFiles, s.DayFiles)
	}
	d.check(t, db)
	mustClose(t, db)
	db = mustOpen(t, disk, testOptions(clock))
	d.check(t, db)
	mustClose(t, db)
}

// BenchmarkLateData is 200,000 samples over 180 days.
func BenchmarkLateData(b *testing.B) {
	for _, flushes := range []int{1, 10, 100} {
		b.Run(fmt.Sprintf("flushes=%d", flushes), func(b *testing.B) {
			const samples = 200_000
			for b.Loop() {
				db := mustOpen(b, vfs.OS(), testOptions(newTestClock()), b.TempDir())
				before := cpuTime()
				appendLate(b, db, samples, 1000, 180, samples/flushes)
				b.ReportMetric((cpuTime() - before).Seconds(), "CPU-s")
				s := db.Stats()
				b.ReportMetric(float64(s.WideFiles+s.SealedFiles+s.DayFiles), "files")
				b.ReportMetric(float64(s.FlushedBytes+s.MergedBytes+s.SealedBytes)/float64(s.FlushedBytes), "write-amp")
				b.ReportMetric(float64(s.FileBytes)/samples, "B/sample")
				mustClose(b, db)
			}
		})
	}
}
