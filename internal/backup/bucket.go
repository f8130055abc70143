package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"path"
	"path/filepath"
	"strings"

	"github.com/count-db/count/internal/vfs"
)

// Bucket is where backups lie. Names are paths with slashes. Safe for concurrent
// use.
type Bucket interface {
	// Upload makes the size bytes of r the content of an object: whole and durable
	// when it returns nil, else not there or as before.
	Upload(ctx context.Context, name string, r io.Reader, size int64) error
	// Get opens an object; a missing one is an error that wraps fs.ErrNotExist.
	Get(ctx context.Context, name string) (io.ReadCloser, error)
	// List returns the names right below a directory, without it; those of
	// directories end with a slash. A missing directory is empty.
	List(ctx context.Context, dir string) ([]string, error)
	// Delete removes an object.
	Delete(ctx context.Context, name string) error
	// Sweep removes what uploads below a directory left that were broken off, and
	// returns how many there were. No upload may be under way there.
	Sweep(ctx context.Context, dir string) (removed int, err error)
	// String names the bucket for people.
	String() string
}

// OpenBucket opens a place: s3://bucket/prefix, or a directory. environ gives S3
// its keys and its endpoint.
func OpenBucket(place string, environ []string) (Bucket, error) {
	if !strings.Contains(place, "://") {
		return newDirBucket(vfs.OS(), place)
	}
	u, err := url.Parse(place)
	if err != nil {
		return nil, fmt.Errorf("place of backups: %w", err)
	}
	switch u.Scheme {
	case "file":
		return newDirBucket(vfs.OS(), u.Path)
	case "s3":
		return newS3Bucket(u, environ)
	}
	return nil, fmt.Errorf("backups are kept in a directory or at s3://bucket/prefix, not at %s", place)
}

// dirBucket keeps objects as files.
type dirBucket struct {
	fs   vfs.FS
	root string
}

func newDirBucket(fsys vfs.FS, root string) (*dirBucket, error) {
	if root == "" {
		return nil, errors.New("a directory for backups is needed")
	}
	return &dirBucket{fs: fsys, root: root}, nil
}

func (b *dirBucket) path(name string) string { return filepath.Join(b.root, filepath.FromSlash(name)) }

// Upload implements Bucket.
func (b *dirBucket) Upload(ctx context.Context, name string, r io.Reader, size int64) error {
	to := b.path(name)
	temp := to + vfs.TempSuffix
	f, err := b.create(temp)
	if err != nil {
		return fmt.Errorf("write %s: %w", to, err)
	}
	if err := writeAll(ctx, f, r, size); err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", to, err), b.remove(temp))
	}
	if err := b.fs.Rename(temp, to); err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", to, err), b.remove(temp))
	}
	if err := b.fs.SyncDir(filepath.Dir(to)); err != nil {
		return fmt.Errorf("write %s: %w", to, err)
	}
	return nil
}

// createTries is how often a directory may vanish before a file is in it.
const createTries = 10

// create creates a file and its directory, which the removal of another file may
// take away in between.
func (b *dirBucket) create(name string) (f vfs.File, err error) {
	for range createTries {
		if err := b.fs.MkdirAll(filepath.Dir(name)); err != nil {
			return nil, fmt.Errorf("make its directory: %w", err)
		}
		if f, err = b.fs.Create(name); !errors.Is(err, fs.ErrNotExist) {
			return f, err
		}
	}
	return nil, err
}

// writeAll writes a file of known length and closes it; it is durable when that
// returns nil.
func writeAll(ctx context.Context, f vfs.File, r io.Reader, size int64) (err error) {
	defer func() { err = errors.Join(err, f.Close()) }()
	n, err := io.Copy(f, &cancelable{ctx, r})
	if err != nil {
		return err
	}
	if n != size {
		return fmt.Errorf("%d bytes came, not %d: %w", n, size, io.ErrUnexpectedEOF)
	}
	return f.Sync()
}

func (b *dirBucket) remove(name string) error {
	if err := b.fs.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// cancelable ends a copy with its context.
type cancelable struct {
	ctx context.Context //nolint:containedctx // it lives as long as one copy
	r   io.Reader
}

// Read implements io.Reader.
func (c *cancelable) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.r.Read(p)
}

// Get implements Bucket.
func (b *dirBucket) Get(_ context.Context, name string) (io.ReadCloser, error) {
	return b.fs.OpenRead(b.path(name))
}

// List implements Bucket.
func (b *dirBucket) List(_ context.Context, dir string) ([]string, error) {
	names, err := b.fs.List(b.path(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", b.path(dir), err)
	}
	out := names[:0]
	for _, name := range names {
		switch {
		case strings.HasSuffix(name, vfs.TempSuffix): // an upload that never ended
		case b.isDir(filepath.Join(b.path(dir), name)):
			out = append(out, name+"/")
		default:
			out = append(out, name)
		}
	}
	return out, nil
}

func (b *dirBucket) isDir(name string) bool {
	_, err := b.fs.List(name)
	return err == nil
}

// Delete implements Bucket. Directories that become empty go with the object.
func (b *dirBucket) Delete(_ context.Context, name string) error {
	if err := b.fs.Remove(b.path(name)); err != nil {
		return err
	}
	for dir := filepath.Dir(b.path(name)); len(dir) > len(filepath.Clean(b.root)); dir = filepath.Dir(dir) {
		if names, err := b.fs.List(dir); err != nil || len(names) > 0 {
			return nil //nolint:nilerr // somebody else took it away
		}
		if err := b.remove(dir); err != nil {
			return nil //nolint:nilerr // somebody else put something into it
		}
	}
	return nil
}

// Sweep implements Bucket: it removes temporary files.
func (b *dirBucket) Sweep(ctx context.Context, dir string) (removed int, err error) {
	full := b.path(dir)
	names, err := b.fs.List(full)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("list %s: %w", full, err)
	}
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return removed, context.Cause(ctx)
		}
		switch {
		case b.isDir(filepath.Join(full, name)):
			n, err := b.Sweep(ctx, path.Join(dir, name))
			removed += n
			if err != nil {
				return removed, err
			}
		case strings.HasSuffix(name, vfs.TempSuffix):
			if err := b.Delete(ctx, path.Join(dir, name)); err != nil {
				return removed, err
			}
			removed++
		}
	}
	return removed, nil
}

// String implements Bucket.
func (b *dirBucket) String() string { return b.root }
