package engine

import (
	"errors"
	"time"

	"github.com/go-kit/log/level"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/count-db/count/engine/day"
	"github.com/count-db/count/engine/file"
	"github.com/count-db/count/engine/manifest"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/wire"
)

// buildDay joins the sealed windows of a day, and the day file there is, into
// one day file. Bytes are copied, so deletes that the inputs do not know yet
// are worked into them first, and what is shed is taken out.
func (db *DB) buildDay(v workView, inputs []*liveFile, number int64) error {
	for _, in := range inputs {
		if touched := in.windowsCutBy(v.tombs); len(touched) > 0 {
			return db.cleanFile(v, in, touched[0])
		}
		if window, found := db.shedIn(v.view, in); found {
			return db.cleanFile(v, in, window)
		}
	}
	start := time.Now()
	f := describe(manifest.Day, v.fileID, inputs)
	sources := make([]day.Source, len(inputs))
	for i, in := range inputs {
		sources[i] = db.daySource(in)
	}
	info, err := day.Create(db.fs, db.manifest.Path(f.Kind, f.ID), sources, day.Options{
		Combine: func(w *file.Writer, window int64, parts []day.Part) error {
			return db.combineParts(w, window, parts, db.settledIn(v.view, inputs, window))
		},
		Settled: db.settledParts(v.view, inputs),
	})
	if errors.Is(err, wire.ErrCorrupt) {
		return db.salvage(v, inputs, err)
	}
	if err != nil {
		return err
	}
	added, err := db.openCreated(f, info)
	if err != nil {
		return err
	}
	e := edit{add: added}
	for _, in := range inputs {
		e.remove = append(e.remove, in.ID)
	}
	if err := db.applyEdit(e); err != nil {
		return err
	}
	db.counters.days.Add(1)
	level.Debug(db.opts.Logger).Log("msg", "built day", "day", number, "file", f.ID, "samples", info.Samples, "bytes", info.Bytes, "took", time.Since(start))
	return nil
}

// salvage writes anew what can be read of the first damaged input, a window at
// a time; the plan then comes back to the day.
func (db *DB) salvage(v workView, inputs []*liveFile, reason error) error {
	for _, in := range inputs {
		if !errors.Is(in.reader.Check(), wire.ErrCorrupt) {
			continue
		}
		for _, w := range in.reader.Info().Windows {
			if !in.isDead(w.Window) {
				return db.cleanFile(v, in, w.Window)
			}
		}
	}
	return reason
}

// daySource offers a sealed file or a day file to the building of a day.
func (db *DB) daySource(in *liveFile) day.Source {
	return day.Source{
		File: in.reader,
		Labels: func(i int) (labels.Labels, error) {
			if in.day != nil {
				return in.day.Labels(i)
			}
			return db.registry.Labels(in.reader.Ref(i)), nil
		},
		Keep: func(window int64) bool { return !in.isDead(window) },
	}
}

// combineParts merges the chunks that several sources have of one series and
// window; the sources are in the order of arrival.
func (db *DB) combineParts(w *file.Writer, window int64, parts []day.Part, settled *floor) error {
	m := merger{versioned: db.opts.Versions}
	var acc, run model.Columns
	for _, p := range parts {
		run.Reset()
		c := fileCursor{file: &liveFile{}, cursor: p.Cursor}
		if err := c.decode(p.Chunk, m.versioned, -maxTime-1, maxTime, &run); err != nil {
			return err
		}
		m.merge(&acc, &run)
	}
	settled.settle(&acc)
	w.Floats(window, acc.T, acc.V, orNil(acc.ST), orNil(acc.Ver))
	w.Histograms(window, acc.Hist, m.versioned)
	return nil
}

// windowsCutBy returns the live windows of a file that deletes younger than
// the file reach.
func (f *liveFile) windowsCutBy(tombs []tombstone) []int64 {
	var out []int64
	for _, w := range f.reader.Info().Windows {
		if f.isDead(w.Window) {
			continue
		}
		for i := range tombs {
			if t := &tombs[i]; t.seq > f.ID && t.MinT <= w.MaxT && t.MaxT >= w.MinT {
				out = append(out, w.Window)
				break
			}
		}
	}
	return out
}

// cleanFile writes one window of a sealed file or a day file anew, without what
// is deleted, as a sealed file.
func (db *DB) cleanFile(v workView, in *liveFile, window int64) error {
	if in.day == nil {
		return db.sealWindow(v, []*liveFile{in}, window)
	}
	mint, maxt := window*db.limits.Window, (window+1)*db.limits.Window-1
	f := describe(manifest.Sealed, v.fileID, nil)
	f.Born = in.Born // and no arrival: it is older than all that is sealed already
	r := db.newRewriter(v.view, []*liveFile{in})
	added, err := db.createFile(f, func(w *file.Writer) error {
		for i := range in.day.Len() {
			ls, err := in.day.Labels(i)
			if err != nil {
				return in.damaged(err)
			}
			if err := r.cleanDaySeries(w, i, ls, window, mint, maxt); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		err = r.setDamagedAside(added)
	}
	if err == nil {
		err = db.registry.Persist() // the new file may name series that were forgotten
	}
	if err != nil {
		return err
	}
	return db.applyEdit(edit{add: added, dead: map[uint64][]int64{in.ID: {window}}, loss: len(r.damaged) > 0})
}

// cleanDaySeries writes one series of a window of a day.
func (r *rewriter) cleanDaySeries(w *file.Writer, i int, ls labels.Labels, window, mint, maxt int64) error {
	defer r.sc.release()
	if len(r.view.sheds) > 0 {
		r.skipShed(model.SeriesIDOf(ls).Token())
	}
	if err := r.gather(func(int) int { return i }, mint, maxt); err != nil || len(r.sc.runs) == 0 {
		return err
	}
	ref, _, err := r.db.registry.Intern(ls)
	if err != nil {
		return err
	}
	r.db.registry.MarkPresent(ref, window)
	return r.writeMerged(w, ref, ls, window, mint, maxt)
}
