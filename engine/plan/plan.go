// Package plan decides what the engine does with its files: which wide files
// to merge, which windows to seal, which days to build and what retention
// drops. It is pure: files and the time in, one job out; the engine does the
// job, and asks again until there is none.
//
// Bounds that hold when no job is left (the tests check them):
//
//   - at most MaxWide wide files in all, and at most MaxPerWindow that hold
//     samples of one window (while an import fills it, MaxWide): what a query of
//     one series opens;
//   - no wide file is more dead than alive (dead: parts that were sealed or
//     dropped), but for small ones;
//   - every closed window with at least SealSamples samples is sealed, older
//     ones once they are quiet, late data once it is a fair share of what a
//     rewrite would copy.
//
// The order of arrival is kept: wide files are merged only with their
// neighbours in it, and for one window what is in a day is older than what is
// sealed, and that older than what is in wide files.
package plan

import (
	"fmt"
	"slices"
	"time"
)

// Kind is the form of a file.
type Kind uint8

// The kinds, oldest data first.
const (
	Day    Kind = iota // sealed windows of a day with their own index
	Sealed             // one sealed window
	Wide               // what flushes and their merges wrote, any windows
)

// Part is what a file holds of one window and readers still see.
type Part struct {
	Window  int64 // floor(t / Limits.Window)
	Samples int64
	Bytes   int64
}

// File is what the plan needs to know of a file.
type File struct {
	ID      uint64
	Kind    Kind
	Arrival uint64 // orders wide files: that of the newest flush in it
	Born    int64  // ms: when the newest data in it was flushed
	Bytes   int64  // on disk, dead parts included
	Parts   []Part // ascending by window
}

// live returns the bytes of the parts that readers still see.
func (f *File) live() int64 {
	var n int64
	for _, p := range f.Parts {
		n += p.Bytes
	}
	return n
}

func (f *File) part(window int64) (Part, bool) {
	i, ok := slices.BinarySearchFunc(f.Parts, window, func(p Part, w int64) int {
		switch {
		case p.Window < w:
			return -1
		case p.Window > w:
			return 1
		default:
			return 0
		}
	})
	if !ok {
		return Part{}, false
	}
	return f.Parts[i], true
}

// Limits are the constants of the plan; Default returns those in use, tests
// shrink them.
type Limits struct {
	Window        int64 // ms
	WindowsPerDay int64
	SealDelay     int64 // ms between the end of a window and its sealing
	DayDelay      int64 // ms between the end of a day and its building
	Quiet         int64 // ms without new data before an old window is sealed
	Recent        int64 // ms behind now in which windows are sealed without waiting for quiet
	SealSamples   int64 // a window with fewer stays in wide files
	LateShare     int64 // late data is sealed when it is 1/LateShare of what its rewrite copies
	MaxWide       int   // wide files in all
	MaxPerWindow  int   // wide files that hold samples of one window
	DeadBytes     int64 // a file with fewer dead bytes is not rewritten for them
	MergeFiles    int   // inputs of one merge
}

// Default returns the limits in use. The numbers: 24 flushes of a window with
// MaxPerWindow 8 are each copied once; 24 wide files leave room for the jobs'
// outputs under the promised 32; a window that is filled while it is closed
// already, as by an import, is sealed anew each time it has grown by half, which
// encodes each sample about three times.
func Default() Limits {
	return Limits{
		Window:        (2 * time.Hour).Milliseconds(),
		WindowsPerDay: 12,
		SealDelay:     (10 * time.Minute).Milliseconds(),
		DayDelay:      (30 * time.Minute).Milliseconds(),
		Quiet:         (30 * time.Minute).Milliseconds(),
		Recent:        (24 * time.Hour).Milliseconds(),
		SealSamples:   2048,
		LateShare:     2,
		MaxWide:       24,
		MaxPerWindow:  8,
		DeadBytes:     1 << 20,
		MergeFiles:    24,
	}
}

// State is what the plan decides on.
type State struct {
	Now   int64 // ms
	Files []File
	// Force seals every closed window with enough samples now, without waiting
	// for quiet (a flush on demand).
	Force bool
	// Filling is the Born (ms) of what a flush on demand just wrote: a window that
	// got nothing from it is sealed to its last sample. 0: every window may get
	// more.
	Filling int64
	// AvoidWindows and AvoidDays are not sealed and not built: that just failed.
	AvoidWindows, AvoidDays map[int64]bool
}

// JobKind says what a job does.
type JobKind uint8

// The kinds of jobs.
const (
	// Merge joins the live chunks of the wide files Inputs in one file.
	Merge JobKind = iota + 1
	// Seal re-encodes Window from all wide and sealed files that hold it (Inputs)
	// into one sealed file, and makes these parts of the wide files dead.
	Seal
	// BuildDay joins the sealed windows of Day, and the day file there is, into
	// one day file.
	BuildDay
	// Drop removes the files Inputs, which hold nothing alive.
	Drop
)

// Job is one thing to do.
type Job struct {
	Kind   JobKind
	Window int64 // of Seal
	Day    int64 // of BuildDay
	Inputs []uint64
}

// String describes the job for an error or a log line.
func (j Job) String() string {
	switch j.Kind {
	case Merge:
		return fmt.Sprintf("merge of %d wide files", len(j.Inputs))
	case Seal:
		return fmt.Sprintf("seal of window %d", j.Window)
	case BuildDay:
		return fmt.Sprintf("build of day %d", j.Day)
	case Drop:
		return fmt.Sprintf("drop of %d files", len(j.Inputs))
	}
	return fmt.Sprintf("job of unknown kind %d", j.Kind)
}

// Next returns the most urgent job; false when there is none.
func Next(l Limits, s State) (Job, bool) {
	p := newPicture(l, s)
	for _, rule := range []func() (Job, bool){p.dropDead, p.sealNext, p.buildDay, p.mergeWindow, p.mergeAll, p.rewriteDead} {
		if job, ok := rule(); ok {
			return job, true
		}
	}
	return Job{}, false
}

// WindowOf returns the window of a timestamp in ms.
func (l Limits) WindowOf(t int64) int64 { return floorDiv(t, l.Window) }

// DayOf returns the day of a window.
func (l Limits) DayOf(window int64) int64 { return floorDiv(window, l.WindowsPerDay) }

// closed says whether a window's end is far enough behind now.
func (l Limits) closed(window, now int64) bool { return (window+1)*l.Window+l.SealDelay <= now }

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b != 0 && (a < 0) != (b < 0) {
		q--
	}
	return q
}
