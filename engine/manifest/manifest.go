package manifest

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/count-db/count/internal/vfs"
	"github.com/count-db/count/internal/wire"
)

// Names in the data directory.
const (
	// Name is that of the manifest itself: a directory that has one holds data.
	Name = "MANIFEST"
	// damagedName is what a manifest that cannot be read is renamed to.
	damagedName = "MANIFEST.damaged"
	filesDir    = "files"
)

// ErrFailed is returned by every Update once one failed: nobody knows which
// state is on the disk until the next Open.
var ErrFailed = errors.New("the manifest could not be written")

// Report is what Open found.
type Report struct {
	// Removed are the base names of orphans: files that were being written, or
	// that no longer counted, when the process died.
	Removed []string
	// Missing are files that the manifest names and the directory lacks. They are
	// not in the state any more: what they held is lost (C5).
	Missing []File
	// Damaged is why the manifest could not be read; nil when it could. The state
	// then names every data file in the directory by ID and kind, with the order
	// of IDs for that of arrival, and the log counts from its beginning: the caller
	// fills in the rest from the files. Windows that were sealed out are there
	// again, which changes nothing that a reader sees, as the merge rule decides.
	Damaged error
}

// Manifest is the live set of a data directory. All methods are safe for
// concurrent use.
type Manifest struct {
	fs  vfs.FS
	dir string

	state  atomic.Pointer[State]
	nextID atomic.Uint64

	update sync.Mutex // held by Update, over its I/O: there is one state at a time
	failed error      // guarded by update
}

// Open reads the manifest of the data directory, makes one in a new directory,
// and removes orphans from the directory of data files. A manifest that cannot
// be read does not prevent a start: see Report.Damaged. Where something is missing
// or damaged, lost (nil: nobody) is told before anything is written that no longer
// shows it; its error ends Open.
func Open(fsys vfs.FS, dir string, lost func(*Report) error) (*Manifest, Report, error) {
	if lost == nil {
		lost = func(*Report) error { return nil }
	}
	m := &Manifest{fs: fsys, dir: dir}
	var report Report
	if err := fsys.MkdirAll(filepath.Join(dir, filesDir)); err != nil {
		return nil, report, fmt.Errorf("make the directory of data files: %w", err)
	}
	names, err := fsys.List(filepath.Join(dir, filesDir))
	if err != nil {
		return nil, report, fmt.Errorf("list data files: %w", err)
	}
	s, err := m.load(names)
	switch {
	case err == nil:
		s, err = m.reconcile(s, names, &report, lost)
	case errors.Is(err, wire.ErrCorrupt):
		report.Damaged = err
		if err = lost(&report); err == nil {
			s, err = m.rebuild(names)
		}
	}
	if err != nil {
		return nil, report, fmt.Errorf("open the manifest: %w", err)
	}
	m.state.Store(s)
	m.nextID.Store(s.NextID)
	return m, report, nil
}

// load reads the manifest's file. The error wraps wire.ErrCorrupt when the file
// is damaged, or lacks although there are data files.
func (m *Manifest) load(names []string) (*State, error) {
	data, err := vfs.ReadFile(m.fs, filepath.Join(m.dir, Name))
	if errors.Is(err, fs.ErrNotExist) {
		for _, name := range names {
			if _, _, ok := ParseFileName(name); ok {
				return nil, wire.Corruptf("%s is missing and there are data files", Name)
			}
		}
		s := &State{NextID: 1}
		return s, m.write(s)
	}
	if err != nil {
		return nil, err
	}
	return decode(data)
}

// reconcile compares the state with the directory.
func (m *Manifest) reconcile(s *State, names []string, report *Report, lost func(*Report) error) (*State, error) {
	there := map[string]bool{}
	for _, name := range names {
		there[name] = true
	}
	s = s.clone()
	live := map[string]bool{}
	kept := s.Files[:0]
	for _, f := range s.Files {
		if !there[f.Name()] {
			report.Missing = append(report.Missing, f)
			continue
		}
		live[f.Name()] = true
		kept = append(kept, f)
	}
	s.Files = kept
	for _, name := range names {
		if live[name] {
			continue
		}
		_, id, data := ParseFileName(name)
		if !data && !strings.HasSuffix(name, vfs.TempSuffix) {
			continue // not ours
		}
		// A file that was being written may have had the next IDs.
		s.NextID = max(s.NextID, id+1)
		if err := m.fs.Remove(filepath.Join(m.dir, filesDir, name)); err != nil {
			return nil, fmt.Errorf("remove orphan: %w", err)
		}
		report.Removed = append(report.Removed, name)
	}
	if len(report.Missing) == 0 {
		return s, nil
	}
	if err := lost(report); err != nil {
		return nil, err
	}
	return s, m.write(s)
}

// rebuild makes a state from the names of the data files and sets the damaged
// manifest aside.
func (m *Manifest) rebuild(names []string) (*State, error) {
	path := filepath.Join(m.dir, Name)
	if err := m.fs.Rename(path, filepath.Join(m.dir, damagedName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("set the damaged manifest aside: %w", err)
	}
	s := &State{NextID: 1}
	for _, name := range names {
		if k, id, ok := ParseFileName(name); ok && s.File(id) == nil {
			s.Add(File{ID: id, Kind: k, Arrival: id})
		}
	}
	return s, m.write(s)
}

func (m *Manifest) write(s *State) error {
	return vfs.WriteFile(m.fs, filepath.Join(m.dir, Name), encode(s))
}

// State returns the current state, which must not be changed.
func (m *Manifest) State() *State { return m.state.Load() }

// NewID returns the ID for a data file that is going to be written.
func (m *Manifest) NewID() uint64 { return m.nextID.Add(1) - 1 }

// Path returns where the data file with that kind and ID lies.
func (m *Manifest) Path(k Kind, id uint64) string {
	return filepath.Join(m.dir, filesDir, FileName(k, id))
}

// Update edits a copy of the state and makes it the current one, durably: when
// it returns nil, a crash no longer brings the old one back. An error of edit
// leaves everything as it was and is returned as it is, and so does an error of
// writing that wraps vfs.ErrUnchanged; any other is final and wraps ErrFailed. Files that the edit added must be durable before.
func (m *Manifest) Update(edit func(*State) error) error {
	m.update.Lock()
	defer m.update.Unlock()
	if m.failed != nil {
		return m.failed
	}
	next := m.State().clone()
	if err := edit(next); err != nil {
		return err
	}
	if err := next.validate(); err != nil {
		return fmt.Errorf("update the manifest: %w", err)
	}
	if err := m.write(next); err != nil {
		if errors.Is(err, vfs.ErrUnchanged) {
			return fmt.Errorf("update the manifest: %w", err)
		}
		m.failed = fmt.Errorf("%w: %w", ErrFailed, err)
		return m.failed
	}
	m.state.Store(next)
	return nil
}
