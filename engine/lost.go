package engine

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"sync"
	"time"

	"github.com/go-kit/log/level"

	"github.com/count-db/count/engine/manifest"
	"github.com/count-db/count/internal/vfs"
	"github.com/count-db/count/internal/wire"
)

// What this directory has lost of what it acknowledged is kept in the file "lost"
// until somebody says that it is here again (C5): it is written before anything
// that cannot be read is given up, so that no crash in between hides the loss.
//
// A data file whose bytes fail their check while the DB is open (E3) fails the
// reads of these bytes. What is still whole in it goes into a new file and the rest
// is given up (mend); where Options.OnLost is set only after Refilled, so that
// readers find either an error or everything.

var lostFile = smallFile{name: "lost", magic: "CTlo", version: 1}

// Lost is a range of time (ms, inclusive) in which samples are missing.
type Lost struct {
	Number     uint64 // grows with each loss; 0: nothing is missing
	MinT, MaxT int64
}

// Overlaps says whether samples of [mint, maxt] (ms, inclusive) are among it.
func (l Lost) Overlaps(mint, maxt int64) bool {
	return l.Number > 0 && l.MinT <= maxt && l.MaxT >= mint
}

// String describes the range for people.
func (l Lost) String() string {
	if l.MaxT == math.MaxInt64 {
		return "of any time"
	}
	at := func(ms int64) string { return time.UnixMilli(ms).UTC().Format(time.RFC3339) }
	return "between " + at(l.MinT) + " and " + at(l.MaxT)
}

// losses is what is known of losses and of the damaged files behind them.
type losses struct {
	mu       sync.Mutex
	lost     Lost              // guarded by mu; as the file has it
	number   uint64            // guarded by mu; of the last loss
	refilled uint64            // guarded by mu; losses up to it are here again as far as they can be
	noted    map[uint64]uint64 // guarded by mu; by ID of a damaged file: number of its loss, 0 while it is not noted durably
}

// load reads the file.
func (l *losses) load(fsys vfs.FS, dir string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	payload, ok, err := lostFile.read(fsys, dir)
	if err != nil || !ok {
		return err
	}
	d := wire.NewDecoder(payload)
	l.lost = Lost{Number: d.Uvarint(), MinT: d.Varint(), MaxT: d.Varint()}
	if d.Err() == nil && d.Len() > 0 {
		d.Fail("%d bytes behind the loss", d.Len())
	}
	l.number = l.lost.Number
	return d.Err()
}

// forget makes the next loss the one behind a number.
func (l *losses) forget(number uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lost, l.number = Lost{}, number
}

// Lost returns what is missing here of what was acknowledged.
func (db *DB) Lost() Lost {
	db.losses.mu.Lock()
	defer db.losses.mu.Unlock()
	return db.losses.lost
}

// lose notes durably that samples of a range are missing, or soon will be.
func (db *DB) lose(mint, maxt int64) error {
	l := &db.losses
	l.mu.Lock()
	next := Lost{Number: l.number + 1, MinT: mint, MaxT: maxt}
	if l.lost.Number > 0 {
		next.MinT, next.MaxT = min(mint, l.lost.MinT), max(maxt, l.lost.MaxT)
	}
	payload := wire.AppendVarint(wire.AppendVarint(wire.AppendUvarint(nil, next.Number), next.MinT), next.MaxT)
	err := lostFile.write(db.fs, db.dir, payload)
	if err == nil {
		l.lost, l.number = next, next.Number
	}
	l.mu.Unlock()
	if err != nil {
		return fmt.Errorf("note that samples are lost: %w", err)
	}
	if db.opts.OnLost != nil {
		db.opts.OnLost()
	}
	return nil
}

// loseAll is lose of samples that may be of any time.
func (db *DB) loseAll() error { return db.lose(math.MinInt64, math.MaxInt64) }

// Refilled says that what was lost up to a number is here again as far as others
// have it: complete means all of it, else the mark stays.
func (db *DB) Refilled(number uint64, complete bool) error {
	l := &db.losses
	l.mu.Lock()
	defer l.mu.Unlock()
	if complete && l.lost.Number == number && number > 0 {
		if err := errors.Join(db.fs.Remove(filepath.Join(db.dir, lostFile.name)), db.fs.SyncDir(db.dir)); err != nil {
			return fmt.Errorf("note that nothing is missing any more: %w", err)
		}
		l.lost = Lost{}
	}
	l.refilled = max(l.refilled, number)
	wake(db.background.mainten)
	return nil
}

