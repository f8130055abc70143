package wal

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/count-db/count/internal/vfs"
)

// history drives a log and knows what must be in it. Records are "life/number/"
// and filling, so that order and origin can be told.
type history struct {
	t       *rapid.T
	rng     *rand.Rand
	mem     *vfs.MemFS
	opts    Options
	written []string // in order of Append, dropped ones left out
	acked   int      // of these: acknowledged
	next    int
	life    int
	filling []byte
}

// step appends a few records and waits for some of them, or cuts and drops.
func (h *history) step(w *WAL) error {
	if rapid.IntRange(0, 5).Draw(h.t, "what") == 0 {
		pos, err := w.Cut()
		if err != nil {
			return err
		}
		h.acked = len(h.written)
		if rapid.Bool().Draw(h.t, "drop") {
			// The manifest that names pos is durable before Drop.
			h.opts.From = pos
			h.written, h.acked = nil, 0
			return w.Drop(pos)
		}
		return nil
	}
	// In one group, so that the operations on the disk are always the same ones.
	w.mu.Lock()
	var ticket Ticket
	for range rapid.IntRange(1, 4).Draw(h.t, "records") {
		rec := fmt.Sprintf("%d/%d/%s", h.life, h.next, h.filling[:h.rng.IntN(len(h.filling))])
		h.next++
		ticket = w.appendLocked([]byte(rec))
		h.written = append(h.written, rec)
	}
	w.mu.Unlock()
	w.wakeCommitter()
	if err := ticket.Wait(); err != nil {
		return err
	}
	h.acked = len(h.written)
	return nil
}

// check compares a log after a crash with what was acknowledged: all of that in
// order, then at most what was being written, and nothing else.
func (h *history) check(fs vfs.FS, from Position, acked, written []string) []string {
	var got []string
	report, err := Replay(fs, dir, from, func(rec []byte) error {
		got = append(got, string(rec))
		return nil
	})
	if err != nil {
		h.t.Fatalf("replay: %v", err)
	}
	if report.Gap {
		h.t.Fatalf("a crash was taken for a gap: %v", report.Gaps)
	}
	if len(got) < len(acked) || !slices.Equal(got[:len(acked)], acked) {
		h.t.Fatalf("E1: acknowledged records are missing:\n got %q\nwant %q", short(got), short(acked))
	}
	rest := written[len(acked):]
	for _, rec := range got[len(acked):] {
		i := slices.Index(rest, rec)
		if i < 0 {
			h.t.Fatalf("%q was never written, or not in this order", short([]string{rec}))
		}
		rest = rest[i+1:]
	}
	return got
}

func short(recs []string) []string {
	out := make([]string, len(recs))
	for i, rec := range recs {
		out[i], _, _ = strings.Cut(rec[min(2, len(rec)):], "/")
	}
	return out
}

// TestCrash lives through several power cuts, each before an arbitrary operation
// on the disk, with 0 to 100 % of what was not synced kept and torn anywhere.
func TestCrash(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := &history{
			t: t, rng: rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0)), mem: vfs.NewMem(),
			opts:    Options{SegmentBytes: int64(rapid.SampledFrom([]int{300, 2000, 20000}).Draw(t, "segment")), Spares: rapid.SampledFrom([]int{-1, 1, 2}).Draw(t, "spares")},
			filling: []byte(strings.Repeat("x", rapid.SampledFrom([]int{5, 200, 1500}).Draw(t, "filling"))),
		}
		for h.life = range rapid.IntRange(1, 4).Draw(t, "lives") {
			h.live()
		}
	})
}

