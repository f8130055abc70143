package node

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/prometheus/model/labels"
	"golang.org/x/sync/errgroup"

	"github.com/count-db/count/engine"
	"github.com/count-db/count/ingest"
	"github.com/count-db/count/internal/admission"
	"github.com/count-db/count/internal/backup"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/node/storage"
	"github.com/count-db/count/internal/noted"
	"github.com/count-db/count/internal/server"
	"github.com/count-db/count/internal/telemetry"
	"github.com/count-db/count/internal/wire"
	"github.com/count-db/count/promql"
)

const (
	restoresAtOnce = 4  // requests of restores; more are told to come back
	lookupsAtOnce  = 16 // series of one request that are compared with what is there
	restoreBatch   = 50_000
)

// restores serves backup.RestorePath. What comes back is written as new: by the
// time of a restore the versions of a backup may be below what is settled (V4).
// Unless it is to overwrite, only what is absent is written, by a complete read.
type restores struct {
	db     *engine.DB
	store  promql.Store
	writer ingest.Appender
	slots  chan struct{} // capacity restoresAtOnce
	logger log.Logger
}

func newRestores(db *engine.DB, s promql.Store, w ingest.Appender, logger log.Logger) *restores {
	return &restores{db: db, store: s, writer: w, slots: make(chan struct{}, restoresAtOnce), logger: logger}
}

// ServeHTTP implements http.Handler.
func (s *restores) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		disk := s.db.Identity().DiskID
		server.WriteJSON(w, http.StatusOK, backup.Target{Disk: hex.EncodeToString(disk[:])})
		return
	}
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	default:
		w.Header().Set("Retry-After", "1")
		server.WriteError(w, http.StatusTooManyRequests, "enough of restores is being written already")
		return
	}
	out, err := s.restore(r)
	if err == nil {
		level.Debug(telemetry.Logger(r.Context(), s.logger)).Log("msg", "part of a restore is written", "written", out.Written, "kept", out.Kept)
		server.WriteJSON(w, http.StatusOK, out)
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

func (s *restores) restore(r *http.Request) (out backup.Outcome, err error) {
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, backup.MaxBody))
	if err != nil {
		return out, fmt.Errorf("read the body: %w", err)
	}
	var t restoring
	if err := backup.DecodeBody(body, &t); err != nil {
		return out, err
	}
	if r.FormValue("overwrite") != "true" {
		if out.Kept, err = s.onlyAbsent(r.Context(), t.series); err != nil {
			return out, err
		}
	}
	out.Written, err = s.write(r.Context(), &t)
	return out, err
}

// restoring is what one request holds: a backup.Receiver.
type restoring struct {
	series    []restoredSeries
	metadata  []model.Metadata
	exemplars []restoredExemplars
}

type restoredSeries struct {
	labels labels.Labels
	cols   *model.Columns
}

type restoredExemplars struct {
	labels labels.Labels
	all    []model.Exemplar
}

// Series implements backup.Receiver.
func (t *restoring) Series(ls labels.Labels, cols *model.Columns) error {
	t.series = append(t.series, restoredSeries{ls, cols})
	return nil
}

// Metadata implements backup.Receiver.
func (t *restoring) Metadata(all []model.Metadata) error {
	t.metadata = append(t.metadata, all...)
	return nil
}

// Exemplars implements backup.Receiver.
func (t *restoring) Exemplars(ls labels.Labels, all []model.Exemplar) error {
	t.exemplars = append(t.exemplars, restoredExemplars{ls, all})
	return nil
}

// write stores what is left of a request, a batch after the other.
func (s *restores) write(ctx context.Context, t *restoring) (samples int, err error) {
	b := &model.Batch{Metadata: t.metadata}
	flush := func() error {
		n := b.Samples()
		if n+len(b.Metadata)+len(b.Exemplars) == 0 {
			return nil
		}
		if err := s.writer.Append(ctx, b); err != nil {
			return fmt.Errorf("write %d samples: %w", n, err)
		}
		samples += n
		b.Reset()
		return nil
	}
	for _, x := range t.series {
		if x.cols.Len() == 0 {
			continue
		}
		ref, err := storage.Interner{DB: s.db}.Intern(x.labels)
		if err != nil {
			return samples, fmt.Errorf("restore %s: %w", x.labels, err)
		}
		addColumns(b, ref, x.cols)
		if b.Samples() >= restoreBatch {
			if err := flush(); err != nil {
				return samples, err
			}
		}
	}
	for _, x := range t.exemplars {
		ref, err := storage.Interner{DB: s.db}.Intern(x.labels)
		if err != nil {
			return samples, fmt.Errorf("restore exemplars of %s: %w", x.labels, err)
		}
		for _, e := range x.all {
			e.Ref = ref
			b.Exemplars = append(b.Exemplars, e)
		}
	}
	return samples, flush()
}

// addColumns adds the samples of a series to a batch.
func addColumns(b *model.Batch, ref model.Ref, cols *model.Columns) {
	if len(cols.ST) > 0 || len(b.STs) > 0 {
		for len(b.STs) < len(b.Floats) {
			b.STs = append(b.STs, 0)
		}
		if len(cols.ST) > 0 {
			b.STs = append(b.STs, cols.ST...)
		} else {
			b.STs = append(b.STs, make([]int64, len(cols.T))...)
		}
	}
	for i, at := range cols.T {
		b.Floats = append(b.Floats, model.FloatSample{T: at, V: cols.V[i], Ref: ref})
	}
	for _, p := range cols.Hist {
		b.Hists = append(b.Hists, model.HistogramSample{T: p.T, ST: p.ST, H: p.H, FH: p.FH, Ref: ref})
	}
}

