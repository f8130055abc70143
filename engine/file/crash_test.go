package file

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/count-db/count/internal/vfs"
)

func writeSome(w *Writer) error {
	cols, times := benchColumns(20)
	return writeSetA(cols[:60], times)(w)
}

// TestCreateUnderFaults fails each operation in turn (E2): an error comes
// back, and nothing is left under either name.
func TestCreateUnderFaults(t *testing.T) {
	for _, script := range []string{
		"fail create *.tmp", "fail write *.tmp", "short write *.tmp bytes=100 err=ENOSPC", "fail sync *.tmp",
		"fail rename *", "fail syncdir *",
	} {
		t.Run(script, func(t *testing.T) {
			inject, err := vfs.Script(script)
			if err != nil {
				t.Fatal(err)
			}
			mem := vfs.NewMem()
			if err := mem.MkdirAll("/d"); err != nil {
				t.Fatal(err)
			}
			if _, err := Create(vfs.NewFault(mem, inject), "/d/f", Wide, writeSome); err == nil {
				t.Error("no error")
			}
			if names, err := mem.List("/d"); err != nil || len(names) > 0 {
				t.Errorf("%v: left %v", err, names)
			}
		})
	}
}

// TestCreateSurvivesPowerCut cuts the power before each operation and after
// Create: a file under its final name is whole, and there when Create returned.
func TestCreateSurvivesPowerCut(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, keep := range []int{0, 50, 100} {
		mem := vfs.NewMem()
		if err := mem.MkdirAll("/d"); err != nil {
			t.Fatal(err)
		}
		var crashes []*vfs.MemFS
		fs := vfs.NewFault(mem, func(vfs.Op) vfs.Fault {
			crashes = append(crashes, mem.CrashClone(rng, keep))
			return vfs.Fault{}
		})
		if _, err := Create(fs, "/d/f", Sealed, writeSome); err != nil {
			t.Fatal(err)
		}
		for _, crashed := range crashes {
			checkCrashed(t, crashed, false)
		}
		checkCrashed(t, mem.CrashClone(rng, keep), true)
	}
}

func checkCrashed(t *testing.T, fs *vfs.MemFS, there bool) {
	t.Helper()
	names, err := fs.List("/d")
	if err != nil {
		t.Fatal(err)
	}
	names = slices.DeleteFunc(names, func(n string) bool { return strings.HasSuffix(n, vfs.TempSuffix) })
	if len(names) == 0 {
		if there {
			t.Error("the file is gone")
		}
		return
	}
	f, err := fs.OpenRead("/d/f")
	if err != nil {
		t.Fatal(err)
	}
	r, err := Open(f, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Check(); err != nil {
		t.Error(err)
	}
}

// TestConcurrentReads reads with several cursors and a cache too small for all
// columns; it is for the race detector.
func TestConcurrentReads(t *testing.T) {
	cols, times := benchColumns(100)
	r := create(t, Sealed, writeSetA(cols[:200], times))
	r.cache = NewCache(2 * 100 * 8)
	var wg sync.WaitGroup
	errs := make(chan error, 4)
	for range cap(errs) {
		wg.Go(func() {
			for i := range r.Len() {
				if err := readBack(r, i, cols, times); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		t.Error(err)
	}
}

func readBack(r *Reader, i int, cols [][]float64, times [][]int64) error {
	c := r.Cursor()
	defer c.Release()
	at, ok := r.Find(r.Ref(i))
	chunks, err := c.Load(at)
	if err != nil || !ok {
		return fmt.Errorf("series %d: %v, %w", i, ok, err)
	}
	ts, err := c.Times(&chunks[0])
	if err != nil {
		return err
	}
	vs, err := c.Floats(nil, &chunks[0])
	if err != nil {
		return err
	}
	if !slices.Equal(vs, cols[i]) || !slices.Equal(ts, times[i%benchTargets]) {
		return fmt.Errorf("series %d reads back wrong", i)
	}
	return nil
}
