package manifest

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/count-db/count/internal/vfs"
)

// Check is the manifest's part of the fsck: it reads the manifest of a data
// directory that no process has open, changes nothing, and compares it with the
// directory. It returns the state (nil when it cannot be read) and what is
// wrong. Orphans are no fault: a crash leaves them. The content of the files is
// checked by their own package.
func Check(fsys vfs.FS, dir string) (*State, []error) {
	data, err := vfs.ReadFile(fsys, filepath.Join(dir, Name))
	if err != nil {
		return nil, []error{fmt.Errorf("manifest: %w", err)}
	}
	s, err := decode(data)
	if err != nil {
		return nil, []error{fmt.Errorf("manifest: %w", err)}
	}
	var faults []error
	for i := range s.Files {
		f := &s.Files[i]
		size, err := fsys.Stat(filepath.Join(dir, filesDir, f.Name()))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			faults = append(faults, fmt.Errorf("manifest: %s is named and missing", f.Name()))
		case err != nil:
			faults = append(faults, fmt.Errorf("manifest: %w", err))
		case size != f.Bytes:
			faults = append(faults, fmt.Errorf("manifest: %s has %d bytes, %d are named", f.Name(), size, f.Bytes))
		}
	}
	return s, faults
}

// Orphans returns the base names of the files that the next Open will remove.
func Orphans(fsys vfs.FS, dir string, s *State) ([]string, error) {
	names, err := fsys.List(filepath.Join(dir, filesDir))
	if err != nil {
		return nil, fmt.Errorf("list data files: %w", err)
	}
	return slices.DeleteFunc(names, func(name string) bool {
		if _, id, ok := ParseFileName(name); ok {
			f := s.File(id)
			return f != nil && f.Name() == name
		}
		return !strings.HasSuffix(name, vfs.TempSuffix)
	}), nil
}
