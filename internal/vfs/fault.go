package vfs

import (
	"errors"
	"io"
)

// OpKind is a kind of file system operation, as fault scripts name it.
type OpKind string

// The operations that a FaultFS looks at.
const (
	OpCreate      OpKind = "create" // Create and OpenAppend
	OpOpen        OpKind = "open"   // OpenRead and Map
	OpRead        OpKind = "read"   // Read and ReadAt
	OpWrite       OpKind = "write"  // Write and WriteAt
	OpSync        OpKind = "sync"   // Sync and SyncData
	OpPreallocate OpKind = "preallocate"
	OpTruncate    OpKind = "truncate"
	OpClose       OpKind = "close"
	OpRemove      OpKind = "remove"
	OpRename      OpKind = "rename" // Path is the new name
	OpLink        OpKind = "link"   // Path is the new name
	OpMkdir       OpKind = "mkdir"
	OpList        OpKind = "list"
	OpStat        OpKind = "stat"
	OpSyncDir     OpKind = "syncdir"
	OpLock        OpKind = "lock"
)

// Op is one operation that is about to happen.
type Op struct {
	Kind OpKind
	Path string
	Len  int // bytes of a read or write; else 0
}

// Fault says what goes wrong with an operation. The zero value: nothing.
type Fault struct {
	// Err is returned by the operation.
	Err error
	// Bytes is how much of a read or write happens before Err.
	Bytes int
}

// FaultFS is a file system that fails where Inject says so.
type FaultFS struct {
	inner  FS
	inject func(Op) Fault
}

// NewFault returns a file system that asks inject before each operation.
// inject may be called concurrently; it may also just watch, or take a
// CrashClone of the file system below. See Script for one that is written in
// words.
func NewFault(inner FS, inject func(Op) Fault) *FaultFS {
	return &FaultFS{inner: inner, inject: inject}
}

func (f *FaultFS) check(kind OpKind, path string) error {
	return f.inject(Op{Kind: kind, Path: path}).Err
}

func (f *FaultFS) open(kind OpKind, name string, open func(string) (File, error)) (File, error) {
	if err := f.check(kind, name); err != nil {
		return nil, pathError(string(kind), name, err)
	}
	inner, err := open(name)
	if err != nil {
		return nil, err
	}
	return &faultFile{File: inner, fs: f}, nil
}

func (f *FaultFS) named(kind OpKind, name string, do func() error) error {
	if err := f.check(kind, name); err != nil {
		return pathError(string(kind), name, err)
	}
	return do()
}

// Create implements FS.
func (f *FaultFS) Create(name string) (File, error) { return f.open(OpCreate, name, f.inner.Create) }

// OpenRead implements FS.
func (f *FaultFS) OpenRead(name string) (File, error) { return f.open(OpOpen, name, f.inner.OpenRead) }

// OpenAppend implements FS.
func (f *FaultFS) OpenAppend(name string) (File, error) {
	return f.open(OpCreate, name, f.inner.OpenAppend)
}

// Remove implements FS.
func (f *FaultFS) Remove(name string) error {
	return f.named(OpRemove, name, func() error { return f.inner.Remove(name) })
}

// Rename implements FS.
func (f *FaultFS) Rename(oldName, newName string) error {
	return f.named(OpRename, newName, func() error { return f.inner.Rename(oldName, newName) })
}

// Link implements FS.
func (f *FaultFS) Link(oldName, newName string) error {
	return f.named(OpLink, newName, func() error { return f.inner.Link(oldName, newName) })
}

// MkdirAll implements FS.
func (f *FaultFS) MkdirAll(dir string) error {
	return f.named(OpMkdir, dir, func() error { return f.inner.MkdirAll(dir) })
}

// List implements FS.
func (f *FaultFS) List(dir string) ([]string, error) {
	if err := f.check(OpList, dir); err != nil {
		return nil, pathError("list", dir, err)
	}
	return f.inner.List(dir)
}

// Stat implements FS.
func (f *FaultFS) Stat(name string) (int64, error) {
	if err := f.check(OpStat, name); err != nil {
		return 0, pathError("stat", name, err)
	}
	return f.inner.Stat(name)
}

// SyncDir implements FS.
func (f *FaultFS) SyncDir(dir string) error {
	return f.named(OpSyncDir, dir, func() error { return f.inner.SyncDir(dir) })
}

// Lock implements FS.
func (f *FaultFS) Lock(name string) (io.Closer, error) {
	if err := f.check(OpLock, name); err != nil {
		return nil, pathError("lock", name, err)
	}
	return f.inner.Lock(name)
}

// Map implements FS.
func (f *FaultFS) Map(name string) (Mapping, error) {
	if err := f.check(OpOpen, name); err != nil {
		return nil, pathError("map", name, err)
	}
	return f.inner.Map(name)
}

// DiskUsage implements FS.
func (f *FaultFS) DiskUsage(dir string) (free, total uint64, err error) {
	return f.inner.DiskUsage(dir)
}

// faultFile asks before each operation on an open file.
type faultFile struct {
	File
	fs *FaultFS
}

// bytes does a read or write, or, with a fault, its first bytes.
func (f *faultFile) bytes(kind OpKind, p []byte, do func([]byte) (int, error)) (int, error) {
	fault := f.fs.inject(Op{Kind: kind, Path: f.Name(), Len: len(p)})
	if fault.Err == nil {
		return do(p)
	}
	n := 0
	err := pathError(string(kind), f.Name(), fault.Err)
	if part := min(fault.Bytes, len(p)); part > 0 {
		var doErr error
		n, doErr = do(p[:part])
		err = errors.Join(err, doErr)
	}
	return n, err
}

func (f *faultFile) Read(p []byte) (int, error) { return f.bytes(OpRead, p, f.File.Read) }

func (f *faultFile) ReadAt(p []byte, off int64) (int, error) {
	return f.bytes(OpRead, p, func(p []byte) (int, error) { return f.File.ReadAt(p, off) })
}

func (f *faultFile) Write(p []byte) (int, error) { return f.bytes(OpWrite, p, f.File.Write) }

func (f *faultFile) WriteAt(p []byte, off int64) (int, error) {
	return f.bytes(OpWrite, p, func(p []byte) (int, error) { return f.File.WriteAt(p, off) })
}

func (f *faultFile) Sync() error { return f.fs.named(OpSync, f.Name(), f.File.Sync) }

func (f *faultFile) SyncData() error { return f.fs.named(OpSync, f.Name(), f.File.SyncData) }

func (f *faultFile) Preallocate(size int64) error {
	return f.fs.named(OpPreallocate, f.Name(), func() error { return f.File.Preallocate(size) })
}

func (f *faultFile) Truncate(size int64) error {
	return f.fs.named(OpTruncate, f.Name(), func() error { return f.File.Truncate(size) })
}

func (f *faultFile) Close() error {
	// The file is closed in any case, or tests would leak descriptors.
	err := f.fs.check(OpClose, f.Name())
	return errors.Join(err, f.File.Close())
}
