package engine

import (
	"errors"

	"github.com/count-db/count/engine/day"
	"github.com/count-db/count/engine/file"
	"github.com/count-db/count/engine/manifest"
	"github.com/count-db/count/internal/vfs"
	"github.com/count-db/count/internal/wire"
)

// liveFile is a data file of the live set as one view sees it. It does not
// change: when parts of the file die, another liveFile over the same handle
// takes its place.
type liveFile struct {
	manifest.File
	*fileHandle
}

// fileHandle is an open data file.
type fileHandle struct {
	reader *file.Reader
	fs     vfs.FS
	path   string
	noted  func(*liveFile, error) // that bytes failed their check

	// Of a day file, else nil.
	day     *day.Reader
	dayRefs dayRefs

	refs    int  // views that hold it; guarded by viewHolder.mu
	removed bool // from the manifest: the file goes with the last view; guarded by viewHolder.mu
}

// close closes the file that no view holds any more, and removes it when it is
// no longer in the manifest.
func (h *fileHandle) close() error {
	var err error
	if h.day != nil {
		err = h.day.Close()
	} else {
		err = h.reader.Close()
	}
	if h.removed {
		err = errors.Join(err, h.fs.Remove(h.path))
	}
	return err
}

func closeFiles(handles []*fileHandle) error {
	var errs []error
	for _, h := range handles {
		errs = append(errs, h.close())
	}
	return errors.Join(errs...)
}

// overlaps says whether the file may hold samples in [mint, maxt].
func (f *liveFile) overlaps(mint, maxt int64) bool {
	info := f.reader.Info()
	return info.Samples > 0 && info.MinT <= maxt && info.MaxT >= mint
}

// isDead says whether readers ignore what the file holds of a window.
func (f *liveFile) isDead(window int64) bool { return len(f.SealedOut) > 0 && f.SealedOut.Has(window) }

// timesKey names a range of a column of timestamps, for model.Columns.TKey.
func (f *liveFile) timesKey(column, lo, hi int) uint64 {
	return joinKeys(joinKeys(f.ID<<32|uint64(column)|1<<63, uint64(lo)<<32|1<<31), uint64(hi)|1<<62)
}

// damagedError says that bytes of a file failed their check (E3).
type damagedError struct {
	file *liveFile
	err  error
}

func (e *damagedError) Error() string { return e.err.Error() }
func (e *damagedError) Unwrap() error { return e.err }

// damaged marks an error of reading the file when it means that the file is
// damaged, and has the DB take care of it.
func (f *liveFile) damaged(err error) error {
	if errors.Is(err, wire.ErrCorrupt) {
		if f.fileHandle != nil && f.noted != nil {
			f.noted(f, err)
		}
		return &damagedError{f, err}
	}
	return err
}
