package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"sort"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/prometheus/model/labels"
	"golang.org/x/sync/errgroup"

	"github.com/count-db/count/engine"
	"github.com/count-db/count/internal/admission"
	"github.com/count-db/count/internal/backup"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/server"
	"github.com/count-db/count/internal/telemetry"
	"github.com/count-db/count/internal/wire"
)

const (
	restoresAtOnce = 4  // requests of restores; more are told to come back
	restoreWidth   = 64 // batches of one request that wait for the disks together
)

// restoreWriter is what a restore needs of the write path.
type restoreWriter interface {
	// Append writes samples as new ones.
	Append(ctx context.Context, b *model.Batch) error
	// AppendKept writes samples that keep their version: what is newer, and what
	// was deleted at a higher version, wins.
	AppendKept(ctx context.Context, b *model.Batch) error
	// DeleteKept stores a tombstone that keeps its version.
	DeleteKept(ctx context.Context, t model.Tombstone) error
}

// restores serves backup.RestorePath.
type restores struct {
	db     *engine.DB
	writer restoreWriter
	slots  chan struct{} // capacity restoresAtOnce
	logger log.Logger
}

func newRestores(db *engine.DB, w restoreWriter, logger log.Logger) *restores {
	return &restores{db: db, writer: w, slots: make(chan struct{}, restoresAtOnce), logger: logger}
}

// ServeHTTP implements http.Handler.
func (s *restores) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	default:
		w.Header().Set("Retry-After", "1")
		server.WriteError(w, http.StatusTooManyRequests, "enough of restores is being written already")
		return
	}
	samples, err := s.restore(r)
	if err == nil {
		level.Debug(telemetry.Logger(r.Context(), s.logger)).Log("msg", "part of a restore is written", "samples", samples)
		w.WriteHeader(http.StatusNoContent)
		return
	}
	code, retryAfter := admission.StatusOf(err)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		code = http.StatusRequestEntityTooLarge
	case errors.Is(err, wire.ErrCorrupt):
		code = http.StatusBadRequest
	}
	if retryAfter > 0 {
		w.Header().Set("Retry-After", admission.RetryAfterSeconds(retryAfter))
	}
	server.WriteError(w, code, err.Error())
}

func (s *restores) restore(r *http.Request) (samples int, err error) {
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, backup.MaxBody))
	if err != nil {
		return 0, fmt.Errorf("read the body: %w", err)
	}
	t := &restoring{ctx: r.Context(), restores: s, overwrite: r.FormValue("overwrite") == "true", batches: map[model.Version]*model.Batch{}}
	if err := backup.DecodeBody(body, t); err != nil {
		return 0, err
	}
	return t.samples, t.write()
}

// restoring is one request: a backup.Receiver.
type restoring struct {
	ctx       context.Context //nolint:containedctx // it is the request
	restores  *restores
	overwrite bool
	batches   map[model.Version]*model.Batch // 0: without a version of their own
	samples   int
}

// of returns the batch of a version. Without versions there is one for all.
func (t *restoring) of(v model.Version) *model.Batch {
	if t.overwrite || !t.restores.db.Versioned() {
		v = 0
	}
	b := t.batches[v]
	if b == nil {
		b = &model.Batch{Version: v}
		t.batches[v] = b
	}
	return b
}

// Tombstones implements backup.Receiver. A node without versions applies a delete
// to what is there: that of a backup is long past.
func (t *restoring) Tombstones(all []model.Tombstone) error {
	if t.overwrite || !t.restores.db.Versioned() {
		return nil
	}
	for _, ts := range all {
		if err := t.restores.writer.DeleteKept(t.ctx, ts); err != nil {
			return fmt.Errorf("restore a delete: %w", err)
		}
	}
	return nil
}

// Series implements backup.Receiver.
func (t *restoring) Series(ls labels.Labels, cols *model.Columns) error {
	if !t.overwrite && !t.restores.db.Versioned() {
		if err := t.restores.onlyAbsent(t.ctx, ls, cols); err != nil {
			return err
		}
	}
	if cols.Len() == 0 {
		return nil
	}
	ref, err := interner{t.restores.db}.Intern(ls)
	if err != nil {
		return fmt.Errorf("restore %s: %w", ls, err)
	}
	for i, at := range cols.T {
		b := t.of(cols.Ver[i])
		st := int64(0)
		if len(cols.ST) > 0 {
			st = cols.ST[i]
		}
		if st != 0 || len(b.STs) > 0 {
			for len(b.STs) < len(b.Floats) {
				b.STs = append(b.STs, 0)
			}
			b.STs = append(b.STs, st)
		}
		b.Floats = append(b.Floats, model.FloatSample{T: at, V: cols.V[i], Ref: ref})
	}
	for _, p := range cols.Hist {
		b := t.of(p.Ver)
		b.Hists = append(b.Hists, model.HistogramSample{T: p.T, ST: p.ST, H: p.H, FH: p.FH, Ref: ref})
	}
	t.samples += cols.Len()
	return nil
}

// Metadata implements backup.Receiver.
func (t *restoring) Metadata(all []model.Metadata) error {
	b := t.of(t.restores.db.Clock().Last())
	b.Metadata = append(b.Metadata, all...)
	return nil
}

