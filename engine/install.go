package engine

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/count-db/count/engine/day"
	"github.com/count-db/count/engine/file"
	"github.com/count-db/count/engine/manifest"
	"github.com/count-db/count/engine/wal"
	"github.com/count-db/count/internal/vfs"
)

// edit is one atomic change of the live set.
type edit struct {
	add    *liveFile // nil when all that would be in it is deleted
	remove []uint64
	dead   map[uint64][]int64 // windows that die in a file
	cut    wal.Position       // where the log begins from now on; 0 = as before
	thaw   bool               // the frozen buffer is in add
	bulk   *epochBuffer       // what came in bulk and is in add
	loss   bool               // readers see less than before
}

// workView is what a job on files works on: a view, and the ID of the file that
// the job writes.
type workView struct {
	*view
	fileID uint64
}

// acquireWork takes the view and the ID at once, so that the ID is younger than
// exactly the deletes of the view: those the job works into its file, and
// readers apply to a file only younger ones. ok is false after close. The caller
// releases the view.
func (db *DB) acquireWork() (w workView, ok bool) {
	db.install.Lock()
	defer db.install.Unlock()
	v := db.views.acquire()
	if v == nil {
		return workView{}, false
	}
	return workView{v, db.manifest.NewID()}, true
}

// describe returns the manifest's entry of a file that is written from inputs.
func describe(kind manifest.Kind, id uint64, inputs []*liveFile) manifest.File {
	f := manifest.File{ID: id, Kind: kind}
	for _, in := range inputs {
		f.Arrival, f.Born = max(f.Arrival, in.Arrival), max(f.Born, in.Born)
	}
	return f
}

// createFile writes a data file and opens it. It returns nil when there was
// nothing to write.
func (db *DB) createFile(f manifest.File, write func(*file.Writer) error) (*liveFile, error) {
	info, err := file.Create(db.fs, db.manifest.Path(f.Kind, f.ID), fileKind(f.Kind), write)
	if err != nil {
		return nil, err
	}
	return db.openCreated(f, info)
}

func fileKind(k manifest.Kind) file.Kind {
	switch k {
	case manifest.Wide:
		return file.Wide
	case manifest.Sealed:
		return file.Sealed
	default:
		return file.Day
	}
}

// openCreated opens a file that was just written, and completes its entry.
func (db *DB) openCreated(f manifest.File, info file.Info) (*liveFile, error) {
	path := db.manifest.Path(f.Kind, f.ID)
	if info.Series == 0 {
		return nil, db.fs.Remove(path)
	}
	lf, err := db.openFile(f)
	if err != nil {
		return nil, errors.Join(err, db.fs.Remove(path))
	}
	lf.complete()
	return lf, nil
}

// complete fills in the entry from the file.
func (f *liveFile) complete() {
	info := f.reader.Info()
	f.Bytes, f.Samples = info.Bytes, info.Samples
	f.MinT, f.MaxT, f.MinVersion, f.MaxVersion = info.MinT, info.MaxT, info.MinVersion, info.MaxVersion
}

// openFile opens a data file of the live set.
func (db *DB) openFile(f manifest.File) (*liveFile, error) {
	name := db.manifest.Path(f.Kind, f.ID)
	h := &fileHandle{fs: db.fs, path: name, noted: db.noteDamaged}
	if f.Kind == manifest.Day {
		d, err := day.Open(db.fs, name, db.columnCache)
		if err != nil {
			return nil, err
		}
		h.day, h.reader = d, d.File()
		h.dayRefs = make(dayRefs, d.Len())
		return &liveFile{File: f, fileHandle: h}, nil
	}
	opened, err := db.fs.OpenRead(name)
	if err != nil {
		return nil, fmt.Errorf("open data file: %w", err)
	}
	if h.reader, err = file.Open(opened, db.columnCache); err != nil {
		return nil, errors.Join(err, opened.Close())
	}
	return &liveFile{File: f, fileHandle: h}, nil
}

// applyEdit makes a change of the live set durable and then visible. When it
// fails the new file is removed and nothing has changed.
func (db *DB) applyEdit(e edit) error {
	db.install.Lock()
	defer db.install.Unlock()
	if err := db.manifest.Update(func(s *manifest.State) error { return e.editState(s, db) }); err != nil {
		if e.add != nil {
			err = errors.Join(err, e.add.close())
		}
		if !errors.Is(err, vfs.ErrUnchanged) {
			// The new file may be named on the disk or not: the next Open knows.
			return db.fail(fmt.Errorf("change the live set: %w", err))
		}
		if e.add != nil {
			err = errors.Join(err, db.fs.Remove(db.manifest.Path(e.add.Kind, e.add.ID)))
		}
		return fmt.Errorf("change the live set: %w", err)
	}
	next := db.views.current.clone()
	var gone []*fileHandle
	next.files = slices.DeleteFunc(next.files, func(f *liveFile) bool {
		if slices.Contains(e.remove, f.ID) {
			gone = append(gone, f.fileHandle)
			return true
		}
		return false
	})
	for i, f := range next.files {
		if windows := e.dead[f.ID]; len(windows) > 0 {
			next.files[i] = f.withDead(windows)
		}
	}
	if e.add != nil {
		next.files = append(next.files, e.add)
		sortByArrival(next.files)
	}
	if e.thaw {
		next.frozen = nil
	}
	if e.bulk != nil {
		next.bulks = slices.DeleteFunc(slices.Clone(next.bulks), func(b *epochBuffer) bool { return b == e.bulk })
	}
	if err := db.views.replace(next, gone); err != nil {
		db.warn("close files that were replaced", err)
	}
	if e.loss {
		db.mutations.everywhere()
	}
	return nil
}

// sortByArrival orders files so that for each window older data comes first.
func sortByArrival(files []*liveFile) { slices.SortFunc(files, byArrival) }

func byArrival(a, b *liveFile) int {
	return cmp.Or(cmp.Compare(planKind(a.Kind), planKind(b.Kind)), cmp.Compare(a.Arrival, b.Arrival), cmp.Compare(a.ID, b.ID))
}

// withDead returns the file with more windows dead.
func (f *liveFile) withDead(windows []int64) *liveFile {
	out := &liveFile{File: f.File, fileHandle: f.fileHandle}
	for _, w := range windows {
		out.SealedOut = out.SealedOut.Add(w)
	}
	return out
}

// editState does the edit in the manifest.
func (e *edit) editState(s *manifest.State, db *DB) error {
	s.Remove(e.remove...)
	for id, windows := range e.dead {
		f := s.File(id)
		if f == nil {
			return fmt.Errorf("file %d is not in the manifest", id)
		}
		for _, w := range windows {
			f.SealedOut = f.SealedOut.Add(w)
		}
	}
	if e.add != nil {
		s.Add(e.add.File)
	}
	if e.cut != 0 {
		s.LogFrom = uint64(e.cut)
	}
	if db.opts.Versions {
		s.Mark = max(s.Mark, db.clock.Last())
	}
	return nil
}
