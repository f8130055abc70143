package backup

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"path/filepath"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"golang.org/x/sync/errgroup"

	"github.com/count-db/count/engine"
	"github.com/count-db/count/internal/transfer"
	"github.com/count-db/count/internal/vfs"
)

const (
	restoreSamples = 200_000  // of one request
	restoreBytes   = 12 << 20 // of one request
	restoreSenders = 2        // requests at once
)

// RestoreOptions say how to restore.
type RestoreOptions struct {
	// Scratch is a directory on a disk with room for the snapshots; what is put
	// there is removed by the caller.
	Scratch string
	FS      vfs.FS
	// Overwrite replaces what the cluster has, and brings back what was deleted
	// since; else only what is absent is written.
	Overwrite bool
	Secret    string // of the cluster; empty: none
}

// Restore writes what a backup holds through a running cluster: the snapshots of
// all its nodes, merged. It may be repeated after any error. What the bucket
// holds is compared with its checksums on the way.
func Restore(ctx context.Context, b Bucket, m *Manifest, to *transfer.Node, o RestoreOptions, p *Progress) (err error) {
	p.Total.Add(m.Bytes())
	g, fetchCtx := errgroup.WithContext(ctx)
	dirs := make([]string, len(m.Nodes))
	for i := range m.Nodes {
		dirs[i] = filepath.Join(o.Scratch, fmt.Sprintf("node-%d", m.Nodes[i].ID))
		g.Go(func() error { return Fetch(fetchCtx, b, &m.Nodes[i], o.FS, dirs[i], p) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	r := &restoring{to: to, opts: o, progress: p}
	defer func() { err = errors.Join(err, r.close()) }()
	for i := range m.Nodes {
		n := &m.Nodes[i]
		db, err := engine.Open(o.FS, dirs[i], engine.Options{Versions: n.Versioned, NoBackground: true, Sync: engine.SyncNever})
		if err != nil {
			return fmt.Errorf("open the snapshot of node %d: %w", n.ID, err)
		}
		r.nodes = append(r.nodes, opened{db, n})
	}
	return r.run(ctx)
}

// opened is the snapshot of a node, open.
type opened struct {
	db   *engine.DB
	node *Node
}

// restoring is a restore at work.
type restoring struct {
	to       *transfer.Node
	opts     RestoreOptions
	progress *Progress
	nodes    []opened

	encoder *Encoder
	bodies  chan content // capacity 0: reading waits for sending
}

// content is a body on its way.
type content struct {
	body    []byte
	samples int
}

func (r *restoring) close() error {
	var errs []error
	for _, n := range r.nodes {
		errs = append(errs, n.db.Close())
	}
	return errors.Join(errs...)
}

// run sends samples window by window, then what goes with them.
func (r *restoring) run(ctx context.Context) error {
	r.encoder, r.bodies = NewEncoder(), make(chan content)
	g, ctx := errgroup.WithContext(ctx)
	for range restoreSenders {
		g.Go(func() error {
			for c := range r.bodies {
				if err := r.post(ctx, c); err != nil {
					return err
				}
			}
			return nil
		})
	}
	g.Go(func() error {
		defer close(r.bodies)
		return r.read(ctx)
	})
	return g.Wait()
}

func (r *restoring) read(ctx context.Context) error {
	windows := r.windows()
	r.progress.AllWindow.Store(int64(len(windows)))
	for _, w := range windows {
		if err := r.window(ctx, w); err != nil {
			return err
		}
		r.progress.Windows.Add(1)
	}
	if err := r.flush(ctx); err != nil {
		return err
	}
	if err := r.extras(ctx); err != nil {
		return err
	}
	return r.flush(ctx)
}

// windowMillis is the length of the slices of time that are read at once.
var windowMillis = engine.Window.Milliseconds()

// windows returns the windows that may have samples, ascending.
func (r *restoring) windows() []int64 {
	set := map[int64]bool{}
	for _, n := range r.nodes {
		for _, span := range n.db.Spans() {
			for w := floorDiv(span[0], windowMillis); w <= floorDiv(span[1], windowMillis); w++ {
				set[w] = true
			}
		}
	}
	out := make([]int64, 0, len(set))
	for w := range set {
		out = append(out, w)
	}
	slices.Sort(out)
	return out
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// window sends the merged samples of a window.
func (r *restoring) window(ctx context.Context, w int64) (err error) {
	m, err := r.open(ctx, w*windowMillis, (w+1)*windowMillis-1)
	if err != nil {
		return err
	}
	defer m.close()
	for {
		ls, cols, ok, err := m.next()
		if err != nil || !ok {
			return err
		}
		r.encoder.Series(ls, cols)
		if r.encoder.Samples >= restoreSamples || len(r.encoder.Body()) >= restoreBytes {
			if err := r.flush(ctx); err != nil {
				return err
			}
		}
	}
}

// flush hands what is encoded over to a sender.
func (r *restoring) flush(ctx context.Context) error {
	if r.encoder.Empty() {
		return nil
	}
	c := content{slices.Clone(r.encoder.Body()), r.encoder.Samples}
	r.encoder.Reset()
	select {
	case r.bodies <- c:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// extras sends metadata and exemplars.
func (r *restoring) extras(ctx context.Context) error {
	for _, n := range r.nodes {
		if all := n.db.Metadata("", 0); len(all) > 0 {
			r.encoder.Metadata(all)
		}
		any := labels.MustNewMatcher(labels.MatchRegexp, labels.MetricName, ".*")
		found, err := n.db.Exemplars(ctx, math.MinInt64, math.MaxInt64, []*labels.Matcher{any})
		if err != nil {
			return fmt.Errorf("read exemplars of node %d: %w", n.node.ID, err)
		}
		for _, x := range found {
			r.encoder.Exemplars(x.Labels, x.Exemplars)
			if len(r.encoder.Body()) >= restoreBytes {
				if err := r.flush(ctx); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// post sends a body until the cluster took it.
func (r *restoring) post(ctx context.Context, c content) error {
	at := r.to.URL + RestorePath
	if r.opts.Overwrite {
		at += "?overwrite=true"
	}
	resp, err := r.to.Do(ctx, func() (*http.Request, error) {
		req, err := http.NewRequest(http.MethodPost, at, bytes.NewReader(c.body))
		if err != nil {
			return nil, err
		}
		req.Header.Set("Content-Type", "application/octet-stream")
		if r.opts.Secret != "" {
			req.Header.Set("Authorization", "Bearer "+r.opts.Secret)
		}
		return req, nil
	})
	if err != nil {
		return fmt.Errorf("write %d samples: %w", c.samples, err)
	}
	var out Outcome
	err = json.NewDecoder(io.LimitReader(resp.Body, answerText)).Decode(&out)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return fmt.Errorf("read the answer to %d samples: %w", c.samples, err)
	}
	r.progress.Samples.Add(int64(out.Written))
	r.progress.Kept.Add(int64(out.Kept))
	return nil
}
