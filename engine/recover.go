package engine

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/go-kit/log/level"

	"github.com/count-db/count/engine/buffer"
	"github.com/count-db/count/engine/file"
	"github.com/count-db/count/engine/registry"
	"github.com/count-db/count/engine/version"
	"github.com/count-db/count/engine/wal"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/vfs"
)

// Names in a data directory.
const (
	lockName      = "LOCK"
	registryName  = "registry"
	logDir        = "wal"
	quarantineDir = "quarantine"
)

// columnCacheBytes bounds the decoded timestamps kept of data files.
const columnCacheBytes = 16 << 20

// Open opens the data directory dir, made when missing, and locks it: manifest,
// files, registry, then the log is replayed into the buffer. Damage is cut,
// counted and logged; what was synced is never lost silently (Identity.Gap).
func Open(fsys vfs.FS, dir string, opts Options) (*DB, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	db := &DB{
		fs: fsys, dir: dir, opts: opts, limits: *opts.Limits, scratch: newScratchPool(), maxRecord: wal.MaxRecord,
		metadata: newMetadataStore(opts.MaxMetadata), exemplars: newExemplarRing(opts.MaxExemplars),
		columnCache: file.NewCache(columnCacheBytes),
	}
	db.limits.SealDelay = opts.SealDelay.Milliseconds()
	db.background.init()
	if err := fsys.MkdirAll(dir); err != nil {
		return nil, fmt.Errorf("make data directory %s: %w", dir, err)
	}
	if db.dirLock, err = fsys.Lock(filepath.Join(dir, lockName)); err != nil {
		return nil, fmt.Errorf("lock data directory %s: %w", dir, err)
	}
	if err := db.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("open data directory %s: %w", dir, err), db.abandon())
	}
	db.lookAtSpace()
	if !opts.NoBackground {
		db.startBackground()
	}
	return db, nil
}

// abandon closes what a failed Open has opened.
func (db *DB) abandon() error {
	errs := []error{db.views.close()}
	if db.log != nil {
		errs = append(errs, db.log.Close())
	}
	if db.registry != nil {
		errs = append(errs, db.registry.Close())
	}
	return errors.Join(append(errs, db.dirLock.Close())...)
}

func (db *DB) open() error {
	first := &view{}
	if err := db.loadSmall(lostFile, func() error { return db.losses.load(db.fs, db.dir) }); err != nil {
		return err
	}
	err := db.loadSmall(identityFile, func() (err error) {
		db.identity, err = openIdentity(db.fs, db.dir)
		return err
	})
	if err != nil {
		return err
	}
	if err := db.openRegistry(); err != nil {
		return err
	}
	if err := db.loadSmall(metadataFile, func() error { return db.metadata.load(db.fs, db.dir) }); err != nil {
		return err
	}
	if err := db.loadSmall(exemplarsFile, func() error { return db.exemplars.load(db.fs, db.dir) }); err != nil {
		return err
	}
	for i := range db.exemplars.slots {
		db.registry.Reserve(db.exemplars.slots[i].Ref)
	}
	err = db.loadSmall(tombstonesFile, func() (err error) {
		first.tombs, err = readTombstones(db.fs, db.dir)
		return err
	})
	if err != nil {
		return err
	}
	err = db.loadSmall(shedFile, func() (err error) {
		first.sheds, err = readSheds(db.fs, db.dir)
		return err
	})
	if err != nil {
		return err
	}
	if first.files, err = db.openFiles(); err != nil {
		return err
	}
	if err := db.keepVersions(); err != nil {
		return err
	}
	db.startClock(first)
	db.active = db.newBuffer()
	first.active = db.active
	if err := db.views.replace(first, nil); err != nil {
		return err
	}
	if err := db.replayLog(); err != nil {
		return err
	}
	db.log, err = wal.Open(db.fs, filepath.Join(db.dir, logDir), db.logOptions())
	return err
}

// startClock makes the clock start above every version that is stored (V1),
// and IDs of new files above every delete's number.
func (db *DB) startClock(v *view) {
	highest := db.manifest.State().Mark
	for _, f := range v.files {
		highest = max(highest, f.MaxVersion)
	}
	for i := range v.tombs {
		highest = max(highest, v.tombs[i].Version)
		for db.manifest.NewID() < v.tombs[i].seq {
			continue // IDs that only a delete took are not in the manifest
		}
	}
	for i := range v.sheds {
		for db.manifest.NewID() < v.sheds[i].seq {
			continue
		}
	}
	db.clock = version.NewClock(db.opts.Now, highest)
	if db.opts.Versions {
		db.registry.RaiseVersionFloor(highest)
	}
}

func (db *DB) openRegistry() error {
	reg, report, err := registry.Open(db.fs, filepath.Join(db.dir, registryName), registry.Options{
		MaxSeries: db.opts.MaxSeries,
		Damaged:   func(registry.LoadReport) error { return db.loseAll() },
	})
	if err != nil {
		return fmt.Errorf("open the registry: %w", err)
	}
	db.registry = reg
	if report.TornBytes > 0 {
		level.Warn(db.opts.Logger).Log("msg", "cut an unfinished write from the registry's end", "bytes", report.TornBytes)
	}
	if report.DamagedFrames > 0 {
		level.Error(db.opts.Logger).Log("msg", "registry damaged: definitions of series are lost", "frames", report.DamagedFrames)
	}
	return nil
}

// The log is cut in whole segments, so they are a part of what it may hold; and
// they are small, because the current one and a spare are there also when a
// flush has just emptied the log.
const (
	segmentsPerLog = 8
	minSegment     = 64 << 10 // bytes
	maxSegment     = 2 << 20
	spareSegments  = 1
)

func (db *DB) logOptions() wal.Options {
	return wal.Options{
		Sync: wal.SyncPolicy(db.opts.Sync), Interval: db.opts.SyncInterval,
		SegmentBytes: min(max(minSegment, db.opts.LogBytes/segmentsPerLog), maxSegment),
		Spares:       spareSegments,
		From:         wal.Position(db.manifest.State().LogFrom),
	}
}

// newBuffer returns the buffer of the next flush epoch.
func (db *DB) newBuffer() *epochBuffer {
	return db.newBufferOf(db.epochs.Add(1))
}

// newBufferOf returns a buffer with a number that no other has.
func (db *DB) newBufferOf(number uint32) *epochBuffer {
	windows := newWindowSet()
	return &epochBuffer{windows: windows, number: number, Buffer: buffer.New(buffer.Options{
		Versions: db.opts.Versions,
		Epoch:    number,
		Opened: func(ref model.Ref, window int64) {
			windows.add(window)
			db.registry.MarkPresent(ref, window)
		},
	})}
}