// noteDamaged notes that bytes of a file failed their check.
func (db *DB) noteDamaged(f *liveFile, reason error) {
	l := &db.losses
	l.mu.Lock()
	_, known := l.noted[f.ID]
	if !known {
		if l.noted == nil {
			l.noted = map[uint64]uint64{}
		}
		l.noted[f.ID] = 0
	}
	l.mu.Unlock()
	if known {
		return
	}
	level.Error(db.opts.Logger).Log("msg", "a data file is damaged", "file", f.Name(), "err", reason)
	wake(db.background.mainten)
}

// errDamaged means that work on files waits until what a file has lost is here
// again.
var errDamaged = errors.New("a data file is damaged, and what it has lost is not here again yet")

// mayGiveUp notes the loss of what cannot be read of a file, and says with nil
// that it may be given up.
func (db *DB) mayGiveUp(f *liveFile) error {
	l := &db.losses
	l.mu.Lock()
	number := l.noted[f.ID]
	refilled := number > 0 && number <= l.refilled
	l.mu.Unlock()
	if refilled {
		return nil
	}
	if number == 0 {
		info := f.reader.Info()
		if err := db.lose(info.MinT, info.MaxT); err != nil {
			return err
		}
		l.mu.Lock()
		if l.noted == nil {
			l.noted = map[uint64]uint64{}
		}
		l.noted[f.ID] = l.number
		l.mu.Unlock()
	}
	if db.opts.OnLost != nil {
		return fmt.Errorf("%s: %w", f.Name(), errDamaged)
	}
	return nil
}

// mend writes anew what can be read of the damaged files. The caller holds
// maintenance.
func (db *DB) mend() error {
	for {
		f, v, err := db.nextDamaged()
		if err != nil || f == nil {
			return err
		}
		err = errors.Join(db.mendFile(v, f), db.views.release(v.view))
		if err != nil {
			return fmt.Errorf("mend %s: %w", f.Name(), err)
		}
	}
}

// nextDamaged returns a damaged file that may be mended, and the view to release;
// nil when there is none. It notes the losses of all.
func (db *DB) nextDamaged() (*liveFile, workView, error) {
	l := &db.losses
	l.mu.Lock()
	any := len(l.noted) > 0
	l.mu.Unlock()
	if !any {
		return nil, workView{}, nil
	}
	v, ok := db.acquireWork()
	if !ok {
		return nil, v, ErrClosed
	}
	live := map[uint64]bool{}
	var errs []error
	for _, f := range v.files {
		live[f.ID] = true
		l.mu.Lock()
		_, damaged := l.noted[f.ID]
		l.mu.Unlock()
		if !damaged {
			continue
		}
		err := db.mayGiveUp(f)
		if err == nil {
			return f, v, nil
		}
		if !errors.Is(err, errDamaged) {
			errs = append(errs, err)
		}
	}
	l.mu.Lock()
	for id := range l.noted {
		if !live[id] {
			delete(l.noted, id)
		}
	}
	l.mu.Unlock()
	return nil, workView{}, errors.Join(append(errs, db.views.release(v.view))...)
}

// mendFile puts another file in the place of a damaged one.
func (db *DB) mendFile(v workView, f *liveFile) error {
	level.Info(db.opts.Logger).Log("msg", "what can be read of a damaged file is written anew", "file", f.Name())
	err := db.mendParts(v, f)
	if !errors.Is(err, wire.ErrCorrupt) {
		return err
	}
	// Not even what there is in it can be found.
	if err := db.linkAside(&f.File); err != nil {
		return err
	}
	return db.applyEdit(edit{remove: []uint64{f.ID}, loss: true})
}

func (db *DB) mendParts(v workView, f *liveFile) error {
	if err := db.linkAside(&f.File); err != nil {
		return err
	}
	if f.day == nil {
		if f.Kind == manifest.Sealed {
			return db.sealWindow(v, []*liveFile{f}, f.reader.Info().Windows[0].Window)
		}
		return db.mergeWide(v, []*liveFile{f})
	}
	e := edit{remove: []uint64{f.ID}, loss: true}
	// The windows of a day become sealed files of which the plan makes a day again.
	for _, w := range f.reader.Info().Windows {
		if f.isDead(w.Window) {
			continue
		}
		part, ok := db.acquireWork()
		if !ok {
			return ErrClosed
		}
		err := errors.Join(db.cleanFile(part, f, w.Window), db.views.release(part.view))
		if err != nil {
			return err
		}
	}
	return db.applyEdit(e)
}
