package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"

	"github.com/go-kit/log/level"

	"github.com/count-db/count/engine/manifest"
	"github.com/count-db/count/internal/wire"
)

// openFiles opens the manifest and the files of the live set. A file that is
// missing or damaged is counted and left out: what it held is lost here
// (Identity.Gap), and may be had from replicas (C5).
func (db *DB) openFiles() ([]*liveFile, error) {
	m, report, err := manifest.Open(db.fs, db.dir, db.loseFiles)
	if err != nil {
		return nil, err
	}
	db.manifest = m
	if len(report.Removed) > 0 {
		level.Info(db.opts.Logger).Log("msg", "removed files that were being written or were replaced when the process died", "files", len(report.Removed))
	}
	for i := range report.Missing {
		level.Error(db.opts.Logger).Log("msg", "a data file is missing", "file", report.Missing[i].Name())
	}
	if report.Damaged != nil {
		level.Error(db.opts.Logger).Log("msg", "the manifest is damaged and was rebuilt from the data files", "err", report.Damaged)
	}
	rebuilt := report.Damaged != nil
	var files []*liveFile
	for _, f := range m.State().Files {
		lf, err := db.openLive(f)
		if err != nil {
			return nil, errors.Join(err, closeLive(files))
		}
		if lf != nil {
			files = append(files, lf)
			rebuilt = rebuilt || f.Bytes == 0 // the start that rebuilt the manifest did not come to this
		}
	}
	sortByArrival(files)
	if rebuilt {
		err = m.Update(func(s *manifest.State) error {
			for _, f := range files {
				*s.File(f.ID) = f.File
			}
			return nil
		})
	}
	return files, err
}

// loseFiles notes that data files are missing, or that nobody knows which there
// were.
func (db *DB) loseFiles(report *manifest.Report) error {
	if report.Damaged != nil {
		return db.loseAll()
	}
	for i := range report.Missing {
		if err := db.lose(rangeOf(&report.Missing[i])); err != nil {
			return err
		}
	}
	return nil
}

// openLive opens one file and marks its series as present; nil when the file
// is damaged.
func (db *DB) openLive(f manifest.File) (*liveFile, error) {
	lf, err := db.openFile(f)
	if errors.Is(err, wire.ErrCorrupt) {
		return nil, db.setAside(&f, err)
	}
	if err != nil {
		return nil, err
	}
	lf.complete()
	db.markPresence(lf)
	return lf, db.lookForOrphans(lf)
}

// lookForOrphans looks for series of a file that the registry does not know: it was
// damaged, and what the file has of them is lost.
func (db *DB) lookForOrphans(f *liveFile) error {
	if f.day != nil {
		return nil
	}
	unknown := false
	for i := range f.reader.Len() {
		if ref := f.reader.Ref(i); !db.registry.Exists(ref) {
			db.registry.Reserve(ref)
			unknown = true
		}
	}
	if !unknown {
		return nil
	}
	err := checkSeries(f.reader, &f.File, db.registry)
	switch {
	case errors.Is(err, errUnknownSeries):
		return db.loseSeriesOf(f, err)
	case err != nil && !errors.Is(err, wire.ErrCorrupt): // a read of it tells of that
		return err
	}
	return nil
}

// loseSeriesOf notes that series of a file are lost: the damage of the registry
// said so already, unless it looked like the torn end of a write.
func (db *DB) loseSeriesOf(f *liveFile, reason error) error {
	lost := db.Lost()
	if lost.Number == 0 || lost.MinT > f.MinT || lost.MaxT < f.MaxT {
		if err := db.lose(f.MinT, f.MaxT); err != nil {
			return err
		}
	}
	db.noteDamaged(f, reason)
	db.losses.mu.Lock()
	defer db.losses.mu.Unlock()
	db.losses.noted[f.ID] = db.losses.lost.Number
	return nil
}

func closeLive(files []*liveFile) error {
	var errs []error
	for _, f := range files {
		errs = append(errs, f.close())
	}
	return errors.Join(errs...)
}

// setAside moves a damaged file out of the live set, for a look at it (E3).
func (db *DB) setAside(f *manifest.File, reason error) error {
	if err := db.lose(rangeOf(f)); err != nil {
		return err
	}
	level.Error(db.opts.Logger).Log("msg", "a damaged data file was set aside", "file", f.Name(), "dir", filepath.Join(db.dir, quarantineDir), "err", reason)
	if err := db.linkAside(f); err != nil {
		return err
	}
	return db.manifest.Update(func(s *manifest.State) error {
		s.Remove(f.ID)
		return nil
	})
}

// rangeOf returns the range of time that a data file has samples of, as far as
// the manifest knows it.
func rangeOf(f *manifest.File) (mint, maxt int64) {
	if f.Samples == 0 {
		return math.MinInt64, math.MaxInt64
	}
	return f.MinT, f.MaxT
}

// linkAside gives a data file a second name in the quarantine.
func (db *DB) linkAside(f *manifest.File) error {
	return db.quarantine(db.manifest.Path(f.Kind, f.ID))
}

// quarantine gives a file a second name in the quarantine.
func (db *DB) quarantine(path string) error {
	dir := filepath.Join(db.dir, quarantineDir)
	if err := db.fs.MkdirAll(dir); err != nil {
		return fmt.Errorf("make the quarantine: %w", err)
	}
	err := db.fs.Link(path, filepath.Join(dir, filepath.Base(path)))
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("set file %s aside: %w", path, err)
	}
	return db.fs.SyncDir(dir)
}

// loadSmall loads one of the small files. One that is damaged is set aside and
// counts as missing: a start must not depend on it (E3).
func (db *DB) loadSmall(s smallFile, load func() error) error {
	err := load()
	if !errors.Is(err, wire.ErrCorrupt) {
		return err
	}
	if s.name != lostFile.name {
		if err := db.loseAll(); err != nil {
			return err
		}
	}
	level.Error(db.opts.Logger).Log("msg", "a damaged file was set aside, what it held is lost here", "file", s.name, "dir", filepath.Join(db.dir, quarantineDir), "err", err)
	path := filepath.Join(db.dir, s.name)
	if err := db.quarantine(path); err != nil {
		return err
	}
	if s.name == lostFile.name {
		// What it named is not known any more, and neither is its number: a refill of
		// what it named must not be taken for one of this.
		db.losses.forget(uint64(max(db.opts.Now().UnixMilli(), 0)))
		return db.loseAll()
	}
	if err := db.fs.Remove(path); err != nil {
		return fmt.Errorf("set file %s aside: %w", path, err)
	}
	return load()
}

// quarantined counts the files that were set aside.
func (db *DB) quarantined() int {
	names, err := db.fs.List(filepath.Join(db.dir, quarantineDir))
	if err != nil {
		return 0 // there is no such directory
	}
	return len(names)
}

// broadWindows is the number of windows from which on a wide file is asked
// itself for its series: marking each of them in each window would cost more
// than that saves.
const broadWindows = 36

// isBroad says whether presence is not marked for the file's series.
func (f *liveFile) isBroad() bool {
	return f.Kind == manifest.Wide && len(f.reader.Info().Windows) > broadWindows
}

// markPresence notes which series the file holds. A wide file does not say
// which series has which of its windows: all have all, which costs a look.
func (db *DB) markPresence(f *liveFile) {
	if f.day != nil || f.isBroad() {
		return
	}
	for _, w := range f.reader.Info().Windows {
		if f.isDead(w.Window) {
			continue
		}
		for i := range f.reader.Len() {
			db.registry.MarkPresent(f.reader.Ref(i), w.Window)
		}
	}
}
