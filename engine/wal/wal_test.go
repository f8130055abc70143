package wal

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/count-db/count/internal/golden"
	"github.com/count-db/count/internal/vfs"
)

const dir = "/wal"

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB, fs vfs.FS, opts Options) *WAL {
	t.Helper()
	if opts.SegmentBytes == 0 {
		opts.SegmentBytes = 4096
	}
	w, err := Open(fs, dir, opts)
	must(t, err)
	return w
}

// write appends records and waits for each.
func write(t testing.TB, w *WAL, recs ...string) {
	t.Helper()
	for _, rec := range recs {
		ticket, err := w.Append([]byte(rec))
		must(t, err)
		must(t, ticket.Wait())
	}
}

// replayed returns the records in the log.
func replayed(t testing.TB, fs vfs.FS, from Position) ([]string, ReplayReport) {
	t.Helper()
	var recs []string
	report, err := Replay(fs, dir, from, func(rec []byte) error {
		recs = append(recs, string(rec))
		return nil
	})
	must(t, err)
	return recs, report
}

func wantRecords(t testing.TB, fs vfs.FS, from Position, want ...string) ReplayReport {
	t.Helper()
	got, report := replayed(t, fs, from)
	if !slices.Equal(got, want) {
		t.Fatalf("replayed %q, want %q", got, want)
	}
	if report.Gap || report.Records != uint64(len(want)) {
		t.Fatalf("report %+v", report)
	}
	return report
}

func TestAppendCloseReplay(t *testing.T) {
	for _, sync := range []SyncPolicy{SyncAlways, SyncInterval, SyncNever} {
		fs := vfs.NewMem()
		wantRecords(t, fs, 0) // no directory yet
		w := open(t, fs, Options{Sync: sync, Interval: time.Millisecond})
		write(t, w, "a", "", "bcd")
		must(t, w.Close())
		if err := w.Close(); !errors.Is(err, ErrClosed) {
			t.Fatalf("second Close: %v", err)
		}
		if _, err := w.Append(nil); !errors.Is(err, ErrClosed) {
			t.Fatalf("Append after Close: %v", err)
		}
		if _, err := w.Cut(); !errors.Is(err, ErrClosed) {
			t.Fatalf("Cut after Close: %v", err)
		}
		if report := wantRecords(t, fs, 0, "a", "", "bcd"); report.TornBytes != 0 {
			t.Fatalf("torn bytes after a clean end: %+v", report)
		}
		w = open(t, fs, Options{Sync: sync})
		write(t, w, "e")
		must(t, w.Close())
		wantRecords(t, fs, 0, "a", "", "bcd", "e")
		if report, err := Check(fs, dir, 0); err == nil {
			t.Fatalf("these are no batches, but Check says %+v", report)
		}
	}
}

func TestSegmentGolden(t *testing.T) {
	fs := vfs.NewMem()
	w := open(t, fs, Options{SegmentBytes: 128})
	write(t, w, "first", "second")
	_, err := w.Cut()
	must(t, err)
	must(t, w.Close())
	data, err := vfs.ReadFile(fs, segmentName(dir, 1))
	must(t, err)
	golden.Check(t, "testdata/segment.golden", data)
}

func TestSegmentsRollAndRecordsMayBeLongerThanThem(t *testing.T) {
	fs := vfs.NewMem()
	w := open(t, fs, Options{SegmentBytes: 200})
	var want []string
	for i := range 50 {
		want = append(want, string(bytes.Repeat([]byte{byte('a' + i%26)}, i*13%300)))
	}
	write(t, w, want...)
	if s := w.Stats(); s.Segments < 10 || s.Records != 50 || s.Syncs < 50 {
		t.Fatalf("stats %+v", s)
	}
	wantRecords(t, fs, 0, want...)
	must(t, w.Close())
	wantRecords(t, fs, 0, want...)
	if _, err := w.Append(make([]byte, MaxRecord+1)); !errors.Is(err, ErrRecordTooLarge) {
		t.Fatalf("too long a record: %v", err)
	}
}

