package registry

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/prometheus/prometheus/model/labels"
	"pgregory.net/rapid"

	"github.com/count-db/count/internal/golden"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/vfs"
)

const testFile = "data/registry"

func newFS(t interface{ Fatal(...any) }) *vfs.MemFS {
	fs := vfs.NewMem()
	if err := fs.MkdirAll("data"); err != nil {
		t.Fatal(err)
	}
	return fs
}

func open(t interface{ Fatal(...any) }, fs vfs.FS) (*Registry, LoadReport) {
	r, report, err := Open(fs, testFile, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return r, report
}

// contents are the series of a registry by reference.
func contents(r *Registry) map[model.Ref]string {
	out := map[model.Ref]string{}
	for _, ref := range r.Select() {
		out[ref] = model.SeriesKey(r.Labels(ref))
	}
	return out
}

// TestFileSurvivesCrashes makes, evicts and persists series at random, cuts
// the power, and expects what was persisted; and that no reference is given to
// a second series.
func TestFileSurvivesCrashes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fs := newFS(t)
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		r, _ := open(t, fs)
		durable := contents(r)
		ever := map[model.Ref]string{}
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			switch rapid.IntRange(0, 4).Draw(t, "step") {
			case 0, 1:
				for range rapid.IntRange(1, 20).Draw(t, "new") {
					ref, _, err := r.Intern(labels.FromStrings("__name__", "m", "i", fmt.Sprint(rng.IntN(100))))
					if err != nil {
						t.Fatal(err)
					}
					r.MarkLogged([]model.Ref{ref})
				}
			case 2:
				keep := func(ref model.Ref) bool { return ref%3 != 0 }
				r.MarkCold(keep)
				r.RemoveCold(keep)
			case 3:
				if err := r.Persist(); err != nil {
					t.Fatal(err)
				}
				durable = contents(r)
				for ref, key := range durable {
					if old, ok := ever[ref]; ok && old != key {
						t.Fatalf("reference %d was %s and is %s", ref, old, key)
					}
					ever[ref] = key
				}
			case 4:
				fs = fs.CrashClone(rng, rapid.SampledFrom([]int{0, 50, 100}).Draw(t, "kept"))
				r, _ = open(t, fs)
				got := contents(r)
				for ref, key := range durable {
					if got[ref] != key {
						t.Fatalf("reference %d is %q, want %q", ref, got[ref], key)
					}
				}
				durable = got
			}
		}
	})
}

func TestTornTailIsCut(t *testing.T) {
	fs := newFS(t)
	r, _ := open(t, fs)
	intern(t, r, labels.FromStrings("__name__", "a"))
	if err := r.Persist(); err != nil {
		t.Fatal(err)
	}
	whole := r.Size()
	intern(t, r, labels.FromStrings("__name__", "b", "x", "y"))
	if err := r.Persist(); err != nil {
		t.Fatal(err)
	}
	data, err := vfs.ReadFile(fs, testFile)
	if err != nil {
		t.Fatal(err)
	}
	for n := range data {
		fs := newFS(t)
		if err := vfs.WriteFile(fs, testFile, data[:n]); err != nil {
			t.Fatal(err)
		}
		r, report := open(t, fs)
		if report.DamagedFrames != 0 || (n < len(data)) == (report.Series == 2) || int64(n) >= whole && report.Series < 1 {
			t.Fatalf("cut to %d of %d bytes: %+v", n, len(data), report)
		}
		// It goes on from there.
		intern(t, r, labels.FromStrings("__name__", "c"))
		if err := r.Persist(); err != nil {
			t.Fatal(err)
		}
		if again, next := open(t, fs); next.TornBytes != 0 || next.Series != report.Series+1 || again.Len() != r.Len() {
			t.Fatalf("after a cut to %d bytes: %+v, then %+v", n, report, next)
		}
	}
}

