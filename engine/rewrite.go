package engine

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"github.com/go-kit/log/level"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/engine/file"
	"github.com/count-db/count/engine/manifest"
	"github.com/count-db/count/internal/model"
)

// rewriter goes through the series of some files of a view and writes a new
// file from them, without what tombstones delete.
type rewriter struct {
	db     *DB
	view   *view
	inputs []*liveFile
	sc     readScratch
	out    model.Columns
	// floor is set where what is written is settled at it; see settledIn.
	floor *floor
	// damaged are the inputs of which something could not be read (E3): what can
	// be read goes into the new file, the input is set aside.
	damaged map[*fileHandle]*liveFile
}

func (db *DB) newRewriter(v *view, inputs []*liveFile) *rewriter {
	return &rewriter{db: db, view: v, inputs: inputs, sc: readScratch{merger: merger{versioned: db.opts.Versions}}}
}

// walk calls do with each series of the inputs in the order of labels; at(i) is
// the series' number in input i, or -1.
func (r *rewriter) walk(do func(ref model.Ref, at func(int) int) error) error {
	readers := make([]*file.Reader, len(r.inputs))
	for i, f := range r.inputs {
		readers[i] = f.reader
	}
	reg := r.db.registry
	w := file.NewWalk(readers, func(a, b model.Ref) int { return labels.Compare(reg.Labels(a), reg.Labels(b)) })
	for w.Next() {
		if !reg.Exists(w.Ref()) {
			continue // nobody can read it any more
		}
		if err := do(w.Ref(), w.At); err != nil {
			return err
		}
	}
	return nil
}

// sealWindow writes what the inputs hold of a window in its smallest form,
// merged by V1, and makes these parts of them dead.
func (db *DB) sealWindow(v workView, inputs []*liveFile, window int64) error {
	start := time.Now()
	mint, maxt := window*db.limits.Window, (window+1)*db.limits.Window-1
	f := describe(manifest.Sealed, v.fileID, inputs)
	r := db.newRewriter(v.view, inputs)
	r.floor = db.settledIn(v.view, inputs, window)
	added, err := db.createFile(f, func(w *file.Writer) error {
		return r.walk(func(ref model.Ref, at func(int) int) error { return r.sealSeries(w, ref, at, window, mint, maxt) })
	})
	if err == nil {
		err = r.setDamagedAside(added)
	}
	if err != nil {
		return err
	}
	e := edit{add: added, dead: map[uint64][]int64{}, loss: len(r.damaged) > 0}
	for _, in := range inputs {
		if in.Kind == manifest.Sealed {
			e.remove = append(e.remove, in.ID)
		} else {
			e.dead[in.ID] = []int64{window}
		}
	}
	if err := db.applyEdit(e); err != nil {
		return err
	}
	db.counters.sealed.Add(1)
	db.counters.lastSeal.Store(int64(time.Since(start)))
	if added != nil {
		info := added.reader.Info()
		db.counters.sealedBytes.Add(uint64(info.Bytes))
		level.Debug(db.opts.Logger).Log("msg", "sealed window", "window", window, "file", added.ID, "samples", info.Samples, "bytes", info.Bytes, "took", time.Since(start))
	}
	return nil
}

// sealSeries reads one series of a window from all inputs and writes it.
func (r *rewriter) sealSeries(w *file.Writer, ref model.Ref, at func(int) int, window, mint, maxt int64) error {
	defer r.sc.release()
	r.skipShed(r.db.registry.Token(ref))
	if err := r.gather(at, mint, maxt); err != nil || len(r.sc.runs) == 0 {
		return err
	}
	// The inputs may be broad files, whose series have no marks since a restart.
	r.db.registry.MarkPresent(ref, window)
	return r.writeMerged(w, ref, r.db.registry.Labels(ref), window, mint, maxt)
}

// skipShed makes gather leave out what is gone of the series at a position.
func (r *rewriter) skipShed(token uint64) {
	r.sc.sheds = shedsOf(r.sc.sheds, r.view.sheds, token)
}

// gather finds the chunks of a series in all inputs.
func (r *rewriter) gather(at func(int) int, mint, maxt int64) error {
	for i, f := range r.inputs {
		n := at(i)
		if n < 0 {
			continue
		}
		if err := r.sc.gatherFrom(f, n, mint, maxt); err != nil && r.tolerate(err) == nil {
			return err
		}
	}
	return nil
}

// tolerate notes a damaged input and returns it; nil when the error means
// something else.
func (r *rewriter) tolerate(err error) *liveFile {
	var d *damagedError
	if !errors.As(err, &d) {
		return nil
	}
	if r.damaged[d.file.fileHandle] == nil {
		level.Error(r.db.opts.Logger).Log("msg", "a data file is damaged: samples of it are lost here", "file", d.file.Name(), "err", err)
		if r.damaged == nil {
			r.damaged = map[*fileHandle]*liveFile{}
		}
		r.damaged[d.file.fileHandle] = d.file
	}
	return d.file
}

