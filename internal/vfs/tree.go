package vfs

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
)

// RemoveAll removes a file or a directory with all that is in it. What is not
// there is no error. It is not durable.
func RemoveAll(fsys FS, name string) error {
	names, err := fsys.List(name)
	if err != nil { // not a directory, or not there
		if err := fsys.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove %s: %w", name, err)
		}
		return nil
	}
	for _, below := range names {
		if err := RemoveAll(fsys, filepath.Join(name, below)); err != nil {
			return err
		}
	}
	if err := fsys.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove %s: %w", name, err)
	}
	return nil
}
