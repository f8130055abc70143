package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/count-db/count/internal/golden"
	"github.com/count-db/count/internal/vfs"
	"github.com/count-db/count/internal/wire"
)

const dir = "/data"

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB, fs vfs.FS) (*Manifest, Report) {
	t.Helper()
	m, report, err := Open(fs, dir, nil)
	must(t, err)
	return m, report
}

// addFile makes a durable data file and names it, as a flush does.
func addFile(t testing.TB, fs vfs.FS, m *Manifest, k Kind) File {
	t.Helper()
	f := File{ID: m.NewID(), Kind: k, Bytes: 3, Samples: 1}
	f.Arrival = f.ID
	must(t, vfs.WriteFile(fs, m.Path(k, f.ID), []byte("abc")))
	must(t, m.Update(func(s *State) error { s.Add(f); return nil }))
	return f
}

func sample() *State {
	return &State{
		NextID: 9, LogFrom: 4, Mark: 1 << 60, Registry: "registry.2",
		Files: []File{
			{ID: 3, Kind: Day, Bytes: 1 << 30, Samples: 1 << 28, MinT: -86_400_000, MaxT: -1},
			{
				ID: 7, Kind: Wide, Arrival: 7, Born: 1_700_000_000_000, Bytes: 1234, Samples: 99,
				MinT: 1_699_999_000_000, MaxT: 1_700_000_000_000, MinVersion: 5, MaxVersion: 1 << 62,
				SealedOut: Windows{{-2, -1}, {5, 5}},
			},
			{ID: 8, Kind: Sealed, Bytes: 1, Samples: 2, MinT: 1, MaxT: 1},
		},
	}
}

func TestGolden(t *testing.T) {
	s, err := decode(golden.Check(t, "testdata/manifest.golden", encode(sample())))
	must(t, err)
	if !reflect.DeepEqual(s, sample()) {
		t.Fatalf("read %+v", s)
	}
}

func TestDamageIsFoundEverywhere(t *testing.T) {
	data := encode(sample())
	for n := range data {
		if _, err := decode(data[:n]); !errors.Is(err, wire.ErrCorrupt) {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
	}
	for i := range data {
		bad := bytes.Clone(data)
		bad[i] ^= 1
		if _, err := decode(bad); err == nil {
			t.Fatalf("byte %d changed: accepted", i)
		}
	}
}

func TestUnknownSections(t *testing.T) {
	withSection := func(tag uint64) []byte {
		out := append([]byte(magic), format)
		payload := wire.AppendBytes(wire.AppendUvarint(nil, tag), []byte("new"))
		return wire.AppendFrame(out, payload, wire.Checksum(out))
	}
	if _, err := decode(withSection(101)); err != nil {
		t.Fatalf("an odd section must be skipped: %v", err)
	}
	if _, err := decode(withSection(100)); err == nil || errors.Is(err, wire.ErrCorrupt) {
		t.Fatalf("an even section must be refused, not taken for damage: %v", err)
	}
}

func TestNames(t *testing.T) {
	for k := Wide; k <= Day; k++ {
		if kind, id, ok := ParseFileName(FileName(k, 12)); kind != k || id != 12 || !ok {
			t.Errorf("%v: read %v %d %v", k, kind, id, ok)
		}
	}
	for _, name := range []string{"", "x.wide", "1.wide", "0000000000.wide", "0000000001.tmp", "-000000001.day", "00000000000000000000000001"} {
		if _, _, ok := ParseFileName(name); ok {
			t.Errorf("%q was taken for a data file", name)
		}
	}
}

func TestWindowsAgainstAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var ws Windows
		want := map[int64]bool{}
		for _, w := range rapid.SliceOf(rapid.Int64Range(-10, 10)).Draw(t, "windows") {
			before := slices.Clone(ws)
			next := ws.Add(w)
			if !slices.Equal(before, ws) {
				t.Fatal("Add changed the set")
			}
			ws, want[w] = next, true
		}
		if err := ws.validate(); err != nil {
			t.Fatal(err)
		}
		for w := int64(-12); w <= 12; w++ {
			if ws.Has(w) != want[w] {
				t.Fatalf("%v: Has(%d) = %v", ws, w, !want[w])
			}
		}
		if ws.Len() != int64(len(want)) {
			t.Fatalf("Len %d, want %d", ws.Len(), len(want))
		}
	})
}

