package engine

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/go-kit/log/level"

	"github.com/count-db/count/engine/wal"
	"github.com/count-db/count/internal/model"
	"github.com/count-db/count/internal/wire"
)

// replayLog applies what is in no file yet.
func (db *DB) replayLog() error {
	start := time.Now()
	r := replayer{db: db, moved: map[model.Ref]model.Ref{}, lanes: newLanes(min(runtime.GOMAXPROCS(0), maxLanes), db.active)}
	report, err := wal.Replay(db.fs, filepath.Join(db.dir, logDir), wal.Position(db.manifest.State().LogFrom), r.record)
	late := r.lanes.wait()
	if err != nil {
		return fmt.Errorf("replay the log: %w", err)
	}
	if r.samples > 0 {
		db.epochStart.Store(db.opts.Now().UnixMilli())
	}
	db.counters.late.Add(late)
	db.replay = ReplayStats{
		Records: report.Records, Samples: r.samples, Bytes: report.Bytes, TornBytes: report.TornBytes,
		Gap: report.Gap, Duration: time.Since(start),
	}
	if report.TornBytes > 0 {
		level.Warn(db.opts.Logger).Log("msg", "cut the torn tail of the log: nothing of it was acknowledged", "bytes", report.TornBytes)
	}
	if r.damaged > 0 {
		level.Error(db.opts.Logger).Log("msg", "left out log records that cannot be decoded", "records", r.damaged)
	}
	if r.unknown > 0 {
		level.Error(db.opts.Logger).Log("msg", "samples in the log of series that nothing defines", "samples", r.unknown)
	}
	if report.Gap {
		level.Error(db.opts.Logger).Log("msg", "the log has a gap: acknowledged samples are missing", "dir", filepath.Join(db.dir, logDir))
	}
	if r.damaged > 0 || r.unknown > 0 || report.Gap {
		db.cutLog.Store(true)
		db.wakeFlusher()
		return db.loseAll()
	}
	return nil
}

// replayer applies log records to a DB that is being opened.
type replayer struct {
	db      *DB
	lanes   *lanes
	decoded wal.DecodedBatch
	moved   map[model.Ref]model.Ref // refs of the log whose series has another one now
	unknown uint64                  // samples of refs that nothing defines
	damaged uint64                  // records that were whole and mean nothing
	samples uint64
}

// record applies one log record.
func (r *replayer) record(rec []byte) error {
	if len(rec) > 0 && rec[0] != wal.RecordBatch {
		return fmt.Errorf("log record of kind %d: written by a newer build", rec[0])
	}
	err := wal.DecodeBatch(rec, &r.decoded)
	if errors.Is(err, wire.ErrCorrupt) {
		r.damaged++
		return nil
	}
	if err != nil {
		return err
	}
	for _, def := range r.decoded.Series {
		ref, err := r.db.registry.Define(def.Ref, def.Labels)
		if err != nil {
			return fmt.Errorf("define series %d of the log: %w", def.Ref, err)
		}
		if ref != def.Ref {
			r.moved[def.Ref] = ref
		}
	}
	b := &r.decoded.Batch
	r.resolve(b)
	r.db.clock.Observe(b.Version)
	if r.db.opts.Versions {
		r.db.registry.RaiseVersions(b)
	}
	r.db.exemplars.add(b.Exemplars)
	r.db.metadata.add(b.Metadata)
	r.lanes.send(b)
	r.samples += uint64(b.Samples())
	return nil
}

// resolve gives the samples of a batch the references that their series have
// now, and leaves out those of series that nothing defines: only a damaged
// registry lacks them, and that was reported.
func (r *replayer) resolve(b *model.Batch) {
	known := func(ref *model.Ref) bool {
		if len(r.moved) > 0 {
			if to, ok := r.moved[*ref]; ok {
				*ref = to
			}
		}
		if r.db.registry.Exists(*ref) {
			return true
		}
		r.unknown++
		r.db.registry.Reserve(*ref)
		return false
	}
	n := 0
	for i := range b.Floats {
		if !known(&b.Floats[i].Ref) {
			continue
		}
		b.Floats[n] = b.Floats[i]
		if len(b.STs) > 0 {
			b.STs[n] = b.STs[i]
		}
		n++
	}
	b.Floats, b.STs = b.Floats[:n], b.STs[:min(n, len(b.STs))]
	b.Hists = slices.DeleteFunc(b.Hists, func(h model.HistogramSample) bool { return !known(&h.Ref) })
	n = 0
	for i := range b.Exemplars {
		if known(&b.Exemplars[i].Ref) {
			b.Exemplars[n] = b.Exemplars[i]
			n++
		}
	}
	b.Exemplars = b.Exemplars[:n]
}
