package engine

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/engine/buffer"
	"github.com/count-db/count/internal/model"
)

// Selection is what Select found: series sorted by labels over one atomic
// snapshot of the storage (E4). Close it; nothing may be called after, and Read
// must not run beside Close.
type Selection struct {
	db       *DB
	view     *view
	refs     []model.Ref
	versions bool
	scratch  sync.Pool // of *readScratch
	closed   atomic.Bool
}

// Select returns the series that all matchers match and that may have samples
// in [mint, maxt] (ms, inclusive).
func (db *DB) Select(ctx context.Context, mint, maxt int64, ms ...*labels.Matcher) (*Selection, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	v := db.views.acquire()
	if v == nil {
		return nil, ErrClosed
	}
	s := &Selection{db: db, view: v}
	s.scratch.New = func() any { return &readScratch{merger: merger{versioned: db.opts.Versions}} }
	s.refs = db.registry.FilterPresent(db.registry.Select(ms...), buffer.WindowOf(mint), buffer.WindowOf(maxt))
	db.registry.SortByLabels(s.refs)
	return s, nil
}

// WithVersions makes Read fill Columns.Ver, where the storage keeps versions.
func (s *Selection) WithVersions() *Selection {
	s.versions = true
	return s
}

// Len returns the number of series.
func (s *Selection) Len() int { return len(s.refs) }

// Ref returns the reference of series i; 0 when only an old file names it.
func (s *Selection) Ref(i int) model.Ref { return s.refs[i] }

// ID returns the id of series i.
func (s *Selection) ID(i int) model.SeriesID { return s.db.registry.ID(s.refs[i]) }

// Labels returns the labels of series i.
func (s *Selection) Labels(i int) labels.Labels { return s.db.registry.Labels(s.refs[i]) }

// Close releases the snapshot. Closing again does nothing.
func (s *Selection) Close() {
	if !s.closed.CompareAndSwap(false, true) {
		return
	}
	if err := s.db.views.release(s.view); err != nil {
		s.db.warn("close files that nothing reads any more", err)
	}
}

// Read resets dst and reads the samples of series i in [mint, maxt] (ms,
// inclusive) into it, merged by V1 and without deleted ones. Safe concurrently
// with distinct dst. Slices in dst that are long enough are used again.
func (s *Selection) Read(i int, mint, maxt int64, dst *model.Columns) error {
	dst.Reset()
	if mint > maxt {
		return nil
	}
	sc := s.scratch.Get().(*readScratch)
	defer func() {
		sc.spans = sc.spans[:0]
		s.scratch.Put(sc)
	}()
	ref := s.refs[i]
	if len(s.view.tombs) > 0 {
		sc.spans = spansOf(sc.spans, s.view.tombs, s.Labels(i), mint, maxt)
	}
	if err := s.read(sc, ref, mint, maxt, dst); err != nil {
		return fmt.Errorf("read %s: %w", s.Labels(i), err)
	}
	if !s.versions {
		dst.Ver = dst.Ver[:0]
	}
	return nil
}

func (s *Selection) read(sc *readScratch, ref model.Ref, mint, maxt int64, dst *model.Columns) error {
	if s.view.frozen != nil {
		if err := s.addBuffer(sc, s.view.frozen.Buffer, ref, mint, maxt, dst); err != nil {
			return err
		}
	}
	return s.addBuffer(sc, s.view.active, ref, mint, maxt, dst)
}

// addBuffer merges what a buffer holds of a series into dst.
func (s *Selection) addBuffer(sc *readScratch, b *buffer.Buffer, ref model.Ref, mint, maxt int64, dst *model.Columns) error {
	if dst.Len() == 0 {
		// Nothing to merge with: read where it is wanted.
		if err := b.Read(ref, mint, maxt, dst); err != nil {
			return err
		}
		s.dropFromBuffer(dst, sc.spans)
		return nil
	}
	if err := b.Read(ref, mint, maxt, &sc.run); err != nil {
		return err
	}
	s.dropFromBuffer(&sc.run, sc.spans)
	sc.merger.merge(dst, &sc.run)
	return nil
}

// dropFromBuffer applies tombstones to what a buffer holds. Without versions
// there is nothing to do: a delete flushed what came before it.
func (s *Selection) dropFromBuffer(c *model.Columns, spans []span) {
	if s.db.opts.Versions {
		dropSpans(c, spans, 0, true)
	}
}
