package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/count-db/count/internal/pause"
)

const (
	// snapshotTries is how often snapshots are taken until all nodes had the same
	// ring, and none another floor, from the first to the last.
	snapshotTries = 10
	// snapshotPause is between two of them.
	snapshotPause = time.Second
	// touchEvery is how often a node is told that its snapshot is still needed.
	touchEvery = time.Minute
	// letGoWait is how long letting go of snapshots may take.
	letGoWait = time.Minute
)

// part is the snapshot of one node.
type part struct {
	remote   *Remote
	snapshot *Snapshot
	node     Node

	mu  sync.Mutex
	err error // guarded by mu; why the node is left out
}

// lost says why the node is left out of the backup, nil where it is not.
func (p *part) lost() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

func (p *part) lose(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = err
	}
}

// nodeError is trouble of a node, not of the bucket.
type nodeError struct{ err error }

// Error implements error.
func (e *nodeError) Error() string { return e.err.Error() }

// Unwrap returns what went wrong.
func (e *nodeError) Unwrap() error { return e.err }

// errMoved says that snapshots do not belong together.
var errMoved = errors.New("the cluster changed while snapshots were taken")

// errUneven says that it is not known yet whether snapshots belong together.
var errUneven = errors.New("nodes have settled old data up to different times, so it must be seen that none settles more meanwhile")

// snapshots has all nodes take theirs, at once: until they belong together.
func (t *taking) snapshots(ctx context.Context, cluster Cluster) error {
	last := map[uint64]Standing{} // of the try before, by node
	for try := 1; ; try++ {
		about, nodes, err := cluster(ctx)
		if err != nil {
			return err
		}
		t.manifest = about
		if err := t.snapshotAll(ctx, nodes); err != nil {
			return err
		}
		err = together(about.Ring, t.parts, last)
		if err == nil {
			return nil
		}
		clear(last)
		for _, p := range t.parts {
			last[p.snapshot.Node] = p.snapshot.After
		}
		if try == snapshotTries {
			return fmt.Errorf("given up after %d tries: %w", try, err)
		}
		t.progress.notice(err.Error() + ": taking them again")
		if err := errors.Join(t.letGo(ctx), pause.For(ctx, snapshotPause)); err != nil {
			return err
		}
	}
}

// snapshotAll has all nodes take a snapshot each.
func (t *taking) snapshotAll(ctx context.Context, nodes []*Remote) error {
	var mu sync.Mutex
	g, gctx := errgroup.WithContext(ctx)
	for _, r := range nodes {
		g.Go(func() error {
			var s *Snapshot
			err := patiently(gctx, t.progress, t.opts.Patience, "take a snapshot", func() (err error) {
				s, err = r.Begin(gctx)
				return err
			})
			mu.Lock()
			defer mu.Unlock()
			if err != nil && t.opts.SkipUnreachable && r.Node != 0 && gctx.Err() == nil {
				t.progress.notice(fmt.Sprintf("node %d is left out: %v", r.Node, err))
				t.manifest.Missing = append(t.manifest.Missing, r.Node)
				return nil
			}
			if err != nil {
				return err
			}
			for _, other := range t.parts {
				if other.snapshot.Node == s.Node {
					err = fmt.Errorf("%s and %s are both node %d", other.remote.URL, r.URL, s.Node)
				}
			}
			t.parts = append(t.parts, &part{remote: r, snapshot: s})
			return err
		})
	}
	return g.Wait()
}

// together says why snapshots do not belong together. ring is the number of the
// ring that the nodes were taken from; 0 where it is not known. last is how the
// nodes stood at the end of a try before: floors may differ, as they do for hours
// after a node has refilled or joined, where none has changed since then. For a
// floor is decided when all members hold the same below it, and these snapshots are
// all later than that.
func together(ring uint64, parts []*part, last map[uint64]Standing) error {
	var first *Snapshot
	for _, p := range parts {
		s := p.snapshot
		if ring == 0 || s.Before.Ring == 0 {
			continue // a build that does not say
		}
		if first == nil {
			first = s
		}
		switch {
		case s.Before.Ring != ring || s.After.Ring != ring:
			return fmt.Errorf("%w: the ring is number %d at node %d and was %d", errMoved, s.After.Ring, s.Node, ring)
		case s.Before.Floor != s.After.Floor:
			return fmt.Errorf("%w: old data was being settled", errMoved)
		case s.Before.Floor != first.Before.Floor && !unmoved(parts, last):
			return errUneven
		}
	}
	return nil
}

// unmoved says whether no node's part in the cluster has changed since a try
// before, up to the end of its snapshot.
func unmoved(parts []*part, last map[uint64]Standing) bool {
	for _, p := range parts {
		if s := p.snapshot; s.Before != s.After || s.Before != last[s.Node] {
			return false
		}
	}
	return true
}

// keepSnapshots tells nodes that their snapshots are still needed, until the
// context ends. Where it fails the next file will tell.
func (t *taking) keepSnapshots(ctx context.Context) {
	for pause.For(ctx, touchEvery) == nil {
		for _, p := range t.parts {
			if p.lost() == nil {
				_ = p.remote.Touch(ctx, p.snapshot)
			}
		}
	}
}

// letGo ends the snapshots, whatever happened.
func (t *taking) letGo(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), letGoWait)
	defer cancel()
	var errs []error
	for _, p := range t.parts {
		if err := p.remote.End(ctx, p.snapshot); err != nil && p.lost() == nil {
			errs = append(errs, err)
		}
	}
	t.parts = nil
	return errors.Join(errs...)
}

// outlet reads what a node sends and remembers how that failed.
type outlet struct {
	r   io.Reader
	err error
}

// Read implements io.Reader.
func (o *outlet) Read(b []byte) (int, error) {
	n, err := o.r.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		o.err = err
	}
	return n, err
}
