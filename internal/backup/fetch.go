package backup

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/count-db/count/internal/vfs"
)

// fetchMark is in a directory that Fetch has not finished: it says of what.
const fetchMark = "restore-under-way"

// Fetch puts the files of a node's snapshot of backup id into dir: a data
// directory of another disk, when it is opened. Every file is compared with its
// checksum. The directory must not exist or be empty, or be what a Fetch of the
// same left that was broken off: files that are whole are kept then.
func Fetch(ctx context.Context, b Bucket, id string, n *Node, fsys vfs.FS, dir string, p *Progress) error {
	f := &fetching{bucket: b, fs: fsys, dir: dir, progress: p, patience: DefaultPatience}
	if err := f.node(ctx, id, n); err != nil {
		return err
	}
	return f.end()
}

// fetching is a Fetch at work.
type fetching struct {
	bucket   Bucket
	fs       vfs.FS
	dir      string
	progress *Progress
	patience time.Duration
}

// node fetches what is not there and whole.
func (f *fetching) node(ctx context.Context, id string, n *Node) error {
	if err := f.begin(fmt.Sprintf("node %d of backup %s\n", n.ID, id)); err != nil {
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(uploadsAtOnce)
	for i := range n.Files {
		g.Go(func() error { return f.file(gctx, &n.Files[i]) })
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("node %d: %w", n.ID, err)
	}
	if err := errors.Join(f.fs.SyncDir(filepath.Join(f.dir, "files")), f.fs.SyncDir(f.dir)); err != nil {
		return fmt.Errorf("make %s durable: %w", f.dir, err)
	}
	return nil
}

// begin makes the directory, or finds it as an earlier Fetch of the same left it.
func (f *fetching) begin(what string) error {
	mark := filepath.Join(f.dir, fetchMark)
	names, err := f.fs.List(f.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("look into %s: %w", f.dir, err)
	}
	if len(names) > 0 {
		have, err := vfs.ReadFile(f.fs, mark)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("%s is not empty", f.dir)
		case err != nil:
			return fmt.Errorf("read what is in %s: %w", f.dir, err)
		case string(have) != what:
			return fmt.Errorf("%s has the beginning of another restore, %s: empty it first", f.dir, strings.TrimSpace(string(have)))
		}
	}
	if err := f.fs.MkdirAll(filepath.Join(f.dir, "files")); err != nil {
		return fmt.Errorf("make %s: %w", f.dir, err)
	}
	if len(names) > 0 {
		return nil
	}
	return vfs.WriteFile(f.fs, mark, []byte(what))
}

// end takes the mark away.
func (f *fetching) end() error {
	if err := f.fs.Remove(filepath.Join(f.dir, fetchMark)); err != nil {
		return fmt.Errorf("finish %s: %w", f.dir, err)
	}
	return f.fs.SyncDir(f.dir)
}

// file fetches a file that is not there or not whole.
func (f *fetching) file(ctx context.Context, file *File) error {
	to := filepath.Join(f.dir, filepath.FromSlash(file.Name))
	if err := f.whole(ctx, to, file); err == nil {
		return nil
	} else if ctx.Err() != nil {
		return err
	}
	return patiently(ctx, f.progress, f.patience, "fetch "+file.Name, func() error {
		temp := to + vfs.TempSuffix
		if err := f.download(ctx, temp, file); err != nil {
			if removeErr := f.fs.Remove(temp); removeErr != nil && !errors.Is(removeErr, fs.ErrNotExist) {
				err = errors.Join(err, removeErr)
			}
			return err
		}
		return f.fs.Rename(temp, to)
	})
}

func (f *fetching) download(ctx context.Context, temp string, file *File) (err error) {
	out, err := f.fs.Create(temp)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if err := readObject(ctx, f.bucket, file, out, f.progress); err != nil {
		return err
	}
	return out.Sync()
}

// whole returns nil when a file is there and is what was backed up.
func (f *fetching) whole(ctx context.Context, name string, file *File) (err error) {
	in, err := f.fs.OpenRead(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	sum := sha256.New()
	c := counting{progress: f.progress}
	n, err := io.Copy(io.MultiWriter(sum, &c), &cancelable{ctx, in})
	if err == nil && (n != file.Bytes || [sha256.Size]byte(sum.Sum(nil)) != file.Sum) {
		err = errDamaged
	}
	if err != nil {
		c.takeBack()
	}
	return err
}
