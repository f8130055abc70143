package engine

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/engine/buffer"
	"github.com/count-db/count/engine/column"
	"github.com/count-db/count/internal/model"
)

// Selection is what Select found: series sorted by labels over one atomic
// snapshot of the storage (E4). Close it; nothing may be called after, and Read
// must not run beside Close.
type Selection struct {
	db       *DB
	view     *view
	series   []selected
	files    []*liveFile // those in the range whose series have references
	days     []dayPart
	versions bool
	mark     uint64    // of the last change before the view was taken
	scratch  sync.Pool // of *readScratch
	closed   atomic.Bool
}

// selected is one series of a selection.
type selected struct {
	ref model.Ref // 0 when only day files name it
	// labels are kept here because the registry may forget a series that only
	// days hold while the selection is open.
	labels labels.Labels
}

// Select returns the series that all matchers match and that may have samples
// in [mint, maxt] (ms, inclusive).
func (db *DB) Select(ctx context.Context, mint, maxt int64, ms ...*labels.Matcher) (*Selection, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for {
		drops := db.presenceDrops.Load()
		s, err := db.selectOnce(mint, maxt, ms)
		if err != nil || db.presenceDrops.Load() == drops {
			return s, err
		}
		s.Close() // it may lack series whose marks went after the view was taken
	}
}

func (db *DB) selectOnce(mint, maxt int64, ms []*labels.Matcher) (*Selection, error) {
	mark := db.mutations.mark() // first: what is in it is in the view
	v := db.views.acquire()
	if v == nil {
		return nil, ErrClosed
	}
	s := &Selection{db: db, view: v, mark: mark}
	s.scratch.New = func() any { return &readScratch{merger: merger{versioned: db.opts.Versions}} }
	for _, f := range v.files {
		if !f.overlaps(mint, maxt) {
			continue
		}
		if f.day == nil {
			s.files = append(s.files, f)
			continue
		}
		s.days = append(s.days, dayPart{file: f})
	}
	for {
		// Again when series were forgotten meanwhile.
		generation := db.registry.Generation()
		refs := db.presentIn(s.files, db.registry.Select(ms...), mint, maxt)
		if err := s.fill(refs, ms); err != nil {
			s.Close()
			return nil, fmt.Errorf("select series: %w", err)
		}
		if s.allNamed() && db.registry.Generation() == generation {
			return s, nil
		}
	}
}

// allNamed says whether all series of the selection were still known when their
// labels were taken.
func (s *Selection) allNamed() bool {
	return !slices.ContainsFunc(s.series, func(one selected) bool {
		return one.labels.IsEmpty() && one.ref != 0 && !s.db.registry.Exists(one.ref)
	})
}

// presentIn keeps, in place, the series that may have samples in the range, in
// memory or in files.
func (db *DB) presentIn(files []*liveFile, refs []model.Ref, mint, maxt int64) []model.Ref {
	from, to := buffer.WindowOf(mint), buffer.WindowOf(maxt)
	var broad []*liveFile
	for _, f := range files {
		if f.isBroad() && f.overlaps(mint, maxt) {
			broad = append(broad, f)
		}
	}
	if len(broad) == 0 {
		return db.registry.FilterPresent(refs, from, to)
	}
	return slices.DeleteFunc(refs, func(ref model.Ref) bool {
		if db.registry.Present(ref, from, to) {
			return false
		}
		return !slices.ContainsFunc(broad, func(f *liveFile) bool {
			_, ok := f.reader.Find(ref)
			return ok
		})
	})
}

// fill makes the list of series: those of the registry and those of the days.
func (s *Selection) fill(refs []model.Ref, ms []*labels.Matcher) error {
	if len(s.days) == 0 {
		s.db.registry.SortByLabels(refs)
		s.series = make([]selected, len(refs))
		for i, ref := range refs {
			s.series[i] = selected{ref, s.db.registry.Labels(ref)}
		}
		return nil
	}
	u := dayUnion{db: s.db, refs: refs}
	for i := range s.days {
		if err := u.add(&s.days[i], ms); err != nil {
			return err
		}
	}
	s.series = u.series()
	for i := range s.days {
		u.place(&s.days[i])
	}
	return nil
}

// WithVersions makes Read fill Columns.Ver, where the storage keeps versions.
func (s *Selection) WithVersions() *Selection {
	s.versions = true
	return s
}

// Mark names a state of the storage: every change that the mark includes is in what
// the selection reads. Changes after it may or may not be.
func (s *Selection) Mark() uint64 { return s.mark }

