package manifest

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/count-db/count/internal/model"
)

// Kind is the form of a data file, numbered as in the file itself.
type Kind uint8

// The kinds of data files.
const (
	Wide   Kind = 1 // what flushes and their merges wrote, any windows
	Sealed Kind = 2 // one sealed window
	Day    Kind = 3 // the sealed windows of a day with their own index
)

// suffixes are the ends of file names, by kind.
var suffixes = [...]string{Wide: ".wide", Sealed: ".sealed", Day: ".day"}

func (k Kind) valid() bool { return k >= Wide && k <= Day }

// String returns the kind's name.
func (k Kind) String() string {
	if !k.valid() {
		return "unknown kind " + strconv.Itoa(int(k))
	}
	return suffixes[k][1:]
}

// FileName returns the base name of a data file.
func FileName(k Kind, id uint64) string { return fmt.Sprintf("%010d%s", id, suffixes[k]) }

// ParseFileName is the inverse of FileName.
func ParseFileName(name string) (k Kind, id uint64, ok bool) {
	for k := Wide; k <= Day; k++ {
		if digits, found := strings.CutSuffix(name, suffixes[k]); found && len(digits) >= 10 {
			id, err := strconv.ParseUint(digits, 10, 64)
			return k, id, err == nil && id > 0
		}
	}
	return 0, 0, false
}

// File is one live data file.
type File struct {
	ID   uint64 // never used again
	Kind Kind
	// Arrival orders wide files: the ID of the newest flush in it. Later arrivals
	// win where versions are off.
	Arrival uint64
	Born    int64 // ms: when the newest data in it was flushed
	Bytes   int64 // of the whole file
	Samples int64
	MinT    int64 // ms
	MaxT    int64 // ms
	// MinVersion and MaxVersion are over all its samples; 0, 0 without versions.
	MinVersion model.Version
	MaxVersion model.Version
	// SealedOut are the windows (floor(t / 2 h)) of this file that readers take
	// from elsewhere, or that retention dropped.
	SealedOut Windows
}

// Name returns the base name.
func (f *File) Name() string { return FileName(f.Kind, f.ID) }

// State is what the manifest says. A State that was given out is never changed.
type State struct {
	Files []File // ascending by ID
	// NextID is above the ID of every file that was ever live.
	NextID uint64
	// LogFrom is the log segment from which on the log counts: everything before
	// it is in Files.
	LogFrom uint64
	// Mark is the node-wide version mark (V2): no version at or below it is fresh
	// for a series that has none of its own.
	Mark model.Version
	// Registry is the name of the registry's file; empty: its default.
	Registry string
}

// File returns the live file with that ID, or nil.
func (s *State) File(id uint64) *File {
	i, ok := slices.BinarySearchFunc(s.Files, id, func(f File, id uint64) int { return cmp.Compare(f.ID, id) })
	if !ok {
		return nil
	}
	return &s.Files[i]
}

// Add puts a file into a state that is being edited.
func (s *State) Add(f File) {
	s.Files = append(s.Files, f)
	slices.SortFunc(s.Files, func(a, b File) int { return cmp.Compare(a.ID, b.ID) })
	s.NextID = max(s.NextID, f.ID+1)
}

// Remove takes files out of a state that is being edited.
func (s *State) Remove(ids ...uint64) {
	s.Files = slices.DeleteFunc(s.Files, func(f File) bool { return slices.Contains(ids, f.ID) })
}

// clone returns a copy that can be edited. SealedOut is shared: its methods
// return new sets.
func (s *State) clone() *State {
	c := *s
	c.Files = slices.Clone(s.Files)
	return &c
}

// validate says what no state may be.
func (s *State) validate() error {
	for i := range s.Files {
		f := &s.Files[i]
		switch {
		case !f.Kind.valid():
			return fmt.Errorf("file %d has kind %d", f.ID, f.Kind)
		case f.ID == 0 || f.ID >= s.NextID:
			return fmt.Errorf("file id %d is not between 1 and the next id %d", f.ID, s.NextID)
		case i > 0 && f.ID <= s.Files[i-1].ID:
			return fmt.Errorf("file id %d behind %d", f.ID, s.Files[i-1].ID)
		case f.Bytes < 0 || f.Samples < 0:
			return fmt.Errorf("file %d has %d bytes and %d samples", f.ID, f.Bytes, f.Samples)
		case f.Samples > 0 && f.MinT > f.MaxT:
			return fmt.Errorf("file %d begins at %d and ends at %d", f.ID, f.MinT, f.MaxT)
		}
		if err := f.SealedOut.validate(); err != nil {
			return fmt.Errorf("file %d: %w", f.ID, err)
		}
	}
	return nil
}
