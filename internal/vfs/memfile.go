package vfs

import (
	"errors"
	"io"
	"io/fs"
	"slices"
	"syscall"
)

// ErrNoSpace is what a write meets on a full file system.
var ErrNoSpace = syscall.ENOSPC

// memNode is the content of a file: what is seen, what is durable, and the
// writes between the two.
type memNode struct {
	data    []byte
	durable []byte
	pending []writeOp
}

// writeOp is a write of data at off, or, when data is nil, a change of the size
// to off.
type writeOp struct {
	off  int64
	data []byte
}

func applyWriteOp(content []byte, op writeOp) []byte {
	if op.data == nil {
		return resize(content, op.off)
	}
	if end := op.off + int64(len(op.data)); end > int64(len(content)) {
		content = resize(content, end)
	}
	copy(content[op.off:], op.data)
	return content
}

// resize cuts or extends content; what it gains is zeros.
func resize(content []byte, size int64) []byte {
	if size <= int64(len(content)) {
		return content[:size]
	}
	old := len(content)
	content = slices.Grow(content, int(size)-old)[:size]
	clear(content[old:])
	return content
}

// memFile is an open file of a MemFS.
type memFile struct {
	fs       *MemFS
	node     *memNode
	name     string
	at       int64 // position of Read and Write; guarded by fs.mu
	writable bool
	closed   bool // guarded by fs.mu
}

func (f *memFile) Name() string { return f.name }

// useLocked returns why the file cannot be used.
func (f *memFile) useLocked(op string, write bool) error {
	if f.closed {
		return pathError(op, f.name, fs.ErrClosed)
	}
	if write && !f.writable {
		return pathError(op, f.name, errors.New("opened for reading"))
	}
	return nil
}

func (f *memFile) Read(p []byte) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	n, err := f.readLocked(p, f.at)
	f.at += int64(n)
	if n > 0 {
		err = nil
	}
	return n, err
}

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return f.readLocked(p, off)
}

func (f *memFile) readLocked(p []byte, off int64) (int, error) {
	if err := f.useLocked("read", false); err != nil {
		return 0, err
	}
	if off < 0 {
		return 0, pathError("read", f.name, errors.New("negative offset"))
	}
	if off >= int64(len(f.node.data)) {
		if len(p) == 0 {
			return 0, nil
		}
		return 0, io.EOF
	}
	n := copy(p, f.node.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) Write(p []byte) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	n, err := f.writeLocked(p, f.at)
	f.at += int64(n)
	return n, err
}

func (f *memFile) WriteAt(p []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return f.writeLocked(p, off)
}

func (f *memFile) writeLocked(p []byte, off int64) (int, error) {
	if err := f.useLocked("write", true); err != nil {
		return 0, err
	}
	if off < 0 {
		return 0, pathError("write", f.name, errors.New("negative offset"))
	}
	if len(p) == 0 {
		return 0, nil
	}
	if err := f.growLocked("write", off+int64(len(p))); err != nil {
		return 0, err
	}
	f.changeLocked(writeOp{off: off, data: slices.Clone(p)})
	return len(p), nil
}

// growLocked refuses what the capacity does not allow.
func (f *memFile) growLocked(op string, size int64) error {
	grow := size - int64(len(f.node.data))
	if grow > 0 && f.fs.capacity > 0 && f.fs.usedLocked()+grow > f.fs.capacity {
		return pathError(op, f.name, ErrNoSpace)
	}
	return nil
}

func (f *memFile) changeLocked(op writeOp) {
	f.node.data = applyWriteOp(f.node.data, op)
	f.node.pending = append(f.node.pending, op)
}

func (f *memFile) Sync() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.useLocked("sync", false); err != nil {
		return err
	}
	for _, op := range f.node.pending {
		f.node.durable = applyWriteOp(f.node.durable, op)
	}
	f.node.pending = nil
	return nil
}

func (f *memFile) SyncData() error { return f.Sync() }

func (f *memFile) Preallocate(size int64) error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.useLocked("preallocate", true); err != nil {
		return err
	}
	if size <= int64(len(f.node.data)) {
		return nil
	}
	if err := f.growLocked("preallocate", size); err != nil {
		return err
	}
	f.changeLocked(writeOp{off: size})
	return nil
}

func (f *memFile) Truncate(size int64) error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.useLocked("truncate", true); err != nil {
		return err
	}
	if size < 0 {
		return pathError("truncate", f.name, errors.New("negative size"))
	}
	if err := f.growLocked("truncate", size); err != nil {
		return err
	}
	f.changeLocked(writeOp{off: size})
	return nil
}

func (f *memFile) Size() (int64, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.useLocked("stat", false); err != nil {
		return 0, err
	}
	return int64(len(f.node.data)), nil
}

func (f *memFile) Close() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.useLocked("close", false); err != nil {
		return err
	}
	f.closed = true
	return nil
}
