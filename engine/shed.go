package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/go-kit/log/level"

	"github.com/count-db/count/engine/manifest"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/vfs"
	"github.com/count-db/count/internal/wire"
)

// What a node holds and no longer has to is shed: everything that came before a
// moment, of the series at some positions of the ring. It is gone for readers at
// once and for good, whatever its versions, so that the same samples may come
// again later. Files that hold some of it are written anew in the background,
// when nothing else is to be done.

var shedFile = smallFile{name: "shed", magic: "CTsh", version: 1}

// maxSheds bounds those that wait for their files to be written anew.
const maxSheds = 64

// ErrShedding means that so much waits to be taken off the disk that no more is
// taken on: ask again later.
var ErrShedding = errors.New("what was shed before is not off the disk yet")

// shed is what is gone.
type shed struct {
	tokens model.TokenSet
	// mark is a boundary between IDs of files: what came before it is in files whose
	// newest flush (manifest.File.Arrival) has a lower one.
	mark uint64
	// seq is the shed's own number among them: files with higher ones were written
	// without what is gone.
	seq uint64
}

// reaches says whether some of what a file holds may be gone.
func (s *shed) reaches(f *liveFile) bool { return f.ID < s.seq && f.Arrival < s.mark }

// shedsOf appends the sheds that a series belongs to.
func shedsOf(dst []*shed, sheds []shed, token uint64) []*shed {
	for i := range sheds {
		if sheds[i].tokens.Has(token) {
			dst = append(dst, &sheds[i])
		}
	}
	return dst
}

