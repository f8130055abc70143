package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/count-db/count/engine/manifest"
	"github.com/count-db/count/internal/vfs"
)

// Snapshot makes dir, which must not exist, a data directory with the content
// of now: data files by hard links (dir is on the same file system), the rest
// copied. It is another disk (Identity) when it is opened.
func (db *DB) Snapshot(ctx context.Context, dir string) error {
	if err := db.usable(); err != nil {
		return err
	}
	if _, err := db.fs.List(dir); err == nil {
		return fmt.Errorf("%w: %s", ErrSnapshotExists, dir)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("look for the snapshot's directory: %w", err)
	}
	// Between this flush and the copies no other must cut the log, and no job
	// replace files.
	db.maintenance.Lock()
	defer db.maintenance.Unlock()
	db.flushing.Lock()
	defer db.flushing.Unlock()
	if err := db.flushLocked(); err != nil {
		return fmt.Errorf("flush before a snapshot: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := db.copyTo(dir); err != nil {
		return fmt.Errorf("snapshot to %s: %w", dir, err)
	}
	return nil
}

// copyTo makes the snapshot. The manifest comes last: without it the directory
// is none.
func (db *DB) copyTo(dir string) error {
	db.install.Lock()
	defer db.install.Unlock()
	if err := db.fs.MkdirAll(dir); err != nil {
		return err
	}
	m, _, err := manifest.Open(db.fs, dir, nil)
	if err != nil {
		return err
	}
	state := db.manifest.State()
	for i := range state.Files {
		f := &state.Files[i]
		if err := db.fs.Link(db.manifest.Path(f.Kind, f.ID), m.Path(f.Kind, f.ID)); err != nil {
			return err
		}
	}
	if err := db.fs.SyncDir(filepath.Dir(m.Path(manifest.Wide, 1))); err != nil {
		return err
	}
	for _, name := range []string{registryName, tombstonesFile.name, shedFile.name, exemplarsFile.name, metadataFile.name} {
		if err := db.copyFile(name, dir); err != nil {
			return err
		}
	}
	return m.Update(func(s *manifest.State) error {
		*s = *state
		s.NextID = db.manifest.NewID() + 1
		s.LogFrom = 0
		return nil
	})
}

// copyFile copies one of the small files, if it is there.
func (db *DB) copyFile(name, dir string) error {
	data, err := vfs.ReadFile(db.fs, filepath.Join(db.dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return vfs.WriteFile(db.fs, filepath.Join(dir, name), data)
}
