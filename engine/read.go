package engine

import (
	"cmp"
	"slices"

	"github.com/count-db/count/engine/file"
	"github.com/count-db/count/internal/model"
)

// readScratch is what one Read works in.
type readScratch struct {
	merger  merger
	run     model.Columns
	group   model.Columns
	buffers model.Columns // what the buffers hold
	runs    []fileRun
	cursors []fileCursor
	spans   []span
	sheds   []*shed // that the series belongs to
}

// fileCursor is a cursor in use, of a file in the view.
type fileCursor struct {
	file   *liveFile
	cursor *file.Cursor
}

// fileRun is one chunk that a read takes samples from.
type fileRun struct {
	at      int // index into readScratch.cursors
	arrival int // order in which the chunks of the series came
	chunk   file.Chunk
}

// release gives the cursors back.
func (sc *readScratch) release() {
	for _, c := range sc.cursors {
		c.cursor.Release()
	}
	clear(sc.cursors)
	clear(sc.runs)
	sc.cursors, sc.runs, sc.spans, sc.sheds = sc.cursors[:0], sc.runs[:0], sc.spans[:0], sc.sheds[:0]
}

// gather finds the chunks of a series that may have samples in the range. The
// files are in the order of arrival, and so are a file's chunks of a series.
func (sc *readScratch) gather(files []*liveFile, ref model.Ref, mint, maxt int64) error {
	for _, f := range files {
		if !f.overlaps(mint, maxt) {
			continue
		}
		n, ok := f.reader.Find(ref)
		if !ok {
			continue
		}
		if err := sc.gatherFrom(f, n, mint, maxt); err != nil {
			return err
		}
	}
	return nil
}

// gatherFrom adds the chunks of series n of one file.
func (sc *readScratch) gatherFrom(f *liveFile, n int, mint, maxt int64) error {
	if slices.ContainsFunc(sc.sheds, func(s *shed) bool { return s.reaches(f) }) {
		return nil
	}
	cursor := f.reader.Cursor()
	sc.cursors = append(sc.cursors, fileCursor{f, cursor})
	chunks, err := cursor.Load(n)
	if err != nil {
		return f.damaged(err)
	}
	for i := range chunks {
		c := &chunks[i]
		if c.MinT <= maxt && c.MaxT >= mint && !f.isDead(c.Window) {
			sc.runs = append(sc.runs, fileRun{at: len(sc.cursors) - 1, arrival: len(sc.runs), chunk: *c})
		}
	}
	return nil
}

// decoding says which versions are decoded with samples.
type decoding struct {
	versioned bool // the storage has versions: they decide where chunks overlap
	all       bool // they are wanted of samples that need no decision too; else dst's mean nothing
}

// readRuns appends the samples of gathered chunks in [mint, maxt] to dst.
// Chunks that do not overlap in time, which is nearly always, are decoded where
// they are wanted.
func (sc *readScratch) readRuns(runs []fileRun, d decoding, mint, maxt int64, dst *model.Columns) error {
	if !slices.IsSortedFunc(runs, byTime) {
		slices.SortStableFunc(runs, byTime)
	}
	for len(runs) > 0 {
		end, last := 1, runs[0].chunk.MaxT
		for end < len(runs) && runs[end].chunk.MinT <= last {
			last = max(last, runs[end].chunk.MaxT)
			end++
		}
		var err error
		if end == 1 && len(sc.spans) == 0 {
			err = sc.decode(&runs[0], d.versioned && d.all, mint, maxt, dst)
		} else {
			err = sc.mergeGroup(runs[:end], d.versioned, mint, maxt, dst)
		}
		if err != nil {
			return err
		}
		runs = runs[end:]
	}
	return nil
}

func byTime(a, b fileRun) int { return cmp.Compare(a.chunk.MinT, b.chunk.MinT) }

