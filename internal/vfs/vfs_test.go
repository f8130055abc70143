package vfs_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/count-db/count/internal/vfs"
)

// everyFS runs the test on the real file system and on the one in memory: they
// must not differ.
func everyFS(t *testing.T, test func(t *testing.T, fsys vfs.FS, dir string)) {
	t.Run("os", func(t *testing.T) { test(t, vfs.OS(), t.TempDir()) })
	t.Run("mem", func(t *testing.T) {
		m := vfs.NewMem()
		must(t, m.MkdirAll("/data"))
		test(t, m, "/data")
	})
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t testing.TB, f vfs.File, s string) {
	t.Helper()
	n, err := f.Write([]byte(s))
	must(t, err)
	if n != len(s) {
		t.Fatalf("wrote %d of %d bytes", n, len(s))
	}
}

func wantContent(t testing.TB, fsys vfs.FS, name, want string) {
	t.Helper()
	got, err := vfs.ReadFile(fsys, name)
	must(t, err)
	if string(got) != want {
		t.Fatalf("%s holds %q, want %q", name, got, want)
	}
}

func TestFileOperations(t *testing.T) {
	everyFS(t, func(t *testing.T, fsys vfs.FS, dir string) {
		name := filepath.Join(dir, "sub", "deep", "a")
		must(t, fsys.MkdirAll(filepath.Dir(name)))
		must(t, fsys.MkdirAll(filepath.Dir(name)))
		f, err := fsys.Create(name)
		must(t, err)
		write(t, f, "hello")
		_, err = f.WriteAt([]byte("J"), 0)
		must(t, err)
		write(t, f, " world")
		must(t, f.SyncData())
		must(t, f.Close())
		wantContent(t, fsys, name, "Jello world")

		f, err = fsys.OpenAppend(name)
		must(t, err)
		write(t, f, "!")
		must(t, f.Preallocate(4)) // shorter than it is: nothing happens
		must(t, f.Preallocate(14))
		size, err := f.Size()
		must(t, err)
		if size != 14 {
			t.Fatalf("size %d after Preallocate(14)", size)
		}
		write(t, f, "?")
		must(t, f.Truncate(13))
		must(t, f.Sync())
		must(t, f.Close())
		wantContent(t, fsys, name, "Jello world!?")

		r, err := fsys.OpenRead(name)
		must(t, err)
		buf := make([]byte, 4)
		if n, err := r.ReadAt(buf, 11); n != 2 || !errors.Is(err, io.EOF) {
			t.Fatalf("ReadAt at the end: %d, %v", n, err)
		}
		all, err := io.ReadAll(r)
		must(t, err)
		if string(all) != "Jello world!?" {
			t.Fatalf("ReadAll: %q", all)
		}
		if _, err := r.Write([]byte("x")); err == nil {
			t.Fatal("a file opened for reading was written")
		}
		must(t, r.Close())
		if err := r.Close(); !errors.Is(err, fs.ErrClosed) {
			t.Fatalf("second Close: %v", err)
		}
	})
}

