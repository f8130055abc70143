package engine

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/count-db/count/engine/day"
	"github.com/count-db/count/engine/file"
	"github.com/count-db/count/engine/manifest"
	"github.com/count-db/count/engine/registry"
	"github.com/count-db/count/engine/wal"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/vfs"
)

// CheckReport is what Check found.
type CheckReport struct {
	Identity   Identity
	Files      int
	Samples    int64 // in files
	Bytes      int64
	Series     int // in the registry
	LogRecords uint64
	Tombstones int // deletes in force
	Settled    int // of them: those that are settled and wait to be worked into the files
	Versions   VersionCounts
	Lost       Lost     // what is missing here of what was acknowledged
	Orphans    []string // files that the next start removes: no fault
	TornBytes  int64    // at the end of the log, never acknowledged: no fault
	// Faults are what must not be; none: the directory is whole.
	Faults []error

	settled Settled
}

func (r *CheckReport) fault(what string, err error) {
	if err != nil {
		r.Faults = append(r.Faults, fmt.Errorf("%s: %w", what, err))
	}
}

// Check reads everything in a data directory that no process has open, changes
// nothing, and proves the invariants: every byte passes its check (E3), the live
// set is there (E2), every sample's series is defined, windows are taken from
// one place, and the log has no gap (E1). The error is one of not being able to
// look, such as a lock.
func Check(fsys vfs.FS, dir string) (CheckReport, error) { return CheckSettled(fsys, dir, Settled{}) }

// CheckSettled is Check of a node whose cluster has settled something.
func CheckSettled(fsys vfs.FS, dir string, settled Settled) (CheckReport, error) {
	r := CheckReport{settled: settled}
	if err := isDataDirectory(fsys, dir); err != nil {
		return r, err
	}
	lock, err := fsys.Lock(filepath.Join(dir, lockName))
	if err != nil {
		return r, fmt.Errorf("lock data directory %s: %w", dir, err)
	}
	r.smallFiles(fsys, dir)
	reg, report, err := registry.Read(fsys, filepath.Join(dir, registryName), registry.Options{})
	r.fault("registry", err)
	if reg == nil {
		reg = registry.New(registry.Options{})
	}
	if report.DamagedFrames > 0 {
		r.fault("registry", fmt.Errorf("%d damaged frames", report.DamagedFrames))
	}
	r.Series = reg.Len()
	state, faults := manifest.Check(fsys, dir)
	r.Faults = append(r.Faults, faults...)
	if state != nil {
		r.log(fsys, dir, state, reg)
		r.files(fsys, dir, state, reg)
		r.Orphans, err = manifest.Orphans(fsys, dir, state)
		r.fault("data files", err)
	}
	return r, lock.Close()
}

// isDataDirectory returns nil for a directory that was opened once, or that is a
// snapshot: that one gets its identity when it is opened.
func isDataDirectory(fsys vfs.FS, dir string) error {
	_, err := fsys.Stat(filepath.Join(dir, identityFile.name))
	if err == nil {
		return nil
	}
	if _, snapshotErr := fsys.Stat(filepath.Join(dir, manifest.Name)); snapshotErr == nil {
		return nil
	}
	return fmt.Errorf("%s is no data directory: %w", dir, err)
}

func (r *CheckReport) smallFiles(fsys vfs.FS, dir string) {
	payload, ok, err := identityFile.read(fsys, dir)
	if err == nil && ok {
		r.Identity, err = decodeIdentity(payload)
	}
	r.fault(identityFile.name, err)
	tombs, err := readTombstones(fsys, dir)
	r.fault(tombstonesFile.name, err)
	r.Tombstones = len(tombs)
	for i := range tombs {
		if tombs[i].Version <= r.settled.Floor && !tombs[i].isPurge() {
			r.Settled++
		}
	}
	var lost losses
	r.fault(lostFile.name, lost.load(fsys, dir))
	r.Lost = lost.lost
	_, err = readSheds(fsys, dir)
	r.fault(shedFile.name, err)
	r.fault(exemplarsFile.name, newExemplarRing(defaultMaxExemplars).load(fsys, dir))
	r.fault(metadataFile.name, newMetadataStore(defaultMaxMetadata).load(fsys, dir))
}

