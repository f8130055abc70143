package backup

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"golang.org/x/sync/errgroup"

	"github.com/count-db/count/engine"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/transfer"
	"github.com/count-db/count/internal/vfs"
)

// How many samples a restore sends at once: a write of others waits behind them.
const (
	DefaultBatch = 5_000
	FastBatch    = 50_000
)

const (
	restoreBytes    = 12 << 20 // of one request
	restoreHists    = 500      // histograms of a series at once: they may be large
	restoreMetadata = 10_000   // families at once
	restoreSenders  = 2        // requests at once
)

// RestoreOptions say how to restore.
type RestoreOptions struct {
	// Scratch is a directory on a disk with room for the snapshots. What is there
	// of an earlier run of the same restore is used; the caller removes it.
	Scratch string
	FS      vfs.FS
	// Overwrite replaces what the cluster has, and brings back what was deleted
	// since; else only what is absent is written.
	Overwrite bool
	Secret    string // of the cluster; empty: none
	Rate      int64  // bounds the samples in a second; 0 = it does not
	// Batch is how many samples are sent at once; 0 = DefaultBatch, or FastBatch.
	Batch int
	// Fast leaves no time to others: without it, a sender rests after each request
	// for as long as that took.
	Fast bool
}

// Restore writes what a backup holds through a running cluster: the snapshots of
// all its nodes, merged. It may be repeated after any error, and goes on where it
// was. What the bucket holds is compared with its checksums before anything is
// written.
func Restore(ctx context.Context, b Bucket, m *Manifest, to *transfer.Node, o RestoreOptions, p *Progress) (err error) {
	if err := o.FS.MkdirAll(o.Scratch); err != nil {
		return fmt.Errorf("make %s: %w", o.Scratch, err)
	}
	unlock, err := o.FS.Lock(filepath.Join(o.Scratch, "lock"))
	if err != nil {
		return fmt.Errorf("use %s: %w", o.Scratch, err)
	}
	defer func() { err = errors.Join(err, unlock.Close()) }()
	p.Total.Add(m.Bytes())
	if o.Batch <= 0 && o.Fast {
		o.Batch = FastBatch
	} else if o.Batch <= 0 {
		o.Batch = DefaultBatch
	}
	r := &restoring{to: to, opts: o, progress: p, pace: NewPace(o.Rate)}
	if r.tracker, err = r.resume(ctx, m); err != nil {
		return err
	}
	for i := range m.Nodes {
		f := &fetching{bucket: b, fs: o.FS, dir: fetchedDir(o.Scratch, m.Nodes[i].ID), progress: p, patience: DefaultPatience}
		if err := f.node(ctx, m.ID, &m.Nodes[i]); err != nil {
			return err
		}
	}
	defer func() { err = errors.Join(err, r.close()) }()
	for i := range m.Nodes {
		if err := r.openSnapshot(&m.Nodes[i]); err != nil {
			return fmt.Errorf("open the snapshot of node %d: %w", m.Nodes[i].ID, err)
		}
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
	pace     *Pace
	nodes    []opened
	tracker  *tracker
	from     *cursor // what is at or before it is written; nil: nothing is

	encoder *Encoder
	at      *cursor      // the last series that is in the encoder whole; nil: none is
	count   int          // of bodies
	bodies  chan content // capacity 0: reading waits for sending
}

// content is a body on its way.
type content struct {
	body    []byte
	samples int
	number  int
	at      *cursor
}

// resume finds out how far an earlier run was.
func (r *restoring) resume(ctx context.Context, m *Manifest) (*tracker, error) {
	target, err := r.target(ctx)
	if err != nil {
		return nil, err
	}
	want := journal{Backup: m.ID, Target: target, Overwrite: r.opts.Overwrite}
	t := &tracker{fs: r.opts.FS, scratch: r.opts.Scratch, keeps: target != "", state: want, ahead: map[int]*cursor{}}
	if target != "" {
		if t.state, err = readJournal(t.fs, t.scratch, want); err != nil {
			return nil, err
		}
	}
	r.from = t.state.Done
	r.progress.Samples.Store(t.state.Written)
	r.progress.Kept.Store(t.state.Kept)
	return t, t.save()
}

func (r *restoring) close() error {
	errs := []error{r.tracker.save()}
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
		if r.from == nil || w >= r.from.Window {
			if err := r.window(ctx, w); err != nil {
				return err
			}
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
		for _, w := range n.db.Windows() {
			set[w] = true
		}
	}
	return slices.Sorted(maps.Keys(set))
}

// window sends the merged samples of a window.
func (r *restoring) window(ctx context.Context, w int64) (err error) {
	m, err := r.open(ctx, w*windowMillis, (w+1)*windowMillis-1)
	if err != nil {
		return err
	}
	defer m.close()
	if r.from != nil && w == r.from.Window {
		m.skip(r.from.Series)
	}
	for {
		ls, cols, ok, err := m.next()
		if err != nil || !ok {
			return err
		}
		for _, part := range split(cols, r.opts.Batch) {
			r.encoder.Series(ls, &part)
			if r.encoder.Samples >= r.opts.Batch || len(r.encoder.Body()) >= restoreBytes {
				if err := r.flush(ctx); err != nil {
					return err
				}
			}
		}
		r.at = &cursor{w, ls.Copy()}
	}
}

// split cuts the samples of a series into parts of which each fits into a body.
func split(cols *model.Columns, batch int) []model.Columns {
	if len(cols.T) <= batch && len(cols.Hist) <= restoreHists {
		return []model.Columns{*cols}
	}
	var out []model.Columns
	for i := 0; i < len(cols.T); i += batch {
		j := min(i+batch, len(cols.T))
		part := model.Columns{T: cols.T[i:j], V: cols.V[i:j], Ver: cols.Ver[i:j]}
		if len(cols.ST) > 0 {
			part.ST = cols.ST[i:j]
		}
		out = append(out, part)
	}
	for hists := range slices.Chunk(cols.Hist, restoreHists) {
		out = append(out, model.Columns{Hist: hists})
	}
	return out
}

// flush hands what is encoded over to a sender.
func (r *restoring) flush(ctx context.Context) error {
	if r.encoder.Empty() {
		return nil
	}
	c := content{slices.Clone(r.encoder.Body()), r.encoder.Samples, r.count, r.at}
	r.encoder.Reset()
	r.count++
	select {
	case r.bodies <- c:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// extras sends metadata and exemplars: few, so they are sent by every run.
func (r *restoring) extras(ctx context.Context) error {
	for _, n := range r.nodes {
		for part := range slices.Chunk(n.db.Metadata("", 0), restoreMetadata) {
			r.encoder.Metadata(part)
			if err := r.flushFull(ctx); err != nil {
				return err
			}
		}
		found, err := n.db.Exemplars(ctx, math.MinInt64, math.MaxInt64, []*labels.Matcher{everySeries()})
		if err != nil {
			return fmt.Errorf("read exemplars of node %d: %w", n.node.ID, err)
		}
		for _, x := range found {
			r.encoder.Exemplars(x.Labels, x.Exemplars)
			if err := r.flushFull(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *restoring) flushFull(ctx context.Context) error {
	if len(r.encoder.Body()) < restoreBytes {
		return nil
	}
	return r.flush(ctx)
}
