// Package vfs is the one place where Count touches a disk. FS is what the
// engine and the cluster's durable records stand on; OS is the real one, MemFS
// one in memory that can lose power (CrashClone), and FaultFS one that fails
// where a test's script says so.
//
// What is durable is stated once, here, and all three keep to it:
//
//   - The bytes of a file are durable when Sync or SyncData returned nil after
//     they were written.
//   - A name (Create, OpenAppend of a new file, Rename, Link, Remove) is durable
//     when SyncDir of its directory returned nil afterwards. A rename within a
//     directory is atomic: after a crash either the old or the new name is
//     there.
//   - MkdirAll returns with the directories durable.
//
// After a failed Sync the state of the file is unknown and stays unknown: the
// kernel may have dropped the dirty pages and will report the next Sync as
// good. Callers treat it as final (invariant E1).
package vfs

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
)

// File is an open file. ReadAt may be called concurrently; all else by one
// goroutine at a time, except that SyncData may run beside WriteAt and ReadAt
// (it then covers the writes that returned before it was called).
type File interface {
	io.Reader
	io.ReaderAt
	// Write writes at the file's own position: the start after Create, the end
	// after OpenAppend; WriteAt does not move it.
	io.Writer
	io.WriterAt
	io.Closer
	// Sync makes content and metadata durable (fsync).
	Sync() error
	// SyncData makes the content durable, and of the metadata what is needed to
	// read it back (fdatasync; Sync where there is none).
	SyncData() error
	// Preallocate makes the file at least size bytes long, zeros behind its old
	// end, with the disk space reserved where the file system can. It does not
	// move the write position.
	Preallocate(size int64) error
	// Truncate cuts or extends (with zeros) the file to size bytes.
	Truncate(size int64) error
	// Size returns the length in bytes.
	Size() (int64, error)
	// Name returns the path the file was opened by.
	Name() string
}

// Mapping is the read-only content of a file. The bytes must not be used after
// Close. The file must not be truncated while it is mapped.
type Mapping interface {
	Bytes() []byte
	Close() error
}

// FS is a file system. Names are paths in the form of path/filepath. A missing
// file is an error that wraps fs.ErrNotExist. Safe for concurrent use.
type FS interface {
	// Create creates the file, or empties the one there, for reading and writing.
	Create(name string) (File, error)
	// OpenRead opens an existing file for reading.
	OpenRead(name string) (File, error)
	// OpenAppend opens the file for reading and writing, keeps what is in it, and
	// creates it when it is missing. Write goes to the end.
	OpenAppend(name string) (File, error)
	// Remove removes a file or an empty directory.
	Remove(name string) error
	// Rename renames a file and replaces newName if it exists.
	Rename(oldName, newName string) error
	// Link makes newName a second name of the file (a hard link).
	Link(oldName, newName string) error
	// MkdirAll creates the directory and its missing parents, durably.
	MkdirAll(dir string) error
	// List returns the base names of the entries of a directory, sorted.
	List(dir string) ([]string, error)
	// Stat returns the length of a file in bytes (of a directory: unspecified).
	Stat(name string) (size int64, err error)
	// SyncDir makes the names in the directory durable.
	SyncDir(dir string) error
	// Lock takes the lock file of that name, which it creates, or fails with
	// ErrLocked when another process (or this one) has it. Close gives it back.
	Lock(name string) (io.Closer, error)
	// Map maps an existing file into memory, read-only.
	Map(name string) (Mapping, error)
	// DiskUsage returns the bytes free to this process and the total bytes of the
	// file system that holds dir.
	DiskUsage(dir string) (free, total uint64, err error)
}

// ErrLocked is returned by FS.Lock when somebody else holds the lock.
var ErrLocked = errors.New("locked by another process")

// ReadFile returns the whole content of a file.
func ReadFile(fs FS, name string) (data []byte, err error) {
	f, err := fs.OpenRead(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	data = make([]byte, size)
	if _, err := io.ReadFull(io.NewSectionReader(f, 0, size), data); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return data, nil
}

// TempSuffix ends the names of files that are being written (E2). Whoever owns
// a directory removes such files when it opens it.
const TempSuffix = ".tmp"

// ErrUnchanged is wrapped by errors of WriteFile that came before the file was
// touched, as on a full disk: it may be tried again.
var ErrUnchanged = errors.New("the file is as it was")

// WriteFile makes data the durable content of the file in one step: temporary
// name, fsync, rename, fsync of the directory (E2). After a crash the file has
// either its old content or the new one. An error that wraps ErrUnchanged says
// that it has the old one for certain.
func WriteFile(fs FS, name string, data []byte) error {
	temp := name + TempSuffix
	f, err := fs.Create(temp)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnchanged, err)
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(fmt.Errorf("%w: write %s: %w", ErrUnchanged, temp, err), fs.Remove(temp))
	}
	if err := fs.Rename(temp, name); err != nil {
		return err
	}
	return fs.SyncDir(filepath.Dir(name))
}