func TestUpdateSurvivesAndOrphansDoNot(t *testing.T) {
	fs := vfs.NewMem()
	m, _ := open(t, fs)
	a, b := addFile(t, fs, m, Wide), addFile(t, fs, m, Wide)
	merged := addFile(t, fs, m, Sealed)
	must(t, m.Update(func(s *State) error {
		s.Remove(a.ID)
		s.File(b.ID).SealedOut = s.File(b.ID).SealedOut.Add(7)
		s.LogFrom, s.Mark = 5, 77
		return nil
	}))
	before := m.State()
	editErr := errors.New("no")
	if err := m.Update(func(s *State) error { s.Remove(b.ID); return editErr }); !errors.Is(err, editErr) {
		t.Fatalf("edit error: %v", err)
	}
	if m.State() != before {
		t.Fatal("a failed edit changed the state")
	}
	if err := m.Update(func(s *State) error { s.Files[0].Kind = 9; return nil }); err == nil {
		t.Fatal("an impossible state was accepted")
	}
	// Left by a crash: a, which is not named any more, a half-written file, and one
	// that no manifest ever named.
	must(t, vfs.WriteFile(fs, m.Path(Day, 20), []byte("x")))
	must(t, vfs.WriteFile(fs, filepath.Join(dir, filesDir, "21.day"), []byte("x")))
	f, err := fs.Create(filepath.Join(dir, filesDir, "0000000022.wide.tmp"))
	must(t, err)
	must(t, f.Close())

	s, faults := Check(fs, dir)
	orphans, err := Orphans(fs, dir, s)
	if len(faults) > 0 || err != nil || len(orphans) != 3 {
		t.Fatalf("Check: %v, orphans %q, %v", faults, orphans, err)
	}
	m, report := open(t, fs)
	if !slices.Equal(report.Removed, orphans) || report.Damaged != nil || len(report.Missing) > 0 {
		t.Fatalf("report %+v, orphans %q", report, orphans)
	}
	got := m.State()
	if len(got.Files) != 2 || got.Files[0].ID != b.ID || got.Files[1].ID != merged.ID || !got.Files[0].SealedOut.Has(7) ||
		got.LogFrom != 5 || got.Mark != 77 {
		t.Fatalf("state %+v", got)
	}
	if id := m.NewID(); id <= 20 {
		t.Fatalf("ID %d was used before", id)
	}
}

func TestMissingFile(t *testing.T) {
	fs := vfs.NewMem()
	m, _ := open(t, fs)
	a, b := addFile(t, fs, m, Wide), addFile(t, fs, m, Wide)
	must(t, fs.Remove(m.Path(a.Kind, a.ID)))
	if _, faults := Check(fs, dir); len(faults) != 1 {
		t.Fatalf("Check: %v", faults)
	}
	for i, want := range []int{1, 0} { // reported once
		m, report := open(t, fs)
		if len(report.Missing) != want || len(m.State().Files) != 1 || m.State().Files[0].ID != b.ID {
			t.Fatalf("open %d: %+v, %+v", i, report, m.State())
		}
	}
}

func TestDamagedManifestKeepsTheFiles(t *testing.T) {
	for name, damage := range map[string]func(fs vfs.FS){
		"damaged": func(fs vfs.FS) { must(t, vfs.WriteFile(fs, filepath.Join(dir, Name), []byte("CTmf\x01nonsense"))) },
		"missing": func(fs vfs.FS) { must(t, fs.Remove(filepath.Join(dir, Name))) },
	} {
		t.Run(name, func(t *testing.T) {
			fs := vfs.NewMem()
			m, _ := open(t, fs)
			a, b := addFile(t, fs, m, Wide), addFile(t, fs, m, Day)
			damage(fs)
			if _, faults := Check(fs, dir); len(faults) != 1 {
				t.Fatalf("Check: %v", faults)
			}
			m, report := open(t, fs)
			got := m.State().Files
			if report.Damaged == nil || len(got) != 2 || got[0].ID != a.ID || got[1].ID != b.ID || got[1].Kind != Day || m.State().LogFrom != 0 {
				t.Fatalf("%+v, %+v", report, m.State())
			}
			if _, report := open(t, fs); report.Damaged != nil || len(report.Removed) > 0 {
				t.Fatalf("second open: %+v", report)
			}
		})
	}
	// A newer format is no damage: it must not be set aside.
	fs := vfs.NewMem()
	open(t, fs)
	newer := []byte("CTmf\x63")
	must(t, vfs.WriteFile(fs, filepath.Join(dir, Name), wire.AppendFrame(newer, []byte("more"), wire.Checksum(newer))))
	if _, _, err := Open(fs, dir, nil); err == nil || errors.Is(err, wire.ErrCorrupt) {
		t.Fatalf("a newer format: %v", err)
	}
}

