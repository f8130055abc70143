package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"path/filepath"
	"sort"
	"strings"
	"sync"
)

// MemFS is a file system in memory that remembers what of it is durable, so
// that a test can cut the power at any moment (CrashClone). It is stricter than
// real disks: only what the package comment promises survives for certain.
type MemFS struct {
	mu    sync.Mutex // guards everything below, the nodes included
	dirs  map[string]*memDir
	locks map[string]bool
	// capacity bounds the bytes of all files; 0 = unbounded.
	capacity int64
}

// memDir is one directory. now is what is seen; durable and the operations
// since the last SyncDir are what a crash chooses from.
type memDir struct {
	now     map[string]*memNode
	durable map[string]*memNode
	pending []dirOp
}

// dirOp binds name to node; nil node unbinds it. A rename has both names, and
// takes effect as a whole or not at all.
type dirOp struct {
	name    string
	node    *memNode
	oldName string // of a rename within the directory; else empty
}

// NewMem returns an empty file system.
func NewMem() *MemFS {
	return &MemFS{dirs: map[string]*memDir{"/": newMemDir(), ".": newMemDir()}, locks: map[string]bool{}}
}

// SetCapacity bounds the bytes of all files together: beyond it writes fail
// with ErrNoSpace. 0 = unbounded.
func (m *MemFS) SetCapacity(bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.capacity = bytes
}

func newMemDir() *memDir {
	return &memDir{now: map[string]*memNode{}, durable: map[string]*memNode{}}
}

func pathError(op, name string, err error) error { return &fs.PathError{Op: op, Path: name, Err: err} }

// lookupLocked returns the directory of a path and its base name.
func (m *MemFS) lookupLocked(op, name string) (*memDir, string, error) {
	name = filepath.Clean(name)
	d := m.dirs[filepath.Dir(name)]
	if d == nil {
		return nil, "", pathError(op, name, fs.ErrNotExist)
	}
	return d, filepath.Base(name), nil
}

func (d *memDir) bind(op dirOp) {
	d.pending = append(d.pending, op)
	applyDirOp(d.now, op)
}

func applyDirOp(entries map[string]*memNode, op dirOp) {
	if op.oldName != "" {
		node := entries[op.oldName]
		if node == nil {
			return // what the rename moved never became durable
		}
		delete(entries, op.oldName)
		entries[op.name] = node
		return
	}
	if op.node == nil {
		delete(entries, op.name)
		return
	}
	entries[op.name] = op.node
}

// Create implements FS. Emptying an existing file makes a new one under the
// name, so that a crash leaves the old content or the new.
func (m *MemFS) Create(name string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, base, err := m.lookupLocked("create", name)
	if err != nil {
		return nil, err
	}
	if m.dirs[filepath.Clean(name)] != nil {
		return nil, pathError("create", name, errors.New("is a directory"))
	}
	n := &memNode{}
	d.bind(dirOp{name: base, node: n})
	return &memFile{fs: m, node: n, name: name, writable: true}, nil
}

// OpenRead implements FS.
func (m *MemFS) OpenRead(name string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.nodeLocked("open", name)
	if err != nil {
		return nil, err
	}
	return &memFile{fs: m, node: n, name: name}, nil
}

func (m *MemFS) nodeLocked(op, name string) (*memNode, error) {
	d, base, err := m.lookupLocked(op, name)
	if err != nil {
		return nil, err
	}
	n := d.now[base]
	if n == nil {
		return nil, pathError(op, name, fs.ErrNotExist)
	}
	return n, nil
}

// OpenAppend implements FS.
func (m *MemFS) OpenAppend(name string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, base, err := m.lookupLocked("open", name)
	if err != nil {
		return nil, err
	}
	n := d.now[base]
	if n == nil {
		n = &memNode{}
		d.bind(dirOp{name: base, node: n})
	}
	return &memFile{fs: m, node: n, name: name, at: int64(len(n.data)), writable: true}, nil
}

// Remove implements FS.
func (m *MemFS) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	name = filepath.Clean(name)
	if d := m.dirs[name]; d != nil {
		if len(m.childrenLocked(name)) > 0 {
			return pathError("remove", name, errors.New("directory not empty"))
		}
		delete(m.dirs, name)
		return nil
	}
	if _, err := m.nodeLocked("remove", name); err != nil {
		return err
	}
	d, base, err := m.lookupLocked("remove", name)
	if err != nil {
		return err
	}
	d.bind(dirOp{name: base})
	return nil
}

