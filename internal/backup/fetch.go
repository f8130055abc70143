package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"github.com/count-db/count/internal/vfs"
)

// Fetch puts the files of a node's snapshot into dir, which must not exist or be
// empty: a data directory of another disk, when it is opened. Every file is
// compared with its checksum.
func Fetch(ctx context.Context, b Bucket, n *Node, fsys vfs.FS, dir string, p *Progress) error {
	if names, err := fsys.List(dir); err == nil && len(names) > 0 {
		return fmt.Errorf("%s is not empty", dir)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("look into %s: %w", dir, err)
	}
	if err := fsys.MkdirAll(filepath.Join(dir, "files")); err != nil {
		return fmt.Errorf("make %s: %w", dir, err)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(uploadsAtOnce)
	for i := range n.Files {
		f := &n.Files[i]
		g.Go(func() error {
			if err := fetchFile(ctx, b, f, fsys, filepath.Join(dir, filepath.FromSlash(f.Name)), p); err != nil {
				return fmt.Errorf("fetch %s of node %d: %w", f.Name, n.ID, err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return errors.Join(fsys.SyncDir(filepath.Join(dir, "files")), fsys.SyncDir(dir))
}

func fetchFile(ctx context.Context, b Bucket, f *File, fsys vfs.FS, to string, p *Progress) (err error) {
	out, err := fsys.Create(to)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if err := readObject(ctx, b, f, out, p); err != nil {
		return err
	}
	return out.Sync()
}