// live runs one process until its power is cut, and goes on with what is left.
func (h *history) live() {
	before := rapid.IntRange(0, 40).Draw(h.t, "crash before operation")
	keep := rapid.SampledFrom([]int{0, 30, 70, 100}).Draw(h.t, "keep")
	var crashed *vfs.MemFS
	var acked, written []string
	var from Position
	n := 0
	// Operations follow one another: the committer works while step waits.
	fs := vfs.NewFault(h.mem, func(vfs.Op) vfs.Fault {
		if n++; n == before+1 {
			crashed = h.mem.CrashClone(h.rng, keep)
			if h.opts.From != from { // within Drop
				from, acked, written = h.opts.From, nil, nil
			}
		}
		return vfs.Fault{}
	})
	cut := func() {
		if crashed == nil {
			// The power fails between two operations of the test instead.
			crashed = h.mem.CrashClone(h.rng, keep)
		}
	}
	snapshot := func() { acked, written, from = slices.Clone(h.written[:h.acked]), slices.Clone(h.written), h.opts.From }
	snapshot()
	w, err := Open(fs, dir, h.opts)
	if err != nil {
		h.t.Fatal(err)
	}
	for range 10 {
		if crashed != nil {
			break
		}
		snapshot()
		if err := h.step(w); err != nil {
			h.t.Fatal(err)
		}
		if crashed != nil {
			// What the interrupted step appended may be there.
			if len(h.written) > len(written) {
				written = slices.Clone(h.written)
			}
			break
		}
		snapshot()
	}
	cut()
	if err := w.Close(); err != nil {
		h.t.Fatal(err)
	}
	got := h.check(crashed, from, acked, written)
	// Reading changed nothing, and a crash during the repair changes nothing.
	w, err = Open(vfs.NewFault(crashed, func(vfs.Op) vfs.Fault {
		if h.rng.IntN(4) == 0 {
			again := h.check(crashed.CrashClone(h.rng, keep), from, acked, written)
			if !slices.Equal(again, got) {
				h.t.Fatalf("a crash during the repair changed what is replayed:\n got %q\nthen %q", short(got), short(again))
			}
		}
		return vfs.Fault{}
	}), dir, Options{SegmentBytes: h.opts.SegmentBytes, Spares: h.opts.Spares, From: from})
	if err != nil {
		h.t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		h.t.Fatal(err)
	}
	h.mem, h.opts.From = crashed, from
	h.written, h.acked = got, len(got) // it survived once and must from now on
	h.check(h.mem, from, got, got)
}