func TestCutAndDrop(t *testing.T) {
	fs := vfs.NewMem()
	w := open(t, fs, Options{})
	write(t, w, "old")
	pos, err := w.Cut()
	must(t, err)
	write(t, w, "new")
	wantRecords(t, fs, 0, "old", "new")
	wantRecords(t, fs, pos, "new")
	must(t, w.Drop(pos))
	if s := w.Stats(); s.Segments != 1 {
		t.Fatalf("stats %+v", s)
	}
	// Dropping what is written to, or what is gone, is no error.
	must(t, w.Drop(pos+10))
	write(t, w, "newer")
	again, err := w.Cut()
	must(t, err)
	empty, err := w.Cut()
	must(t, err)
	if again <= pos || empty != again+1 {
		t.Fatalf("positions %d, %d, %d", pos, again, empty)
	}
	must(t, w.Close())
	wantRecords(t, fs, pos, "new", "newer")
	// A crash between the manifest and Drop leaves what the manifest disowns.
	w = open(t, fs, Options{From: again})
	write(t, w, "last")
	must(t, w.Close())
	wantRecords(t, fs, again, "last")
	wantRecords(t, fs, 0, "last")
}

func TestRecycledSegmentsShowNothingOfTheirFormerLife(t *testing.T) {
	fs := vfs.NewMem()
	w := open(t, fs, Options{Spares: 1})
	for i := range 20 {
		for j := range 5 {
			write(t, w, fmt.Sprintf("round %d record %d", i, j))
		}
		pos, err := w.Cut()
		must(t, err)
		must(t, w.Drop(pos))
	}
	if s := w.Stats(); s.Recycled < 15 {
		t.Fatalf("stats %+v", s)
	}
	names, err := fs.List(dir)
	must(t, err)
	if len(names) != 2 { // the one that is written, and a spare
		t.Fatalf("files %q", names)
	}
	write(t, w, "x")
	if report := wantRecords(t, fs, 0, "x"); report.TornBytes != 0 {
		t.Fatalf("stale bytes were taken for torn ones: %+v", report)
	}
	must(t, w.Close())
	w = open(t, fs, Options{Spares: -1}) // now none are kept
	must(t, w.Close())
	wantRecords(t, fs, 0, "x")
}

func TestGroupCommitSharesSyncs(t *testing.T) {
	fs := vfs.NewMem()
	entered, release := make(chan struct{}), make(chan struct{})
	first := true
	slow := vfs.NewFault(fs, func(op vfs.Op) vfs.Fault {
		if op.Kind == vfs.OpSync && len(entered) == 0 && op.Path == segmentName(dir, 1) {
			if first { // the segment's own, at Open
				first = false
				return vfs.Fault{}
			}
			entered <- struct{}{}
			<-release
		}
		return vfs.Fault{}
	})
	w := open(t, slow, Options{})
	lead, err := w.Append([]byte("lead"))
	must(t, err)
	<-entered // the first sync hangs
	var tickets []Ticket
	for i := range 100 {
		ticket, err := w.Append(fmt.Appendf(nil, "%d", i))
		must(t, err)
		tickets = append(tickets, ticket)
	}
	release <- struct{}{}
	must(t, lead.Wait())
	<-entered
	release <- struct{}{}
	for _, ticket := range tickets {
		must(t, ticket.Wait())
	}
	if s := w.Stats(); s.Groups != 2 || s.Syncs != 2 {
		t.Fatalf("101 records took %d groups and %d syncs, want 2", s.Groups, s.Syncs)
	}
	must(t, w.Close())
}