func TestNames(t *testing.T) {
	everyFS(t, func(t *testing.T, fsys vfs.FS, dir string) {
		path := func(s string) string { return filepath.Join(dir, s) }
		must(t, vfs.WriteFile(fsys, path("a"), []byte("one")))
		must(t, vfs.WriteFile(fsys, path("b"), []byte("two")))
		must(t, vfs.WriteFile(fsys, path("b"), []byte("three")))
		must(t, fsys.Link(path("a"), path("c")))
		if err := fsys.Link(path("a"), path("b")); !errors.Is(err, fs.ErrExist) {
			t.Fatalf("Link over an existing name: %v", err)
		}
		must(t, fsys.Rename(path("b"), path("a")))
		wantContent(t, fsys, path("a"), "three")
		wantContent(t, fsys, path("c"), "one")
		must(t, fsys.MkdirAll(path("d")))
		names, err := fsys.List(dir)
		must(t, err)
		if !slices.Equal(names, []string{"a", "c", "d"}) {
			t.Fatalf("List: %q", names)
		}
		if size, err := fsys.Stat(path("a")); err != nil || size != 5 {
			t.Fatalf("Stat: %d, %v", size, err)
		}
		must(t, fsys.Remove(path("d")))
		must(t, fsys.Remove(path("a")))
		for what, err := range map[string]error{
			"Remove":   fsys.Remove(path("a")),
			"Rename":   fsys.Rename(path("a"), path("x")),
			"Link":     fsys.Link(path("a"), path("x")),
			"OpenRead": second(fsys.OpenRead(path("a"))),
			"Stat":     second(fsys.Stat(path("a"))),
			"Map":      second(fsys.Map(path("a"))),
			"List":     second(fsys.List(path("none"))),
			"Create":   second(fsys.Create(path("none/x"))),
			"SyncDir":  fsys.SyncDir(path("none")),
		} {
			if !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s of a missing file: %v", what, err)
			}
		}
		if err := fsys.MkdirAll(path("c")); err == nil {
			t.Error("MkdirAll over a file succeeded")
		}
	})
}

func second[T any](_ T, err error) error { return err }

func TestLockMapAndUsage(t *testing.T) {
	everyFS(t, func(t *testing.T, fsys vfs.FS, dir string) {
		name := filepath.Join(dir, "LOCK")
		l, err := fsys.Lock(name)
		must(t, err)
		if _, err := fsys.Lock(name); !errors.Is(err, vfs.ErrLocked) {
			t.Fatalf("second Lock: %v", err)
		}
		must(t, l.Close())
		l, err = fsys.Lock(name)
		must(t, err)
		must(t, l.Close())

		for _, content := range []string{"", "mapped"} {
			must(t, vfs.WriteFile(fsys, filepath.Join(dir, "m"), []byte(content)))
			m, err := fsys.Map(filepath.Join(dir, "m"))
			must(t, err)
			if string(m.Bytes()) != content {
				t.Fatalf("mapped %q, want %q", m.Bytes(), content)
			}
			must(t, m.Close())
		}
		free, total, err := fsys.DiskUsage(dir)
		if err != nil || free == 0 || free > total {
			t.Fatalf("DiskUsage: %d of %d, %v", free, total, err)
		}
	})
}

func TestCapacity(t *testing.T) {
	m := vfs.NewMem()
	m.SetCapacity(10)
	f, err := m.Create("/a")
	must(t, err)
	write(t, f, "12345678")
	if _, err := f.Write([]byte("901")); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("write beyond the capacity: %v", err)
	}
	if err := f.Preallocate(11); !errors.Is(err, vfs.ErrNoSpace) {
		t.Fatalf("preallocation beyond the capacity: %v", err)
	}
	if free, _, _ := m.DiskUsage("/"); free != 2 {
		t.Fatalf("free %d, want 2", free)
	}
}

func TestCrashKeepsWhatIsDurableAndNothingElse(t *testing.T) {
	m := vfs.NewMem()
	must(t, m.MkdirAll("/d"))
	must(t, vfs.WriteFile(m, "/d/kept", []byte("old")))
	f, err := m.OpenAppend("/d/kept")
	must(t, err)
	write(t, f, " synced")
	must(t, f.SyncData())
	write(t, f, " lost")
	g, err := m.Create("/d/noname")
	must(t, err)
	write(t, g, "content")
	must(t, g.Sync()) // but not the directory
	must(t, m.Link("/d/kept", "/d/second"))

	rng := rand.New(rand.NewPCG(1, 1))
	none := m.CrashClone(rng, 0)
	wantContent(t, none, "/d/kept", "old synced")
	if names, err := none.List("/d"); err != nil || !slices.Equal(names, []string{"kept"}) {
		t.Fatalf("after losing all: %q, %v", names, err)
	}
	all := m.CrashClone(rng, 100)
	wantContent(t, all, "/d/kept", "old synced lost")
	wantContent(t, all, "/d/second", "old synced lost")
	wantContent(t, all, "/d/noname", "content")
	// The clone is a file system of its own.
	must(t, vfs.WriteFile(all, "/d/kept", []byte("changed")))
	wantContent(t, m, "/d/kept", "old synced lost")
}