// TestGapIsFound damages a synced frame and looks whether replay says so, and
// still hands over the rest.
func TestGapIsFound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		mem := vfs.NewMem()
		w, err := Open(mem, dir, Options{SegmentBytes: 400})
		if err != nil {
			t.Fatal(err)
		}
		const records = 20
		for i := range records {
			ticket, err := w.Append(fmt.Appendf(nil, "record %02d %s", i, strings.Repeat("x", i*7%60)))
			if err != nil {
				t.Fatal(err)
			}
			if err := ticket.Wait(); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		var segments []Position
		for p := Position(1); ; p++ {
			if _, err := mem.Stat(segmentName(dir, p)); err != nil {
				break
			}
			segments = append(segments, p)
		}
		// In all but the last segment anything that is damaged is a gap; there the
		// last frame looks like a torn tail, and must.
		p := rapid.SampledFrom(segments[:len(segments)-1]).Draw(t, "segment")
		r, err := readSegment(mem, dir, p, nil)
		if err != nil {
			t.Fatal(err)
		}
		if rapid.IntRange(0, 4).Draw(t, "what") == 0 {
			if err := mem.Remove(segmentName(dir, p)); err != nil {
				t.Fatal(err)
			}
		} else {
			flip(t, mem, segmentName(dir, p), rapid.Int64Range(headerSize, r.end+frameHeadSize).Draw(t, "offset"))
		}
		got := 0
		report, err := Replay(mem, dir, 1, func([]byte) error { got++; return nil })
		if err != nil {
			t.Fatal(err)
		}
		if !report.Gap || len(report.Gaps) == 0 || report.Gaps[0].String() == "" {
			// Padding between frames is covered by no checksum and holds nothing.
			if got == records {
				return
			}
			t.Fatalf("%d of %d records and no gap: %+v", got, records, report)
		}
		if p > 1 && got == 0 {
			t.Fatal("nothing was replayed around the gap")
		}
		// The node starts, and goes on.
		w, err = Open(mem, dir, Options{SegmentBytes: 400})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func flip(t *rapid.T, fs vfs.FS, name string, off int64) {
	f, err := fs.OpenAppend(name)
	if err != nil {
		t.Fatal(err)
	}
	var b [1]byte
	if _, err := f.ReadAt(b[:], off); err != nil {
		t.Fatal(err)
	}
	b[0] ^= byte(1 << rapid.IntRange(0, 7).Draw(t, "bit"))
	if _, err := f.WriteAt(b[:], off); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestTornTailOfTheLastSegment damages the last frame, which is what a crash
// does: it is cut and reported, and no gap.
func TestTornTailOfTheLastSegment(t *testing.T) {
	mem := vfs.NewMem()
	w := open(t, mem, Options{})
	write(t, w, "one", "two")
	must(t, w.Close())
	r, err := readSegment(mem, dir, 1, nil)
	must(t, err)
	f, err := mem.OpenAppend(segmentName(dir, 1))
	must(t, err)
	_, err = f.WriteAt([]byte{0xff}, r.end-8)
	must(t, err)
	must(t, f.Close())
	report := wantRecords(t, mem, 0, "one")
	if report.TornBytes == 0 {
		t.Fatalf("report %+v", report)
	}
	w = open(t, mem, Options{})
	write(t, w, "three")
	must(t, w.Close())
	if report := wantRecords(t, mem, 0, "one", "three"); report.TornBytes != 0 {
		t.Fatalf("the torn tail was not cut: %+v", report)
	}
}

func TestMissingSegments(t *testing.T) {
	mem := vfs.NewMem()
	w := open(t, mem, Options{})
	write(t, w, "a")
	_, err := w.Cut()
	must(t, err)
	must(t, w.Close())
	for name, c := range map[string]struct {
		remove []Position
		from   Position
	}{
		"the first": {[]Position{1}, 1},
		"the last":  {[]Position{2}, 1},
		"all":       {[]Position{1, 2}, 1},
		"later":     {nil, 3},
	} {
		fs := mem.CrashClone(rand.New(rand.NewPCG(1, 1)), 100)
		for _, p := range c.remove {
			must(t, fs.Remove(segmentName(dir, p)))
		}
		if _, report := replayed(t, fs, c.from); !report.Gap {
			t.Errorf("%s missing: %+v", name, report)
		}
	}
}

// FuzzReadSegment reads arbitrary bytes as a segment.
func FuzzReadSegment(f *testing.F) {
	mem := vfs.NewMem()
	w, err := Open(mem, dir, Options{SegmentBytes: 500})
	must(f, err)
	write(f, w, "one", "two", strings.Repeat("x", 100))
	must(f, w.Close())
	data, err := vfs.ReadFile(mem, segmentName(dir, 1))
	must(f, err)
	f.Add(data)
	f.Add(data[:100])
	f.Fuzz(func(t *testing.T, data []byte) {
		fs := vfs.NewMem()
		must(t, fs.MkdirAll(dir))
		must(t, vfs.WriteFile(fs, segmentName(dir, 1), data))
		var n int
		report, err := Replay(fs, dir, 0, func(rec []byte) error { n += len(rec); return nil })
		if err != nil {
			return
		}
		if n > len(data) || report.Bytes != int64(n) {
			t.Fatalf("%d bytes of records in %d bytes, %+v", n, len(data), report)
		}
		w, err := Open(fs, dir, Options{SegmentBytes: 500})
		must(t, err)
		must(t, w.Close())
		if _, err := Replay(fs, dir, 0, func([]byte) error { return nil }); err != nil {
			t.Fatal(err)
		}
	})
}