// mergeGroup merges chunks that overlap in time, without what is deleted.
func (sc *readScratch) mergeGroup(runs []fileRun, versioned bool, mint, maxt int64, dst *model.Columns) error {
	slices.SortFunc(runs, func(a, b fileRun) int { return cmp.Compare(a.arrival, b.arrival) })
	sc.group.Reset()
	for i := range runs {
		sc.run.Reset()
		if err := sc.decode(&runs[i], versioned, mint, maxt, &sc.run); err != nil {
			return err
		}
		dropSpans(&sc.run, sc.spans, sc.cursors[runs[i].at].file.ID)
		sc.merger.merge(&sc.group, &sc.run)
	}
	sc.merger.merge(dst, &sc.group) // dst ends before the group
	return nil
}

// decode appends the samples of a gathered chunk in [mint, maxt] to dst, which
// ends before the chunk.
func (sc *readScratch) decode(r *fileRun, versioned bool, mint, maxt int64, dst *model.Columns) error {
	return sc.cursors[r.at].decode(&r.chunk, versioned, mint, maxt, dst)
}

// decode appends the samples of a chunk that the cursor loaded.
func (c *fileCursor) decode(chunk *file.Chunk, versioned bool, mint, maxt int64, dst *model.Columns) error {
	if !chunk.Floats() {
		return c.decodeHistograms(chunk, mint, maxt, dst)
	}
	ts, err := c.cursor.Times(chunk)
	if err != nil {
		return c.file.damaged(err)
	}
	lo, hi := 0, len(ts)
	if chunk.MinT < mint {
		lo, _ = slices.BinarySearch(ts, mint)
	}
	if chunk.MaxT > maxt {
		hi, _ = slices.BinarySearch(ts, maxt+1) // maxt < MaxT: no overflow
	}
	if lo >= hi {
		return nil
	}
	at := len(dst.V)
	if dst.V, err = c.cursor.Floats(dst.V, chunk); err != nil {
		return c.file.damaged(err)
	}
	dst.V = cut(dst.V, at, lo, hi)
	if err := c.decodeStarts(chunk, lo, hi, dst); err != nil {
		return err
	}
	if versioned {
		at := len(dst.Ver)
		if dst.Ver, err = c.cursor.AppendVersions(dst.Ver, chunk); err != nil {
			return c.file.damaged(err)
		}
		dst.Ver = cut(dst.Ver, at, lo, hi)
	}
	key := c.file.timesKey(chunk.TimesID(), lo, hi)
	if len(dst.T) > 0 {
		key = joinKeys(dst.TKey, key)
	}
	dst.T, dst.TKey = append(dst.T, ts[lo:hi]...), key
	return nil
}

// decodeStarts appends the start timestamps lo to hi of a chunk; it is called
// before the timestamps are appended.
func (c *fileCursor) decodeStarts(chunk *file.Chunk, lo, hi int, dst *model.Columns) error {
	if !chunk.HasSTs() {
		if len(dst.ST) > 0 {
			dst.ST = append(dst.ST, make([]int64, hi-lo)...)
		}
		return nil
	}
	sts, err := c.cursor.STs(chunk)
	if err != nil {
		return c.file.damaged(err)
	}
	padStarts(dst)
	dst.ST = append(dst.ST, sts[lo:hi]...)
	return nil
}

func (c *fileCursor) decodeHistograms(chunk *file.Chunk, mint, maxt int64, dst *model.Columns) error {
	at := len(dst.Hist)
	var err error
	if dst.Hist, err = c.cursor.Histograms(dst.Hist, chunk); err != nil {
		return c.file.damaged(err)
	}
	lo, hi := 0, len(dst.Hist)-at
	for lo < hi && dst.Hist[at+lo].T < mint {
		lo++
	}
	for lo < hi && dst.Hist[at+hi-1].T > maxt {
		hi--
	}
	end := len(dst.Hist)
	kept := cut(dst.Hist, at, lo, hi)
	clear(dst.Hist[len(kept):end])
	dst.Hist = kept
	return nil
}

// cut keeps, of what lies in xs from at on, the elements lo to hi.
func cut[T any](xs []T, at, lo, hi int) []T {
	if lo > 0 {
		copy(xs[at:], xs[at+lo:at+hi])
	}
	return xs[:at+hi-lo]
}
