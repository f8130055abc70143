package engine

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/count-db/count/engine/manifest"
)

// Stats are counters (since the DB was opened) and gauges of a DB.
type Stats struct {
	// Gauges.
	Series          int   // in the registry
	BufferSamples   int64 // active and frozen buffer
	BufferBytes     int64
	LogBytes        int64
	LogSegments     int
	WideFiles       int
	SealedFiles     int
	DayFiles        int
	FileBytes       int64 // all files of the live set
	FileSamples     int64 // samples in files, overwritten ones included
	Tombstones      int
	ShedFiles       int   // written anew before all that was shed is off the disk, at most
	ShedFileBytes   int64 // of them
	Exemplars       int
	MinTime         int64 // ms, oldest and newest sample held; 0, 0 when empty
	MaxTime         int64
	DiskFree        uint64
	DiskFull        bool // less than Options.DiskReserve is free: appends are refused
	QuarantinedFile int  // files set aside since the directory was made
	Failed          bool // ErrFailed from now on

	// Counters.
	AppendedSamples  uint64
	AppendedBatches  uint64
	OutOfOrder       uint64 // samples that went to the late set
	Overloaded       uint64 // appends refused with ErrOverloaded
	RefusedFull      uint64 // appends refused with ErrDiskFull
	Flushes          uint64
	FlushFailures    uint64
	FlushedBytes     uint64
	Merges           uint64
	MergedBytes      uint64
	SealedWindows    uint64
	SealedBytes      uint64
	DaysBuilt        uint64
	Deletes          uint64
	DroppedFiles     uint64 // by retention
	LastFlush        time.Duration
	LastSeal         time.Duration
	LogSyncs         uint64
	LogAppendedBytes uint64

	// Of the last start.
	Replay ReplayStats
}

// ReplayStats say what the last start found in the log.
type ReplayStats struct {
	Records   uint64
	Samples   uint64
	Bytes     int64
	TornBytes int64 // cut from the tail of the log
	Gap       bool  // a record before the tail was missing or damaged (E1, C5)
	Duration  time.Duration
}

// Identity says which disk a data directory is, for C5.
type Identity struct {
	// DiskID is random, made with the directory.
	DiskID [16]byte
	// Starts counts the opens of the directory, this one included.
	Starts uint64
	// Gap is set while there is a hole in what was acknowledged: a log gap before
	// the tail, or a file set aside (DB.Lost).
	Gap bool
}

// counters are the counters behind Stats.
type counters struct {
	samples, batches, late, overloaded       atomic.Uint64
	flushes, flushFailures, flushedBytes     atomic.Uint64
	refusedFull                              atomic.Uint64
	merges, mergedBytes, sealed, sealedBytes atomic.Uint64
	days, deletes, dropped                   atomic.Uint64
	lastFlush, lastSeal                      atomic.Int64 // ns
}

// Stats returns counters and gauges.
func (db *DB) Stats() Stats {
	c := &db.counters
	out := Stats{
		Series: db.registry.Len(), Exemplars: db.exemplars.len(), QuarantinedFile: db.quarantined(), Failed: db.Failed() != nil, DiskFull: db.space.full.Load(),
		AppendedSamples: c.samples.Load(), AppendedBatches: c.batches.Load(), OutOfOrder: c.late.Load(), Overloaded: c.overloaded.Load(), RefusedFull: c.refusedFull.Load(),
		Flushes: c.flushes.Load(), FlushFailures: c.flushFailures.Load(), FlushedBytes: c.flushedBytes.Load(),
		Merges: c.merges.Load(), MergedBytes: c.mergedBytes.Load(), SealedWindows: c.sealed.Load(), SealedBytes: c.sealedBytes.Load(),
		DaysBuilt: c.days.Load(), Deletes: c.deletes.Load(), DroppedFiles: c.dropped.Load(),
		LastFlush: time.Duration(c.lastFlush.Load()), LastSeal: time.Duration(c.lastSeal.Load()), Replay: db.replay,
	}
	l := db.log.Stats()
	out.LogBytes, out.LogSegments, out.LogSyncs, out.LogAppendedBytes = l.Bytes, l.Segments, l.Syncs, l.Appended
	if free, _, err := db.fs.DiskUsage(db.dir); err == nil {
		out.DiskFree = free
	}
	v := db.views.acquire()
	if v == nil {
		return out
	}
	v.addTo(&out)
	if err := db.views.release(v); err != nil {
		db.warn("close files that nothing reads any more", err)
	}
	return out
}

// addTo adds what the parts of a view hold.
func (v *view) addTo(out *Stats) {
	out.Tombstones = len(v.tombs)
	for _, b := range []*epochBuffer{v.frozen, v.active} {
		if b != nil {
			out.BufferSamples += b.Samples()
			out.BufferBytes += b.Bytes()
		}
	}
	for i, f := range v.files {
		switch f.Kind {
		case manifest.Wide:
			out.WideFiles++
		case manifest.Sealed:
			out.SealedFiles++
		default:
			out.DayFiles++
		}
		if slices.ContainsFunc(v.sheds, func(s shed) bool { return s.reaches(f) }) {
			out.ShedFiles++
			out.ShedFileBytes += f.Bytes
		}
		out.FileBytes += f.Bytes
		out.FileSamples += f.Samples
		if i == 0 || f.MinT < out.MinTime {
			out.MinTime = f.MinT
		}
		if i == 0 || f.MaxT > out.MaxTime {
			out.MaxTime = f.MaxT
		}
	}
}