// ChangedFrom returns the first time in [mint, maxt] (ms, inclusive) from which on
// the storage may now show something else than it did at a mark of the same DB;
// above maxt where it shows the same.
func (s *Selection) ChangedFrom(mark uint64, mint, maxt int64) int64 {
	return s.db.mutations.changedFrom(mark, mint, maxt)
}

// Len returns the number of series.
func (s *Selection) Len() int { return len(s.series) }

// Ref returns the reference of series i; 0 when only an old file names it.
func (s *Selection) Ref(i int) model.Ref { return s.series[i].ref }

// ID returns the id of series i.
func (s *Selection) ID(i int) model.SeriesID {
	if ref := s.series[i].ref; ref != 0 {
		if id := s.db.registry.ID(ref); id != (model.SeriesID{}) {
			return id
		}
	}
	return model.SeriesIDOf(s.series[i].labels)
}

// Labels returns the labels of series i.
func (s *Selection) Labels(i int) labels.Labels { return s.series[i].labels }

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
		sc.release()
		s.scratch.Put(sc)
	}()
	if len(s.view.tombs) > 0 {
		sc.spans = s.view.spansOf(sc.spans, s.Labels(i), mint, maxt)
	}
	if len(s.view.sheds) > 0 {
		sc.sheds = shedsOf(sc.sheds, s.view.sheds, s.ID(i).Token())
	}
	if err := s.read(sc, i, mint, maxt, dst); err != nil {
		return fmt.Errorf("read %s: %w", s.Labels(i), err)
	}
	if len(dst.Hist) > 0 {
		column.DeriveHints(dst.Hist)
	}
	if !s.versions {
		dst.Ver = dst.Ver[:0]
	}
	return nil
}

// gather finds the chunks of a series in the files of the view.
func (s *Selection) gather(sc *readScratch, i int, mint, maxt int64) error {
	for k := range s.days {
		d := &s.days[k]
		if n := d.at[i]; n >= 0 && d.file.overlaps(mint, maxt) {
			if err := sc.gatherFrom(d.file, int(n), mint, maxt); err != nil {
				return err
			}
		}
	}
	if ref := s.series[i].ref; ref != 0 {
		return sc.gather(s.files, ref, mint, maxt)
	}
	return nil
}

// read merges the parts of the view: the files came before the frozen buffer, that
// came before the active one. The buffers are read first, because the versions of
// what files hold are needed only where buffers reach into their time.
func (s *Selection) read(sc *readScratch, i int, mint, maxt int64, dst *model.Columns) error {
	if err := s.gather(sc, i, mint, maxt); err != nil {
		return err
	}
	buffered := &sc.buffers
	if len(sc.runs) == 0 {
		buffered = dst // nothing to merge with: read where it is wanted
	}
	buffered.Reset()
	if ref := s.series[i].ref; ref != 0 {
		if err := s.readBuffers(sc, ref, mint, maxt, buffered); err != nil {
			return err
		}
	}
	if len(sc.runs) == 0 {
		return nil
	}
	d := decoding{versioned: s.db.opts.Versions, all: s.versions || sc.reachInto(buffered, maxt)}
	if err := sc.readRuns(sc.runs, d, mint, maxt, dst); err != nil {
		return err
	}
	sc.merger.merge(dst, buffered)
	return nil
}

// readBuffers fills dst with what the buffers hold of a series.
func (s *Selection) readBuffers(sc *readScratch, ref model.Ref, mint, maxt int64, dst *model.Columns) error {
	into := dst
	for _, b := range []*epochBuffer{s.view.frozen, s.view.active} {
		if b == nil {
			continue
		}
		if err := b.Read(ref, mint, maxt, into); err != nil {
			return err
		}
		s.dropFromBuffer(into, sc.spans)
		if into != dst {
			sc.merger.merge(dst, into)
		}
		into = &sc.run
	}
	return nil
}

// reachInto says whether buffered samples may lie within the time of gathered
// chunks, or before it.
func (sc *readScratch) reachInto(buffered *model.Columns, maxt int64) bool {
	if buffered.Len() == 0 {
		return false
	}
	first, _ := timeRange(buffered)
	return slices.ContainsFunc(sc.runs, func(r fileRun) bool { return first <= min(r.chunk.MaxT, maxt) })
}

// dropFromBuffer applies tombstones to what a buffer holds. Without versions
// there is nothing to do: a delete flushed what came before it.
func (s *Selection) dropFromBuffer(c *model.Columns, spans []span) {
	dropSpans(c, spans, math.MaxUint64)
}
