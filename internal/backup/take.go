package backup

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/count-db/count/internal/model"
)

// uploadsAtOnce is how many files of a node are sent at once.
const uploadsAtOnce = 4

// Progress is how far a backup or a restore is. Safe for concurrent use.
type Progress struct {
	Bytes     atomic.Int64 // that were moved
	Total     atomic.Int64 // that are to be moved, as far as known
	Samples   atomic.Int64 // that a restore wrote
	Kept      atomic.Int64 // samples that a restore found there, or deleted since
	Windows   atomic.Int64 // of two hours that a restore is through with
	AllWindow atomic.Int64
}

// Taken is what taking a backup came to.
type Taken struct {
	Manifest    *Manifest
	Uploaded    int // files
	UploadBytes int64
	Reused      int // files that an earlier backup has
	ReusedBytes int64
}

// Take makes a backup of nodes: about tells of the cluster, its ID, Created and
// Nodes are filled in. When it fails there is no backup, and what was uploaded is
// removed by the next prune.
func Take(ctx context.Context, b Bucket, nodes []*Remote, about Manifest, now time.Time, p *Progress) (taken *Taken, err error) {
	m := about
	m.Created = now.UTC().Truncate(time.Millisecond)
	if m.ID, err = newID(now); err != nil {
		return nil, err
	}
	unlock, err := lock(ctx, b, takingWork, m.ID, now, pruningWork)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	t := &taking{bucket: b, progress: p, manifest: &m, out: &Taken{Manifest: &m}}
	if t.known, err = knownObjects(ctx, b); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, t.letGo(ctx)) }()
	if err := t.snapshots(ctx, nodes); err != nil {
		return nil, err
	}
	if err := t.upload(ctx); err != nil {
		return nil, err
	}
	content := encodeManifest(&m)
	if err := b.Upload(ctx, manifestObject(m.ID), bytes.NewReader(content), int64(len(content))); err != nil {
		return nil, fmt.Errorf("write the manifest: %w", err)
	}
	return t.out, nil
}

func newID(now time.Time) (string, error) {
	var tail [4]byte
	if _, err := rand.Read(tail[:]); err != nil {
		return "", fmt.Errorf("make an id: %w", err)
	}
	return now.UTC().Format(idTime) + "-" + hex.EncodeToString(tail[:]), nil
}

// object is what earlier backups know of one.
type object struct {
	bytes int64
	sum   [sha256.Size]byte
}

// knownObjects returns the objects that are whole: named by a manifest, and
// there.
func knownObjects(ctx context.Context, b Bucket) (map[string]object, error) {
	all, err := List(ctx, b)
	if err != nil {
		return nil, err
	}
	there := map[string]map[string]bool{} // by directory
	known := map[string]object{}
	for _, m := range all {
		for i := range m.Nodes {
			for _, f := range m.Nodes[i].Files {
				dir, base := path.Split(f.Object)
				if there[dir] == nil {
					names, err := b.List(ctx, path.Clean(dir))
					if err != nil {
						return nil, err
					}
					there[dir] = map[string]bool{}
					for _, name := range names {
						there[dir][name] = true
					}
				}
				if there[dir][base] {
					known[f.Object] = object{f.Bytes, f.Sum}
				}
			}
		}
	}
	return known, nil
}

// taking is a backup in the making.
type taking struct {
	bucket   Bucket
	progress *Progress
	manifest *Manifest
	known    map[string]object

	mu    sync.Mutex
	out   *Taken
	parts []*part // guarded by mu while snapshots are taken
}

// part is the snapshot of one node.
type part struct {
	remote   *Remote
	snapshot *Snapshot
}

// snapshots has all nodes take theirs, at once.
func (t *taking) snapshots(ctx context.Context, nodes []*Remote) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, r := range nodes {
		g.Go(func() error {
			s, err := r.Begin(ctx)
			if err != nil {
				return err
			}
			t.mu.Lock()
			defer t.mu.Unlock()
			for _, other := range t.parts {
				if other.snapshot.Node == s.Node {
					err = fmt.Errorf("%s and %s are both node %d", other.remote.URL, r.URL, s.Node)
				}
			}
			t.parts = append(t.parts, &part{r, s})
			return err
		})
	}
	return g.Wait()
}

// letGo ends the snapshots, whatever happened.
func (t *taking) letGo(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	var errs []error
	for _, p := range t.parts {
		errs = append(errs, p.remote.End(ctx, p.snapshot))
	}
	return errors.Join(errs...)
}

func (t *taking) upload(ctx context.Context) error {
	slices.SortFunc(t.parts, func(a, b *part) int {
		if a.snapshot.Node < b.snapshot.Node {
			return -1
		}
		return 1
	})
	m := t.manifest
	for _, p := range t.parts {
		s := p.snapshot
		n := Node{ID: s.Node, Address: p.remote.URL, Taken: s.Taken, Version: model.Version(s.Version), Versioned: s.Versioned}
		disk, err := hex.DecodeString(s.Disk)
		if err != nil || len(disk) != len(n.Disk) {
			return fmt.Errorf("node %d has the disk id %q", s.Node, s.Disk)
		}
		copy(n.Disk[:], disk)
		for _, f := range s.Files {
			file := File{Name: f.Name, Object: objectOf(m.ID, &n, f.Name, f.Fingerprint), Bytes: f.Bytes}
			if have, ok := t.known[file.Object]; ok && have.bytes == f.Bytes {
				file.Sum = have.sum
				t.out.Reused++
				t.out.ReusedBytes += f.Bytes
			} else {
				t.progress.Total.Add(f.Bytes)
			}
			n.Files = append(n.Files, file)
		}
		m.Nodes = append(m.Nodes, n)
	}
	g, ctx := errgroup.WithContext(ctx)
	for i, p := range t.parts {
		g.Go(func() error { return t.uploadNode(ctx, p, &m.Nodes[i]) })
	}
	return g.Wait()
}

func (t *taking) uploadNode(ctx context.Context, p *part, n *Node) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(uploadsAtOnce)
	for i := range n.Files {
		f := &n.Files[i]
		if have, ok := t.known[f.Object]; ok && have.bytes == f.Bytes {
			continue
		}
		g.Go(func() error {
			if err := t.uploadFile(ctx, p, f); err != nil {
				return fmt.Errorf("back up %s of node %d: %w", f.Name, n.ID, err)
			}
			return nil
		})
	}
	return g.Wait()
}

func (t *taking) uploadFile(ctx context.Context, p *part, f *File) (err error) {
	in, err := p.remote.Open(ctx, p.snapshot, f.Name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	sum := sha256.New()
	r := io.TeeReader(in, io.MultiWriter(sum, countingWriter{&t.progress.Bytes}))
	if err := t.bucket.Upload(ctx, f.Object, r, f.Bytes); err != nil {
		return err
	}
	copy(f.Sum[:], sum.Sum(nil))
	t.mu.Lock()
	defer t.mu.Unlock()
	t.out.Uploaded++
	t.out.UploadBytes += f.Bytes
	return nil
}

// countingWriter counts what it is given.
type countingWriter struct{ n *atomic.Int64 }

// Write implements io.Writer.
func (w countingWriter) Write(p []byte) (int, error) {
	w.n.Add(int64(len(p)))
	return len(p), nil
}