func TestCrashTearsWrites(t *testing.T) {
	m := vfs.NewMem()
	f, err := m.Create("/a")
	must(t, err)
	must(t, f.Preallocate(4096))
	must(t, f.Sync())
	must(t, m.SyncDir("/"))
	data := bytes.Repeat([]byte{1}, 2000)
	_, err = f.WriteAt(data, 100)
	must(t, err)
	rng := rand.New(rand.NewPCG(2, 2))
	seen := map[string]bool{}
	for range 300 {
		got, err := vfs.ReadFile(m.CrashClone(rng, 50), "/a")
		must(t, err)
		n := bytes.Count(got, []byte{1})
		switch {
		case n == 0:
			seen["lost"] = true
		case n == len(data):
			seen["whole"] = true
		case bytes.Equal(got[100:100+n], data[:n]):
			seen["prefix"] = true
		default:
			seen["sectors"] = true
		}
	}
	if len(seen) != 4 {
		t.Fatalf("300 crashes showed only %v", seen)
	}
}

func TestCrashRenameIsAtomic(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	for range 100 {
		m := vfs.NewMem()
		must(t, vfs.WriteFile(m, "/a", []byte("old")))
		// Up to the rename, not the sync of the directory.
		f, err := m.Create("/a.tmp")
		must(t, err)
		write(t, f, "new")
		must(t, f.Sync())
		must(t, m.Rename("/a.tmp", "/a"))
		got, err := vfs.ReadFile(m.CrashClone(rng, 50), "/a")
		must(t, err)
		if s := string(got); s != "old" && s != "new" {
			t.Fatalf("neither old nor new: %q", s)
		}
	}
}

func TestScript(t *testing.T) {
	inject, err := vfs.Script(`
		# a comment
		fail write *.log nth=2 err=ENOSPC
		short read /d/x.dat bytes=3 times=0
		fail sync * nth=2 times=2; fail create b.log
	`)
	must(t, err)
	m := vfs.NewMem()
	must(t, m.MkdirAll("/d"))
	must(t, vfs.WriteFile(m, "/d/x.dat", []byte("content")))
	fsys := vfs.NewFault(m, inject)

	f, err := fsys.Create("/d/a.log")
	must(t, err)
	write(t, f, "one")
	if _, err := f.Write([]byte("two")); !errors.Is(err, vfs.ErrNoSpace) {
		t.Fatalf("second write: %v", err)
	}
	write(t, f, "three")
	must(t, f.SyncData())
	for range 2 {
		if err := f.Sync(); !errors.Is(err, syscall.EIO) {
			t.Fatalf("sync: %v", err)
		}
	}
	must(t, f.Sync())
	wantContent(t, m, "/d/a.log", "onethree")
	if _, err := fsys.Create("/d/b.log"); !errors.Is(err, syscall.EIO) {
		t.Fatalf("create: %v", err)
	}
	r, err := fsys.OpenRead("/d/x.dat")
	must(t, err)
	buf := make([]byte, 7)
	if n, err := r.ReadAt(buf, 0); n != 3 || !errors.Is(err, syscall.EIO) || string(buf[:3]) != "con" {
		t.Fatalf("short read: %d, %v, %q", n, err, buf)
	}

	for _, bad := range []string{"fail", "break write *", "fail write [", "fail write * nth=x", "fail write * err=EWHAT", "fail write * color=1"} {
		if _, err := vfs.Script(bad); err == nil {
			t.Errorf("Script(%q) was accepted", bad)
		}
	}
}