func TestConcurrentWritersCutsAndDrops(t *testing.T) {
	fs := vfs.NewMem()
	w := open(t, fs, Options{SegmentBytes: 1000})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 50 {
				ticket, err := w.Append(fmt.Appendf(nil, "%d/%02d", i, j))
				if err == nil {
					err = ticket.Wait()
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	var positions []Position
	for range 10 {
		pos, err := w.Cut()
		must(t, err)
		positions = append(positions, pos)
	}
	wg.Wait()
	got, report := replayed(t, fs, 0)
	if len(got) != 400 || report.Gap {
		t.Fatalf("%d records, %+v", len(got), report)
	}
	last := map[byte]string{}
	for _, rec := range got {
		if rec <= last[rec[0]] {
			t.Fatalf("%q behind %q", rec, last[rec[0]])
		}
		last[rec[0]] = rec
	}
	must(t, w.Drop(positions[9]))
	if _, report := replayed(t, fs, positions[9]); report.Gap {
		t.Fatalf("%+v", report)
	}
	must(t, w.Close())
}

func TestFailureIsFinal(t *testing.T) {
	for _, script := range []string{
		"fail sync *.wal nth=2", // the first is that of the header
		"fail write *.wal nth=2 err=ENOSPC",
		"short write *.wal nth=2 bytes=9",
	} {
		t.Run(script, func(t *testing.T) {
			inject, err := vfs.Script(script)
			must(t, err)
			mem := vfs.NewMem()
			w := open(t, vfs.NewFault(mem, inject), Options{})
			ticket, err := w.Append([]byte("doomed"))
			must(t, err)
			if err := ticket.Wait(); !errors.Is(err, ErrFailed) {
				t.Fatalf("Wait: %v", err)
			}
			// The disk works again: it does not count.
			if ticket, err := w.Append([]byte("late")); !errors.Is(err, ErrFailed) {
				t.Fatalf("Append after the failure: %v, %v", ticket, err)
			}
			if _, err := w.Cut(); !errors.Is(err, ErrFailed) {
				t.Fatalf("Cut after the failure: %v", err)
			}
			if !errors.Is(w.Failed(), ErrFailed) {
				t.Fatal("Failed does not say so")
			}
			must(t, w.Close())
			got, report := replayed(t, mem, 0)
			if report.Gap || len(got) > 1 || slices.Contains(got, "late") {
				t.Fatalf("replayed %q, %+v", got, report)
			}
			w = open(t, mem, Options{})
			write(t, w, "again")
			must(t, w.Close())
			if got, report := replayed(t, mem, 0); report.Gap || got[len(got)-1] != "again" {
				t.Fatalf("replayed %q, %+v", got, report)
			}
		})
	}
}

func TestFailureWhileRolling(t *testing.T) {
	for _, script := range []string{
		"fail create 0000000002.wal", "fail preallocate 0000000002.wal err=ENOSPC", "fail sync 0000000002.wal", "fail syncdir * nth=2",
	} {
		inject, err := vfs.Script(script)
		must(t, err)
		mem := vfs.NewMem()
		w := open(t, vfs.NewFault(mem, inject), Options{})
		write(t, w, "kept")
		if _, err := w.Cut(); !errors.Is(err, ErrFailed) {
			t.Fatalf("%s: Cut: %v", script, err)
		}
		if err := w.Close(); err != nil {
			t.Fatalf("%s: Close: %v", script, err)
		}
		wantRecords(t, mem, 0, "kept")
		w = open(t, mem, Options{})
		write(t, w, "again")
		must(t, w.Close())
		wantRecords(t, mem, 0, "kept", "again")
	}
}

func TestReadErrorsAreErrors(t *testing.T) {
	mem := vfs.NewMem()
	w := open(t, mem, Options{})
	write(t, w, "a")
	must(t, w.Close())
	for _, script := range []string{"fail read *.wal", "short read *.wal bytes=5", "fail open *.wal", "fail list *"} {
		inject, err := vfs.Script(script)
		must(t, err)
		if _, err := Replay(vfs.NewFault(mem, inject), dir, 0, func([]byte) error { return nil }); err == nil {
			t.Fatalf("%s: no error", script)
		}
	}
	stop := errors.New("stop")
	if _, err := Replay(mem, dir, 0, func([]byte) error { return stop }); !errors.Is(err, stop) {
		t.Fatalf("error of the callback: %v", err)
	}
}