// Exemplars implements backup.Receiver.
func (t *restoring) Exemplars(ls labels.Labels, all []model.Exemplar) error {
	ref, err := interner{t.restores.db}.Intern(ls)
	if err != nil {
		return fmt.Errorf("restore exemplars of %s: %w", ls, err)
	}
	b := t.of(t.restores.db.Clock().Last())
	for _, e := range all {
		e.Ref = ref
		b.Exemplars = append(b.Exemplars, e)
	}
	return nil
}

// write makes everything durable: the batches together, so that they share syncs.
func (t *restoring) write() error {
	g, ctx := errgroup.WithContext(t.ctx)
	g.SetLimit(restoreWidth)
	for _, v := range slices.Sorted(maps.Keys(t.batches)) {
		b := t.batches[v]
		g.Go(func() error {
			if v == 0 {
				return t.restores.writer.Append(ctx, b)
			}
			return t.restores.writer.AppendKept(ctx, b)
		})
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("write the samples: %w", err)
	}
	return nil
}

// onlyAbsent removes from cols what this node, which keeps no versions, has a
// sample for or has deleted since.
func (s *restores) onlyAbsent(ctx context.Context, ls labels.Labels, cols *model.Columns) error {
	mint, maxt := spanOf(cols)
	have, err := s.have(ctx, ls, mint, maxt)
	if err != nil {
		return fmt.Errorf("restore %s: %w", ls, err)
	}
	var deletes []model.Tombstone
	for _, t := range s.db.Tombstones(mint, maxt) {
		if t.Matches(ls) {
			deletes = append(deletes, t)
		}
	}
	hidden := func(at int64, v model.Version) bool {
		return have[at] || slices.ContainsFunc(deletes, func(t model.Tombstone) bool { return t.MinT <= at && at <= t.MaxT && v < t.Version })
	}
	kept := 0
	for i, at := range cols.T {
		if hidden(at, cols.Ver[i]) {
			continue
		}
		cols.T[kept], cols.V[kept], cols.Ver[kept] = at, cols.V[i], cols.Ver[i]
		if len(cols.ST) > 0 {
			cols.ST[kept] = cols.ST[i]
		}
		kept++
	}
	cols.T, cols.V, cols.Ver = cols.T[:kept], cols.V[:kept], cols.Ver[:kept]
	if len(cols.ST) > 0 {
		cols.ST = cols.ST[:kept]
	}
	cols.Hist = slices.DeleteFunc(cols.Hist, func(p model.HistogramPoint) bool { return hidden(p.T, p.Ver) })
	return nil
}

// have returns the timestamps that this node has a sample of the series for.
func (s *restores) have(ctx context.Context, ls labels.Labels, mint, maxt int64) (map[int64]bool, error) {
	var ms []*labels.Matcher
	ls.Range(func(l labels.Label) {
		ms = append(ms, &labels.Matcher{Type: labels.MatchEqual, Name: l.Name, Value: l.Value})
	})
	sel, err := s.db.Select(ctx, mint, maxt, ms...)
	if err != nil {
		return nil, err
	}
	defer sel.Close()
	i := sort.Search(sel.Len(), func(i int) bool { return labels.Compare(sel.Labels(i), ls) >= 0 })
	if i == sel.Len() || !labels.Equal(sel.Labels(i), ls) {
		return nil, nil
	}
	var cols model.Columns
	if err := sel.Read(i, mint, maxt, &cols); err != nil {
		return nil, err
	}
	out := make(map[int64]bool, cols.Len())
	for _, at := range cols.T {
		out[at] = true
	}
	for i := range cols.Hist {
		out[cols.Hist[i].T] = true
	}
	return out, nil
}

// spanOf returns the first and the last timestamp.
func spanOf(cols *model.Columns) (mint, maxt int64) {
	first := true
	note := func(t int64) {
		if first {
			mint, maxt, first = t, t, false
		}
		mint, maxt = min(mint, t), max(maxt, t)
	}
	if n := len(cols.T); n > 0 {
		note(cols.T[0])
		note(cols.T[n-1])
	}
	if n := len(cols.Hist); n > 0 {
		note(cols.Hist[0].T)
		note(cols.Hist[n-1].T)
	}
	return mint, maxt
}

// AppendKept implements restoreWriter for a node without others: its storage
// may have versions from when it was one of a cluster.
func (a *localAppender) AppendKept(ctx context.Context, b *model.Batch) error {
	_, err := a.db.Append(ctx, b, engine.AppendOptions{})
	return admissionError(err)
}

// DeleteKept implements restoreWriter.
func (a *localAppender) DeleteKept(ctx context.Context, t model.Tombstone) error {
	return a.db.Delete(ctx, t)
}

// AppendKept implements restoreWriter.
func (a clusterAppender) AppendKept(ctx context.Context, b *model.Batch) error {
	return forgotten(a.c.AppendKept(ctx, b))
}

// DeleteKept implements restoreWriter.
func (a clusterAppender) DeleteKept(ctx context.Context, t model.Tombstone) error {
	return a.c.DeleteKept(ctx, t)
}
