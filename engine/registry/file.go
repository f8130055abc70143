package registry

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"

	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/vfs"
)

// DamagedSuffix ends the name that a registry file gets when bytes in its
// middle fail their check; what could be read is in the file written anew.
const DamagedSuffix = ".damaged"

// LoadReport says what Open found.
type LoadReport struct {
	Series    int   // live series
	Bytes     int64 // length of the file
	TornBytes int64 // cut from the end: a write that a crash interrupted
	// DamagedFrames were skipped in the middle: definitions that were durable
	// are lost. The file is kept under DamagedSuffix.
	DamagedFrames int
}

// file is the registry's file on disk; see FORMAT.md.
type file struct {
	fs   vfs.FS // nil: nothing is kept
	path string

	mu     sync.Mutex // held during Persist and Close
	handle vfs.File
	size   int64
	stored int  // series defined in the file, gone ones included
	gone   int  // of them, those that are gone
	failed bool // the file's end is not known: it is written anew next time

	// Guarded by Registry.mu: what the file does not say yet.
	undurable []model.Ref
	forgotten []model.Ref
}

// Open loads the registry file at path, whose directory must exist, and makes
// it when it is missing. Every series in it counts as logged. What a crash tore
// or a disk damaged is written anew without it.
func Open(filesystem vfs.FS, path string, opts Options) (*Registry, LoadReport, error) {
	r, report, whole, err := read(filesystem, path, opts)
	if err != nil {
		return nil, report, fmt.Errorf("open registry %s: %w", path, err)
	}
	r.file.fs, r.file.path = filesystem, path
	if err := r.begin(report, whole, opts.Damaged); err != nil {
		return nil, report, fmt.Errorf("open registry %s: %w", path, err)
	}
	return r, report, nil
}

// Read loads the registry file at path without changing anything; the registry
// keeps nothing on disk. A missing file is an empty registry.
func Read(filesystem vfs.FS, path string, opts Options) (*Registry, LoadReport, error) {
	r, report, _, err := read(filesystem, path, opts)
	if err != nil {
		return nil, report, fmt.Errorf("read registry %s: %w", path, err)
	}
	return r, report, nil
}

// read loads a registry file; whole says that it can be appended to.
func read(filesystem vfs.FS, path string, opts Options) (r *Registry, report LoadReport, whole bool, err error) {
	r = New(opts)
	data, err := vfs.ReadFile(filesystem, path)
	if errors.Is(err, fs.ErrNotExist) {
		return r, report, false, nil
	}
	if err != nil {
		return nil, report, false, err
	}
	d := fileDecoder{apply: r.applyFrame}
	if err := d.run(data); err != nil {
		return nil, report, false, err
	}
	r.file.undurable = nil
	r.file.size = int64(d.good)
	report = LoadReport{
		Series: r.live, Bytes: int64(len(data)), TornBytes: int64(len(data) - d.good), DamagedFrames: d.damaged,
	}
	return r, report, d.good > 0 && d.damaged == 0 && report.TornBytes == 0, nil
}

// begin makes the file one that can be appended to.
func (r *Registry) begin(report LoadReport, whole bool, damaged func(LoadReport) error) (err error) {
	f := &r.file
	if whole {
		f.handle, err = f.fs.OpenAppend(f.path)
		return err
	}
	if report.DamagedFrames > 0 {
		if damaged != nil {
			if err := damaged(report); err != nil {
				return err
			}
		}
		if err := f.keepDamaged(); err != nil {
			return err
		}
	}
	return r.rewrite()
}

// keepDamaged gives a damaged file a second name, unless an older one has it.
func (f *file) keepDamaged() error {
	err := f.fs.Link(f.path, f.path+DamagedSuffix)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("keep damaged registry: %w", err)
	}
	return nil
}

// applyFrame takes one decoded frame of the file in.
func (r *Registry) applyFrame(fr frame) error {
	if fr.next > r.next {
		r.next = fr.next
	}
	if fr.floor > 0 {
		r.RaiseVersionFloor(fr.floor)
	}
	r.dropLoaded(fr.gone)
	for _, def := range fr.series {
		// The same labels under a younger reference: the older one was evicted.
		if old, ok := r.Lookup(def.labels); ok && old != def.ref {
			r.dropLoaded([]model.Ref{old})
		}
		if _, err := r.define(def.ref, def.labels, stateLive); err != nil {
			return err
		}
		r.file.stored++
	}
	return nil
}

// dropLoaded forgets series while the file is being loaded.
func (r *Registry) dropLoaded(refs []model.Ref) {
	var live []model.Ref
	for _, ref := range refs {
		if p := r.page(ref); p != nil && p.state[ref%pageSize].CompareAndSwap(stateLive, stateLive|stateCold) {
			live = append(live, ref)
		}
	}
	r.file.gone += r.remove(live)
	r.file.forgotten = nil
}

// Persist writes what the file does not say yet and syncs it: when it returns
// nil, every series made before the call is in the file. After an error
// nothing more is known than before, and the next call writes the file anew.
func (r *Registry) Persist() error {
	f := &r.file
	if f.fs == nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failed || f.gone > minGarbage && f.gone > f.stored/2 {
		return r.rewrite()
	}
	r.mu.Lock()
	undurable, forgotten, next := f.undurable, f.forgotten, r.next
	f.undurable, f.forgotten = nil, nil
	r.mu.Unlock()
	if len(undurable)+len(forgotten) == 0 {
		return nil
	}
	e := fileEncoder{offset: f.size}
	e.head(next, model.Version(r.versions.floor.Load()))
	e.goneFrame(forgotten)
	stored := e.seriesFrames(r, undurable)
	_, err := f.handle.Write(e.out)
	if err == nil {
		err = f.handle.SyncData()
	}
	if err != nil {
		f.failed = true
		return fmt.Errorf("append to registry %s: %w", f.path, err)
	}
	f.size += int64(len(e.out))
	f.stored += stored
	f.gone += len(forgotten)
	return nil
}

// minGarbage is the number of gone series below which the file is not written
// anew.
const minGarbage = 10_000

// rewrite replaces the file by one with only the live series; the caller holds
// file.mu or is alone.
func (r *Registry) rewrite() error {
	f := &r.file
	f.failed = true
	r.mu.Lock()
	live, next := r.postings.all, r.next
	f.undurable, f.forgotten = nil, nil
	r.mu.Unlock()
	e := fileEncoder{}
	e.begin()
	e.head(next, model.Version(r.versions.floor.Load()))
	stored := e.seriesFrames(r, live)
	if f.handle != nil {
		if err := f.handle.Close(); err != nil {
			return fmt.Errorf("close registry %s: %w", f.path, err)
		}
		f.handle = nil
	}
	if err := f.fs.MkdirAll(filepath.Dir(f.path)); err != nil {
		return err
	}
	if err := vfs.WriteFile(f.fs, f.path, e.out); err != nil {
		return fmt.Errorf("write registry anew: %w", err)
	}
	handle, err := f.fs.OpenAppend(f.path)
	if err != nil {
		return err
	}
	f.handle, f.size, f.stored, f.gone, f.failed = handle, int64(len(e.out)), stored, 0, false
	return nil
}

// Size returns the length of the registry file in bytes.
func (r *Registry) Size() int64 {
	r.file.mu.Lock()
	defer r.file.mu.Unlock()
	return r.file.size
}

// Close closes the file without writing what is not in it yet.
func (r *Registry) Close() error {
	f := &r.file
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.handle == nil {
		return nil
	}
	err := f.handle.Close()
	f.handle = nil
	f.failed = true
	return err
}