// Boundary returns a mark between what is stored now and what comes later, for
// Shed. It flushes the buffer.
func (db *DB) Boundary(ctx context.Context) (uint64, error) {
	if err := db.usable(); err != nil {
		return 0, err
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	db.flushing.Lock()
	defer db.flushing.Unlock()
	if err := db.flushLocked(); err != nil {
		return 0, fmt.Errorf("flush before a boundary: %w", err)
	}
	return db.manifest.NewID(), nil
}

// Shed drops what came before the mark of a Boundary of this run, of all series
// whose positions are in tokens: readers see nothing of it once Shed returned
// nil, across restarts too; the disk's space comes back by and by. Whoever calls
// it knows that others have it. What came before and shares a file with what came
// later may stay.
func (db *DB) Shed(ctx context.Context, tokens model.TokenSet, mark uint64) error {
	if err := db.usable(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if tokens.Empty() {
		return nil
	}
	db.install.Lock()
	defer db.install.Unlock()
	next := db.views.current.clone()
	if len(next.sheds) >= maxSheds {
		return ErrShedding
	}
	next.sheds = append(slices.Clone(next.sheds), shed{tokens: tokens, mark: mark, seq: db.manifest.NewID()})
	if err := db.installSheds(next); err != nil {
		return err
	}
	db.mutations.everywhere()
	wake(db.background.mainten)
	return nil
}

// installSheds makes the sheds of next durable and then in force; the caller
// holds install.
func (db *DB) installSheds(next *view) error {
	if err := shedFile.write(db.fs, db.dir, encodeSheds(next.sheds)); err != nil {
		return fmt.Errorf("note what is shed: %w", err)
	}
	if err := db.views.replace(next, nil); err != nil {
		db.warn("close files that nothing reads any more", err)
	}
	return nil
}

// shedNext writes one file, or one window of it, anew without what is gone; when
// there is none, it forgets the sheds. The caller holds maintenance.
func (db *DB) shedNext() (more bool, err error) {
	v, ok := db.acquireWork()
	if !ok {
		return false, ErrClosed
	}
	defer func() { err = errors.Join(err, db.views.release(v.view)) }()
	if len(v.sheds) == 0 {
		return false, nil
	}
	for _, f := range v.files {
		window, found := db.shedIn(v.view, f)
		switch {
		case !found:
			continue
		case f.Kind == manifest.Wide:
			return true, db.mergeWide(v, []*liveFile{f})
		}
		return true, db.cleanFile(v, f, window)
	}
	return false, db.forgetSheds(v.sheds)
}

// shedIn returns the first live window of a file that holds something that is
// gone. The caller holds maintenance.
func (db *DB) shedIn(v *view, f *liveFile) (window int64, found bool) {
	for i := range v.sheds {
		s := &v.sheds[i]
		if !s.reaches(f) {
			continue
		}
		key := [2]uint64{f.ID, s.seq}
		holds, known := db.shedHeld[key]
		if !known {
			holds = db.holdsAny(f, s.tokens)
			if db.shedHeld == nil {
				db.shedHeld = map[[2]uint64]bool{}
			}
			db.shedHeld[key] = holds
		}
		if !holds {
			continue
		}
		for _, w := range f.reader.Info().Windows {
			if !f.isDead(w.Window) {
				return w.Window, true
			}
		}
	}
	return 0, false
}

// holdsAny says whether a file has series at the positions.
func (db *DB) holdsAny(f *liveFile, tokens model.TokenSet) bool {
	if f.day == nil {
		for i := range f.reader.Len() {
			if tokens.Has(db.registry.Token(f.reader.Ref(i))) {
				return true
			}
		}
		return false
	}
	for i := range f.day.Len() {
		ls, err := f.day.Labels(i)
		// What cannot be read is found out when the file is written anew.
		if err != nil || tokens.Has(model.SeriesIDOf(ls).Token()) {
			return true
		}
	}
	return false
}

// forgetSheds drops sheds of which no file holds anything any more.
func (db *DB) forgetSheds(done []shed) error {
	db.install.Lock()
	defer db.install.Unlock()
	next := db.views.current.clone()
	next.sheds = slices.DeleteFunc(slices.Clone(next.sheds), func(s shed) bool {
		return slices.ContainsFunc(done, func(d shed) bool { return d.seq == s.seq })
	})
	db.shedHeld = nil
	level.Info(db.opts.Logger).Log("msg", "what was shed is off the disk", "bytes", db.liveBytes())
	return db.installSheds(next)
}

// liveBytes returns the bytes of all live files; the caller holds install.
func (db *DB) liveBytes() int64 {
	var n int64
	for _, f := range db.views.current.files {
		n += f.Bytes
	}
	return n
}

func readSheds(fsys vfs.FS, dir string) ([]shed, error) {
	payload, ok, err := shedFile.read(fsys, dir)
	if err != nil || !ok {
		return nil, err
	}
	sheds, err := decodeSheds(payload)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", shedFile.name, err)
	}
	return sheds, nil
}

func encodeSheds(sheds []shed) []byte {
	dst := wire.AppendUvarint(nil, uint64(len(sheds)))
	for i := range sheds {
		dst = wire.AppendUvarint(wire.AppendUvarint(dst, sheds[i].mark), sheds[i].seq)
		ranges := sheds[i].tokens.Ranges()
		dst = wire.AppendUvarint(dst, uint64(len(ranges)))
		for _, r := range ranges {
			dst = wire.AppendUint64(wire.AppendUint64(dst, r.From), r.To)
		}
	}
	return dst
}

func decodeSheds(payload []byte) ([]shed, error) {
	d := wire.NewDecoder(payload)
	out := make([]shed, 0, d.Count(3))
	for range cap(out) {
		s := shed{mark: d.Uvarint(), seq: d.Uvarint()}
		ranges := make([]model.TokenRange, d.Count(16))
		for i := range ranges {
			ranges[i] = model.TokenRange{From: d.Uint64(), To: d.Uint64()}
		}
		s.tokens = model.NewTokenSet(ranges)
		out = append(out, s)
	}
	if d.Err() == nil && d.Len() > 0 {
		d.Fail("%d bytes behind what is shed", d.Len())
	}
	return out, d.Err()
}
