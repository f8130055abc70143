//go:build !linux

package vfs

// SyncData is Sync: there is no fdatasync that is to be trusted here (macOS:
// os.File.Sync is F_FULLFSYNC, which reaches the medium).
func (f osFile) SyncData() error { return f.Sync() }

// Preallocate extends the file and reserves nothing.
func (f osFile) Preallocate(size int64) error { return f.extend(size) }