// Rename implements FS. Between two directories it is a link and a removal, as
// no promise is made about it.
func (m *MemFS) Rename(oldName, newName string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	node, err := m.nodeLocked("rename", oldName)
	if err != nil {
		return err
	}
	from, oldBase, err := m.lookupLocked("rename", oldName)
	if err != nil {
		return err
	}
	to, newBase, err := m.lookupLocked("rename", newName)
	if err != nil {
		return err
	}
	if from == to {
		if oldBase != newBase {
			to.bind(dirOp{name: newBase, oldName: oldBase})
		}
		return nil
	}
	to.bind(dirOp{name: newBase, node: node})
	from.bind(dirOp{name: oldBase})
	return nil
}

// Link implements FS.
func (m *MemFS) Link(oldName, newName string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	node, err := m.nodeLocked("link", oldName)
	if err != nil {
		return err
	}
	to, base, err := m.lookupLocked("link", newName)
	if err != nil {
		return err
	}
	if to.now[base] != nil {
		return pathError("link", newName, fs.ErrExist)
	}
	to.bind(dirOp{name: base, node: node})
	return nil
}

// MkdirAll implements FS.
func (m *MemFS) MkdirAll(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for dir = filepath.Clean(dir); m.dirs[dir] == nil; dir = filepath.Dir(dir) {
		if parent := m.dirs[filepath.Dir(dir)]; parent != nil && parent.now[filepath.Base(dir)] != nil {
			return pathError("mkdir", dir, errors.New("a file of that name exists"))
		}
		m.dirs[dir] = newMemDir()
	}
	return nil
}

// List implements FS.
func (m *MemFS) List(dir string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir = filepath.Clean(dir)
	if m.dirs[dir] == nil {
		return nil, pathError("list", dir, fs.ErrNotExist)
	}
	return m.childrenLocked(dir), nil
}

func (m *MemFS) childrenLocked(dir string) []string {
	var names []string
	for name := range m.dirs[dir].now {
		names = append(names, name)
	}
	for d := range m.dirs {
		if d != dir && filepath.Dir(d) == dir {
			names = append(names, filepath.Base(d))
		}
	}
	sort.Strings(names)
	return names
}

// Stat implements FS.
func (m *MemFS) Stat(name string) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dirs[filepath.Clean(name)] != nil {
		return 0, nil
	}
	n, err := m.nodeLocked("stat", name)
	if err != nil {
		return 0, err
	}
	return int64(len(n.data)), nil
}

// SyncDir implements FS.
func (m *MemFS) SyncDir(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	d := m.dirs[filepath.Clean(dir)]
	if d == nil {
		return pathError("sync directory", dir, fs.ErrNotExist)
	}
	for _, op := range d.pending {
		applyDirOp(d.durable, op)
	}
	d.pending = nil
	return nil
}

// Lock implements FS.
func (m *MemFS) Lock(name string) (io.Closer, error) {
	f, err := m.OpenAppend(name)
	if err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	name = filepath.Clean(name)
	if m.locks[name] {
		return nil, fmt.Errorf("lock %s: %w", name, ErrLocked)
	}
	m.locks[name] = true
	return &memLock{fs: m, name: name}, nil
}

type memLock struct {
	fs   *MemFS
	name string
}

func (l *memLock) Close() error {
	l.fs.mu.Lock()
	defer l.fs.mu.Unlock()
	delete(l.fs.locks, l.name)
	return nil
}

// Map implements FS: the mapping is a copy.
func (m *MemFS) Map(name string) (Mapping, error) {
	data, err := ReadFile(m, name)
	if err != nil {
		return nil, err
	}
	return memMapping(data), nil
}

type memMapping []byte

func (m memMapping) Bytes() []byte { return m }
func (m memMapping) Close() error  { return nil }

// DiskUsage implements FS.
func (m *MemFS) DiskUsage(string) (free, total uint64, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.capacity == 0 {
		return math.MaxInt64, math.MaxInt64, nil
	}
	return uint64(max(m.capacity-m.usedLocked(), 0)), uint64(m.capacity), nil
}

func (m *MemFS) usedLocked() int64 {
	var used int64
	for _, d := range m.dirs {
		for _, n := range d.now {
			used += int64(len(n.data))
		}
	}
	return used
}

// Tree returns the paths of all files, for a test's failure message.
func (m *MemFS) Tree() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var lines []string
	for dir, d := range m.dirs {
		for name, n := range d.now {
			lines = append(lines, fmt.Sprintf("%s %d bytes, %d unsynced writes", filepath.Join(dir, name), len(n.data), len(n.pending)))
		}
	}
	sort.Strings(lines)
	return strings.Join(lines, "\n")
}
