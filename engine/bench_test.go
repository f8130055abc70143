package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/engine/column/columntest"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/vfs"
)

// setA is data like set A of the peers' page: targets of 500 series, a scrape
// every 15 s with jitter.
type setA struct {
	targets int
	refs    []model.Ref // target-major
	values  [][]float64
	times   [][]int64 // of each target
}

const seriesPerTarget = 500

func newSetA(tb testing.TB, db *DB, targets, scrapes int, start int64) *setA {
	tb.Helper()
	s := &setA{targets: targets, values: columntest.SetA(targets*seriesPerTarget, scrapes)}
	for target := range targets {
		s.times = append(s.times, columntest.Timestamps(target, start, scrapes))
		for i := range seriesPerTarget {
			ref, err := db.Intern(labels.FromStrings(
				"__name__", fmt.Sprintf("node_metric_%03d_total", i/8), "mode", fmt.Sprint("mode-", i%8), "instance", fmt.Sprintf("host-%03d:9100", target),
				"job", "node", "cluster", "eu-west-1", "datacenter", "dc-2", "rack", fmt.Sprint("r", target/4), "os", "linux", "team", "infrastructure", "env", "production"))
			if err != nil {
				tb.Fatal(err)
			}
			s.refs = append(s.refs, ref)
		}
	}
	return s
}

// append writes one scrape of all targets, a batch for each.
func (s *setA) append(tb testing.TB, db *DB, b *model.Batch, scrape int) {
	for target := range s.targets {
		b.Reset()
		t := s.times[target][scrape]
		b.Version = db.clock.Now()
		for i := target * seriesPerTarget; i < (target+1)*seriesPerTarget; i++ {
			b.Floats = append(b.Floats, model.FloatSample{Ref: s.refs[i], T: t, V: s.values[i][scrape]})
		}
		if _, err := db.Append(context.Background(), b, AppendOptions{Fresh: true}); err != nil {
			tb.Fatal(err)
		}
	}
}

// BenchmarkSetA writes six hours of 10,000 series (scaled by COUNT_BENCH_TARGETS,
// default 4 targets of 500) with a flush each 20 scrapes, and seals. It reports
// ns/sample of each step and bytes on disk a sample.
func BenchmarkSetA(b *testing.B) {
	targets, scrapes := 4, 6*240
	if _, err := fmt.Sscan(os.Getenv("COUNT_BENCH_TARGETS"), &targets); err != nil {
		targets = 4
	}
	for _, versions := range []bool{false, true} {
		b.Run(fmt.Sprintf("versions=%v", versions), func(b *testing.B) { benchSetA(b, targets, scrapes, versions) })
	}
}

func benchSetA(b *testing.B, targets, scrapes int, versions bool) {
	for b.Loop() {
		dir := b.TempDir()
		clock := newTestClock()
		opts := testOptions(clock)
		opts.Versions = versions
		db, err := Open(vfs.OS(), dir+"/data", opts)
		if err != nil {
			b.Fatal(err)
		}
		set := newSetA(b, db, targets, scrapes, testStart)
		var batch model.Batch
		var appending, flushing, keeping time.Duration
		step := func(total *time.Duration, do func() error) {
			start := cpuTime()
			if err := do(); err != nil {
				b.Fatal(err)
			}
			*total += cpuTime() - start
		}
		ctx := context.Background()
		for i := range scrapes {
			clock.now = time.UnixMilli(testStart + int64(i)*15_000)
			step(&appending, func() error { set.append(b, db, &batch, i); return nil })
			if i%20 == 19 {
				step(&flushing, db.flushBuffer)
				step(&keeping, func() error { return db.Maintain(ctx) })
			}
		}
		clock.advance(time.Hour)
		step(&keeping, func() error { return db.Flush(ctx) })
		samples := float64(targets * seriesPerTarget * scrapes)
		stats := db.Stats()
		b.ReportMetric(float64(appending.Nanoseconds())/samples, "ns/sample-append")
		b.ReportMetric(float64(flushing.Nanoseconds())/samples, "ns/sample-flush")
		b.ReportMetric(float64(keeping.Nanoseconds())/samples, "ns/sample-maintain")
		b.ReportMetric(float64(stats.FileBytes)/samples, "B/sample")
		b.ReportMetric(float64(stats.FlushedBytes)/samples, "B/sample-flushed")
		b.ReportMetric(float64(stats.FlushedBytes+stats.MergedBytes+stats.SealedBytes)/float64(stats.FlushedBytes), "amplification")
		b.ReportMetric(float64(stats.LogAppendedBytes)/samples, "B/sample-log")
		mustClose(b, db)
	}
}

