package engine_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
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

// crowdWriter writes, overwrites and deletes series of its own, some of which
// rest so long that the registry forgets them, and looks after each step
// whether all of it is there.
type crowdWriter struct {
	name  string
	rng   *rand.Rand
	db    *engine.DB
	clock *atomic.Int64 // ms
	want  map[int]map[int64]float64
}

func (w *crowdWriter) labels(i int) labels.Labels {
	return labels.FromStrings("__name__", "crowd", "w", w.name, "i", fmt.Sprint(i))
}

func (w *crowdWriter) step() error {
	// Which series are in use moves on, and comes back.
	i := int(w.clock.Load()/(10*hourMillis))%6 + w.rng.IntN(3)
	if w.want[i] == nil {
		w.want[i] = map[int64]float64{}
	}
	var err error
	if w.rng.IntN(10) == 0 {
		err = w.remove(i)
	} else {
		err = w.write(i)
	}
	if err != nil {
		return err
	}
	return w.check(w.db, w.rng.IntN(9))
}

func (w *crowdWriter) write(i int) error {
	points := map[int64]float64{}
	for range 1 + w.rng.IntN(20) {
		t := w.clock.Load() - w.rng.Int64N(600)*1000
		if w.rng.IntN(6) == 0 {
			t -= w.rng.Int64N(40 * hourMillis)
		}
		points[t] = float64(w.rng.IntN(1000)) / 8
	}
	for {
		ref, err := w.db.Intern(w.labels(i))
		if err != nil {
			return err
		}
		b := &model.Batch{}
		if w.db.Versioned() {
			b.Version = w.db.Clock().Now()
		}
		for t, v := range points {
			b.Floats = append(b.Floats, model.FloatSample{Ref: ref, T: t, V: v})
		}
		_, err = w.db.Append(context.Background(), b, engine.AppendOptions{})
		if errors.Is(err, engine.ErrUnknownRef) {
			continue // forgotten between the two
		}
		if err != nil {
			return err
		}
		for t, v := range points {
			w.want[i][t] = v
		}
		return nil
	}
}

func (w *crowdWriter) remove(i int) error {
	maxt := w.clock.Load() - w.rng.Int64N(20*hourMillis)
	mint := maxt - w.rng.Int64N(5*hourMillis)
	err := w.db.Delete(context.Background(), model.Tombstone{MinT: mint, MaxT: maxt, Matchers: []*labels.Matcher{
		labels.MustNewMatcher(labels.MatchEqual, "w", w.name), labels.MustNewMatcher(labels.MatchEqual, "i", fmt.Sprint(i)),
	}})
	if err != nil {
		return err
	}
	for t := range w.want[i] {
		if t >= mint && t <= maxt {
			delete(w.want[i], t)
		}
	}
	return nil
}

// check reads one series whole.
func (w *crowdWriter) check(db *engine.DB, i int) error {
	sel, err := db.Select(context.Background(), 0, math.MaxInt64,
		labels.MustNewMatcher(labels.MatchEqual, "w", w.name), labels.MustNewMatcher(labels.MatchEqual, "i", fmt.Sprint(i)))
	if err != nil {
		return err
	}
	defer sel.Close()
	if sel.Len() > 1 {
		return fmt.Errorf("%d series %s", sel.Len(), w.labels(i))
	}
	var c model.Columns
	if sel.Len() == 1 {
		if err := sel.Read(0, 0, math.MaxInt64, &c); err != nil {
			return err
		}
	}
	for k, t := range c.T {
		if v, ok := w.want[i][t]; !ok || v != c.V[k] {
			return fmt.Errorf("%s at %d: %v, want %v %v", w.labels(i), t, c.V[k], v, ok)
		}
	}
	if len(c.T) == len(w.want[i]) {
		return nil
	}
	for t, v := range w.want[i] {
		if !slices.Contains(c.T, t) {
			return fmt.Errorf("%s: %d samples, want %d: %v at %d is missing, %v before the clock", w.labels(i), len(c.T), len(w.want[i]), v, t,
				time.Duration(w.clock.Load()-t)*time.Millisecond)
		}
	}
	return nil
}

// TestCrowd lets several writers work while all that happens to files happens,
// and the clock goes on by days. Each must always see all that is its own; a
// power cut at the end changes nothing.
func TestCrowd(t *testing.T) {
	for _, versions := range []bool{false, true} {
		t.Run(fmt.Sprintf("versions %v", versions), func(t *testing.T) { crowd(t, versions) })
	}
}

func crowd(t *testing.T, versions bool) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	var clock atomic.Int64
	clock.Store(time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC).UnixMilli())
	opts := engine.Options{
		Now: func() time.Time { return time.UnixMilli(clock.Load()) }, NoBackground: true, Versions: versions, LogBytes: 1 << 20,
	}.WithLimits(func(l *plan.Limits) {
		l.SealSamples, l.MaxPerWindow, l.MaxWide, l.MergeFiles, l.LateShare, l.DeadBytes = 4, 2, 6, 4, 1000, 100
	})
	disk := vfs.NewMem()
	db, err := engine.Open(disk, "data", opts)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var keepers, writers sync.WaitGroup
	keeper := func(name string, do func() error) {
		keepers.Go(func() {
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
	ctx := context.Background()
	keeper("flush", func() error { clock.Add(40 * 60_000); return db.Flush(ctx) })
	keeper("maintain", func() error { return db.Maintain(ctx) })
	keeper("clean", func() error { clock.Add(50 * 60_000); return db.CleanTombstones(ctx) })
	all := make([]*crowdWriter, 4)
	for n := range all {
		w := &crowdWriter{name: fmt.Sprint(n), rng: rand.New(rand.NewPCG(seed, uint64(n))), db: db, clock: &clock, want: map[int]map[int64]float64{}}
		all[n] = w
		writers.Go(func() {
			for k := range 150 {
				if err := w.step(); err != nil {
					t.Errorf("writer %s, step %d: %v", w.name, k, err)
					return
				}
			}
		})
	}
	writers.Wait()
	close(done)
	keepers.Wait()
	cut, err := engine.Open(disk.CrashClone(rand.New(rand.NewPCG(seed, 99)), 50), "data", opts)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range all {
		for i := range w.want {
			for _, at := range []*engine.DB{db, cut} {
				if err := w.check(at, i); err != nil {
					t.Error(err)
				}
			}
		}
	}
	if s := db.Stats(); true {
		t.Logf("%d series, %d flushes, %d merges, %d windows, %d days", s.Series, s.Flushes, s.Merges, s.SealedWindows, s.DaysBuilt)
	}
	if err := errors.Join(db.Close(), cut.Close()); err != nil {
		t.Error(err)
	}
}