// log reads the log and defines the series that only it knows.
func (r *CheckReport) log(fsys vfs.FS, dir string, state *manifest.State, reg *registry.Registry) {
	path, from := filepath.Join(dir, logDir), wal.Position(state.LogFrom)
	report, err := wal.Check(fsys, path, from)
	r.fault("log", err)
	r.LogRecords, r.TornBytes = report.Records, report.TornBytes
	for _, g := range report.Gaps {
		r.fault("log", fmt.Errorf("gap at %v", g))
	}
	var b wal.DecodedBatch
	undefined := 0
	moved := map[model.Ref]bool{} // defined in the log for a series that has another reference
	_, err = wal.Replay(fsys, path, from, func(rec []byte) error {
		if len(rec) == 0 || rec[0] != wal.RecordBatch || wal.DecodeBatch(rec, &b) != nil {
			return nil // wal.Check told of it
		}
		for _, def := range b.Series {
			ref, err := reg.Define(def.Ref, def.Labels)
			r.fault("log", err)
			moved[def.Ref] = err == nil && ref != def.Ref
		}
		for i := range b.Batch.Floats {
			if ref := b.Batch.Floats[i].Ref; !reg.Exists(ref) && !moved[ref] {
				undefined++
			}
		}
		return nil
	})
	r.fault("log", err)
	if undefined > 0 {
		r.fault("log", fmt.Errorf("%d samples of series that nothing defines", undefined))
	}
}

func (r *CheckReport) files(fsys vfs.FS, dir string, state *manifest.State, reg *registry.Registry) {
	for i := range state.Files {
		f := &state.Files[i]
		path := filepath.Join(dir, "files", f.Name())
		r.Files++
		r.Bytes += f.Bytes
		r.Samples += f.Samples
		if f.Kind == manifest.Day {
			r.fault(f.Name(), r.checkDay(fsys, path, f, state.Mark))
			continue
		}
		r.fault(f.Name(), r.checkFile(fsys, path, f, reg, state.Mark))
	}
}

func (r *CheckReport) checkDay(fsys vfs.FS, path string, f *manifest.File, mark model.Version) (err error) {
	d, err := day.Open(fsys, path, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	for i := range d.Len() {
		if _, err := d.Labels(i); err != nil {
			return err
		}
	}
	if err := d.File().Check(); err != nil {
		return err
	}
	return r.versions(d.File(), f, mark)
}

func (r *CheckReport) checkFile(fsys vfs.FS, path string, f *manifest.File, reg *registry.Registry, mark model.Version) (err error) {
	opened, err := fsys.OpenRead(path)
	if err != nil {
		return err
	}
	reader, err := file.Open(opened, nil)
	if err != nil {
		return errors.Join(err, opened.Close())
	}
	defer func() { err = errors.Join(err, reader.Close()) }()
	if err := reader.Check(); err != nil {
		return err
	}
	info := reader.Info()
	if info.Samples != f.Samples || info.Kind != fileKind(f.Kind) {
		return fmt.Errorf("holds %d samples as a %v file, the manifest says %d as a %v file", info.Samples, info.Kind, f.Samples, f.Kind)
	}
	if err := checkSeries(reader, f, reg); err != nil {
		return err
	}
	return r.versions(reader, f, mark)
}

var errUnknownSeries = errors.New("it is not in the registry")

// checkSeries looks for series that the registry does not know, and that are
// not dead altogether.
func checkSeries(reader *file.Reader, f *manifest.File, reg *registry.Registry) error {
	c := reader.Cursor()
	defer c.Release()
	for i := range reader.Len() {
		ref := reader.Ref(i)
		if reg.Exists(ref) {
			continue
		}
		chunks, err := c.Load(i)
		if err != nil {
			return err
		}
		for k := range chunks {
			if !f.SealedOut.Has(chunks[k].Window) {
				return fmt.Errorf("series %d (%d in the file): %w", ref, i, errUnknownSeries)
			}
		}
	}
	return nil
}