// BenchmarkRestart opens a directory as a killed process left it: an hour of
// scrapes of COUNT_BENCH_TARGETS targets (default 20; 200 are the 100,000
// series of the bar), the last 19 of them only in the log.
func BenchmarkRestart(b *testing.B) {
	targets, scrapes := 20, 12*20+19
	if _, err := fmt.Sscan(os.Getenv("COUNT_BENCH_TARGETS"), &targets); err != nil {
		targets = 20
	}
	clock := newTestClock()
	opts := testOptions(clock)
	opts.Sync = SyncNever
	dir := b.TempDir() + "/data"
	db, err := Open(vfs.OS(), dir, opts)
	if err != nil {
		b.Fatal(err)
	}
	set := newSetA(b, db, targets, scrapes, testStart)
	var batch model.Batch
	for i := range scrapes {
		set.append(b, db, &batch, i)
		if i%20 == 19 {
			clock.now = time.UnixMilli(testStart + int64(i)*15_000)
			if err := errors.Join(db.flushBuffer(), db.Maintain(context.Background())); err != nil {
				b.Fatal(err)
			}
		}
	}
	set = nil
	heapBefore := liveHeap()
	if err := db.abandon(); err != nil {
		b.Fatal(err)
	}
	db = nil
	base := liveHeap()
	b.ReportMetric(float64(heapBefore-base)/1e6, "MB-before")
	var spent time.Duration
	for b.Loop() {
		start := cpuTime()
		again, err := Open(vfs.OS(), dir, opts)
		if err != nil {
			b.Fatal(err)
		}
		spent += cpuTime() - start
		b.StopTimer()
		b.ReportMetric(float64(again.Stats().Replay.Samples), "replayed")
		b.ReportMetric(float64(liveHeap()-base)/1e6, "MB-after")
		if err := again.abandon(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.ReportMetric(spent.Seconds()/float64(b.N), "CPU-s/open")
}

func liveHeap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkRead reads every series of one metric family over all of the data:
// sealed windows, wide files and the buffer. It reports ns per sample.
func BenchmarkRead(b *testing.B) {
	for _, c := range []struct {
		name     string
		from, to int64 // scrapes
	}{{"sealed", 0, 959}, {"wide", 970, 1430}, {"all", 0, 1450}} {
		b.Run(c.name, func(b *testing.B) {
			db := readDB(b)
			sel, err := db.Select(context.Background(), testStart, testStart+6*hourMillis, labels.MustNewMatcher(labels.MatchRegexp, "__name__", "node_metric_00[0-9]_total"))
			if err != nil {
				b.Fatal(err)
			}
			defer sel.Close()
			mint, maxt := testStart+c.from*15_000, testStart+c.to*15_000
			var cols model.Columns
			samples := 0
			b.ReportAllocs()
			for b.Loop() {
				samples = 0
				for i := range sel.Len() {
					if err := sel.Read(i, mint, maxt, &cols); err != nil {
						b.Fatal(err)
					}
					samples += len(cols.T)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(samples), "ns/sample")
			b.ReportMetric(float64(sel.Len()), "series")
		})
	}
}

const hourMillis = int64(time.Hour / time.Millisecond)

// readDB returns a DB of six hours of 4 targets: two windows sealed, one in
// wide files, the last scrapes in the buffer.
func readDB(b *testing.B) *DB {
	b.Helper()
	const targets, scrapes = 4, 6*240 + 10
	clock := newTestClock()
	opts := testOptions(clock)
	opts.Sync = SyncNever
	db := mustOpen(b, vfs.OS(), opts, b.TempDir()+"/data")
	set := newSetA(b, db, targets, scrapes, testStart)
	var batch model.Batch
	for i := range scrapes {
		clock.now = time.UnixMilli(testStart + int64(i)*15_000)
		set.append(b, db, &batch, i)
		if i%20 == 19 {
			if err := errors.Join(db.flushBuffer(), db.Maintain(context.Background())); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.Cleanup(func() { mustClose(b, db) })
	return db
}

// BenchmarkSelect selects all series, and reads the last 5 minutes of each, as
// an instant query does.
func BenchmarkSelect(b *testing.B) {
	db := readDB(b)
	all := labels.MustNewMatcher(labels.MatchNotEqual, "__name__", "")
	last := db.Stats().MaxTime
	var cols model.Columns
	b.ReportAllocs()
	series, selecting := 0, time.Duration(0)
	for b.Loop() {
		start := time.Now()
		sel, err := db.Select(context.Background(), last-300_000, last, all)
		if err != nil {
			b.Fatal(err)
		}
		selecting += time.Since(start)
		for i := range sel.Len() {
			if err := sel.Read(i, last-300_000, last, &cols); err != nil {
				b.Fatal(err)
			}
		}
		series = sel.Len()
		sel.Close()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(series), "ns/series")
	b.ReportMetric(float64(selecting.Nanoseconds())/float64(b.N)/float64(series), "ns/series-select")
}

// BenchmarkReplay opens a directory of which everything is in the log: an hour
// of COUNT_BENCH_TARGETS targets (default 20).
func BenchmarkReplay(b *testing.B) {
	targets, scrapes := 20, 240
	if _, err := fmt.Sscan(os.Getenv("COUNT_BENCH_TARGETS"), &targets); err != nil {
		targets = 20
	}
	opts := testOptions(newTestClock())
	opts.Sync = SyncNever
	dir := b.TempDir() + "/data"
	db := mustOpen(b, vfs.OS(), opts, dir)
	set := newSetA(b, db, targets, scrapes, testStart)
	var batch model.Batch
	for i := range scrapes {
		set.append(b, db, &batch, i)
	}
	if err := db.abandon(); err != nil {
		b.Fatal(err)
	}
	var spent time.Duration
	for b.Loop() {
		start := cpuTime()
		again := mustOpen(b, vfs.OS(), opts, dir)
		spent += cpuTime() - start
		b.StopTimer()
		if n := again.Stats().Replay.Samples; n != uint64(targets*seriesPerTarget*scrapes) {
			b.Fatalf("replayed %d samples", n)
		}
		if err := again.abandon(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	samples := float64(b.N * targets * seriesPerTarget * scrapes)
	b.ReportMetric(float64(spent.Nanoseconds())/samples, "CPU-ns/sample")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/samples, "ns/sample")
}
