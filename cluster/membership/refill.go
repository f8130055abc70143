package membership

import (
	"fmt"
	"slices"
	"strings"
)

// Disk is which data directory a node stands on.
type Disk struct {
	ID     string   // random, made with the directory, or as Renewed made it
	Former []string // ids that it had before
	Starts uint64   // counts the starts on it, this one included
	Gap    bool     // this start found a hole in what was acknowledged
	// Past are the last starts that the disk remembers, this one included.
	Past []Start
}

// Start is one start on a disk: its number and a random one. A copy of a disk goes
// on with the same numbers, and others remember the number of another start. Mark
// counts on while the node stores samples, and is durable before others hear of it:
// so they also know a copy that was made in the middle of a start.
type Start struct {
	Starts uint64 `json:"starts"`
	Random uint64 `json:"random"`
	Mark   uint64 `json:"mark,omitempty"`
}

// Sighting is what others remember of a node's disk: its last start, and the one
// before, which is as much as a copy that was made then can have.
type Sighting struct {
	Disk   string `json:"disk_id"`
	Starts uint64 `json:"starts"`
	Random uint64 `json:"random,omitempty"` // of that start; 0 = not known
	Mark   uint64 `json:"mark,omitempty"`   // the highest that was heard of in that start
	Before Start  `json:"before,omitzero"`
}

// After returns what is remembered when a node was seen after it was seen so: the
// latest start, and of one number the first that was met.
func (s Sighting) After(old Sighting) Sighting {
	switch {
	case old.Disk != s.Disk:
		s.Before = Start{}
	case old.Starts < s.Starts:
		s.Before = Start{Starts: old.Starts, Random: old.Random, Mark: old.Mark}
	case old.Starts == s.Starts && old.Random == 0:
		s.Before = old.Before
	default:
		return old
	}
	return s
}

// KeptStarts is how many starts a disk remembers.
const KeptStarts = 100

// Renewed returns the id that a disk has from the moment on when it is found to be an
// older copy: another one than any other copy of it, for random is the number of a
// start. To all others it is as good as a new disk: what was said to it before, and by
// it, is forgotten.
func Renewed(id string, random uint64) string {
	directory, _, _ := strings.Cut(id, ".")
	return fmt.Sprintf("%s.%016x", directory, random)
}

// SameDirectory says whether two ids of disks are of copies of one data directory.
func SameDirectory(a, b string) bool {
	a, _, _ = strings.Cut(a, ".")
	b, _, _ = strings.Cut(b, ".")
	return a == b
}

// IsOlder says whether a sighting proves that the disk is a copy from before it: the
// disk has not come as far, a start of that number was another one, or the disk has
// had another id since.
func (d *Disk) IsOlder(s Sighting) bool {
	if s.Disk != d.ID {
		return SameDirectory(s.Disk, d.ID) && !slices.Contains(d.Former, s.Disk)
	}
	return s.Starts > d.Starts || d.lacks(Start{Starts: s.Starts, Random: s.Random, Mark: s.Mark}) || d.lacks(s.Before)
}

// lacks says whether the disk remembers a start otherwise than others do, or the
// time before they saw it last.
func (d *Disk) lacks(s Start) bool {
	for _, p := range d.Past {
		if p.Starts == s.Starts && s.Random != 0 && (p.Random != s.Random || p.Mark < s.Mark) {
			return true
		}
	}
	return false
}

// NewReason is the reason of a node whose disk is another one than the ring records.
const NewReason = "its disk is a new one"

// OlderReason is the reason of a node whose disk is a copy from before what others
// know of it.
const OlderReason = "its disk is an older copy"

// GapReason is the reason of a node whose disk says what it has lost; all other
// reasons are to merge everything.
const GapReason = "its log or a file had a gap"

// RefillReason says why a node must merge its data back from others before it
// counts for anything (C5); empty when it need not. recorded is the disk that
// the ring names for it (empty: none), merged the disk that a refill of this
// node was completed on (empty: none), seen what others remember.
func RefillReason(d Disk, recorded, merged string, seen []Sighting) string {
	if recorded != "" && d.ID != recorded && d.ID != merged {
		return NewReason
	}
	for _, s := range seen {
		if d.IsOlder(s) {
			return OlderReason
		}
	}
	if d.Gap {
		return GapReason
	}
	return ""
}