// setDamagedAside keeps the damaged inputs for a look at them, before the new
// file takes their place; when it fails the new file is removed.
func (r *rewriter) setDamagedAside(added *liveFile) error {
	for _, f := range r.damaged {
		err := r.db.mayGiveUp(f)
		if err == nil {
			err = r.db.linkAside(&f.File)
		}
		if err != nil && added != nil {
			added.removed = true
			err = errors.Join(err, added.close())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// writeMerged writes the gathered chunks of a series, merged and without what
// is deleted.
func (r *rewriter) writeMerged(w *file.Writer, ref model.Ref, ls labels.Labels, window, mint, maxt int64) error {
	r.sc.spans = r.view.spansOf(r.sc.spans, ls, mint, maxt)
	if err := r.readTolerant(r.sc.runs, mint, maxt); err != nil {
		return err
	}
	r.floor.settle(&r.out)
	w.Begin(ref)
	w.Floats(window, r.out.T, r.out.V, orNil(r.out.ST), orNil(r.out.Ver))
	w.Histograms(window, r.out.Hist, r.db.opts.Versions)
	return nil
}

// readTolerant reads chunks into r.out, without those of damaged files.
func (r *rewriter) readTolerant(runs []fileRun, mint, maxt int64) error {
	for {
		r.out.Reset()
		err := r.sc.readRuns(runs, decoding{r.db.opts.Versions, true}, mint, maxt, &r.out)
		if err == nil {
			return nil
		}
		bad := r.tolerate(err)
		if bad == nil {
			return err
		}
		n := 0
		for _, run := range runs {
			if r.sc.cursors[run.at].file != bad {
				runs[n] = run
				n++
			}
		}
		runs = runs[:n]
	}
}

// mergeWide joins the live chunks of wide files in one. Chunks that many files
// have of one series and window become one, in its smallest form, which costs
// what reading it costs later; others keep their bytes, but for those that a
// tombstone cuts.
func (db *DB) mergeWide(v workView, inputs []*liveFile) error {
	f := describe(manifest.Wide, v.fileID, inputs)
	r := db.newRewriter(v.view, inputs)
	added, err := db.createFile(f, func(w *file.Writer) error {
		cp := file.NewCopier(w)
		return r.walk(func(ref model.Ref, at func(int) int) error { return r.copySeries(w, cp, ref, at) })
	})
	if err == nil {
		err = r.setDamagedAside(added)
	}
	if err != nil {
		return err
	}
	e := edit{add: added, loss: len(r.damaged) > 0}
	for _, in := range inputs {
		e.remove = append(e.remove, in.ID)
		if in.isBroad() && added != nil {
			db.markPresence(added)
		}
	}
	if err := db.applyEdit(e); err != nil {
		return err
	}
	db.counters.merges.Add(1)
	if added != nil {
		db.counters.mergedBytes.Add(uint64(added.reader.Info().Bytes))
	}
	return nil
}

func (r *rewriter) copySeries(w *file.Writer, cp *file.Copier, ref model.Ref, at func(int) int) error {
	defer r.sc.release()
	r.skipShed(r.db.registry.Token(ref))
	if err := r.gather(at, -maxTime-1, maxTime); err != nil || len(r.sc.runs) == 0 {
		return err
	}
	w.Begin(ref)
	r.sc.spans = r.view.spansOf(r.sc.spans, r.db.registry.Labels(ref), -maxTime-1, maxTime)
	runs := r.sc.runs
	slices.SortStableFunc(runs, func(a, b fileRun) int { return cmp.Compare(a.chunk.Window, b.chunk.Window) })
	for len(runs) > 0 {
		n, samples := 0, 0
		for n < len(runs) && runs[n].chunk.Window == runs[0].chunk.Window {
			samples += runs[n].chunk.Count
			n++
		}
		if err := r.mergeRuns(w, cp, runs[:n], samples); err != nil {
			return err
		}
		runs = runs[n:]
	}
	return nil
}

// minJoined is the least number of samples that chunks are joined for: shorter
// ones are smaller as they are.
const minJoined = 64

// mergeRuns writes the chunks of a series and window.
func (r *rewriter) mergeRuns(w *file.Writer, cp *file.Copier, runs []fileRun, samples int) error {
	if len(runs) == 1 || samples < minJoined {
		for i := range runs {
			if err := r.copyRun(w, cp, &runs[i]); err != nil && r.tolerate(err) == nil {
				return err
			}
		}
		return nil
	}
	versioned := r.db.opts.Versions
	if err := r.readTolerant(runs, -maxTime-1, maxTime); err != nil {
		return err
	}
	window := runs[0].chunk.Window
	w.Values(window, r.out.T, r.out.V, orNil(r.out.ST), orNil(r.out.Ver))
	w.Histograms(window, r.out.Hist, versioned)
	return nil
}

// copyRun copies a chunk, or what tombstones leave of it.
func (r *rewriter) copyRun(w *file.Writer, cp *file.Copier, run *fileRun) error {
	c := &r.sc.cursors[run.at]
	if !cutBy(r.sc.spans, &run.chunk, c.file.ID) {
		return c.file.damaged(cp.Copy(c.cursor, &run.chunk))
	}
	versioned := r.db.opts.Versions
	r.out.Reset()
	if err := r.sc.decode(run, versioned, -maxTime-1, maxTime, &r.out); err != nil {
		return err
	}
	dropSpans(&r.out, r.sc.spans, c.file.ID)
	w.Floats(run.chunk.Window, r.out.T, r.out.V, orNil(r.out.ST), orNil(r.out.Ver))
	w.Histograms(run.chunk.Window, r.out.Hist, versioned)
	return nil
}

// cutBy says whether one of the spans may delete samples of the chunk; after as
// for dropSpans.
func cutBy(spans []span, c *file.Chunk, after uint64) bool {
	for i := range spans {
		s := &spans[i]
		byArrival, byVersion := c.MinVersion == 0 && s.seq > after, c.MaxVersion != 0 && c.MinVersion < s.version
		if (byArrival || byVersion) && s.mint <= c.MaxT && s.maxt >= c.MinT {
			return true
		}
	}
	return false
}