// A disk that is full while the manifest is written changes nothing, and the next
// update does it.
func TestFullDiskLeavesTheState(t *testing.T) {
	for _, script := range []string{"fail create MANIFEST.tmp nth=2 err=ENOSPC", "fail write MANIFEST.tmp nth=2 err=ENOSPC", "fail sync MANIFEST.tmp nth=2 err=ENOSPC"} {
		inject, err := vfs.Script(script)
		must(t, err)
		mem := vfs.NewMem()
		m, _ := open(t, vfs.NewFault(mem, inject))
		update := func() error { return m.Update(func(s *State) error { s.LogFrom = 9; return nil }) }
		if err := update(); !errors.Is(err, vfs.ErrNoSpace) || errors.Is(err, ErrFailed) || m.State().LogFrom != 0 {
			t.Fatalf("%s: %v, log from %d", script, err, m.State().LogFrom)
		}
		must(t, update())
		again, _ := open(t, mem)
		if m.State().LogFrom != 9 || again.State().LogFrom != 9 {
			t.Fatalf("%s: log from %d, on disk %d", script, m.State().LogFrom, again.State().LogFrom)
		}
	}
}

func TestFailedWriteIsFinal(t *testing.T) {
	for _, script := range []string{"fail rename MANIFEST nth=2", "fail syncdir * nth=2"} {
		inject, err := vfs.Script(script)
		must(t, err)
		m, _ := open(t, vfs.NewFault(vfs.NewMem(), inject))
		for range 2 {
			if err := m.Update(func(s *State) error { s.LogFrom = 9; return nil }); !errors.Is(err, ErrFailed) {
				t.Fatalf("%s: %v", script, err)
			}
		}
		if m.State().LogFrom != 0 {
			t.Fatalf("%s: the state changed", script)
		}
	}
}

// TestCrash cuts the power before every operation on the disk of a history of
// flushes and merges: the state found is the last acknowledged or the one that
// was being written, and every file that it names is whole.
func TestCrash(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	mem := vfs.NewMem()
	acked, pending := uint64(0), uint64(0) // LogFrom counts the updates
	check := func(op vfs.Op) {
		for _, keep := range []int{0, 50, 100} {
			crashed := mem.CrashClone(rng, keep)
			m, report, err := Open(crashed, dir, nil)
			if err != nil || report.Damaged != nil || len(report.Missing) > 0 {
				t.Fatalf("crash before %v, keep %d: %v %+v\n%s", op, keep, err, report, crashed.Tree())
			}
			if got := m.State().LogFrom; got != acked && got != pending {
				t.Fatalf("crash before %v, keep %d: state %d, want %d or %d", op, keep, got, acked, pending)
			}
			for _, f := range m.State().Files {
				if data, err := vfs.ReadFile(crashed, m.Path(f.Kind, f.ID)); err != nil || string(data) != fmt.Sprint(f.ID) {
					t.Fatalf("crash before %v, keep %d: file %d: %q %v", op, keep, f.ID, data, err)
				}
			}
		}
	}
	fs := vfs.NewFault(mem, func(op vfs.Op) vfs.Fault { check(op); return vfs.Fault{} })
	m, _ := open(t, fs)
	for i := range 12 {
		id := m.NewID()
		must(t, vfs.WriteFile(fs, m.Path(Wide, id), []byte(fmt.Sprint(id))))
		var drop []File
		pending = acked + 1
		must(t, m.Update(func(s *State) error {
			if i%4 == 3 {
				drop = slices.Clone(s.Files)
				s.Files = nil
			}
			s.Add(File{ID: id, Kind: Wide, Arrival: id, Bytes: 1})
			s.LogFrom = pending
			return nil
		}))
		acked = pending
		for _, f := range drop {
			must(t, fs.Remove(m.Path(f.Kind, f.ID)))
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(encode(sample()))
	f.Add(encode(&State{NextID: 1}))
	f.Fuzz(func(t *testing.T, data []byte) {
		// Give the fuzzer a good envelope around its payload, too.
		framed := wire.AppendFrame(append([]byte(magic), format), data, wire.Checksum(append([]byte(magic), format)))
		for _, in := range [][]byte{data, framed} {
			s, err := decode(in)
			if err != nil {
				continue
			}
			again, err := decode(encode(s))
			if err != nil || !reflect.DeepEqual(s, again) {
				t.Fatalf("%v: %+v became %+v", err, s, again)
			}
		}
	})
}
