package backup

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
)

// maxManifest bounds a manifest, in bytes.
const maxManifest = 256 << 20

// DamagedError says that a backup cannot be used: its manifest is not what was
// written, or a newer build wrote it.
type DamagedError struct {
	ID  string
	Err error
}

// Error implements error.
func (e *DamagedError) Error() string { return fmt.Sprintf("backup %s: %v", e.ID, e.Err) }

// Unwrap returns what is wrong.
func (e *DamagedError) Unwrap() error { return e.Err }

// List returns the manifests of all backups, oldest first, and which backups
// cannot be read.
func List(ctx context.Context, b Bucket) (out []*Manifest, damaged []*DamagedError, err error) {
	names, err := b.List(ctx, backupsDir)
	if err != nil {
		return nil, nil, err
	}
	slices.Sort(names)
	for _, name := range names {
		id, isDir := strings.CutSuffix(name, "/")
		if !isDir || !idForm.MatchString(id) {
			continue
		}
		m, err := Read(ctx, b, id)
		var broken *DamagedError
		switch {
		case errors.Is(err, fs.ErrNotExist): // it was never finished
		case errors.As(err, &broken):
			damaged = append(damaged, broken)
		case err != nil:
			return nil, nil, err
		default:
			out = append(out, m)
		}
	}
	// Ids have whole seconds.
	slices.SortStableFunc(out, func(a, b *Manifest) int { return a.Created.Compare(b.Created) })
	return out, damaged, nil
}

// ErrNoBackup says that there is none of that name, or none at all.
var ErrNoBackup = errors.New("no such backup")

// Read returns the manifest of a backup. A missing one is an error that wraps
// fs.ErrNotExist.
func Read(ctx context.Context, b Bucket, id string) (*Manifest, error) {
	if !idForm.MatchString(id) {
		return nil, fmt.Errorf("%w: %q is not the id of one", ErrNoBackup, id)
	}
	r, err := b.Get(ctx, manifestObject(id))
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrNoBackup, id, err)
	}
	data, err := io.ReadAll(io.LimitReader(r, maxManifest))
	if err := errors.Join(err, r.Close()); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%w: %s: %w", ErrNoBackup, id, err)
		}
		return nil, fmt.Errorf("read the manifest of %s: %w", id, err)
	}
	m, err := decodeManifest(data)
	if err != nil {
		return nil, &DamagedError{id, err}
	}
	if m.ID != id {
		return nil, &DamagedError{id, fmt.Errorf("its manifest is that of %s", m.ID)}
	}
	return m, nil
}

// Find returns a backup by its id, or the latest when that is empty: an older one
// is not taken for it because the latest is damaged.
func Find(ctx context.Context, b Bucket, id string) (*Manifest, error) {
	if id != "" {
		return Read(ctx, b, id)
	}
	all, damaged, err := List(ctx, b)
	if err != nil {
		return nil, err
	}
	if n := len(damaged); n > 0 && (len(all) == 0 || damaged[n-1].ID > all[len(all)-1].ID) {
		return nil, fmt.Errorf("the newest is damaged, name another one: %w", damaged[n-1])
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%w: there is none at %s", ErrNoBackup, b)
	}
	return all[len(all)-1], nil
}

// Verify reads all objects of backups and compares them with their checksums. It
// returns what is wrong, one text an object; p counts bytes.
func Verify(ctx context.Context, b Bucket, all []*Manifest, p *Progress) (faults []string, err error) {
	objects := map[string]File{}
	for _, m := range all {
		for i := range m.Nodes {
			for _, f := range m.Nodes[i].Files {
				if other, ok := objects[f.Object]; ok && (other.Sum != f.Sum || other.Bytes != f.Bytes) {
					faults = append(faults, fmt.Sprintf("%s: two backups say different things of it", f.Object))
				}
				objects[f.Object] = f
			}
		}
	}
	for _, f := range objects {
		p.Total.Add(f.Bytes)
	}
	found := make(chan string, len(objects)) // one each at most
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(uploadsAtOnce)
	for _, f := range objects {
		g.Go(func() error {
			err := patiently(ctx, p, DefaultPatience, "read "+f.Object, func() error { return readObject(ctx, b, &f, io.Discard, p) })
			if err != nil {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				found <- fmt.Sprintf("%s: %v", f.Object, err)
			}
			return nil
		})
	}
	err = g.Wait()
	close(found)
	for text := range found {
		faults = append(faults, text)
	}
	slices.Sort(faults)
	return faults, err
}

// errDamaged says that an object is not what was backed up.
var errDamaged = errors.New("it is not what was backed up")

// readObject copies an object and compares it with its checksum.
func readObject(ctx context.Context, b Bucket, f *File, to io.Writer, p *Progress) (err error) {
	r, err := b.Get(ctx, f.Object)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	sum := sha256.New()
	c := counting{progress: p}
	n, err := io.Copy(io.MultiWriter(to, sum, &c), &cancelable{ctx, r})
	switch {
	case err != nil:
		c.takeBack()
		return err
	case n != f.Bytes:
		return fmt.Errorf("%w: it has %d bytes, not %d", errDamaged, n, f.Bytes)
	case [sha256.Size]byte(sum.Sum(nil)) != f.Sum:
		return fmt.Errorf("%w: its checksum is another", errDamaged)
	}
	return nil
}