// onlyAbsent removes what is there already, or was deleted since it was written,
// and returns how much that is.
func (s *restores) onlyAbsent(ctx context.Context, series []restoredSeries) (kept int, err error) {
	mint, maxt := spanOfAll(series)
	names, warnings, err := s.store.LabelValues(ctx, labels.MetricName, mint, maxt, 0)
	if err != nil {
		return 0, fmt.Errorf("look for what is there: %w", err)
	}
	if !noted.OnlyGone(warnings) {
		return 0, errIncomplete
	}
	there := make(map[string]bool, len(names))
	for _, name := range names {
		there[name] = true
	}
	deletes, err := s.deletes(ctx, mint, maxt)
	if err != nil {
		return 0, err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(lookupsAtOnce)
	var mu sync.Mutex
	for _, x := range series {
		// Series without a name are in no list of names.
		name := x.labels.Get(labels.MetricName)
		if !there[name] && name != "" && len(deletes) == 0 {
			continue
		}
		g.Go(func() error {
			n, err := s.absentOf(ctx, x, deletes)
			mu.Lock()
			defer mu.Unlock()
			kept += n
			return err
		})
	}
	return kept, g.Wait()
}

// deletes returns the deletes that overlap a range of time, also those that this
// node has missed.
func (s *restores) deletes(ctx context.Context, mint, maxt int64) ([]model.Tombstone, error) {
	c, ok := s.store.(interface {
		deletes(ctx context.Context, mint, maxt int64) (all []model.Tombstone, complete bool, err error)
	})
	if !ok {
		return s.db.Tombstones(mint, maxt), nil
	}
	all, complete, err := c.deletes(ctx, mint, maxt)
	if err == nil && !complete {
		err = errIncomplete
	}
	if err != nil {
		return nil, fmt.Errorf("look for deletes: %w", err)
	}
	return all, nil
}

// absentOf leaves of a series what is absent.
func (s *restores) absentOf(ctx context.Context, x restoredSeries, deletes []model.Tombstone) (kept int, err error) {
	have, err := s.have(ctx, x)
	if err != nil {
		return 0, fmt.Errorf("look for what is there of %s: %w", x.labels, err)
	}
	var mine []model.Tombstone
	for _, t := range deletes {
		if t.Matches(x.labels) {
			mine = append(mine, t)
		}
	}
	before := x.cols.Len()
	x.cols.Keep(func(at int64, v model.Version) bool {
		return !have[at] && !slices.ContainsFunc(mine, func(t model.Tombstone) bool { return t.MinT <= at && at <= t.MaxT && v < t.Version })
	})
	return before - x.cols.Len(), nil
}

// errIncomplete says that what is there cannot be told now.
var errIncomplete = &admission.UnavailableError{Reason: "not enough copies answer to tell what is there already"}

// have returns the timestamps that there is a sample of the series for.
func (s *restores) have(ctx context.Context, x restoredSeries) (map[int64]bool, error) {
	mint, maxt := spanOf(x.cols)
	set, err := s.lookup(ctx, mint, maxt, x.labels)
	if err != nil {
		return nil, err
	}
	defer set.Close()
	out := map[int64]bool{}
	for set.Next() {
		series := set.At()
		if !labels.Equal(series.Labels(), x.labels) {
			continue
		}
		var cols model.Columns
		if err := series.Read(mint, maxt, &cols); err != nil {
			return nil, err
		}
		for _, at := range cols.T {
			out[at] = true
		}
		for i := range cols.Hist {
			out[cols.Hist[i].T] = true
		}
	}
	if err := set.Err(); err != nil {
		return nil, err
	}
	if !noted.OnlyGone(set.Warnings()) {
		return nil, errIncomplete
	}
	return out, nil
}

func (s *restores) lookup(ctx context.Context, mint, maxt int64, ls labels.Labels) (promql.SeriesSet, error) {
	if l, ok := s.store.(promql.SeriesLookup); ok {
		return l.SelectSeries(ctx, mint, maxt, ls)
	}
	var ms []*labels.Matcher
	ls.Range(func(l labels.Label) {
		ms = append(ms, &labels.Matcher{Type: labels.MatchEqual, Name: l.Name, Value: l.Value})
	})
	return s.store.Select(ctx, mint, maxt, ms...)
}

// spanOf returns the first and the last timestamp.
func spanOf(cols *model.Columns) (mint, maxt int64) {
	mint, maxt = maxTime, minTime
	if n := len(cols.T); n > 0 {
		mint, maxt = cols.T[0], cols.T[n-1]
	}
	if n := len(cols.Hist); n > 0 {
		mint, maxt = min(mint, cols.Hist[0].T), max(maxt, cols.Hist[n-1].T)
	}
	return mint, maxt
}

func spanOfAll(series []restoredSeries) (mint, maxt int64) {
	mint, maxt = maxTime, minTime
	for _, x := range series {
		a, b := spanOf(x.cols)
		mint, maxt = min(mint, a), max(maxt, b)
	}
	return mint, maxt
}

const minTime, maxTime = -1 << 63, 1<<63 - 1
