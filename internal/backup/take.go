package backup

import (
	"bytes"
	"cmp"
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
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/count-db/count/internal/model"
)

// uploadsAtOnce is how many files are moved at once.
const uploadsAtOnce = 4

// Cluster says what is to be backed up: about tells of the cluster, its ID, Created
// and Nodes are filled in. It is asked again where the ring changes meanwhile.
type Cluster func(ctx context.Context) (about Manifest, nodes []*Remote, err error)

// TakeOptions say how a backup is taken.
type TakeOptions struct {
	// SkipUnreachable leaves out nodes that do not answer, also those that stop to.
	SkipUnreachable bool
	// Rate bounds the bytes that are moved in a second; 0 = it does not.
	Rate int64
	// Patience is how long a node or the bucket may be in trouble; 0 =
	// DefaultPatience.
	Patience time.Duration
}

// Taken is what taking a backup came to.
type Taken struct {
	Manifest    *Manifest
	Uploaded    int // files
	UploadBytes int64
	Reused      int // files that an earlier backup has
	ReusedBytes int64
}

// Take makes a backup. When it fails there is none, and what was uploaded is
// removed by the next prune.
func Take(ctx context.Context, b Bucket, cluster Cluster, o TakeOptions, p *Progress) (taken *Taken, err error) {
	now := time.Now()
	id, err := newID(now)
	if err != nil {
		return nil, err
	}
	if o.Patience == 0 {
		o.Patience = DefaultPatience
	}
	caller := ctx
	ctx, held, err := lock(ctx, b, p, takingWork, id, pruningWork)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, held.unlock(caller)) }()
	t := &taking{bucket: b, opts: o, pace: NewPace(o.Rate), progress: p, out: &Taken{}}
	if t.known, err = knownObjects(ctx, b, p); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, t.letGo(caller)) }()
	if err := t.snapshots(ctx, cluster); err != nil {
		return nil, err
	}
	m := &t.manifest
	m.ID, m.Created = id, now.UTC().Truncate(time.Millisecond)
	if err := t.upload(ctx); err != nil {
		return nil, err
	}
	if err := t.finish(ctx, held); err != nil {
		return nil, err
	}
	t.out.Manifest = m
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
func knownObjects(ctx context.Context, b Bucket, p *Progress) (map[string]object, error) {
	all, damaged, err := List(ctx, b)
	if err != nil {
		return nil, err
	}
	for _, d := range damaged {
		p.notice(d.Error() + ": what it has is copied again")
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
	opts     TakeOptions
	pace     *Pace
	progress *Progress
	manifest Manifest
	known    map[string]object
	parts    []*part

	mu  sync.Mutex
	out *Taken // its counters are guarded by mu while files are uploaded
}

// finish writes the manifest: from then on there is a backup.
func (t *taking) finish(ctx context.Context, held *lease) error {
	m := &t.manifest
	// Had others taken this process for dead, files that it counts on may be gone.
	if err := held.renew(ctx); err != nil {
		return fmt.Errorf("before the manifest is written: %w", err)
	}
	content := encodeManifest(m)
	err := patiently(ctx, t.progress, t.opts.Patience, "write the manifest", func() error {
		return t.bucket.Upload(ctx, manifestObject(m.ID), bytes.NewReader(content), int64(len(content)))
	})
	if err != nil {
		return err
	}
	if err := held.renew(ctx); errors.Is(err, errLockLost) {
		return errors.Join(err, t.bucket.Delete(context.WithoutCancel(ctx), manifestObject(m.ID)))
	}
	return nil
}

// upload copies the files of all snapshots, and fills in the manifest's nodes.
func (t *taking) upload(ctx context.Context) error {
	m := &t.manifest
	slices.SortFunc(t.parts, func(a, b *part) int { return cmp.Compare(a.snapshot.Node, b.snapshot.Node) })
	most := 0
	for _, p := range t.parts {
		if err := t.describe(p); err != nil {
			return err
		}
		most = max(most, len(p.node.Files))
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var keeping sync.WaitGroup
	keeping.Go(func() { t.keepSnapshots(ctx) })
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(uploadsAtOnce)
	for i := range most { // a file of each node in turn: all disks work
		for _, p := range t.parts {
			if i < len(p.node.Files) {
				g.Go(func() error { return t.move(gctx, p, &p.node.Files[i]) })
			}
		}
	}
	err := g.Wait()
	stop()
	keeping.Wait()
	if err != nil {
		return err
	}
	for _, p := range t.parts {
		switch err := p.lost(); {
		case err != nil:
			t.progress.notice(fmt.Sprintf("node %d is left out: %v", p.node.ID, err))
			m.Missing = append(m.Missing, p.node.ID)
			continue
		case p.snapshot.Refilling != "":
			m.Incomplete = append(m.Incomplete, p.node.ID)
		}
		m.Nodes = append(m.Nodes, p.node)
	}
	slices.Sort(m.Missing)
	if len(m.Nodes) == 0 {
		return errors.New("no node is left to back up")
	}
	return nil
}

// describe makes of a snapshot a node of the manifest.
func (t *taking) describe(p *part) error {
	s := p.snapshot
	p.node = Node{ID: s.Node, Address: p.remote.URL, Taken: s.Taken, Version: model.Version(s.Version), Versioned: s.Versioned}
	disk, err := hex.DecodeString(s.Disk)
	if err != nil || len(disk) != len(p.node.Disk) {
		return fmt.Errorf("node %d has the disk id %q", s.Node, s.Disk)
	}
	copy(p.node.Disk[:], disk)
	for _, f := range s.Files {
		file := File{Name: f.Name, Object: objectOf(t.manifest.ID, &p.node, f.Name, f.Fingerprint), Bytes: f.Bytes}
		if _, ok := t.has(&file); !ok {
			t.progress.Total.Add(f.Bytes)
		}
		p.node.Files = append(p.node.Files, file)
	}
	return nil
}

// has returns what is known of a file that an earlier backup has.
func (t *taking) has(f *File) (object, bool) {
	have, ok := t.known[f.Object]
	return have, ok && have.bytes == f.Bytes
}

// move copies a file, unless it is there or its node is left out.
func (t *taking) move(ctx context.Context, p *part, f *File) error {
	if have, ok := t.has(f); ok {
		f.Sum = have.sum
		t.mu.Lock()
		defer t.mu.Unlock()
		t.out.Reused++
		t.out.ReusedBytes += f.Bytes
		return nil
	}
	if p.lost() != nil {
		return nil
	}
	what := fmt.Sprintf("back up %s of node %d", f.Name, p.node.ID)
	err := patiently(ctx, t.progress, t.opts.Patience, what, func() error {
		if err := p.lost(); err != nil {
			return err
		}
		return t.uploadFile(ctx, p, f)
	})
	var gone *nodeError
	if t.opts.SkipUnreachable && errors.As(err, &gone) && ctx.Err() == nil {
		p.lose(gone)
		return nil
	}
	return err
}

func (t *taking) uploadFile(ctx context.Context, p *part, f *File) (err error) {
	in, err := p.remote.Open(ctx, p.snapshot, f.Name)
	if err != nil {
		return &nodeError{err}
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	src := &outlet{r: in}
	sum := sha256.New()
	c := counting{progress: t.progress}
	r := io.TeeReader(t.pace.Reader(ctx, src), io.MultiWriter(sum, &c))
	if err := t.bucket.Upload(ctx, f.Object, r, f.Bytes); err != nil {
		c.takeBack()
		if src.err != nil {
			return &nodeError{errors.Join(src.err, err)}
		}
		return err
	}
	copy(f.Sum[:], sum.Sum(nil))
	t.mu.Lock()
	defer t.mu.Unlock()
	t.out.Uploaded++
	t.out.UploadBytes += f.Bytes
	return nil
}