func TestDamageIsReportedAndKept(t *testing.T) {
	fs := newFS(t)
	r, _ := open(t, fs)
	for _, name := range []string{"a", "b", "c"} {
		intern(t, r, labels.FromStrings("__name__", name))
		if err := r.Persist(); err != nil {
			t.Fatal(err)
		}
	}
	data, err := vfs.ReadFile(fs, testFile)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.LastIndex(data, []byte("\x01b"))
	data[at+1] ^= 0x40
	if err := vfs.WriteFile(fs, testFile, data); err != nil {
		t.Fatal(err)
	}
	r, report := open(t, fs)
	if report.DamagedFrames != 1 || report.Series != 2 || report.TornBytes != 0 {
		t.Fatalf("%+v", report)
	}
	if kept, err := vfs.ReadFile(fs, testFile+DamagedSuffix); err != nil || !bytes.Equal(kept, data) {
		t.Fatalf("the damaged file was not kept: %v", err)
	}
	if ref := intern(t, r, labels.FromStrings("__name__", "d")); ref != 4 {
		t.Fatalf("reference %d was given again", ref)
	}
	if _, report := open(t, fs); report.DamagedFrames != 0 || report.Series != 2 {
		t.Fatalf("the second opening: %+v", report)
	}
}

func TestFailedPersistIsMadeUpFor(t *testing.T) {
	fs := newFS(t)
	r, _ := open(t, fs)
	intern(t, r, labels.FromStrings("__name__", "a"))
	if err := r.Close(); err != nil { // as good as any way to make the next write fail
		t.Fatal(err)
	}
	intern(t, r, labels.FromStrings("__name__", "b"))
	if err := r.Persist(); err != nil {
		t.Fatal(err)
	}
	if _, report := open(t, fs); report.Series != 2 {
		t.Fatalf("%+v", report)
	}
}

func TestEvictedSeriesLeaveTheFile(t *testing.T) {
	fs := newFS(t)
	r, _ := open(t, fs)
	const n = 3 * minGarbage
	var refs []model.Ref
	for i := range n {
		refs = append(refs, intern(t, r, labels.FromStrings("__name__", "m", "i", fmt.Sprint(i))))
	}
	r.MarkLogged(refs)
	if err := r.Persist(); err != nil {
		t.Fatal(err)
	}
	full := r.Size()
	keep := func(ref model.Ref) bool { return ref%10 == 0 }
	r.MarkCold(keep)
	if got := r.RemoveCold(keep); got != n*9/10 {
		t.Fatalf("RemoveCold = %d", got)
	}
	for range 2 { // the second time it is written anew
		if err := r.Persist(); err != nil {
			t.Fatal(err)
		}
		if again, _ := open(t, fs); again.Len() != n/10 || again.MaxRef() != n {
			t.Fatalf("%d series up to reference %d", again.Len(), again.MaxRef())
		}
	}
	if r.Size() > full/5 {
		t.Fatalf("%d bytes, %d before the eviction", r.Size(), full)
	}
}

// TestGoldenFile holds the format: a file of an older build must load.
func TestGoldenFile(t *testing.T) {
	fs := newFS(t)
	r, _ := open(t, fs)
	intern(t, r, labels.FromStrings("__name__", "http_requests_total", "code", "200", "job", "api"))
	intern(t, r, labels.FromStrings("__name__", "http_requests_total", "code", "500", "job", "api"))
	r.MarkLogged([]model.Ref{1, 2})
	if err := r.Persist(); err != nil {
		t.Fatal(err)
	}
	keep := func(ref model.Ref) bool { return ref != 2 }
	r.MarkCold(keep)
	r.RemoveCold(keep)
	r.RaiseVersionFloor(77)
	intern(t, r, labels.FromStrings("__name__", "up", "ü", "é"))
	if err := r.Persist(); err != nil {
		t.Fatal(err)
	}
	data, err := vfs.ReadFile(fs, testFile)
	if err != nil {
		t.Fatal(err)
	}
	golden.Check(t, "testdata/registry.v1", data)
	again, report := open(t, fs)
	if report.Series != 2 || again.MaxRef() != 3 || again.HighestVersion(1) != 77 || again.Exists(2) {
		t.Fatalf("%+v, max %d", report, again.MaxRef())
	}
}

func FuzzFile(f *testing.F) {
	seed, err := os.ReadFile(filepath.Join("testdata", "registry.v1"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add(seed[:len(seed)-3])
	f.Fuzz(func(t *testing.T, data []byte) {
		// The whole file, and the same bytes as one frame's payload, which a
		// checksum would keep the fuzzer from.
		d := fileDecoder{apply: func(frame) error { return nil }}
		if _, err := d.decode(data); err == nil && len(data) == 0 {
			t.Fatal("an empty frame was taken")
		}
		fs := newFS(t)
		if err := vfs.WriteFile(fs, testFile, data); err != nil {
			t.Fatal(err)
		}
		if r, _, err := Open(fs, testFile, Options{}); err == nil {
			if err := r.Persist(); err != nil {
				t.Fatal(err)
			}
		}
	})
}
