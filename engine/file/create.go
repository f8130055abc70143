package file

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/count-db/count/internal/vfs"
)

// syncBytes are written between two syncs on the way, so that the last one is
// short.
const syncBytes = 8 << 20

// Create writes the file name by the rules of E2: under a temporary name, with
// syncs on the way, then fsync, rename and fsync of the directory. When it
// fails nothing is left; after a crash there is the whole file, or none, or one
// that ends in vfs.TempSuffix.
func Create(fs vfs.FS, name string, kind Kind, write func(*Writer) error) (Info, error) {
	temp := name + vfs.TempSuffix
	f, err := fs.Create(temp)
	if err != nil {
		return Info{}, fmt.Errorf("create %s: %w", temp, err)
	}
	w := NewWriter(&syncingWriter{f: f}, kind)
	err = write(w)
	info, closeErr := w.Close()
	if err == nil {
		err = closeErr
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return Info{}, errors.Join(fmt.Errorf("write %s: %w", temp, err), fs.Remove(temp))
	}
	if err := fs.Rename(temp, name); err != nil {
		return Info{}, errors.Join(fmt.Errorf("write %s: %w", name, err), fs.Remove(temp))
	}
	if err := fs.SyncDir(filepath.Dir(name)); err != nil {
		return Info{}, errors.Join(fmt.Errorf("write %s: %w", name, err), fs.Remove(name))
	}
	return info, nil
}

// syncingWriter syncs each syncBytes.
type syncingWriter struct {
	f     vfs.File
	since int
}

func (s *syncingWriter) Write(p []byte) (int, error) {
	n, err := s.f.Write(p)
	if s.since += n; err == nil && s.since >= syncBytes {
		s.since = 0
		err = s.f.SyncData()
	}
	return n, err
}
